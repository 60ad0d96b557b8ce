"""The tools, in the order in which people meet them. One source for routes, documentation and editor."""

from ml.tool import Tool
from ml.tools import (
    bg_removal,
    brush,
    crop,
    generative_expand,
    generative_fill,
    magic_select,
    rendition,
    selection_overlay,
    upscale,
)

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        bg_removal.TOOL,
        upscale.TOOL,
        generative_fill.TOOL,
        generative_expand.TOOL,
        magic_select.TOOL,
        crop.TOOL,
        brush.TOOL,
    )
}

#: What workers do besides, for nothing: no routes of their own, no parameters that anybody reads about.
UNLISTED_TOOLS: dict[str, Tool] = {tool.name: tool for tool in (rendition.TOOL, selection_overlay.TOOL)}


def get(name: str) -> Tool | None:
    """The tool of this name, listed or not."""
    return TOOLS.get(name) or UNLISTED_TOOLS.get(name)


def find(name: str) -> Tool:
    """The tool of this name, listed or not. Raises KeyError."""
    return TOOLS.get(name) or UNLISTED_TOOLS[name]

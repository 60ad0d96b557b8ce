"""All tools in display order: the single source for routes, documentation and the editor."""

from ml.tool import Tool
from ml.tools import (
    bg_removal,
    brush,
    crop,
    cutout_crop,
    cutout_look,
    generative_expand,
    generative_fill,
    magic_select,
    preview_mark,
    rendition,
    selection_encoding,
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

#: Internal, unbilled tools: they have no route and are not documented.
UNLISTED_TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        rendition.TOOL,
        preview_mark.TOOL,
        selection_encoding.TOOL,
        selection_overlay.TOOL,
        cutout_look.TOOL,
        cutout_crop.TOOL,
    )
}


def get(name: str) -> Tool | None:
    """The tool of this name, listed or unlisted; None if it does not exist."""
    return TOOLS.get(name) or UNLISTED_TOOLS.get(name)


def find(name: str) -> Tool:
    """The tool of this name, listed or unlisted. Raises KeyError."""
    return TOOLS.get(name) or UNLISTED_TOOLS[name]


def tool_title(name: str) -> str:
    """The tool's title. Stored rows may name a tool that was renamed or removed: its name is the title."""
    return TOOLS[name].title if name in TOOLS else name

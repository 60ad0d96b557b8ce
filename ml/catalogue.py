"""The tools, in the order in which people meet them. One source for routes, documentation and editor."""

from ml.tool import Tool
from ml.tools import bg_removal, brush, crop, generative_expand, generative_fill, magic_select, upscale

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

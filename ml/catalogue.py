"""The tools, in the order in which people meet them. One source for routes, documentation and editor."""

from ml.tool import Tool
from ml.tools import bg_removal, brush, crop, generative_expand, generative_fill

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (bg_removal.TOOL, generative_fill.TOOL, generative_expand.TOOL, crop.TOOL, brush.TOOL)
}

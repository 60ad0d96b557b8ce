"""The tools, in the order in which people meet them. One source for routes, documentation and editor."""

from ml.tool import Tool
from ml.tools import bg_removal, crop, magic_select, upscale

TOOLS: dict[str, Tool] = {
    tool.name: tool for tool in (bg_removal.TOOL, upscale.TOOL, magic_select.TOOL, crop.TOOL)
}

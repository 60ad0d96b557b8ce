"""The path of the protocol's only endpoint."""

MCP_PATH = "/mcp"

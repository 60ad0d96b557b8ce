"""`/mcp`: the tools for AI agents, by the Model Context Protocol (Streamable HTTP).

The protocol is the official SDK's. Authentication, limits and money are the REST routes' own. The SDK takes
half a second to import, so only `server` and `results` import it, and they are imported by the first request.
"""

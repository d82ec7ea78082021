"""A verified library as an MCP server: skills as tools, skills and insights as resources.

`offerings` says what is served and `pins` that it is what it was; `episode` carries a skill out,
`caller` is one client with an episode of its own, `server` speaks the protocol for it, and
`http` and `stdio` let nothing through that is no message. The package `mcp` is imported by
`server`, `announcing`, `http` and `stdio` alone.
"""

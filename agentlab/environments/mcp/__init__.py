"""Any MCP server as an environment: `mcp:<command>` over stdio, `mcp:<URL>` over HTTP.

`session` talks to a server and is the only file that imports the package `mcp`; `keeper` sees to
it that no server outlives its owner; `folder` is the working folder that a server works on;
`answers` turns what a server says into plain data; `world` puts them together.
"""

"""Practise with an MCP server in one command, which is printed and run; no key is needed.

By default the server is the lower half of this file, over stdio. Any other command will do, such as

    python examples/mcp_server.py "npx -y @modelcontextprotocol/server-filesystem {folder}" \
        --option allow_destructive=true

`{folder}` stands for a working folder, fresh for each attempt, whose files are the state.
"""

import shlex
import subprocess
import sys
from pathlib import Path

OWN = shlex.join([sys.executable, __file__, "serve"]) + " {folder}"
FEW = ["--rounds", "2", "--attempts", "16", "--proposals", "16", "--tool-calls", "60",
       "--heldout", "6", "--heldout-tool-calls", "60"]  # fmt: skip
# One process serves many attempts: true of servers that keep nothing outside their folder.
KEEPS_NOTHING = ["--option", "reuse=true"]


def practise(server: str, *options: str) -> int:
    """Print the command and run it."""
    words = ["practice", f"mcp:{server}", "--model", "search", *FEW, *KEEPS_NOTHING, *options]
    print("agentlab", shlex.join(words), flush=True)
    return subprocess.run([sys.executable, "-m", "agentlab", *words], check=False).returncode


def serve(folder: str) -> None:
    """A server with three tools for notes in a folder."""
    from mcp.server.mcpserver import MCPServer  # only the server's own process needs it

    server, place = MCPServer("notes", log_level="CRITICAL"), Path(folder)

    @server.tool()
    def write_note(path: str, text: str) -> str:  # pyright: ignore[reportUnusedFunction] # a tool
        """Write a note, in a folder that is there."""
        return f"{(place / path).write_text(text)} characters written"

    @server.tool()
    def make_folder(folder: str) -> str:  # pyright: ignore[reportUnusedFunction] # a tool
        """Make a folder."""
        (place / folder).mkdir()
        return f"{folder} made"

    @server.tool()
    def move_note(old: str, new: str) -> str:  # pyright: ignore[reportUnusedFunction] # a tool
        """Give a note another place."""
        (place / old).rename(place / new)
        return f"{new} is there"

    server.run("stdio")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", folder]:
            serve(folder)
        case [str(server), *options] if not server.startswith("--"):
            sys.exit(practise(server, *options))
        case options:
            sys.exit(practise(OWN, *options))

"""What a library is called whose environment is named by a command, a path or an address.

`tools:`, `mcp:` and `web:` name an environment only together with what follows, so what was
learnt on one server or site must not be served on another. The name is made of plain letters
alone, and is the same on another machine: folders that a command's words begin with do not count.
"""

from __future__ import annotations

import re
import shlex

from agentlab.types import digest

WHOLE_NAMES = frozenset({"mcp", "tools", "web"})
"""Environments that the part after the colon decides."""
LAUNCHERS = frozenset(
    {"npx", "uvx", "node", "bunx", "bun", "deno", "docker", "run", "exec", "uv", "pipx", "env"}
)
_PYTHON = re.compile(r"python[\d.]*")
MOST = 40


def library_name(name: str, argument: str) -> str:
    """A stable key such as `tools-todo` or `mcp-server-filesystem-3f9a12`."""
    if name == "tools":
        stem = argument.rpartition("/")[2].removesuffix(".py")
        return f"{name}-{_slug(stem)}"
    address = argument.partition("?")[0].rstrip("/")
    if re.match(r"https?://", address):
        return f"{name}-{_slug(address.partition('://')[2])}-{digest(address)[:6]}"
    try:
        words = shlex.split(argument)
    except ValueError:
        words = argument.split()
    words = [word.rpartition("/")[2] if not word.startswith("-") else word for word in words]
    telling = [
        word
        for word in words
        if not word.startswith(("-", "{")) and word not in LAUNCHERS and not _PYTHON.fullmatch(word)
    ]
    return f"{name}-{_slug(telling[0] if telling else name)}-{digest(words)[:6]}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:MOST].strip("-") or "it"

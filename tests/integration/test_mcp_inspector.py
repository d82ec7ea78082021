"""The protocol's own inspector sees what is served, over both transports.

Its command line is what people check a server with. It comes by npm, once for this machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mcp_http import ANN, serving
from tests.stocking import stock

PACKAGE = "@modelcontextprotocol/inspector@2.12.0"
SCRIPT = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
OWN = ["begin", "feedback", "search_skills"]

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def inspector() -> list[str]:
    """The command that inspects; skips where npm cannot bring it."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm and node are not installed")
    place = Path(os.environ.get("AGENTLAB_NPM_CACHE") or "/tmp/agentlab-npm") / "inspector"
    if not (place / SCRIPT).is_file():
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(place), PACKAGE],
            capture_output=True,
            timeout=150,
            check=False,
        )
    if not (place / SCRIPT).is_file():
        pytest.skip("the inspector could not be installed with npm")
    return ["node", str(place / SCRIPT), "--cli"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A workspace that serves the shipped pack, and the names of its skills."""
    place = tmp_path_factory.mktemp("inspected")
    return place / "workspace", stock(place / "workspace", place / "keys")


def asked(command: list[str], server: list[str], method: str, *more: str) -> dict[str, Any]:
    """What the inspector prints."""
    done = subprocess.run(
        [*command, *server, "--method", method, *more],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_over_stdio(inspector: list[str], shop: tuple[Path, list[str]]) -> None:
    library, skills = shop
    server = [sys.executable, "-m", "agentlab", "mcp", "serve", "--library", str(library)]
    server += ["--environment", "courier"]
    tools = asked(inspector, server, "tools/list")["tools"]
    assert sorted(tool["name"] for tool in tools) == sorted([*skills, *OWN])
    found = asked(
        inspector, server, "tools/call", "--tool-name", "search_skills",
        "--tool-arg", "query=take something",
    )["structuredContent"]  # fmt: skip
    assert found["skills"] and {line["name"] for line in found["skills"]} <= set(skills)


def test_over_http(inspector: list[str], shop: tuple[Path, list[str]]) -> None:
    library, skills = shop

    async def work() -> None:
        async with serving(library) as place:
            server = [place.url, "--transport", "http", "--header", f"Authorization: Bearer {ANN}"]
            told = await asyncio.to_thread(asked, inspector, server, "tools/list")
            assert sorted(tool["name"] for tool in told["tools"]) == sorted([*skills, *OWN])

    asyncio.run(work())

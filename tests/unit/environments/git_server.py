"""The Git server that PyPI has, on a small repository: how it is started, and what its state is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from agentlab.types import JsonObject

COMMAND = f"{sys.executable} -m mcp_server_git --repository {{folder}}"
MOMENT = "978307200 +0000"
FIXED: Mapping[str, str] = {
    "GIT_AUTHOR_DATE": MOMENT,
    "GIT_COMMITTER_DATE": MOMENT,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}
"""Variables without which a commit's name would tell the hour and the user's settings."""
WORDS = ("amber", "birch", "cedar", "delta", "ember", "flint")


def repository(place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment's name, once `place` holds a repository; skips where it cannot be had."""
    pytest.importorskip("mcp_server_git", reason="mcp-server-git is not installed")
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for name, value in FIXED.items():
        monkeypatch.setenv(name, value)
    place.mkdir()
    (place / "index.md").write_text("Notes.\n", encoding="utf-8")
    for line in (
        "init --template= --initial-branch=main",
        "config user.name Ada",
        "config user.email ada@example.org",
        "add .",
        "commit --message=Begin_the_notes",
        "branch drafts",
    ):
        words = [word.replace("_", " ") for word in line.split()]
        subprocess.run(["git", *words], cwd=place, check=True, capture_output=True)
    for word in WORDS:
        (place / f"{word}.txt").write_text(f"About {word}.\n", encoding="utf-8")
    return f"mcp:{COMMAND}"


def options(place: Path) -> JsonObject:
    """How the server is used on the repository."""
    branches: JsonObject = {"tool": "git_branch", "arguments": {"branch_type": "local"}}
    return {
        "template": str(place),
        "fixed": {"repo_path": "{folder}"},
        "ignore": [".git/index", ".git/logs", ".git/objects"],
        "pass_env": [*FIXED],
        "allow_destructive": True,
        "reuse": True,
        "explore": 40,
        "state": [
            {**branches, "name": "branches", "pattern": r"^[*+ ] (?P<branch>\S+)$"},
            {**branches, "name": "current", "pattern": r"^\* (?P<branch>\S+)$"},
            {
                "name": "staged",
                "tool": "git_diff_staged",
                "pattern": r"^diff --git a/.* b/(?P<path>.+)$",
            },
            {"name": "untracked", "tool": "git_status", "pattern": r"^\t(?P<path>[^:\n]+)$"},
            {"name": "commits", "tool": "git_log", "pattern": r"^Message: (?P<message>.+)$"},
        ],
    }

"""One MiniWoB page from practice to held-out seeds, by the command that does all pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentlab.environments.web.miniwob import MiniWoB, pages
from agentlab.records import Records, Workspace
from agentlab.types import SplitRule
from tests.required import installed

installed("miniwob", "REQUIRE_BROWSER")

EXAMPLE = Path(__file__).parents[2] / "examples" / "miniwob_pages.py"
ASKED = ("--pages", "enter-password", "--attempts", "4", "--seeds", "2", "--budget", "10")


def run(workspace: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--workspace", str(workspace), *ASKED, *arguments],
        env={**os.environ, "PYTHONPATH": str(EXAMPLE.parents[1])},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(600)  # four processes with a browser each, on a machine that may be busy
def test_a_page_is_learnt_and_the_held_out_seeds_show_it(tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    table.write_text("# Pages\n\nWhat was measured.\n\n2 pages, of which none.\n\n| old |\n")
    said = run(tmp_path, "--json", str(tmp_path / "rows.json"), "--table", str(table))
    kept = table.read_text()
    assert kept.startswith("# Pages\n\nWhat was measured.\n\n1 pages, of which practice")
    assert "| enter-password | 2 |" in kept and "| old |" not in kept
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["skills"] == ["enter_password(password: text)"]
    assert row["solved"] == row["attempts"] == 8
    library, empty = row["calls"]["library"], row["calls"]["empty library"]
    assert library.keys() == empty.keys()
    # The skill fills both fields and clicks; without it one is often thought to be enough.
    assert max(library.values()) < min(empty.values())
    assert "| enter-password | 2 | 100 %" in said
    assert "1 pages, of which practice solved some tasks on 1" in said

    with Records.open(Workspace.open(tmp_path / "enter-password")) as records:
        (skill,) = records.items.skills(status="active")
        passed: set[object] = set()
        for move in records.items.history(skill.item.id):
            gates = move.evidence.get("gates", [])
            assert isinstance(gates, list)
            passed.update(g["gate"] for g in gates if isinstance(g, dict) and g["passed"])
        assert {"static", "replay", "effect", "controls", "use"} <= passed
        run_id = skill.run_id
        assert run_id is not None
        practised = [records.tasks.get(each) for each in skill.item.source_tasks]
        tried = records.attempts.all(run_id)
    rule = SplitRule()
    assert {rule.split_of_seed(task.seed) for task in practised} == {"practice"}
    assert {attempt.split for attempt in tried} == {"practice"}
    assert {attempt.kind for attempt in tried} == {"practice", "shadow"}

    # What is done is kept: the same question is answered from there.
    (before,) = [line for line in said.splitlines() if line.startswith("| 10 |")]
    again = run(tmp_path)
    assert before in again
    assert again.count("| enter-password |") == 1


def test_the_pages_of_the_command_exist() -> None:
    source = EXAMPLE.read_text(encoding="utf-8")
    start = source.index("PAGES = (")
    listed = [part for part in source[start : source.index('"""', start)].split('"') if "-" in part]
    assert len(listed) == len(set(listed)) >= 30
    assert set(listed) <= set(pages())
    assert MiniWoB(page=listed[0]).tools

"""A short run in a process of its own, what it may say when it fails, and what it leaves.

For the tests of faults that a user, a disk or foreign code brings in; none is made here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import agentlab
from agentlab.analysis.runs import list_runs, show_run
from agentlab.events import AttemptFinished, Event
from agentlab.records import Records, Workspace
from agentlab.types import JsonObject
from tests.faults.run_process import ROOT

SHORT: JsonObject = {
    "environment": "courier",
    "seed": 3,
    "rounds": 2,
    "attempts": 8,
    "proposals": 8,
    "tool_calls": 150,
    "heldout": 2,
    "heldout_tool_calls": 150,
    "index": "exact",
}
BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
from agentlab.cli.main import main
main()
"""
Result = subprocess.CompletedProcess[str]


def cli(
    workspace: Path, *words: str, plugins: Path | None = None, block: str | None = None
) -> Result:
    """The command in a process of its own, silent but for what goes wrong."""
    program = ["-m", "agentlab"] if block is None else ["-c", BLOCKED.format(module=block)]
    path = [str(ROOT), *([str(plugins)] if plugins else [])]
    return subprocess.run(
        [sys.executable, *program, *words, "--workspace", str(workspace), "--display", "none"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )


def practice_command(workspace: Path, **config: Any) -> list[str]:
    """`agentlab practice` with a config file."""
    file = workspace.with_name(f"{workspace.name}.toml")
    values = {**SHORT, **config}
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    command = [sys.executable, "-m", "agentlab", "practice", "--config", str(file), "--json"]
    return [*command, "--workspace", str(workspace), "--display", "none"]


def practise(workspace: Path, plugins: Path | None = None, **config: Any) -> Result:
    """Practise to the end, in a process of its own."""
    path = [str(ROOT), *([str(plugins)] if plugins else [])]
    return subprocess.run(
        practice_command(workspace, **config),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )


def refused(done: Result, code: int, *parts: str) -> str:
    """The one sentence on stderr, which says all these things; the index may add a warning."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("The index ")]
    assert len(lines) == 1, done.stderr
    line = lines[0]
    for part in parts:
        assert part in line
    return one_sentence(line)


def one_sentence(line: str) -> str:
    """At most a question of what was meant follows it."""
    quoted = re.sub(r"'[^']*'|`[^`]*`", "", line)
    rest = re.sub(r" Did you mean .*\?| See .*| Known: .*| None is registered.", "", quoted)
    assert len(re.findall(r"[.?!](?= [A-Z])", rest)) == 0, line
    assert line.startswith("Error: ")
    return line


def readable(workspace: Path) -> dict[str, Any]:
    """The only run of a workspace, as `runs list` and `runs show` tell of it."""
    (run,) = list_runs(workspace)
    detail = show_run(workspace, run.run_id)
    assert detail.attempts == run.attempts
    return detail.model_dump(mode="json")


class Expected(NamedTuple):
    """The short run without any fault."""

    content: list[Any]
    attempts: list[str]


def undisturbed(place: Path) -> Expected:
    """Make the short run without any fault."""
    seen = Seen()
    report = agentlab.practice(workspace=place, observers=[seen], **options(SHORT))
    return Expected(content(place, report.run_id), sorted(seen.attempts))


def options(config: JsonObject) -> dict[str, Any]:
    """The config as keywords."""
    return dict(config)


def content(workspace: Path, run_id: str) -> list[Any]:
    """The events of a run, but for ids, which tell of the config as well."""
    with Records.open(Workspace.open(workspace)) as records:
        told = [event.comparable() for event in records.events.all(run_id)]
    return [
        (place[:4], {k: v for k, v in place[4].items() if k != "attempt_id"})
        for place in told
        if place is not None
    ]


class Seen:
    """Keeps the ids of attempts that it was told of."""

    def __init__(self) -> None:
        self.attempts: list[str] = []

    def notify(self, event: Event) -> None:
        if isinstance(event, AttemptFinished):
            self.attempts.append(event.attempt_id)

"""A server that is killed in the middle of a call has lost nothing that it acknowledged."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from agentlab.records import Records, Workspace
from agentlab.testing.hostile_messages import request
from tests.integration.mcp_library import make_library, slow_skill, walk


class Server:
    """The command over its pipes."""

    def __init__(self, library: Path) -> None:
        root = Path(__file__).parents[2]
        words = ["-m", "agentlab", "mcp", "serve", "--environment", "courier"]
        self.process = subprocess.Popen(
            [sys.executable, *words, "--library", str(library)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=root,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root)},
        )  # fmt: skip
        self._number = 0

    def send(self, method: str, params: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self._number += 1
        self.process.stdin.write(json.dumps(request(self._number, method, params)).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdout is not None
        self.send("tools/call", {"name": name, "arguments": arguments})
        return json.loads(self.process.stdout.readline())["result"]["structuredContent"]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def planned(records: Records) -> int:
    return sum(len(records.attempts.planned(run, 0)) for run in records.runs.ids())


def wait_for(library: Path, more_than: int) -> None:
    """Wait until one call more is on record as begun."""
    late = time.monotonic() + 30
    with Records.open(Workspace.open(library)) as records:
        while planned(records) <= more_than:
            assert time.monotonic() < late
            time.sleep(0.02)


def test_kill_during_a_call(tmp_path: Path) -> None:
    library = make_library(tmp_path, "courier")
    with Records.open(Workspace.open(library)) as records:
        walk(records, slow_skill())
    server = Server(library)
    try:
        begun = server.ask("begin", {"seed": 1})
        places = [t["reference"] for t in begun["shows"]["things"] if t["type"] == "place"]
        answered = [server.ask("at", {"place": place})["call"] for place in places[:3]]
        said = server.ask("feedback", {"call": answered[0], "success": True})
        assert said["recorded"] is True
        server.send("tools/call", {"name": "slow", "arguments": {"place": places[0]}})
        wait_for(library, len(answered))
    finally:
        server.kill()
    with Records.open(Workspace.open(library)) as records:
        (run,) = records.runs.ids()
        rows = records.attempts.all(run)
        assert [f"{row.run_id}.{row.round}.{row.slot}" for row in rows] == answered
        assert all(row.success for row in rows)
        assert all(records.trajectories.outcome(row.attempt_id).trajectory for row in rows)
        # What was under way is on record as begun, and as nothing else.
        assert [spec.task.parameters["skill"] for spec in records.attempts.planned(run, 0)][
            -1
        ] == slow_skill().id
    # Another server goes on, in a run of its own, and knows the calls of the first.
    server = Server(library)
    try:
        again = server.ask("feedback", {"call": answered[0], "success": True})
        assert again["recorded"] is False
        new = server.ask("feedback", {"call": answered[1], "success": False, "comment": "no"})
        assert new["recorded"] is True
    finally:
        server.kill()

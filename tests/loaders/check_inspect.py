"""Inspect reads every log of an export and finds in it what was written: `... DIR`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def main(folder: Path) -> str:
    """What was read; raises where a log is not one, or is not what was written."""
    import inspect_ai.log as logs  # pyright: ignore[reportMissingImports]  # not in our environment

    api: Any = logs
    listed = api.list_eval_logs(str(folder))
    assert len(listed) == len(list(folder.glob("*.json"))) > 0
    samples = calls = tools = 0
    for info in listed:
        path = Path(info.name.removeprefix("file://"))
        written: Any = json.loads(path.read_text(encoding="utf-8"))
        log = api.read_eval_log(info)
        # As the viewer reads it first.
        head = api.read_eval_log(info, header_only=True)
        assert head.results == log.results and head.stats == log.stats
        assert (log.version, log.status) == (written["version"], written["status"])
        assert log.results.total_samples == len(log.samples) == len(written["samples"])
        accuracy = log.results.scores[0].metrics.get("accuracy")
        scored = [s for s in log.samples if s.scores]
        right = sum(s.scores["success"].value == "C" for s in scored)
        assert (accuracy is None) == (not scored)
        assert accuracy is None or abs(accuracy.value - right / len(scored)) < 1e-6
        assert len({(s.id, s.epoch) for s in log.samples}) == len(log.samples)
        for sample, text in zip(log.samples, written["samples"], strict=True):
            assert [m.role for m in sample.messages] == [m["role"] for m in text["messages"]]
            assert [e.event for e in sample.events] == [e["event"] for e in text["events"]]
            assert {k: u.total_tokens for k, u in sample.model_usage.items()} == {
                k: u["total_tokens"] for k, u in text["model_usage"].items()
            }
            times = [event.timestamp for event in sample.events]
            assert times == sorted(times)
            samples += 1
            calls += sum(e.event == "model" for e in sample.events)
            tools += sum(e.event == "tool" for e in sample.events)
        # What the command makes of it, and what it writes in Inspect's own binary form.
        command = Path(sys.executable).with_name("inspect")
        dumped = subprocess.run(
            [str(command), "log", "dump", str(path)], capture_output=True, text=True, check=True
        )
        assert len(json.loads(dumped.stdout)["samples"]) == len(log.samples)
        with tempfile.TemporaryDirectory() as place:
            other = Path(place) / "again.eval"
            api.write_eval_log(log, str(other))
            again = api.read_eval_log(str(other))
            assert {s.uuid for s in again.samples} == {s.uuid for s in log.samples}
    assert samples and calls and tools
    return f"{len(listed)} logs, {samples} samples, {calls} model calls, {tools} tool calls"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))

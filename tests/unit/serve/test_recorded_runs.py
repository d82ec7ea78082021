"""What is kept of attempts under way: whole, through kills, full disks and odd texts."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from agentlab.errors import RecordsError
from agentlab.records import Records, Workspace
from agentlab.serve.recorded_runs import Ending, Place, RecordedRun
from agentlab.types import ModelCall

AT = Place("shed", "0")
ODD = "one\u2028line\u0085of é"
"""Ends a line in prose thrice over, and in a file of JSON never."""


@pytest.fixture
def records(tmp_path: Path) -> Generator[Records]:
    with Records.open(Workspace.open(tmp_path / "ws")) as found:
        yield found


def opened(records: Records) -> RecordedRun:
    return RecordedRun(records, "recorded", "http://127.0.0.1:1/v1")


def call(text: str) -> ModelCall:
    return ModelCall(model="m", request={"text": text}, response={})


def kept(records: Records) -> Path:
    folder = records.workspace.run_directory("recorded") / "recording"
    (found,) = folder.glob("*.jsonl")
    return found


def said(records: Records, run: RecordedRun) -> list[object]:
    """What the attempt's calls asked, once it has ended."""
    run.end(AT, Ending(reward=1.0))
    trajectory = next(records.trajectories.exportable("recorded")).outcome.trajectory
    assert trajectory is not None
    return [each.request["text"] for each in trajectory.model_calls]


def test_texts_that_end_lines_in_prose_are_kept(records: Records) -> None:
    opened(records).add(AT, call(ODD))
    assert said(records, opened(records)) == [ODD]


@pytest.mark.parametrize("left", [1, -6])
def test_what_a_kill_cut_short_takes_no_later_call_with_it(records: Records, left: int) -> None:
    first = opened(records)
    first.add(AT, call("first"))
    whole = kept(records).read_bytes()
    first.add(AT, call(ODD))
    second = kept(records).read_bytes()[len(whole) :]
    # Also in the middle of a letter of two bytes.
    cut = second.index("é".encode()) + 1 if left == -6 else left
    kept(records).write_bytes(whole + second[:cut])
    opened(records).add(AT, call("third"))
    assert said(records, opened(records)) == ["first", "third"]


def test_a_disk_that_is_full_keeps_whole_lines(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, write, room = opened(records), os.write, [40]
    run.add(AT, call("first"))

    def full(handle: int, data: bytes) -> int:
        part = data[: room[0]]
        if not part:
            raise OSError(28, "No space left on device")
        room[0] -= len(part)
        return write(handle, part)

    monkeypatch.setattr("agentlab.serve.recorded_runs.os.write", full)
    with pytest.raises(RecordsError, match="No space left"):
        run.add(AT, call("second"))
    monkeypatch.undo()
    run.add(AT, call("third"))
    assert said(records, opened(records)) == ["first", "third"]


def test_a_damaged_line_is_told_and_not_left_out(records: Records) -> None:
    run = opened(records)
    for text in ("first", "second"):
        run.add(AT, call(text))
    path = kept(records)
    path.write_bytes(path.read_bytes().replace(b'"kind"', b'"king"', 1))
    with pytest.raises(RecordsError, match="is damaged"):
        opened(records)


def test_keys_are_taken_out_of_how_an_attempt_ended(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-0123456789abcdef"
    monkeypatch.setenv("SOME_API_KEY", key)
    told = Ending(reward=1.0, answer=f"It is {key}.", explanation=key, template=key)
    opened(records).end(AT, told)
    outcome = next(records.trajectories.exportable("recorded")).outcome
    assert outcome.trajectory is not None and outcome.trajectory.answer == "It is [key]."
    assert key not in outcome.model_dump_json()
    assert [task.template for task in records.tasks.all("recorded")] == ["[key]"]

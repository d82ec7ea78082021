"""The log for machines: stable keys, one object a line whatever is in it, bounded, no secrets."""

from __future__ import annotations

import io
import json
import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import UsageError
from agentlab.events import (
    AttemptFinished,
    BudgetChanged,
    RoundFinished,
    RunFinished,
    RunPaused,
    RunStarted,
    TaskRejected,
)
from agentlab.telemetry import JsonLog
from agentlab.telemetry.logs import KEPT, LONGEST
from agentlab.types import JsonObject

KEYS = ["time", "level", "kind", "run", "round", "slot", "data"]


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_events_and_warnings_are_lines_with_stable_keys() -> None:
    stream = io.StringIO()
    with JsonLog(stream) as log:
        log.notify(RunStarted(run_id="r", environment="courier", model="search"))
        log.notify(AttemptFinished(run_id="r", round=1, slot=3, attempt_id="a", success=True))
        logging.getLogger("agentlab.graph.x").warning("The index is %s.", "rebuilt")
        try:
            raise OSError("no room")
        except OSError:
            logging.getLogger("elsewhere").exception("It broke.")
        logging.getLogger("agentlab").info("not told")
        log.notify(RunPaused(run_id="r", reason="the endpoint is down"))
        log.notify(RunFinished(run_id="r", status="failed", reason="x"))
    logging.getLogger("agentlab").warning("nobody listens any more")
    found = lines_of(stream.getvalue())
    assert all(list(line) == KEYS for line in found)
    assert [(line["kind"], line["level"]) for line in found] == [
        ("RunStarted", "info"),
        ("AttemptFinished", "info"),
        ("log", "warning"),
        ("log", "error"),
        ("RunPaused", "warning"),
        ("RunFinished", "error"),
    ]
    attempt, warned, broke = found[1], found[2], found[3]
    assert (attempt["run"], attempt["round"], attempt["slot"]) == ("r", 1, 3)
    assert attempt["data"]["success"] is True and attempt["data"]["attempt_id"] == "a"
    assert (warned["run"], warned["round"], warned["slot"]) == ("r", 1, None)
    assert warned["data"] == {"logger": "agentlab.graph.x", "message": "The index is rebuilt."}
    assert broke["data"]["error"] == "OSError"


@given(st.text(), st.text())
def test_no_text_makes_a_line_of_its_own(instruction: str, reason: str) -> None:
    stream = io.StringIO()
    with JsonLog(stream) as log:
        log.notify(TaskRejected(run_id="r", instruction=instruction, reason=reason))
    written = stream.getvalue()
    assert written.isascii() and written.count("\n") == 1 and written.endswith("\n")
    (line,) = lines_of(written)
    assert line["data"]["reason"][: LONGEST - 1] == reason[: LONGEST - 1]


def test_values_are_bounded_and_secrets_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-0123456789abcdef")
    stream = io.StringIO()
    with JsonLog(stream) as log:
        log.notify(TaskRejected(run_id="r", instruction="x" * 10_000, reason="sk-0123456789abcdef"))
        budgets = {f"budget.{n}": math.inf for n in range(500)}
        log.notify(BudgetChanged(run_id="r", budgets=budgets))
        logging.getLogger("x").warning("with sk-0123456789abcdef in it")
    rejected, changed, warned = lines_of(stream.getvalue())
    assert len(rejected["data"]["instruction"]) == LONGEST
    assert rejected["data"]["reason"] == "[key]"
    assert len(changed["data"]["budgets"]) == 50
    assert warned["data"]["message"] == "with [key] in it"


def test_a_file_is_turned_over_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with JsonLog(path, largest=1000) as log:
        for number in range(60):
            log.notify(RoundFinished(run_id="r", round=number))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [
        "run.jsonl",
        *(f"run.jsonl.{n + 1}" for n in range(KEPT)),
    ]
    assert all(file.stat().st_size <= 1000 for file in files)
    rounds = [
        line["round"]
        for file in [*reversed(files[1:]), path]
        for line in lines_of(file.read_text())
    ]
    assert rounds == list(range(rounds[0], 60))  # none is lost between them
    with JsonLog(path) as log:  # another process appends
        log.notify(RoundFinished(run_id="r", round=60))
    assert lines_of(path.read_text())[-1]["round"] == 60
    with pytest.raises(UsageError, match="cannot be written"):
        JsonLog(tmp_path / "nowhere" / "run.jsonl")


def test_lines_of_several_threads_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with JsonLog(path) as log:

        def write(slot: int) -> None:
            for number in range(50):
                log.notify(AttemptFinished(run_id="r", round=number, slot=slot))

        threads = [threading.Thread(target=write, args=(slot,)) for slot in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(lines_of(path.read_text())) == 200


@dataclass(frozen=True, kw_only=True)
class Interrupted(AttemptFinished):
    """An attempt in the midst of whose line something else happens, as other threads have it."""

    meanwhile: Callable[[], None]

    def payload(self) -> JsonObject:
        self.meanwhile()
        return {"attempt_id": self.attempt_id}


def test_a_line_names_its_own_run_whatever_another_thread_tells_meanwhile() -> None:
    stream = io.StringIO()
    with JsonLog(stream) as log:

        def other() -> None:
            told = AttemptFinished(run_id="other", round=7, attempt_id="b")
            thread = threading.Thread(target=log.notify, args=(told,))
            thread.start()
            thread.join()

        log.notify(Interrupted(run_id="r", round=1, attempt_id="a", meanwhile=other))
        logging.getLogger("agentlab").warning("of the one that was last told of")
        log.notify(RunStarted(run_id="new"))
        logging.getLogger("agentlab").warning("before its first round")
    found = [(line["kind"], line["run"], line["round"]) for line in lines_of(stream.getvalue())]
    assert found == [
        ("AttemptFinished", "other", 7),
        ("Interrupted", "r", 1),
        ("log", "other", 7),
        ("RunStarted", "new", 0),
        ("log", "new", None),
    ]

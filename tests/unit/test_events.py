"""Events: from the stream and back, and what of them two runs compare."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from agentlab.events import (
    EVENTS,
    ROUND_SLOT,
    AttemptFinished,
    AttemptsPlanned,
    Event,
    RunStarted,
    SkillMoved,
    rebuild,
)

VALUES: dict[str, Any] = {
    "str": "a word",
    "int": 7,
    "float": 1.25,
    "bool": True,
    "bool | None": False,
    "Mapping[str, int]": {"easy: open": 2},
    "Mapping[str, float]": {"budget.usd": 2.5},
    "tuple[str, ...]": ("skill-1", "skill-2"),
}


def _filled(cls: type[Event]) -> Event:
    """An event in which no field has its default."""
    values = {field.name: VALUES[str(field.type)] for field in fields(cls)}
    return cls(**values)


@pytest.mark.parametrize("cls", EVENTS.values(), ids=EVENTS)
def test_back_from_the_stream(cls: type[Event]) -> None:
    for event in (_filled(cls), cls(run_id="run-1")):
        text = json.dumps(event.payload(), allow_nan=False)
        again = rebuild(
            event.kind, event.run_id, event.round, event.slot, event.sequence, json.loads(text)
        )
        assert again == event
        assert type(again) is cls
        assert again.comparable() == event.comparable()


@pytest.mark.parametrize("cls", EVENTS.values(), ids=EVENTS)
def test_kind_and_payload(cls: type[Event]) -> None:
    event = _filled(cls)
    assert EVENTS[event.kind] is cls
    assert not {"run_id", "round", "slot", "sequence"} & set(event.payload())
    with pytest.raises(FrozenInstanceError):
        event.round = 3  # type: ignore[misc]


def test_lifecycle_events_are_not_compared() -> None:
    lifecycle = {name for name, cls in EVENTS.items() if cls.lifecycle}
    assert lifecycle == {
        *("RunStarted", "RunFinished", "RunPaused", "BudgetChanged", "RepliesDropped", "Progress"),
        "TrainingStepped",
    }
    assert RunStarted(run_id="run-1").comparable() is None


def test_times_and_runs_are_not_compared() -> None:
    event = AttemptFinished(run_id="run-1", round=2, slot=3, success=True, seconds=1.0)
    assert replace(event, seconds=9.0).comparable() == event.comparable()
    assert replace(event, run_id="run-2").comparable() == event.comparable()
    for change in ({"success": False}, {"slot": 4}, {"round": 1}, {"skills_used": ("s",)}):
        assert replace(event, **change).comparable() != event.comparable()


def test_kinds_of_one_place_differ() -> None:
    planned = AttemptsPlanned(run_id="run-1")
    moved = SkillMoved(run_id="run-1")
    assert planned.slot == ROUND_SLOT
    assert planned.comparable() != moved.comparable()

"""Wrappers around search: what asks a model stays with the models, search goes to workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.graph import seats
from agentlab.records import Records, Workspace
from agentlab.testing.model_server import ModelServer, ServerProcess, server_process
from agentlab.testing.rules.roles import courier_rules, wanted_schema
from agentlab.types import AttemptOutcome, ChatRequest, Message
from agentlab.types.report import PracticeReport

SMALL: dict[str, Any] = {
    "environment": "courier",
    "proposer": "grammar",
    "curator": "generalise",
    "insights": "none",
    "evaluator": "verifier",
    "rounds": 3,
    "attempts": 12,
    "proposals": 12,
    "tool_calls": 60,
    "heldout": 0,
    "index": "exact",
    "admission.trial_tool_calls": 60,
    "seed": 3,
}


@pytest.fixture(scope="module")
def served() -> Iterator[ServerProcess]:
    with server_process("courier") as server:
        yield server


def practise(place: Path, **options: Any) -> tuple[PracticeReport, list[AttemptOutcome]]:
    given: dict[str, Any] = {**SMALL, **options}
    report = agentlab.practice(workspace=place, **given)
    with Records.open(Workspace.open(place)) as records:
        rows = records.attempts.all(report.run_id)
        outcomes = records.trajectories.outcomes([row.attempt_id for row in rows])
    assert report.status == "finished"
    assert outcomes
    assert {outcome.status for outcome in outcomes} == {"completed"}, [o.error for o in outcomes]
    return report, outcomes


def asked(outcomes: list[AttemptOutcome]) -> set[str]:
    """The prompts with which the attempts asked a model."""
    return {
        str(prompt["name"])
        for outcome in outcomes
        if outcome.trajectory is not None
        for call in outcome.trajectory.model_calls
        if isinstance(prompt := call.request.get("prompt"), dict)
    }


def drop_skills(request: ChatRequest) -> Message:
    """Blames the skills for each failure; plays every other role as the courier's rules do."""
    properties = (wanted_schema(request) or {}).get("properties")
    if isinstance(properties, dict) and set(properties) == {"lesson", "skills"}:
        return Message(role="assistant", text='{"lesson": "Do without it.", "skills": []}')
    return courier_rules(request)


def test_reflection_around_search(tmp_path: Path) -> None:
    with ModelServer(drop_skills) as server:
        report, outcomes = practise(
            tmp_path,
            model="openai:courier",
            executor="reflect:search",
            **{"endpoint.base_url": server.base_url},
        )
    assert any(outcome.success for outcome in outcomes)
    assert asked(outcomes) == {"executors/reflect"}
    assert report.usage.tokens > 0
    # Whoever was told of a failure is assisted; here search was told to do without its skills.
    again = [outcome for outcome in outcomes if outcome.assisted]
    assert again
    assert all(o.trajectory and o.trajectory.model_calls for o in again)
    assert not any(outcome.skills_used for outcome in again)
    assert all(outcome.usage.tool_calls <= 60 for outcome in outcomes)


def test_reflection_around_selection_around_search(tmp_path: Path, served: ServerProcess) -> None:
    _, outcomes = practise(
        tmp_path,
        model="openai:courier",
        executor="reflect:selective:search",
        executor_options={"inner": {"way": "votes", "samples": 2}},
        **{"endpoint.base_url": served.base_url},
    )
    assert "executors/selective" in asked(outcomes)


def test_selection_around_search_without_a_model(tmp_path: Path) -> None:
    for way in ("rate", "try"):
        _, outcomes = practise(
            tmp_path / way, executor="selective:search", executor_options={"way": way}
        )
        assert any(outcome.success for outcome in outcomes)
        assert not asked(outcomes)


def test_the_same_events_whatever_the_concurrency(
    tmp_path: Path, served: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[list[Any]] = []
    for at_a_time in (1, 8):
        place = tmp_path / str(at_a_time)
        monkeypatch.setattr(seats, "AT_A_TIME", at_a_time)
        report, _ = practise(
            place,
            model="openai:courier",
            executor="reflect:search",
            rounds=2,
            **{"endpoint.base_url": served.base_url},
        )
        with Records.open(Workspace.open(place)) as records:
            found.append([event.comparable() for event in records.events.all(report.run_id)])
    assert len(found[0]) > 20
    assert found[0] == found[1]

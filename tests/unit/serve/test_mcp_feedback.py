"""Feedback over MCP is what it is everywhere: a score, in its scope, that a verifier outranks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentlab.records import Records
from agentlab.sandbox import settle_box
from agentlab.serve.mcp.answers import FeedbackAnswer
from agentlab.serve.mcp.call_records import CallRecords, call_name
from agentlab.serve.mcp.caller import Caller, Told
from agentlab.serve.mcp.episode import Done
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.serve.mcp.offerings import Offerings
from agentlab.serve.mcp.tokens import Principal
from agentlab.types import AttemptSpec, EnvironmentRef, Scope, Trajectory, Usage
from tests.integration.mcp_library import pack_skills
from tests.unit.records.samples import a_task, an_outcome, opened

REF = EnvironmentRef(name="courier")
ACME = Principal(name="token-1", scope=Scope(tenant="acme"))
OTHER = Principal(name="token-2", scope=Scope(tenant="other"))


def called(records: Records, *, effect: bool | None) -> AttemptSpec:
    """A call of the first tenant's, whose effect check said that."""
    calls = CallRecords(records, ACME, REF, settle_box("auto"), ServeLimits())
    calls.begin()
    task = a_task(0)
    spec = calls.plan(task, pack_skills("courier")[0], (), {})
    trajectory = cast("Trajectory", an_outcome(spec).trajectory)
    calls.record(spec, Done(trajectory, Usage(attempts=1), None, completed=True, effect=effect))
    return spec


def say(records: Records, who: Principal, spec: AttemptSpec, *, success: bool) -> Told:
    """What a caller is told of its feedback."""
    listing = SimpleNamespace(tools={"feedback": "a tool"}, withheld={})
    offerings: Any = SimpleNamespace(refresh=lambda: False, listing=listing, still=bool)
    caller = Caller(
        who,
        records,
        REF,
        settle_box("auto"),
        cast("Offerings", offerings),
        ServeLimits(),
        lambda: None,
    )
    said = {"call": call_name(spec), "success": success, "comment": "so"}
    return asyncio.run(caller.call("feedback", said))


def test_it_is_the_score_where_no_effect_check_decided_and_once(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        spec = called(records, effect=None)
        for recorded in (True, False):
            answer = say(records, ACME, spec, success=False).answer
            assert answer == FeedbackAnswer(
                call=call_name(spec), recorded=recorded, success=False, by="human"
            )
        score = records.trajectories.outcome(spec.id).score
        assert (score.success, score.source, score.explanation) == (False, "human", "so")
        assert [row.success for row in records.attempts.all(spec.run_id)] == [False]
        assert len(records.feedback.of(spec.id)) == 1


@pytest.mark.parametrize("effect", [True, False])
def test_an_effect_check_outranks_it_and_it_is_kept(tmp_path: Path, effect: bool) -> None:
    with opened(tmp_path) as records:
        spec = called(records, effect=effect)
        answer = say(records, ACME, spec, success=not effect).answer
        assert answer == FeedbackAnswer(
            call=call_name(spec), recorded=True, success=effect, by="verifier"
        )
        assert [row.success for row in records.feedback.of(spec.id)] == [not effect]


def test_of_anothers_call_nothing_is_said(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        spec = called(records, effect=None)
        assert say(records, OTHER, spec, success=True).failed
        assert records.feedback.of(spec.id) == []
        assert records.trajectories.outcome(spec.id).success is None

"""Policies registered, pinned to, and taken back where later practice went worse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlab.config import parse_config
from agentlab.errors import UnknownNameError, UsageError
from agentlab.graph.policies import pinned, route_of, routed
from agentlab.graph.registering import roll_back, roll_back_after, roll_back_if_worse
from agentlab.records import Records, Workspace
from agentlab.records.leases import drained
from agentlab.records.policies import Policy, PolicyVersion
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    EnvironmentRef,
    Score,
    Task,
    attempt_id,
    task_id,
)

LAB = Policy("lab", "base", "/models/tiny", "a" * 64, "http://127.0.0.1:8000/v1")
ONE, TWO = "lab-v0001-11111111", "lab-v0002-22222222"


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with Records.open(Workspace.open(tmp_path)) as opened:
        opened.policies.register(LAB)
        for name in (ONE, TWO):
            opened.policies.add_version(PolicyVersion(name, "lab", "/x", name[-8:] * 8, {}))
        yield opened


def practised(records: Records, version: str, template: str, successes: int, n: int) -> None:
    """A run that asked a version, with attempts at one template."""
    run_id = f"run-{len(records.runs.ids())}"
    config = {"environment": "courier", "model": f"policy:lab@{version}"}
    records.runs.create(run_id, config=dict(config), versions={}, seed=0)
    for slot in range(n):
        instruction = f"{run_id} {slot}"
        task = Task(
            id=task_id("courier", instruction, {}, slot),
            environment="courier",
            instruction=instruction,
            setup={},
            seed=slot,
            template=template,
        )
        spec = AttemptSpec(
            id=attempt_id(run_id, 0, slot),
            run_id=run_id,
            round=0,
            slot=slot,
            task=task,
            group_id="g",
            seed=slot,
            environment=EnvironmentRef(name="courier"),
            executor="react",
        )
        score = Score(value=1.0, success=slot < successes, source="verifier")
        records.attempts.plan(run_id, 0, [spec])
        records.attempts.record(spec, AttemptOutcome(attempt_id=spec.id, score=score))


def promote(records: Records, adapter: str) -> None:
    """Let a version serve."""
    records.policies.move("lab", "promotion", adapter, reason="won", evidence={})


def test_a_version_that_does_worse_later_is_taken_back(records: Records) -> None:
    promote(records, ONE)
    practised(records, "base", "hall: at", 36, 40)
    practised(records, ONE, "hall: at", 8, 40)
    found = roll_back_if_worse(records, "lab")
    assert found.moved
    assert (found.before, found.after) == (ONE, "base")
    assert found.difference is not None
    assert found.difference.value == pytest.approx(-0.7)
    assert found.difference.interval.high < 0
    move = records.policies.moves("lab")[-1]
    assert move.kind == "rollback"
    # 1 - 0.01 * 6 / pi^2 at the first look.
    assert "99.39 % interval" in move.reason
    assert move.evidence["n"] == 80
    # Once: what was taken back is not compared again.
    assert not roll_back_if_worse(records, "lab").moved


def test_who_looks_after_each_run_is_harder_to_convince_each_time(records: Records) -> None:
    promote(records, ONE)
    practised(records, "base", "hall: at", 40, 80)
    for _ in range(8):
        practised(records, ONE, "hall: at", 3, 10)
    # -0.2 of 160: at 99 % alone it would lie below zero.
    found = roll_back_if_worse(records, "lab")
    assert not found.moved
    assert found.difference is not None
    assert "99.99 % interval" in found.sentence
    assert found.difference.interval.high > 0 > found.difference.value


def test_a_run_looks_at_its_end_and_says_what_it_took_back(records: Records) -> None:
    promote(records, ONE)
    practised(records, "base", "hall: at", 36, 40)
    practised(records, ONE, "hall: at", 8, 40)
    plain = parse_config({"environment": "courier", "model": "search"})
    asked = parse_config({"environment": "courier", "model": "policy:lab"})
    assert roll_back_after(records, plain, "run-1") == ""
    assert f"{ONE} was taken back" in roll_back_after(records, pinned(records, asked), "run-1")
    assert records.policies.moves("lab")[-1].evidence["run"] == "run-1"
    assert roll_back_after(records, pinned(records, asked), "run-1") == ""


def test_what_no_server_holds_after_it_was_taken_back_is_told(records: Records) -> None:
    promote(records, ONE)
    promote(records, TWO)
    practised(records, ONE, "hall: at", 36, 40)
    practised(records, TWO, "hall: at", 8, 40)
    asked = parse_config({"environment": "courier", "model": "policy:lab"})
    told = roll_back_after(records, pinned(records, asked), "run-1")
    assert f"{TWO} was taken back" in told and f"{ONE} is not loaded there: " in told
    assert records.policies.current("lab") == ONE


def test_harder_tasks_take_nothing_back(records: Records) -> None:
    promote(records, ONE)
    practised(records, "base", "hall: at", 72, 90)
    practised(records, "base", "yard: at", 2, 30)
    practised(records, ONE, "hall: at", 27, 33)
    practised(records, ONE, "yard: at", 9, 90)
    found = roll_back_if_worse(records, "lab")
    assert not found.moved
    assert "does not show that it is worse" in found.sentence
    assert records.policies.current("lab") == ONE


def test_little_practice_takes_nothing_back(records: Records) -> None:
    promote(records, ONE)
    practised(records, "base", "hall: at", 20, 20)
    practised(records, ONE, "hall: at", 0, 20)
    found = roll_back_if_worse(records, "lab")
    assert not found.moved
    assert "30 each are needed" in found.sentence


def test_one_command_takes_back_one_version_after_another(records: Records) -> None:
    promote(records, ONE)
    promote(records, TWO)
    assert roll_back(records, "lab").after == ONE
    assert roll_back(records, "lab", reason="a complaint").after == "base"
    with pytest.raises(UsageError, match="nothing to take back"):
        roll_back(records, "lab")
    assert roll_back(records, "lab", to=TWO).after == TWO
    with pytest.raises(UsageError, match="never served"):
        roll_back(records, "lab", to="lab-v0009-99999999")
    with pytest.raises(UnknownNameError):
        roll_back(records, "lap")


def test_a_run_is_pinned_to_what_serves_when_it_begins(records: Records) -> None:
    config = parse_config({"environment": "courier", "model": "policy:lab"})
    first = pinned(records, config)
    assert first.model == "policy:lab@base"
    promote(records, ONE)
    assert pinned(records, first).model == "policy:lab@base"
    second = pinned(records, config)
    assert second.model == f"policy:lab@{ONE}"
    with routed(records, second) as routes:
        (route,) = routes.values()
        assert (route.model, route.adapter, route.salt) == (ONE, ONE, ONE)
        with drained(records.workspace, ONE, seconds=0) as free:
            assert not free
    with drained(records.workspace, ONE, seconds=0) as free:
        assert free
    assert route_of(records, "lab@base").adapter is None


def test_other_roles_are_pinned_as_well(records: Records) -> None:
    promote(records, ONE)
    roles = {"curator": {"model": "policy:lab"}}
    config = parse_config({"environment": "courier", "model": "search", "roles": roles})
    assert pinned(records, config).roles.curator.model == f"policy:lab@{ONE}"
    assert pinned(records, config).model == "search"


def test_a_policy_that_nobody_knows_or_serves_is_refused_before_anything_is_written(
    records: Records,
) -> None:
    with pytest.raises(UnknownNameError, match="policy"):
        pinned(records, parse_config({"environment": "courier", "model": "policy:lap"}))
    with pytest.raises(UnknownNameError, match="version of a policy"):
        pinned(records, parse_config({"environment": "courier", "model": "policy:lab@no-1"}))
    records.policies.register(LAB._replace(name="other"))
    with pytest.raises(UsageError, match=f"write 'policy:lab@{ONE}'"):
        pinned(records, parse_config({"environment": "courier", "model": f"policy:other@{ONE}"}))
    with pytest.raises(UsageError, match="is a version of the policy 'lab'"):
        route_of(records, f"other@{ONE}")
    records.policies.register(LAB._replace(base_url=""))
    with pytest.raises(UsageError, match="agentlab serving register lab"):
        route_of(records, "lab")

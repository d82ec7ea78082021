"""The check suite passes on what ships, and each check fails where its promise is broken."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from typing import ClassVar, cast

import pytest

from agentlab.environments import pacing
from agentlab.environments.checker import CHECKS, check_environment
from agentlab.environments.registration import make_environment
from agentlab.envs.courier.environment import Courier
from agentlab.errors import ConfigError, InvalidTaskError
from agentlab.protocols import EnvironmentFactory, HasTasks
from agentlab.types import EnvironmentRef, Mission, Split, StepResult, Task, ToolCall
from tests.conformance.broken_couriers import BROKEN, Bare


def courier_tasks() -> Sequence[Task]:
    """Few, of every kind: both setups, one to four clauses, and one that is met in passing."""
    courier = Courier()
    mission = courier.grammar().parse("Go to the mill, then go to the yard.")
    return [
        composed(courier, mission),
        *courier.tasks("practice", 3, 4),
        *courier.tasks("heldout", 2, 3),
    ]


def composed(courier: Courier, mission: Mission) -> Task:
    """The mission in the first world that it fits."""
    for seed in range(1000):
        try:
            return courier.grammar().compose(mission, "open", seed)
        except InvalidTaskError:
            continue
    raise AssertionError("no world fits")


def fails(factory: EnvironmentFactory, check: str) -> str | None:
    """Run one check as the suite does; the sentence where it fails."""
    try:
        asyncio.run(_run(factory, check))
    except AssertionError as error:
        return str(error)
    except (RuntimeError, OSError, KeyError) as error:
        return repr(error)
    return None


async def _run(factory: EnvironmentFactory, check: str) -> None:
    assert await CHECKS[check](factory, courier_tasks()) > 0, "no case"


def test_courier_passes_every_check() -> None:
    report = asyncio.run(check_environment(Courier, tasks=courier_tasks()))
    assert report.passed, report.failures
    assert report.subject == "Courier"
    assert [line.name for line in report.lines] == list(CHECKS)
    assert not any(line.skipped for line in report.lines)
    assert all(line.n > 0 for line in report.lines)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_noticed_by_its_check(name: str) -> None:
    factory, check = BROKEN[name]
    assert fails(factory, check) is not None
    assert fails(Courier, check) is None


def test_the_report_has_a_line_for_every_check_even_where_reset_raises() -> None:
    factory, _ = BROKEN["raises in reset"]
    report = asyncio.run(check_environment(factory, tasks=courier_tasks()))
    assert not report.passed
    assert [line.name for line in report.lines] == list(CHECKS)
    assert "no courier today" in report.line("determinism").detail
    assert report.line("splits_disjoint").passed
    with pytest.raises(KeyError):
        report.line("nothing")


def test_what_is_not_offered_is_skipped() -> None:
    report = asyncio.run(check_environment(Bare, tasks=courier_tasks()))
    skipped = {line.name for line in report.lines if line.skipped}
    assert skipped >= {"snapshots", "snapshot_keys", "oracle_solves", "splits_disjoint"}
    assert report.passed, report.failures


def test_too_few_tasks_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="at least two tasks"):
        asyncio.run(check_environment(Courier, tasks=courier_tasks()[:1]))


class Slow(Courier):
    """A courier whose clock, the tests', goes on by a second a step."""

    seconds: ClassVar[float] = 0.0

    async def step(self, call: ToolCall) -> StepResult:
        """A second later."""
        type(self).seconds += 1
        return await super().step(call)


def test_slow_steps_leave_out_cases_and_the_lines_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slow, "seconds", 0.0)
    monkeypatch.setattr(pacing, "clock", lambda: Slow.seconds)
    report = asyncio.run(check_environment(Slow, tasks=courier_tasks(), seconds=60))
    assert report.passed, report.failures
    cut = {line.name for line in report.lines if "left out after 60 s" in line.detail}
    assert cut >= {"contract", "determinism", "snapshots", "snapshot_keys"}
    assert "splits_disjoint" not in cut
    # Of each task 20 pairs of snapshots are compared where there is time, and thousands of steps
    # are made over it.
    assert 0 < report.line("snapshot_keys").n < 20
    assert Slow.seconds < 5_000


@pytest.mark.parametrize("name", ["snapshot forgets the verifier", "key is never equal"])
def test_a_broken_promise_is_noticed_in_little_time(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slow, "seconds", 0.0)
    monkeypatch.setattr(pacing, "clock", lambda: Slow.seconds)
    factory, check = BROKEN[name]
    assert isinstance(factory, type)
    slow = cast("EnvironmentFactory", type("SlowToo", (Slow, factory), {}))
    report = asyncio.run(check_environment(slow, tasks=courier_tasks(), seconds=60))
    assert check in {line.name for line in report.failures}


def test_no_time_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="more than 0 seconds"):
        asyncio.run(check_environment(Courier, tasks=courier_tasks(), seconds=0))


@pytest.mark.skipif(importlib.util.find_spec("minigrid") is None, reason="needs the extra 'babyai'")
def test_babyai_passes_every_check() -> None:
    ref = EnvironmentRef(name="babyai")
    environment = make_environment(ref)
    assert isinstance(environment, HasTasks)
    splits: tuple[Split, ...] = ("practice", "dev", "heldout")
    tasks = [task for split in splits for task in environment.tasks(split, 2, 1)]
    report = asyncio.run(check_environment(lambda: make_environment(ref), tasks=tasks))
    assert report.passed, report.failures

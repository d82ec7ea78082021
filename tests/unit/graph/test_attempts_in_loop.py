"""Attempts whose executor only waits: run in the event loop, with the same promises."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentlab import registry
from agentlab.envs.courier.environment import Courier
from agentlab.errors import UsageError
from agentlab.events import Event, Progress
from agentlab.graph.attempts import finished_event, run_attempt
from agentlab.graph.watching import Watchers
from agentlab.graph.workers import WorkerPool
from agentlab.types import AttemptOutcome, AttemptSpec, EnvironmentRef, Limits


@pytest.fixture(autouse=True)
def executors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Waiting", "Faulty", "Misused", "Hanging"):
        target = f"tests.unit.graph.waiting:{name}"
        monkeypatch.setitem(registry.BUILT_IN, f"executor/{name.lower()}", target)


def _spec(executor: str, *, seconds: float = 20.0) -> AttemptSpec:
    return AttemptSpec(
        id="attempt-1",
        run_id="run-1",
        round=1,
        slot=2,
        task=Courier().tasks("practice", 1, 1)[0],
        group_id="group-1",
        seed=1,
        environment=EnvironmentRef(name="courier"),
        executor=executor,
        limits=Limits(seconds=seconds),
    )


def _run(executor: str, *, seconds: float = 20.0) -> AttemptOutcome:
    async def main() -> AttemptOutcome:
        pool = WorkerPool(1)
        try:
            spec = _spec(executor, seconds=seconds)
            return await run_attempt(spec, evaluator="verifier", pool=pool)
        finally:
            pool.close()

    return asyncio.run(main())


def test_an_attempt_that_waits() -> None:
    outcome = _run("waiting")
    assert outcome.success is False
    event = finished_event(_spec("waiting"), outcome)
    assert (event.round, event.slot, event.success) == (1, 2, False)
    assert event.status == "completed"


def test_a_fault_is_this_attempts_alone() -> None:
    outcome = _run("faulty")
    assert outcome.status == "infrastructure_failure"
    assert outcome.error == "The skill code broke."
    assert outcome.success is None


def test_a_misconfigured_run_is_an_exception() -> None:
    with pytest.raises(UsageError, match="The option 'x' is wrong"):
        _run("misused")


def test_an_attempt_that_hangs() -> None:
    outcome = _run("hanging", seconds=0.2)
    assert outcome.status == "infrastructure_failure"
    assert outcome.error is not None
    assert "did not end" in outcome.error


def test_an_observer_that_raises_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    class Log:
        def __init__(self, *, broken: bool = False) -> None:
            self.broken = broken
            self.told = 0

        def notify(self, event: Event) -> None:
            self.told += 1
            if self.broken:
                raise ValueError("not today")

    good, bad = Log(), Log(broken=True)
    watchers = Watchers((bad, good))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            watchers.notify(Progress(run_id="run-1"))
    assert (good.told, bad.told) == (3, 1)
    assert "dropped" in caplog.text


def test_an_observer_that_fails_in_two_threads_at_once_is_dropped_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    both = threading.Barrier(2)

    class Fails:
        def notify(self, event: Event) -> None:
            both.wait(10)
            raise ValueError("not today")

    watchers = Watchers((Fails(),))
    with caplog.at_level(logging.ERROR), ThreadPoolExecutor(2) as threads:
        told = [threads.submit(watchers.notify, Progress(run_id="run-1")) for _ in range(2)]
        assert [each.result() for each in told] == [None, None]
    assert len(caplog.records) == 1

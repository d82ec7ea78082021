"""Proposers that never come back, or break, cost a sentence and no more than their time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from functools import partial
from typing import cast

import pytest

from agentlab.environments.registration import make_environment
from agentlab.errors import EnvironmentFaultError, UsageError
from agentlab.graph.proposing import proposals
from agentlab.graph.workers import WorkerPool
from agentlab.proposers.grammar import GrammarProposer
from agentlab.protocols import ProposalContext, Proposer
from agentlab.types import EnvironmentRef, SplitRule, Task

COURIER = EnvironmentRef(name="courier")


def context(ref: EnvironmentRef = COURIER) -> ProposalContext:
    return ProposalContext(
        environment=partial(make_environment, ref),
        split_rule=SplitRule(),
        count=5,
        seed=3,
        round=0,
        templates=[],
        recent=[],
    )


def proposed(proposer: Proposer, *, seconds: float = 30.0, ref: EnvironmentRef = COURIER) -> object:
    async def main() -> tuple[Sequence[Task], object]:
        pool = WorkerPool(1)
        try:
            return await proposals(
                proposer, context(), name="mine", environment=ref, pool=pool, seconds=seconds
            ), await pool.run(os.getpid, seconds=30)
        finally:
            pool.close()

    tasks, _ = asyncio.run(main())
    return tasks


class Blocks:
    """Never returns and never waits."""

    def __init__(self, *, cpu_bound: bool = True) -> None:
        self.cpu_bound = cpu_bound

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        while self.cpu_bound:
            time.sleep(1)  # noqa: ASYNC251 - foreign code that blocks is what this stands for
        await asyncio.Event().wait()
        return []


class Raises:
    """Fails as it is told to."""

    cpu_bound = True

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        raise self.error


class Impatient:
    """Has a time limit of its own."""

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        raise TimeoutError("the model is slow")


def test_a_worker_proposes_what_this_process_would() -> None:
    assert GrammarProposer.cpu_bound
    expected = asyncio.run(GrammarProposer().propose(context()))
    assert len(expected) == 5
    assert proposed(GrammarProposer()) == expected


@pytest.mark.parametrize("cpu_bound", [True, False])
def test_one_that_never_returns_is_given_up(cpu_bound: bool) -> None:
    with pytest.raises(EnvironmentFaultError, match="it did not end within 1 s"):
        proposed(Blocks(cpu_bound=cpu_bound), seconds=1.0)


def test_one_that_breaks_in_its_worker() -> None:
    with pytest.raises(EnvironmentFaultError, match="ZeroDivisionError: no tasks"):
        proposed(Raises(ZeroDivisionError("no tasks")))
    with pytest.raises(EnvironmentFaultError, match=r"called sys.exit\(4\)"):
        proposed(Raises(SystemExit(4)))
    with pytest.raises(UsageError, match="choose another"):
        proposed(Raises(UsageError("choose another")))


def test_a_time_limit_of_its_own_is_not_taken_for_ours() -> None:
    with pytest.raises(EnvironmentFaultError, match=r"TimeoutError: the model is slow \(test_prop"):
        proposed(Impatient())


class Answers:
    """Gives what it is told to."""

    def __init__(self, given: object, *, cpu_bound: bool) -> None:
        self.given = given
        self.cpu_bound = cpu_bound

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        return cast("Sequence[Task]", self.given)


@pytest.mark.parametrize("cpu_bound", [True, False])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "gave NoneType:"),
        (5, "gave int:"),
        ([5], "gave int in it:"),
        ("x", "gave str in it:"),
    ],
)
def test_what_is_no_task_is_told_by_the_proposers_name(
    given: object, said: str, cpu_bound: bool
) -> None:
    with pytest.raises(UsageError, match=f"^The proposer 'mine' {said} propose"):
        proposed(Answers(given, cpu_bound=cpu_bound))

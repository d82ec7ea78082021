"""Asking a proposer for tasks within a time limit, wherever it works.

A proposer resets environments, and a reset is foreign code that may never return. One that
blocks can be ended only together with its process, so a proposer whose class says `cpu_bound`
works in a worker, as an executor does. Any other works in this event loop, where only what
waits can be broken off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from agentlab.environments.registration import make_environment
from agentlab.errors import EnvironmentFaultError
from agentlab.graph.workers import WorkerFault, WorkerPool
from agentlab.protocols import ProposalContext, Proposer
from agentlab.types import EnvironmentRef, Task


async def proposals(
    proposer: Proposer,
    context: ProposalContext,
    *,
    environment: EnvironmentRef,
    pool: WorkerPool,
    seconds: float,
) -> Sequence[Task]:
    """What a proposer proposes.

    Args:
        proposer: a `cpu_bound` one is sent to a worker, so it must be plain data.
        context: what it works from; a worker makes its environment anew.
        environment: how to make it.
        pool: the workers.
        seconds: how long it may take.

    Raises:
        EnvironmentFaultError: it raised or did not end in time; says why.
        UsageError: the configuration is wrong.
    """
    if not getattr(proposer, "cpu_bound", False):
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await proposer.propose(context)
        except TimeoutError:
            if not limit.expired():
                raise
            raise EnvironmentFaultError(f"it did not end within {seconds:.0f} s") from None
    sendable = replace(context, environment=partial(make_environment, environment))
    found = await pool.run(_propose, proposer, sendable, seconds=seconds)
    if isinstance(found, WorkerFault):
        raise EnvironmentFaultError(found.error)
    return found


def _propose(proposer: Proposer, context: ProposalContext) -> list[Task]:
    """The job of a worker."""

    async def work() -> list[Task]:
        return list(await proposer.propose(context))

    return asyncio.run(work())

"""Asking a proposer for tasks within a time limit, wherever it works.

A proposer resets environments, and a reset is foreign code that may never return. One that
blocks can be ended only together with its process, so a proposer whose class says `cpu_bound`
works in a worker, as an executor does. Any other works in this event loop, where only what
waits can be broken off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from agentlab.environments.registration import make_environment
from agentlab.errors import AgentLabError, EnvironmentFaultError
from agentlab.graph.answers import raised, tasks_of
from agentlab.graph.workers import WorkerFault, WorkerPool
from agentlab.protocols import ProposalContext, Proposer
from agentlab.types import EnvironmentRef, Task

CANCEL_SECONDS = 5.0
"""That a proposer which is broken off has to let go of what it holds."""


async def proposals(
    proposer: Proposer,
    context: ProposalContext,
    *,
    name: str,
    environment: EnvironmentRef,
    pool: WorkerPool,
    seconds: float,
    paused: Callable[[], float] = lambda: 0.0,
) -> Sequence[Task]:
    """What a proposer proposes.

    Args:
        proposer: a `cpu_bound` one is sent to a worker, so it must be plain data.
        context: what it works from; a worker makes its environment anew.
        name: its name, which a mistake of its is told by.
        environment: how to make it.
        pool: the workers.
        seconds: how long it may take.
        paused: seconds that calls waited for a model's endpoint, which are not its own.

    Raises:
        EnvironmentFaultError: it raised or did not end in time; says why.
        UsageError: the configuration is wrong, or what it gave are no tasks.
    """
    if not getattr(proposer, "cpu_bound", False):
        began, before = time.monotonic(), paused()
        work = asyncio.ensure_future(proposer.propose(context))
        try:
            while not work.done():
                left = seconds + paused() - before - (time.monotonic() - began)
                if left <= 0:
                    raise EnvironmentFaultError(f"it did not end within {seconds:.0f} s")
                await asyncio.wait((work,), timeout=left)
            return tasks_of(name, work.result())
        except AgentLabError:
            raise
        except Exception as error:  # foreign code: it may fail in any way
            raise EnvironmentFaultError(raised(error)) from error
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait((work,), timeout=CANCEL_SECONDS)
    # A model's connections stay here: what keeps a core busy asks none.
    sendable = replace(context, environment=partial(make_environment, environment), model=None)
    found = await pool.run(_propose, proposer, name, sendable, seconds=seconds)
    if isinstance(found, WorkerFault):
        raise EnvironmentFaultError(found.error)
    return found


def _propose(proposer: Proposer, name: str, context: ProposalContext) -> list[Task]:
    """The job of a worker."""

    async def work() -> list[Task]:
        return tasks_of(name, await proposer.propose(context))

    return asyncio.run(work())

"""Running one attempt where its executor belongs: in a worker, or in this event loop."""

from __future__ import annotations

import asyncio

from agentlab.environments.registration import make_environment
from agentlab.errors import AgentLabError, UsageError
from agentlab.events import AttemptFinished
from agentlab.graph import jobs
from agentlab.graph.workers import WorkerFault, WorkerPool
from agentlab.registry import resolve
from agentlab.sandbox import open_settled
from agentlab.types import AttemptOutcome, AttemptSpec

GRACE_SECONDS = 30.0
"""Beyond an attempt's own time limit, before it counts as hung; at most half of that."""


async def run_attempt(spec: AttemptSpec, *, evaluator: str, pool: WorkerPool) -> AttemptOutcome:
    """Attempt a task. Whatever goes wrong with it is in the outcome.

    Raises:
        UsageError: the configuration is wrong, and every attempt would fail alike.
    """
    timeout = spec.limits.seconds + min(GRACE_SECONDS, spec.limits.seconds / 2)
    if getattr(resolve("executor", spec.executor), "cpu_bound", False):
        outcome = await pool.run(jobs.attempt, spec, evaluator, seconds=timeout)
        if not isinstance(outcome, WorkerFault):
            return outcome
        return _failed(spec, f"in the environment {spec.environment.name!r}, {outcome.error}")
    environment = make_environment(spec.environment)
    runtime = open_settled(pool.box)
    try:
        async with asyncio.timeout(timeout):
            return await jobs.run_attempt(spec, evaluator, environment, runtime)
    except TimeoutError:
        return _failed(spec, f"it did not end within {timeout:.0f} s")
    except UsageError:
        raise
    except AgentLabError as error:
        return _failed(spec, str(error))
    finally:
        await runtime.close()
        await environment.close()


def _failed(spec: AttemptSpec, error: str) -> AttemptOutcome:
    return AttemptOutcome(attempt_id=spec.id, status="infrastructure_failure", error=error)


def finished_event(spec: AttemptSpec, outcome: AttemptOutcome) -> AttemptFinished:
    """The event that tells of a recorded attempt."""
    return AttemptFinished(
        run_id=spec.run_id,
        round=spec.round,
        slot=spec.slot,
        attempt_id=spec.id,
        attempt_kind=spec.kind,
        task_id=spec.task.id,
        instruction=spec.task.instruction,
        template=spec.task.template,
        success=outcome.success,
        status=outcome.status,
        tool_calls=outcome.usage.tool_calls,
        steps=outcome.usage.steps,
        offered=sum(not offer.withheld for offer in spec.offers),
        withheld=sum(offer.withheld for offer in spec.offers),
        skills_used=outcome.skills_used,
        seconds=outcome.usage.wall_seconds,
    )

"""Running one attempt where its executor belongs: in a worker, or in this event loop."""

from __future__ import annotations

import asyncio
import time

from agentlab.environments.registration import make_environment
from agentlab.errors import AgentLabError, EnvironmentFaultError, UsageError
from agentlab.events import AttemptFinished
from agentlab.executors.recorder import note_times
from agentlab.executors.wrapping import make_executor
from agentlab.graph import jobs
from agentlab.graph.seats import AttemptSeats, Seats, total
from agentlab.graph.workers import WorkerFault, WorkerPool
from agentlab.protocols import Execution, ExecutionContext, Executor
from agentlab.records.blobs import Blobs
from agentlab.registry import resolve
from agentlab.sandbox import open_settled
from agentlab.types import AttemptOutcome, AttemptSpec, JsonObject, Usage

CANCEL_SECONDS = 5.0
"""That an attempt which is broken off has to let go of what it holds."""
TIMEOUT = "timeout"
"""The ending of an attempt that did not keep its time limit and was broken off."""
GRACE_SECONDS = 30.0
"""Beyond an attempt's own time limit, before it counts as hung; at most half of that."""


async def run_attempt(
    spec: AttemptSpec, *, evaluator: str, pool: WorkerPool, seats: Seats | None = None
) -> AttemptOutcome:
    """Attempt a task. Whatever goes wrong with it is in the outcome.

    Args:
        spec: what to attempt, with what.
        evaluator: by name; one that asks a model does so in this process.
        pool: for executors that keep a core busy.
        seats: the run's chat models.

    Raises:
        UsageError: the configuration is wrong, and every attempt would fail alike.
    """
    timeout = _timeout(spec)
    mine = seats.attempt(spec) if seats is not None else None
    executor = jobs.executor_of(spec.executor, spec.executor_options)
    far: list[InWorker] = []
    if getattr(executor, "cpu_bound", False) and getattr(executor, "needs_model", False):
        executor = _apart(spec, pool, far)
    elif getattr(executor, "cpu_bound", False):
        judged = getattr(resolve("evaluator", evaluator), "needs_model", False)
        in_worker = "verifier" if judged else evaluator
        outcome = await pool.run(jobs.attempt, spec, in_worker, seconds=timeout)
        if isinstance(outcome, WorkerFault):
            told = f"in the environment {spec.environment.name!r}, {outcome.error}"
            return _failed(spec, told, ending=TIMEOUT if outcome.timed_out else "")
        return await _judged(spec, outcome, evaluator, pool, mine) if judged else outcome
    began = time.monotonic()
    environment = make_environment(spec.environment)
    blobs = _blobs(pool)
    jobs.keep_blobs(environment, blobs)
    runtime = open_settled(pool.box, single_use=_alone(spec))
    paused = seats.paused_seconds if seats is not None else 0.0
    work = asyncio.ensure_future(
        jobs.run_attempt(spec, evaluator, environment, runtime, mine, executor, blobs)
    )
    try:
        while not work.done():
            # An outage of the endpoint pauses the run, and its attempts with it.
            waited = seats.paused_seconds - paused if seats is not None else 0.0
            waited += sum(each.waited for each in far)
            left = timeout + waited - (time.monotonic() - began)
            if left <= 0:
                told = f"it did not end within {timeout:.0f} s"
                return _failed(spec, told, mine, ending=TIMEOUT)
            await asyncio.wait((work,), timeout=left)
        return work.result()
    except UsageError:
        raise
    except AgentLabError as error:
        return _failed(spec, str(error), mine)
    finally:
        if not work.done():
            work.cancel()
            await asyncio.wait((work,), timeout=CANCEL_SECONDS)
        await runtime.close()
        await environment.close()


class InWorker:
    """An executor that keeps a core busy, each of whose tries is made in a worker.

    What wraps it stays here, where the models are. Implements `protocols.Executor`.

    Args:
        name: of the executor, which wraps nothing.
        options: of it.
        pool: of workers.
    """

    def __init__(self, name: str, options: JsonObject, pool: WorkerPool) -> None:
        self._name = name
        self._options = options
        self._pool = pool
        self._queued: float | None = None
        self._waited = 0.0
        self.reads_advice = bool(getattr(jobs.executor_of(name, options), "reads_advice", False))

    @property
    def waited(self) -> float:
        """Seconds in which tries waited for a worker; they are not the attempt's."""
        now = 0.0 if self._queued is None else time.monotonic() - self._queued
        return self._waited + now

    async def execute(self, context: ExecutionContext) -> Execution:
        """One try, within the context's limits.

        Raises:
            EnvironmentFaultError: the worker gave no result, whatever the reason.
        """
        spec = context.spec.model_copy(
            update={"executor": self._name, "executor_options": self._options}
        )
        self._queued = time.monotonic()
        try:
            done = await self._pool.run(
                jobs.execute, spec, seconds=_timeout(spec), begun=self._begun
            )
        finally:
            self._begun()
        if isinstance(done, WorkerFault):
            raise EnvironmentFaultError(
                f"in the environment {spec.environment.name!r}, {done.error}"
            )
        note_times(done.execution.trajectory.steps, done.times)
        return done.execution

    def _begun(self) -> None:
        self._waited, self._queued = self.waited, None


def _apart(spec: AttemptSpec, pool: WorkerPool, far: list[InWorker]) -> Executor:
    """The spec's wrappers, around what makes each try in a worker; that is put into `far`."""

    def innermost(name: str, options: JsonObject) -> Executor:
        far.append(InWorker(name, options, pool))
        return far[-1]

    return make_executor(spec.executor, spec.executor_options, innermost=innermost)


def _timeout(spec: AttemptSpec) -> float:
    return spec.limits.seconds + min(GRACE_SECONDS, spec.limits.seconds / 2)


def _alone(spec: AttemptSpec) -> bool:
    """Whether each call needs a box to itself: code of others that is on trial."""
    return any(s.origin != "search" for s in spec.skills if s.id in spec.unverified)


async def _judged(
    spec: AttemptSpec,
    outcome: AttemptOutcome,
    evaluator: str,
    pool: WorkerPool,
    seats: AttemptSeats | None,
) -> AttemptOutcome:
    """The outcome of a worker, scored here, where the models are."""
    if outcome.trajectory is None:
        return outcome
    runtime = open_settled(pool.box)
    try:
        files, blobs = outcome.files, _blobs(pool)
        score = await jobs.scored(spec, outcome.trajectory, evaluator, runtime, seats, files, blobs)
    except AgentLabError as error:
        if isinstance(error, UsageError):
            raise
        return _failed(spec, str(error), seats)
    finally:
        await runtime.close()
    calls = seats.calls if seats is not None else ()
    times = outcome.times and outcome.times.model_copy(update={"ended": time.time()})
    return outcome.model_copy(
        update={
            "times": times,
            "score": score,
            "usage": outcome.usage + total(calls),
            "trajectory": outcome.trajectory.model_copy(update={"model_calls": calls}),
        }
    )


def _blobs(pool: WorkerPool) -> Blobs | None:
    """Where pictures are; None where nobody keeps any."""
    return Blobs(pool.blobs) if pool.blobs is not None else None


def _failed(
    spec: AttemptSpec, error: str, seats: AttemptSeats | None = None, *, ending: str = ""
) -> AttemptOutcome:
    usage = total(seats.calls) if seats is not None else Usage()
    return AttemptOutcome(
        attempt_id=spec.id,
        status="infrastructure_failure",
        error=error,
        usage=usage,
        ending=ending,
    )


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

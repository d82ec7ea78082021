"""What workers do: attempt a task, check a proposal, replay a candidate.

Each job takes frozen data and gives frozen data back; nothing here reads or writes records.
Environments and runtimes are kept between the jobs of one process: `reset` makes an
environment new, and `open` a runtime. Code that search did not make and that is not verified
yet gets a box for each call.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from agentlab.environments.registration import make_environment
from agentlab.errors import (
    AgentLabError,
    BudgetSpentError,
    EnvironmentFaultError,
    InvalidTaskError,
    ModelFaultError,
    VerifierFaultError,
)
from agentlab.executors.recorder import StepTime, timed
from agentlab.executors.wrapping import make_executor
from agentlab.graph.answers import score_of
from agentlab.graph.likeness import CompareRequest, Likeness, same_effect
from agentlab.graph.replays import replay_skill
from agentlab.graph.seats import AttemptSeats, total
from agentlab.graph.starts import ReplayRequest
from agentlab.graph.task_gate import check_task, reserved_by_effect
from agentlab.graph.ways import WaysReply, WaysRequest, find_ways
from agentlab.models.redaction import known
from agentlab.protocols import (
    Environment,
    EvaluationContext,
    Evaluator,
    Execution,
    ExecutionContext,
    Executor,
    SkillRuntime,
)
from agentlab.records.blobs import Blobs
from agentlab.registry import resolve
from agentlab.sandbox import open_settled
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    EnvironmentRef,
    JsonObject,
    Replay,
    Score,
    Skill,
    Task,
    Trajectory,
    Usage,
    canonical_json,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

_environments: dict[str, Environment] = {}
_box = "subprocess"
_blobs: Blobs | None = None
_runtimes: dict[bool, SkillRuntime] = {}
"""By whether each call has a box to itself."""
_loop: asyncio.AbstractEventLoop | None = None


def use_box(name: str) -> None:
    """Run the skill code of this process there; called once, before the first job."""
    global _box
    _box = name


def use_blobs(place: str) -> None:
    """Keep what environments hand over in that directory; called once, before the first job."""
    global _blobs
    _blobs = Blobs(Path(place)) if place else None


def keep_blobs(environment: Environment, blobs: Blobs | None) -> None:
    """Tell an environment that has pictures and the like where they are kept."""
    use = getattr(environment, "use_blobs", None)
    if blobs is not None and callable(use):
        use(blobs.put)


def attempt(spec: AttemptSpec, evaluator: str) -> AttemptOutcome:
    """Attempt a task, in this process."""
    runtime = _runtime(*(skill for skill in spec.skills if skill.id in spec.unverified))
    outcome = _run(run_attempt(spec, evaluator, _environment(spec.environment), runtime))
    if outcome.status == "infrastructure_failure":
        _forget(spec.environment)
    return outcome


class Try(NamedTuple):
    """One try of an attempt, and when its steps were made."""

    execution: Execution
    times: tuple[StepTime | None, ...]


def execute(spec: AttemptSpec) -> Try:
    """One try of an attempt whose other parts are elsewhere, in this process.

    Raises:
        EnvironmentFaultError: the environment raised, and is not used again.
    """
    runtime = _runtime(*(skill for skill in spec.skills if skill.id in spec.unverified))
    executor = executor_of(spec.executor, spec.executor_options)
    context = ExecutionContext(spec, _environment(spec.environment), runtime)
    try:
        with timed() as watch:
            done = _run(executor.execute(context))
    except EnvironmentFaultError:
        _forget(spec.environment)
        raise
    except Exception as error:  # foreign code: any failure of it is this attempt's alone
        if isinstance(error, AgentLabError):
            raise
        _forget(spec.environment)
        told = known().text(f"{type(error).__name__} in attempt: {error}")
        raise EnvironmentFaultError(told) from None
    made = Execution(done.trajectory, done.usage, done.first_success, done.assisted)
    return Try(made, watch.of(done.trajectory.steps))


def check(task: Task, environment: EnvironmentRef) -> str | None:
    """Why a proposal may not become a task, or None."""
    try:
        world = _environment(environment)
        return _run(check_task(task, world, _runtime())) or _run(reserved_by_effect(task, world))
    except InvalidTaskError as error:  # the proposal is at fault, and not the configuration
        return f"cannot be set up: {error}"


def replay(request: ReplayRequest) -> tuple[Replay, ...]:
    """Replay a candidate on argument sets that it did not learn from."""
    environment = _environment(request.environment)
    return _run(replay_skill(request, environment, _runtime(request.skill)))


def compare(request: CompareRequest) -> tuple[Likeness, ...]:
    """Find out which served skills have a candidate's effect on its own starts and arguments."""
    environment = _environment(request.environment)
    return _run(same_effect(request, environment, _runtime(request.skill)))


def ways(request: WaysRequest) -> WaysReply:
    """Search new ways to what a skill used to bring about."""
    skill = request.replay.skill
    environment = _environment(request.replay.environment)
    return _run(find_ways(request, environment, _runtime(skill)))


def _run(work: Coroutine[Any, Any, T]) -> T:
    global _loop
    if _loop is None:
        _loop = asyncio.new_event_loop()
        atexit.register(_leave, _loop)
    return _loop.run_until_complete(work)


def _leave(loop: asyncio.AbstractEventLoop) -> None:
    """Close what this process kept: boxes and servers have processes and folders."""
    for kept in (*_runtimes.values(), *_environments.values()):
        try:
            loop.run_until_complete(kept.close())
        except Exception as error:  # foreign code, which must not keep the others open
            log.warning("%s did not close: %s", type(kept).__name__, error)
    loop.close()


def _key(ref: EnvironmentRef) -> str:
    return canonical_json([ref.name, ref.options])


def _environment(ref: EnvironmentRef) -> Environment:
    key = _key(ref)
    if key not in _environments:
        _environments[key] = make_environment(ref)
        keep_blobs(_environments[key], _blobs)
    return _environments[key]


def _forget(ref: EnvironmentRef) -> None:
    """What is half broken must not serve the next attempt, whichever worker that gets."""
    broken = _environments.pop(_key(ref), None)
    if broken is not None:
        try:
            _run(broken.close())
        except Exception as error:  # it is broken, and nothing waits for it
            log.warning("%s did not close: %s", type(broken).__name__, error)


def _runtime(*unverified: Skill) -> SkillRuntime:
    """The runtime for such code, kept for the life of the process."""
    alone = any(skill.origin != "search" for skill in unverified)
    if alone not in _runtimes:
        _runtimes[alone] = open_settled(_box, single_use=alone, blocking=True)
    return _runtimes[alone]


async def run_attempt(
    spec: AttemptSpec,
    evaluator: str,
    environment: Environment,
    runtime: SkillRuntime,
    seats: AttemptSeats | None = None,
    executor: Executor | None = None,
    blobs: Blobs | None = None,
) -> AttemptOutcome:
    """Execute, score, and name what was achieved; by the spec's executor, or one in its place.

    An environment that raises makes an infrastructure failure: data, counted in no rate. So does
    a model endpoint that fails for good.
    """
    executor = executor or executor_of(spec.executor, spec.executor_options)
    context = ExecutionContext(spec, environment, runtime, seats and seats.executor)
    with timed() as watch:
        outcome = await _attempted(context, executor, evaluator, seats, blobs)
    return outcome.model_copy(update={"times": watch.times(outcome.trajectory)})


async def _attempted(
    context: ExecutionContext,
    executor: Executor,
    evaluator: str,
    seats: AttemptSeats | None,
    blobs: Blobs | None,
) -> AttemptOutcome:
    spec, environment, runtime = context.spec, context.environment, context.runtime
    try:
        execution = await executor.execute(context)
        files = await _kept(environment)
        done = execution.trajectory
        score = await scored(spec, done, evaluator, runtime, seats, files, blobs)
        if getattr(execution, "ending", "") == "budget" and not score.success:
            # What a cap cut off says nothing of the agent.
            score = Score(explanation="a budget cut it off", source=score.source)
    except (EnvironmentFaultError, ModelFaultError, VerifierFaultError) as error:
        return _broken(spec, str(error), seats)
    except Exception as error:  # foreign code: any failure of it is this attempt's alone
        if isinstance(error, AgentLabError):
            raise
        return _broken(spec, known().text(f"{type(error).__name__} in attempt: {error}"), seats)
    trajectory = execution.trajectory
    calls = seats.calls if seats is not None else ()
    return AttemptOutcome(
        attempt_id=spec.id,
        trajectory=trajectory.model_copy(update={"model_calls": calls}) if calls else trajectory,
        score=score,
        usage=execution.usage.model_copy(
            update={"tokens": sum(c.tokens for c in calls), "usd": sum(c.usd for c in calls)}
        )
        if calls
        else execution.usage,
        first_success=execution.first_success,
        skills_used=tuple(dict.fromkeys(i.skill_id for i in trajectory.invocations)),
        ending=str(getattr(execution, "ending", "")),
        reason=str(getattr(execution, "reason", "")),
        assisted=execution.assisted,
        files=files,
    )


async def _kept(environment: Environment) -> dict[str, str]:
    """What the environment keeps of an attempt that ended: digests of blobs, by name."""
    keepsakes = cast(
        "Callable[[], Awaitable[dict[str, str]]] | None", getattr(environment, "keepsakes", None)
    )
    return await keepsakes() if keepsakes is not None else {}


async def scored(
    spec: AttemptSpec,
    trajectory: Trajectory,
    evaluator: str,
    runtime: SkillRuntime,
    seats: AttemptSeats | None = None,
    files: Mapping[str, str] | None = None,
    blobs: Blobs | None = None,
) -> Score:
    """The evaluator's verdict; unknown where a budget did not allow asking for one.

    Args:
        spec: of the attempt.
        trajectory: what happened.
        evaluator: its name.
        runtime: where generated verifiers run.
        seats: the models.
        files: what the environment kept of the attempt, by name.
        blobs: where its pictures are; those of this process where none are given.

    Raises:
        VerifierFaultError: the evaluator raised.
        UsageError: what it gave is no score.
    """
    judge = evaluator_of(evaluator, seats.judging if seats is not None else None)
    models = (seats.evaluator, seats.stronger) if seats is not None else (None, None)
    try:
        kept = blobs or _blobs
        context = EvaluationContext(
            spec.task,
            trajectory,
            runtime,
            *models,
            picture=kept.get if kept is not None else None,
            files=files or {},
        )
        return await score_of(evaluator, judge, context)
    except BudgetSpentError as error:
        return Score(explanation=f"not judged: {error}", source="judge")


def evaluator_of(name: str, options: JsonObject | None = None) -> Evaluator:
    """The evaluator of that name; options are for one that asks a model."""
    made = cast("Callable[..., Evaluator]", resolve("evaluator", name))
    return made(**taken_by(name, options or {}))


def taken_by(evaluator: str, options: JsonObject) -> JsonObject:
    """Those of the options that the evaluator takes."""
    taken = signature(cast("Callable[..., Evaluator]", resolve("evaluator", evaluator))).parameters
    return {key: value for key, value in options.items() if key in taken}


def executor_of(name: str, options: JsonObject | None = None) -> Executor:
    """The executor of that name, which may be wrapped: `reflect:react`."""
    return make_executor(name, options or {})


def _broken(spec: AttemptSpec, error: str, seats: AttemptSeats | None = None) -> AttemptOutcome:
    usage = total(seats.calls) if seats is not None else Usage()
    return AttemptOutcome(
        attempt_id=spec.id, status="infrastructure_failure", error=error, usage=usage
    )

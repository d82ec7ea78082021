"""What workers do: attempt a task, check a proposal, replay a candidate.

Each job takes frozen data and gives frozen data back; nothing here reads or writes records.
Environments and runtimes are kept between the jobs of one process: `reset` makes an
environment new, and `open` a runtime.
"""

from __future__ import annotations

import asyncio
import atexit
import random
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar, cast

from agentlab.environments.registration import make_environment
from agentlab.errors import EnvironmentFaultError, InvalidTaskError, VerifierFaultError
from agentlab.executors.actions import bindings, holds, tool_calls
from agentlab.library.admission import enough
from agentlab.protocols import (
    Environment,
    EpisodeOver,
    Evaluator,
    ExecutionContext,
    Executor,
    Grammar,
    HasGrammar,
    HasState,
    HasTasks,
    SkillRuntime,
)
from agentlab.registry import resolve
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    Clause,
    CodeVerifier,
    Entity,
    EnvironmentRef,
    Frozen,
    JsonObject,
    Mission,
    Observation,
    Replay,
    Skill,
    SplitRule,
    StepResult,
    Task,
    ToolCall,
    canonical_json,
    derive_seed,
)

T = TypeVar("T")
LEAD_IN = 24
"""Random calls that may bring a start state to where a candidate's precondition holds."""

_environments: dict[str, Environment] = {}
_runtime: SkillRuntime | None = None
_loop: asyncio.AbstractEventLoop | None = None


class ReplayRequest(Frozen):
    """What a candidate is to be replayed on."""

    skill: Skill
    callees: tuple[Skill, ...] = ()
    environment: EnvironmentRef
    setups: tuple[str, ...]
    count: int
    seed: int


def attempt(spec: AttemptSpec, evaluator: str) -> AttemptOutcome:
    """Attempt a task, in this process."""
    return _run(run_attempt(spec, evaluator, _environment(spec.environment), _shared_runtime()))


def check(task: Task, environment: EnvironmentRef) -> str | None:
    """Why a proposal may not become a task, or None."""
    return _run(check_task(task, _environment(environment), _shared_runtime()))


def replay(request: ReplayRequest) -> tuple[Replay, ...]:
    """Replay a candidate on argument sets that it did not learn from."""
    return _run(replay_skill(request, _environment(request.environment), _shared_runtime()))


def _run(work: Coroutine[Any, Any, T]) -> T:
    global _loop
    if _loop is None:
        _loop = asyncio.new_event_loop()
        atexit.register(_leave, _loop)
    return _loop.run_until_complete(work)


def _leave(loop: asyncio.AbstractEventLoop) -> None:
    """Close what this process kept; skill code has a temporary directory, for one."""
    if _runtime is not None:
        loop.run_until_complete(_runtime.close())
    loop.close()


def _environment(ref: EnvironmentRef) -> Environment:
    key = canonical_json([ref.name, ref.options])
    if key not in _environments:
        _environments[key] = make_environment(ref)
    return _environments[key]


def _shared_runtime() -> SkillRuntime:
    global _runtime
    if _runtime is None:
        _runtime = SubprocessRuntime()
    return _runtime


async def run_attempt(
    spec: AttemptSpec, evaluator: str, environment: Environment, runtime: SkillRuntime
) -> AttemptOutcome:
    """Execute, score, and name what was achieved.

    An environment that raises makes an infrastructure failure: data, counted in no rate.
    """
    executor = cast("type[Executor]", resolve("executor", spec.executor))(**spec.executor_options)
    judge = cast("type[Evaluator]", resolve("evaluator", evaluator))()
    try:
        execution = await executor.execute(ExecutionContext(spec, environment, runtime))
        score = await judge.evaluate(spec.task, execution.trajectory, runtime)
    except EnvironmentFaultError as error:
        return _broken(spec, str(error))
    except Exception as error:  # foreign code: any failure of it is this attempt's alone
        if type(error).__module__.startswith("agentlab.errors"):
            raise
        return _broken(spec, f"{type(error).__name__} in attempt: {error}")
    trajectory = execution.trajectory
    return AttemptOutcome(
        attempt_id=spec.id,
        trajectory=trajectory,
        score=score,
        usage=execution.usage,
        first_success=execution.first_success,
        skills_used=tuple(dict.fromkeys(i.skill_id for i in trajectory.invocations)),
    )


def _broken(spec: AttemptSpec, error: str) -> AttemptOutcome:
    return AttemptOutcome(attempt_id=spec.id, status="infrastructure_failure", error=error)


async def check_task(
    task: Task, environment: Environment, runtime: SkillRuntime | None = None
) -> str | None:
    """Code-as-Task's gate (Self-Challenging): the solution passes twice, the rest fails.

    Args:
        task: the proposal.
        environment: an instance that nobody else uses.
        runtime: where a generated verifier runs; needed only for one.

    Returns:
        `<rule>: <what happened>`, or None when the task is fit.

    Raises:
        SkillFaultError: its generated verifier raised or did not end in time.
        VerifierFaultError: its generated verifier gave two answers to one question.
    """
    if task.solution is not None:
        for _ in range(2):
            if not await _passes(task, task.solution, environment, runtime):
                return "solution fails: the reference solution did not pass from a fresh reset"
    if await _passes(task, (), environment, runtime):
        return "empty trajectory passes: there is nothing to do"
    for calls in task.failing:
        if await _passes(task, calls, environment, runtime):
            named = ", ".join(call.tool for call in calls)
            return f"failing case passes: {named} on things the mission does not name"
    return None


async def _passes(
    task: Task, calls: Sequence[ToolCall], environment: Environment, runtime: SkillRuntime | None
) -> bool:
    await environment.reset(task, 0)
    before = await environment.state() if isinstance(environment, HasState) else None
    succeeded = False
    for call in calls:
        result = await environment.step(call)
        if result.terminated or result.truncated:
            succeeded = result.succeeded
            break
    if not isinstance(task.verifier, CodeVerifier):
        return succeeded
    if before is None or not isinstance(environment, HasState) or runtime is None:
        raise VerifierFaultError("A generated verifier needs an environment with state().")
    after = await environment.state()
    inputs: JsonObject = {"initial": before, "final": after, "answer": None}
    code = task.verifier
    verdicts = [
        await runtime.evaluate(code.source, "verify", inputs, origin=code.origin) for _ in range(2)
    ]
    if verdicts[0] is not verdicts[1] or not isinstance(verdicts[0], bool):
        raise VerifierFaultError(f"verify() gave {verdicts[0]!r} and {verdicts[1]!r} on one state.")
    return verdicts[0]


async def replay_skill(
    request: ReplayRequest, environment: Environment, runtime: SkillRuntime
) -> tuple[Replay, ...]:
    """Replays from fresh starts with unseen arguments, until the verdict is clear.

    Each start state is brought, by random calls, to where the precondition holds. A start where
    the effect check holds before the skill ran says nothing and is passed over.
    """
    if not isinstance(environment, HasGrammar) or not isinstance(environment, HasState):
        raise EnvironmentFaultError(
            "A skill can be replayed only where the environment has grammar() and state()."
        )
    rule = environment.split_rule if isinstance(environment, HasTasks) else SplitRule()
    await runtime.open((request.skill, *request.callees), environment.tools)
    seen = {canonical_json(test.get("arguments")) for test in request.skill.tests}
    replays: list[Replay] = []
    for number in range(request.count * 10):
        rng = random.Random(derive_seed(request.seed, request.skill.id, number))
        start = await _start(request, environment, rule, rng, number, seen)
        if start is None:
            continue
        outcome = await _replay_once(request.skill, start, environment, runtime)
        if outcome is None:
            continue
        seen.add(canonical_json([start.task.seed, start.arguments]))
        seen.add(canonical_json(_named(request.skill, start.arguments)))
        replays.append(outcome)
        if enough(replays, request.count):
            break
    return tuple(replays)


def _named(skill: Skill, arguments: JsonObject) -> JsonObject:
    """What the clause names; the tests of a skill tell nothing of its free parameters."""
    return {p.name: arguments[p.name] for p in skill.parameters if p.from_clause}


class _Start(Frozen):
    task: Task
    free: Task
    """The same start state without a goal."""
    lead_in: tuple[ToolCall, ...]
    arguments: JsonObject


async def _start(
    request: ReplayRequest,
    environment: Environment,
    rule: SplitRule,
    rng: random.Random,
    number: int,
    seen: set[str],
) -> _Start | None:
    grammar = cast("HasGrammar", environment).grammar()
    setup = request.setups[number % len(request.setups)]
    layout = rng.randrange(10**9)
    while rule.split_of_seed(layout) != "practice":
        layout += 1
    try:
        free = grammar.compose(None, setup, layout)
    except InvalidTaskError:
        return None
    observation = await environment.reset(free, 0)
    lead_in = await _lead_in(request.skill, environment, observation, rng)
    if lead_in is None:
        return None
    calls, observation = lead_in
    # Where few arguments exist, a known one in a start state that is new must do.
    scarce = number >= 3 * request.count
    choices = [
        arguments
        for arguments in bindings(request.skill, None, observation.entities)
        if canonical_json([layout, arguments] if scarce else _named(request.skill, arguments))
        not in seen
    ]
    rng.shuffle(choices)
    for arguments in choices[:8]:
        task = _stated(request.skill, arguments, observation.entities, grammar, setup, layout)
        if task is not None:
            return _Start(task=task, free=free, lead_in=tuple(calls), arguments=arguments)
    return None


def _stated(
    skill: Skill,
    arguments: JsonObject,
    entities: Sequence[Entity],
    grammar: Grammar,
    setup: str,
    layout: int,
) -> Task | None:
    """A task that asks for what the skill achieves with these arguments; None where invalid."""
    if skill.achieves is None:
        return None
    templates = {t.predicate: t for t in grammar.spec.templates}
    descriptors = templates[skill.achieves.predicate].descriptors
    described: JsonObject = {}
    for name, parameter in skill.achieves.arguments.items():
        reference = arguments[str(parameter)]
        entity = next(e for e in entities if e.reference == reference)
        described[name] = {
            key: entity.properties[key]
            for key in descriptors
            if key in entity.properties and not isinstance(entity.properties[key], list)
        }
    clause = Clause(predicate=skill.achieves.predicate, arguments=described)
    try:
        return grammar.compose(Mission(groups=((clause,),)), setup, layout)
    except InvalidTaskError:
        return None


async def _lead_in(
    skill: Skill, environment: Environment, observation: Observation, rng: random.Random
) -> tuple[list[ToolCall], Observation] | None:
    """Random calls after which the precondition holds and arguments exist, and what is shown."""
    calls: list[ToolCall] = []
    state_of = cast("HasState", environment)
    for _ in range(LEAD_IN):
        if holds(skill.precondition, await state_of.state()) and any(
            True for _ in bindings(skill, None, observation.entities)
        ):
            return calls, observation
        choices = tool_calls(environment.tools, observation.entities)
        if not skill.precondition or not choices:
            return None
        call = rng.choice(choices)
        result = await environment.step(call)
        if result.terminated or result.truncated:
            return None
        if result.error is None:
            calls.append(call)
            observation = result.observation
    return None


async def _replay_once(
    skill: Skill, start: _Start, environment: Environment, runtime: SkillRuntime
) -> Replay | None:
    """One replay; None where it says nothing: the effect held before, or the episode was over."""
    await environment.reset(start.task, 0)
    for call in start.lead_in:
        result = await environment.step(call)
        if result.terminated or result.truncated:
            return None
    state_of = cast("HasState", environment)
    initial = await state_of.state()
    if await _effect(skill, initial, initial, start.arguments, runtime):
        return None
    results: list[StepResult] = []

    async def perform(call: ToolCall) -> StepResult:
        if results and (results[-1].terminated or results[-1].truncated):
            raise EpisodeOver
        result = await environment.step(call)
        results.append(result)
        return result

    returned = await runtime.call(skill.name, start.arguments, perform)
    final = await state_of.state()
    ended = bool(results) and results[-1].succeeded
    shown = await _effect(skill, initial, final, start.arguments, runtime)
    if ended and not shown:
        # The task's words fit another thing too, and its verifier was content with that one.
        return None
    if ended and not returned.completed:
        # It would have gone on, and what it does after the goal may undo it.
        onward = start.model_copy(update={"task": start.free})
        rest = await _replay_once(skill, onward, environment, runtime)
        success = None if start.lead_in else ended
        return rest and rest.model_copy(update={"task_id": start.task.id, "success": success})
    return Replay(
        task_id=start.task.id,
        arguments=start.arguments,
        completed=returned.completed,
        used=any(result.error is None for result in results),
        effect=shown,
        success=None if start.lead_in else ended,
        tool_calls=len(results),
        steps=sum(result.steps for result in results),
        changes=sum(initial.get(key) != value for key, value in final.items()),
        error=returned.error,
    )


async def _effect(
    skill: Skill,
    initial: JsonObject,
    final: JsonObject,
    arguments: JsonObject,
    runtime: SkillRuntime,
) -> bool:
    inputs: JsonObject = {"initial": initial, "final": final, **arguments}
    shown = await runtime.evaluate(skill.effect_source, "check", inputs, origin=skill.origin)
    return shown is True

"""Carrying a proposal out before it is handed in, so that its writer can be told what is wrong.

The rules are those of admission (Code-as-Task; Zhou et al. 2025, "Self-Challenging Language Model
Agents"): the solution passes twice from a fresh reset, the empty trajectory and every failing case
fail, and the verifier says the same of the same state twice. Admission asks them again and alone
decides. What this adds is where and why a call was refused, and which facts the solution changed.
Generated verifiers run in a box, never here; as each question to one costs a new process, the
same states are not asked about again, and only the first verdict is asked for twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from agentlab.errors import (
    AgentLabError,
    EnvironmentFaultError,
    InvalidTaskError,
    SkillFaultError,
    SkillRefusedError,
)
from agentlab.proposers.drafts import JUDGED
from agentlab.proposers.novelty import CHANGES, changed_facts
from agentlab.proposers.surroundings import begin, clip, read_state, shown_calls
from agentlab.protocols import Environment, SkillRuntime
from agentlab.types import CodeVerifier, JsonObject, StepResult, Task, ToolCall, canonical_json


class Fault(NamedTuple):
    """What is wrong with a proposal."""

    kind: Literal["unfit", "broken"]
    """`unfit`: admission will find it so and put it on record. `broken`: it cannot even be
    checked, and is not worth handing in."""
    text: str
    """`<rule>: <what happened>`, for the model that wrote it."""


class Rehearsed(NamedTuple):
    """A proposal that was carried out."""

    task: Task
    """With the facts that its solution changes in `parameters`."""
    fault: Fault | None = None


class _Played(NamedTuple):
    passed: bool
    refused: str
    """The first call that was refused, in words; empty where none was."""
    before: JsonObject | None
    after: JsonObject | None


class _Stage(NamedTuple):
    """What a rehearsal works with."""

    environment: Environment
    runtime: Callable[[], SkillRuntime]
    verdicts: dict[str, bool]
    """By the states that a verifier was asked about."""


class _Broken(Exception):
    """The proposal cannot be checked; the text says why."""


async def rehearse(
    task: Task, environment: Environment, runtime: Callable[[], SkillRuntime]
) -> Rehearsed:
    """Carry out solution and failing cases.

    Args:
        task: the proposal.
        environment: an instance that nobody else uses.
        runtime: opens where a generated verifier runs; called only for one.

    Raises:
        SkillRefusedError: code that a model wrote may not run here.
        EnvironmentFaultError: the environment raised.
    """
    try:
        if task.parameters.get(JUDGED):
            await begin(environment, task)
            return Rehearsed(task)
        return await _rehearse(task, _Stage(environment, runtime, {}))
    except _Broken as error:
        return Rehearsed(task, Fault("broken", str(error)))
    except InvalidTaskError as error:
        return Rehearsed(task, Fault("broken", f"refused by the environment: {error}"))


async def _rehearse(task: Task, stage: _Stage) -> Rehearsed:
    if task.solution is not None:
        plays = [await _play(task, task.solution, stage) for _ in range(2)]
        for played in plays:
            if not played.passed:
                why = played.refused or "every call was carried out, and the check said False"
                return Rehearsed(task, Fault("unfit", f"solution fails: {why}"))
        before, after = plays[0].before, plays[0].after
        if before is not None and after is not None:
            changes = list(changed_facts(before, after))
            task = task.model_copy(update={"parameters": {**task.parameters, CHANGES: changes}})
    if (await _alike(task, (), stage)).passed:
        return Rehearsed(
            task, Fault("unfit", "empty trajectory passes: the check says True before any call")
        )
    for calls in task.failing:
        if (await _alike(task, calls, stage)).passed:
            return Rehearsed(task, Fault("unfit", f"failing case passes: {shown_calls(calls)}"))
    return Rehearsed(task)


async def _alike(task: Task, calls: Sequence[ToolCall], stage: _Stage) -> _Played:
    first, second = [await _play(task, calls, stage) for _ in range(2)]
    if first.passed is not second.passed:
        raise _Broken(f"verifier disagrees: {len(calls)} calls passed once and failed once")
    return first


async def _play(task: Task, calls: Sequence[ToolCall], stage: _Stage) -> _Played:
    environment = stage.environment
    await begin(environment, task)
    before = await read_state(environment)
    succeeded, refused = False, ""
    for number, call in enumerate(calls, start=1):
        result = await perform(environment, call)
        if result.error is not None and not refused:
            refused = f"call {number} ({shown_calls([call])}) was refused: {clip(result.error)}"
        if result.terminated or result.truncated:
            succeeded = result.succeeded
            break
    after = await read_state(environment)
    if not isinstance(task.verifier, CodeVerifier):
        return _Played(succeeded, refused, before, after)
    if before is None or after is None:
        raise _Broken("no state: a generated verifier needs one")
    inputs: JsonObject = {"initial": before, "final": after, "answer": None}
    asked = canonical_json([before, after])
    if asked not in stage.verdicts:
        said = await _verdict(task.verifier, inputs, stage.runtime())
        if not stage.verdicts and said is not await _verdict(
            task.verifier, inputs, stage.runtime()
        ):
            raise _Broken("verifier disagrees: it said True and False of one state")
        stage.verdicts[asked] = said
    return _Played(stage.verdicts[asked], refused, before, after)


async def _verdict(code: CodeVerifier, inputs: JsonObject, runtime: SkillRuntime) -> bool:
    try:
        said = await runtime.evaluate(code.source, "verify", inputs, origin=code.origin)
    except SkillRefusedError:
        raise
    except SkillFaultError as error:
        raise _Broken(f"verifier raised: {clip(str(error))}") from None
    if not isinstance(said, bool):
        raise _Broken(f"verifier gave no verdict: {clip(repr(said), 80)} is neither True nor False")
    return said


async def perform(environment: Environment, call: ToolCall) -> StepResult:
    """One call.

    Raises:
        EnvironmentFaultError: the environment raised.
    """
    try:
        result = await environment.step(call)
    except AgentLabError:
        raise
    except Exception as error:  # foreign code, which may fail in any way
        raise EnvironmentFaultError(f"step() raised {type(error).__name__}: {error}") from error
    await asyncio.sleep(0)  # other proposals are under way in the same loop
    return result

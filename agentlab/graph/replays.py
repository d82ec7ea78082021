"""Replaying a candidate from fresh starts, with arguments that it did not learn from.

Runs in a worker, on one environment and one runtime; reads and writes no record. What the
replays mean is for `library.admission` to say. Each is followed by negative controls: the same
effect check asked about other things, on the state that the replay left.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, cast

from agentlab.errors import SkillFaultError
from agentlab.graph.starts import ReplayRequest, Start, Starts, shape_of
from agentlab.library.admission import enough
from agentlab.library.controls import (
    EACH,
    INSTEAD,
    UNTOUCHED,
    Wrong,
    untouched,
    wrong_arguments,
)
from agentlab.library.steadiness import settled
from agentlab.protocols import Environment, EpisodeOver, HasState, SkillRuntime
from agentlab.types import JsonObject, Replay, Skill, StepResult, Task, ToolCall, derive_seed
from agentlab.types.skill import Control

SHOWN = 6000
"""Characters that are kept of what a replay was shown last, where it did not work."""


class Ran(NamedTuple):
    """One call of a skill, as it went."""

    initial: JsonObject
    final: JsonObject
    results: tuple[StepResult, ...]
    completed: bool
    error: str | None

    @property
    def ended(self) -> bool:
        """Whether the task's own verifier ended the episode as a success."""
        return bool(self.results) and self.results[-1].succeeded


async def replay_skill(
    request: ReplayRequest, environment: Environment, runtime: SkillRuntime
) -> tuple[Replay, ...]:
    """Replays from fresh starts with unseen arguments, until the verdict is clear.

    Each start state is brought, by random calls, to where the precondition holds. A start where
    the effect check holds before the skill ran says nothing; a few are kept as such, because a
    check that holds everywhere is a finding.

    Raises:
        EnvironmentFaultError: the environment has no state, or there is nowhere to start.
        SkillFaultError: the code cannot be loaded, or its effect check raised.
    """
    starts = Starts(request, environment)
    await runtime.open((request.skill, *request.callees), environment.tools)
    replays: list[Replay] = []
    void: list[Replay] = []
    for number in range(request.count * 10):
        start = await starts.find(number, replays)
        if start is None:
            continue
        outcome = await _replay_once(request.skill, start, starts, environment, runtime)
        if outcome is None:
            continue
        if untouched(outcome):
            void.append(outcome)
            continue
        starts.used(start)
        replays.append(outcome)
        done = settled if request.patient else enough
        if done(replays, request.count):
            break
    return (*replays, *void[: request.count])


async def run_skill(
    name: str,
    arguments: JsonObject,
    task: Task,
    lead_in: Sequence[ToolCall],
    environment: Environment,
    runtime: SkillRuntime,
) -> Ran | None:
    """Reset, go to the start, call the skill; None where the episode is over before it."""
    await environment.reset(task, 0)
    for call in lead_in:
        result = await environment.step(call)
        if result.terminated or result.truncated:
            return None
    state_of = cast("HasState", environment)
    initial = await state_of.state()
    results: list[StepResult] = []

    async def perform(call: ToolCall) -> StepResult:
        if results and (results[-1].terminated or results[-1].truncated):
            raise EpisodeOver
        result = await environment.step(call)
        results.append(result)
        return result

    returned = await runtime.call(name, arguments, perform)
    final = await state_of.state()
    return Ran(initial, final, tuple(results), returned.completed, returned.error)


async def _replay_once(
    skill: Skill,
    start: Start,
    starts: Starts,
    environment: Environment,
    runtime: SkillRuntime,
) -> Replay | None:
    """One replay; None where it says nothing."""
    await environment.reset(start.task, 0)
    for call in start.lead_in:
        result = await environment.step(call)
        if result.terminated or result.truncated:
            return None
    initial = await cast("HasState", environment).state()
    if await effect_shows(skill, initial, initial, start.arguments, runtime):
        return Replay(
            task_id=start.task.id,
            arguments=start.arguments,
            completed=False,
            used=False,
            effect=True,
            controls=(Control(wrong=UNTOUCHED, passed=True),),
            error="the effect held before anything was done",
        )
    ran = await run_skill(
        skill.name, start.arguments, start.task, start.lead_in, environment, runtime
    )
    if ran is None:
        return None
    shown = await effect_shows(skill, ran.initial, ran.final, start.arguments, runtime)
    asked = skill.achieves is not None  # the task asks for it, and ends where it has come about
    if asked and ran.ended and not shown:
        # The task's words fit another thing too, and its verifier was content with that one.
        return None
    success = ran.ended if asked and not start.lead_in else None
    if asked and ran.ended and not ran.completed:
        # It would have gone on, and what it does after the goal may undo it.
        onward = start.model_copy(update={"task": start.free})
        rest = await _replay_once(skill, onward, starts, environment, runtime)
        return rest and rest.model_copy(update={"task_id": start.task.id, "success": success})
    shape = shape_of(start.skill, start.arguments, start.entities)
    controls = await _controls(skill, start, starts, ran, runtime) if shown else ()
    own = True
    if controls and not asked:
        # No task's verifier stands beside the check here, so it is asked about more.
        own = ran.initial != ran.final
        controls += await _instead(skill, start, starts, environment, runtime)
    return Replay(
        task_id=start.task.id,
        arguments=start.arguments,
        completed=ran.completed,
        used=any(result.error is None for result in ran.results),
        effect=shown and controls is not None and own,
        success=success,
        tool_calls=len(ran.results),
        steps=sum(result.steps for result in ran.results),
        changes=sum(ran.initial.get(key) != value for key, value in ran.final.items()),
        error=ran.error,
        unseen=starts.unseen(start.arguments),
        shape=shape,
        controls=controls or (),
        present={
            name: value is not None
            for name, value in ran.initial.items()
            if not isinstance(value, list)
        },
        bound={
            name: entity.properties
            for name, value in start.arguments.items()
            for entity in start.entities
            if entity.reference == value
        },
        refused=next((i for i, r in enumerate(ran.results) if r.error is not None), None),
        shown=ran.results[-1].observation.text[:SHOWN] if ran.results and not shown else "",
    )


async def _controls(
    skill: Skill, start: Start, starts: Starts, ran: Ran, runtime: SkillRuntime
) -> tuple[Control, ...] | None:
    """Ask the check about wrong arguments, then once more about the right ones.

    The order is drawn, and the right question comes last, for a check whose answers depend on
    what it was asked before is none. None where it now says no.
    """
    rng = random.Random(derive_seed("controls", skill.id, start.task.id))
    tried: list[Wrong] = wrong_arguments(
        start.skill, start.arguments, start.entities, starts.elsewhere, rng
    )
    asked = [(number, late) for number in range(len(tried)) for late in (False, True)]
    rng.shuffle(asked)
    said: dict[tuple[int, bool], bool] = {}
    for number, late in asked:
        state = ran.final if late else ran.initial
        said[number, late] = await _says(
            skill, ran.initial, state, tried[number].arguments, runtime
        )
    if not await _says(skill, ran.initial, ran.final, start.arguments, runtime):
        return None
    # What was so before, the replay has not brought about.
    brought = [number for number in range(len(tried)) if not said[number, False]]
    return (
        Control(wrong=UNTOUCHED, passed=False),
        *(Control(wrong=tried[number].wrong, passed=said[number, True]) for number in brought),
    )


async def _instead(
    skill: Skill,
    start: Start,
    starts: Starts,
    environment: Environment,
    runtime: SkillRuntime,
) -> tuple[Control, ...]:
    """Ask the check about the right arguments where another call was made in the skill's place."""
    controls: list[Control] = []
    for call in starts.other_calls(start):
        await environment.reset(start.task, 0)
        for first in start.lead_in:
            await environment.step(first)
        initial = await cast("HasState", environment).state()
        result = await environment.step(call)
        final = await cast("HasState", environment).state()
        if result.error is not None or initial == final:
            continue  # it says no more than doing nothing
        passed = await _says(skill, initial, final, start.arguments, runtime)
        controls.append(Control(wrong=INSTEAD, passed=passed))
        if len(controls) == EACH:
            break
    return tuple(controls)


async def _says(
    skill: Skill,
    initial: JsonObject,
    final: JsonObject,
    arguments: JsonObject,
    runtime: SkillRuntime,
) -> bool:
    """What the check says of arguments that may make no sense; raising is no."""
    try:
        return await effect_shows(skill, initial, final, arguments, runtime)
    except SkillFaultError:
        return False


async def effect_shows(
    skill: Skill,
    initial: JsonObject,
    final: JsonObject,
    arguments: JsonObject,
    runtime: SkillRuntime,
) -> bool:
    """Whether the effect check passes.

    Raises:
        SkillFaultError: it raised, or did not end in time.
    """
    inputs: JsonObject = {"initial": initial, "final": final, **arguments}
    shown = await runtime.evaluate(skill.effect_source, "check", inputs, origin=skill.origin)
    return shown is True


class Shown(NamedTuple):
    """What an effect check says after a skill ran for somebody."""

    effect: bool | None
    """None where it could not be asked."""
    reason: str = ""
    """Why it is not True."""


async def effect_after(
    skill: Skill,
    initial: JsonObject | None,
    final: JsonObject | None,
    arguments: JsonObject,
    runtime: SkillRuntime,
) -> Shown:
    """Ask the effect check of a skill that serves, which raises nothing.

    Args:
        skill: that ran.
        initial: the state before; None where the environment tells none.
        final: the state after, or None.
        arguments: it was called with.
        runtime: holds the check's box; may be the one in which the skill ran.
    """
    if initial is None or final is None:
        return Shown(None, "the environment tells no state, so its effect cannot be checked")
    try:
        effect = await effect_shows(skill, initial, final, arguments, runtime)
    except SkillFaultError as error:
        return Shown(False, str(error))
    return Shown(effect, "" if effect else "its effect check failed afterwards")

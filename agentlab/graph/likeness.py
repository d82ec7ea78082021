"""Whether served skills do what a candidate does: the last stage of the duplicate check.

Runs in a worker. Two skills are alike where, from the same starts and for the same arguments,
the candidate's own effect check passes after either of them.
"""

from __future__ import annotations

from typing import NamedTuple

from agentlab.executors.fitting import bindings
from agentlab.graph.given import Told
from agentlab.graph.replays import effect_shows, run_skill
from agentlab.graph.starts import ReplayRequest, Start, Starts
from agentlab.protocols import Environment, SkillRuntime
from agentlab.types import EnvironmentRef, Frozen, JsonObject, Skill, Task

LEAST = 2
"""Starts without which nothing is said to be alike."""


class CompareRequest(Frozen):
    """A candidate and the served skills that may do the same."""

    skill: Skill
    rivals: tuple[Skill, ...]
    callees: tuple[Skill, ...] = ()
    """What any of them calls."""
    environment: EnvironmentRef
    setups: tuple[str, ...]
    count: int
    seed: int
    tasks: tuple[Task, ...] = ()
    told: Told = Told()
    """Both as in `ReplayRequest`."""


class Likeness(NamedTuple):
    """How often a rival had the candidate's effect."""

    name: str
    same: int
    starts: int
    """Starts in which the candidate had it."""

    @property
    def alike(self) -> bool:
        """Whether it always did."""
        return self.starts >= LEAST and self.same == self.starts


async def same_effect(
    request: CompareRequest, environment: Environment, runtime: SkillRuntime
) -> tuple[Likeness, ...]:
    """Run the candidate and its rivals from the same starts with the same arguments.

    Raises:
        EnvironmentFaultError: the environment has no grammar or no state.
        SkillFaultError: code cannot be loaded, or the candidate's effect check raised.
    """
    skill = request.skill
    replay = ReplayRequest(
        skill=skill,
        environment=request.environment,
        setups=request.setups,
        count=request.count,
        seed=request.seed,
        tasks=request.tasks,
        told=request.told,
    )
    starts = Starts(replay, environment)
    named = {each.name: each for each in (*request.callees, *request.rivals, skill)}
    await runtime.open(tuple(named.values()), environment.tools)
    same = {rival.name: 0 for rival in request.rivals}
    shown = 0
    for number in range(3 * request.count):
        start = await starts.find(number)
        if start is None or not await _has_effect(
            skill, skill, start.arguments, start, environment, runtime
        ):
            continue
        starts.used(start)
        shown += 1
        for rival in request.rivals:
            arguments = _translated(skill, rival, start)
            if arguments is not None:
                same[rival.name] += await _has_effect(
                    rival, skill, arguments, start, environment, runtime
                )
        if shown == request.count:
            break
    return tuple(Likeness(name, count, shown) for name, count in same.items())


async def _has_effect(
    called: Skill,
    candidate: Skill,
    arguments: JsonObject,
    start: Start,
    environment: Environment,
    runtime: SkillRuntime,
) -> bool:
    """Whether calling a skill there brings about what the candidate promises."""
    ran = await run_skill(called.name, arguments, start.free, start.lead_in, environment, runtime)
    if ran is None or not ran.completed:
        return False
    before, wanted = ran.initial, start.arguments
    if await effect_shows(candidate, before, before, wanted, runtime):
        return False
    return await effect_shows(candidate, before, ran.final, wanted, runtime)


def _translated(skill: Skill, rival: Skill, start: Start) -> JsonObject | None:
    """The rival's arguments that mean the same; None where it does not apply there."""
    if skill.achieves is None or rival.achieves is None:
        return _paired(skill, rival, start.arguments)
    if skill.achieves.predicate != rival.achieves.predicate:
        return None
    wanted = {
        str(parameter): start.arguments[str(skill.achieves.arguments[name])]
        for name, parameter in rival.achieves.arguments.items()
        if name in skill.achieves.arguments
    }
    return next(
        (
            arguments
            for arguments in bindings(rival, None, start.entities)
            if all(arguments[name] == value for name, value in wanted.items())
        ),
        None,
    )


def _paired(skill: Skill, rival: Skill, arguments: JsonObject) -> JsonObject | None:
    """The arguments under the rival's names: the same names, or the same types, each once."""
    mine = {p.name: p.type for p in skill.parameters}
    theirs = {p.name: p.type for p in rival.parameters}
    if mine.keys() == theirs.keys():
        return arguments
    if sorted(mine.values()) != sorted(theirs.values()) or len(set(mine.values())) < len(mine):
        return None
    by_type = {kind: arguments[name] for name, kind in mine.items()}
    return {name: by_type[kind] for name, kind in theirs.items()}

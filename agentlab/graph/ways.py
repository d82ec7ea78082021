"""New ways to what a skill used to bring about, searched from fresh starts.

Runs in a worker, on one environment and one runtime; reads and writes no record. The old code is
run once without an environment, only to see which calls it would make; the search then stays
near those. What counts as found is the skill's own effect check, and the task's verifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from pydantic import Field, JsonValue

from agentlab.executors.retracing import Retracer, templated
from agentlab.graph.replays import effect_shows
from agentlab.graph.starts import ReplayRequest, Start, Starts
from agentlab.protocols import Environment, EpisodeOver, HasState, SkillRuntime
from agentlab.types import Frozen, JsonObject, Observation, StepResult, ToolCall

LONGEST = 40
"""Calls of the old code that are looked at."""
TRIES = 3
"""Start states in which the search may fail before it is given up."""


class WaysRequest(Frozen):
    """Whose ways to search, and how long."""

    replay: ReplayRequest
    wanted: int = 2
    tool_calls: int = 400
    """Those of all searches together, going back included."""
    renamed: dict[str, str] = Field(default_factory=dict[str, str])
    """Names that changed, as other skills showed; see `retracing.templated`."""


class FoundWay(Frozen):
    """A way that works, and what the old code called in its place."""

    task_id: str
    arguments: JsonObject
    calls: tuple[ToolCall, ...]
    olds: tuple[int | None, ...]
    before: tuple[ToolCall, ...]


class WaysReply(Frozen):
    """What the searches came to."""

    ways: tuple[FoundWay, ...] = ()
    renamed: dict[str, str] = Field(default_factory=dict[str, str])
    tool_calls: int = 0
    steps: int = 0


async def find_ways(
    request: WaysRequest, environment: Environment, runtime: SkillRuntime
) -> WaysReply:
    """Ways from so many starts, with different arguments; fewer where none are found.

    Raises:
        EnvironmentFaultError: the environment has no grammar or no state.
        SkillFaultError: the code cannot be loaded, or its effect check raised.
    """
    skill = request.replay.skill
    starts = Starts(request.replay, environment)
    await runtime.open((skill, *request.replay.callees), environment.tools)
    ways: list[FoundWay] = []
    renamed = dict(request.renamed)
    calls = steps = failures = 0
    for number in range(10 * request.wanted):
        if len(ways) == request.wanted or failures == TRIES or calls >= request.tool_calls:
            break
        start = await starts.find(number)
        if start is None:
            continue
        starts.used(start)
        before = await _would_call(skill.name, start, runtime)
        given = [str(value) for value in _leaves(start.arguments)]
        begun = await _begun(start, environment)
        if begun is None:
            continue
        observation, initial = begun
        if await effect_shows(skill, initial, initial, start.arguments, runtime):
            continue

        async def reached(
            result: StepResult, initial: JsonObject = initial, start: Start = start
        ) -> bool:
            if not start.lead_in and not result.succeeded:
                return False
            final = await cast("HasState", environment).state()
            return await effect_shows(skill, initial, final, start.arguments, runtime)

        search = Retracer(
            environment,
            start.task,
            before,
            given=given,
            renamed=renamed,
            reached=reached,
            calls=request.tool_calls - calls,
        )
        found = await search.find(observation)
        calls += found.tool_calls
        steps += found.steps
        if found.way is None:
            failures += 1
            continue
        way = FoundWay(
            task_id=start.task.id,
            arguments=start.arguments,
            calls=found.way.calls,
            olds=found.way.olds,
            before=tuple(before),
        )
        renamed.update(_renamings(way, given))
        ways.append(way)
    return WaysReply(ways=tuple(ways), renamed=renamed, tool_calls=calls, steps=steps)


async def _begun(start: Start, environment: Environment) -> tuple[Observation, JsonObject] | None:
    """What is shown and the state where the skill would begin; None where it is over before."""
    observation = await environment.reset(start.task, 0)
    for call in start.lead_in:
        result = await environment.step(call)
        if result.terminated or result.truncated:
            return None
        observation = result.observation
    return observation, await cast("HasState", environment).state()


async def _would_call(name: str, start: Start, runtime: SkillRuntime) -> list[ToolCall]:
    """The calls that the code makes where all of them are carried out and show nothing."""
    calls: list[ToolCall] = []
    shown = Observation(text="", entities=start.entities)

    async def perform(call: ToolCall) -> StepResult:
        if len(calls) == LONGEST:
            raise EpisodeOver
        calls.append(call)
        return StepResult(observation=shown)

    await runtime.call(name, start.arguments, perform)
    return calls


def _renamings(way: FoundWay, given: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names that a way shows to have changed, values apart."""
    values = sorted((text for text in given if text), key=len, reverse=True)
    for call, old in zip(way.calls, way.olds, strict=True):
        if old is None or way.before[old].tool != call.tool:
            continue
        for name, value in way.before[old].arguments.items():
            new = call.arguments.get(name)
            if isinstance(value, str) and isinstance(new, str) and value != new:
                yield templated(value, values), templated(new, values)


def _leaves(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield value

"""Checks of what every environment promises: contract, determinism, schemas, refusals, reset.

A check uses fresh instances. It returns the number of cases that it rests on, and raises
`AssertionError` with a sentence where a promise is broken.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from pydantic import JsonValue

from agentlab.environments import probing
from agentlab.environments.pacing import in_time, was_cut
from agentlab.environments.probing import Opened, Walk
from agentlab.protocols import (
    Environment,
    EnvironmentFactory,
    HasOracle,
    HasSnapshots,
)
from agentlab.types import (
    JsonObject,
    Observation,
    StepResult,
    Task,
    ToolCall,
    canonical_json,
    derive_seed,
)

NOBODY: JsonObject = {"no": "such thing"}
WRONG: tuple[JsonValue, ...] = (NOBODY, [], "no such thing", -7, None, {"kind": {"a": [NOBODY]}})
"""Arguments that point at nothing."""


async def contract(factory: EnvironmentFactory, tasks: Sequence[Task]) -> int:
    """Results are what their types say, the state is JSON, and closing twice is fine."""
    count = 0
    for task in in_time(tasks):
        environment = factory()
        walk = await probing.wander(environment, task, length=probing.WANDER)
        for call, result in zip(walk.calls, walk.results, strict=True):
            _valid(result, call)
        await environment.close()
        await environment.close()
        count += 1
    return count


def _valid(result: StepResult, call: ToolCall) -> None:
    again = StepResult.model_validate_json(result.model_dump_json())
    assert again == result, f"The result of {probing.say(call)} is not plain data."
    references = [canonical_json(entity.reference) for entity in result.observation.entities]
    twice = sorted({r for r in references if references.count(r) > 1})
    assert not twice, f"After {probing.say(call)} two entities share the reference {twice[0]}."
    assert result.steps >= 0, f"{probing.say(call)} took {result.steps} steps."
    assert not (result.error and result.steps), f"{probing.say(call)} was refused but took steps."


async def determinism(factory: EnvironmentFactory, tasks: Sequence[Task]) -> int:
    """The same calls from the same task and seed give the same results, states included."""
    count = 0
    for task in in_time(tasks):
        async with Opened(factory) as first, Opened(factory) as second:
            solution = await probing.oracle_of(first, task)
            for salt in ("a", "b"):
                one = await probing.wander(first, task, length=probing.WANDER, salt=salt)
                two = await probing.wander(second, task, length=probing.WANDER, salt=salt)
                probing.same(one.records, two.records, one.calls, task, "two instances")
            if solution:
                walks: list[Walk] = []
                for environment in (first, second):
                    await probing.start(environment, task)
                    walks.append(await probing.follow(environment, solution))
                probing.same(walks[0].records, walks[1].records, solution, task, "two instances")
        count += 1
    return count


async def tool_schemas(factory: EnvironmentFactory, tasks: Sequence[Task]) -> int:
    """Tool schemas are well formed, and the calls they allow are the calls that work."""
    tried: dict[str, int] = {}
    worked: set[str] = set()
    async with Opened(factory) as environment:
        guided = isinstance(environment, HasOracle)  # chance alone misses what takes many steps
        tools = tuple(environment.tools)
        names = [tool.name for tool in tools]
        assert tools, "There are no tools."
        assert len(set(names)) == len(names), f"Two tools share a name: {sorted(names)}."
        for tool in tools:
            usable = tool.name.isidentifier() and not tool.name.startswith("_")
            assert usable and tool.name != "skills", f"{tool.name!r} cannot be called from code."
            fault = probing.schema_fault(tool.parameters, tool.name)
            assert fault is None, f"{fault}."
        schemas = {tool.name: tool.parameters for tool in tools}
        for task in in_time(tasks):
            observation, _ = await probing.start(environment, task)
            _count(await probing.wander(environment, task, length=probing.WANDER), tried, worked)
            for call in await probing.oracle_of(environment, task) or ():
                assert call.tool in schemas, f"The oracle calls {call.tool!r}, which is no tool."
                why = probing.mismatch(schemas[call.tool], call.arguments)
                assert why is None, f"The oracle's {probing.say(call)} breaks the schema: {why}."
            observation, _ = await probing.start(environment, task)
            await _try_unused(environment, task, observation, tried, worked)
            assert tuple(environment.tools) == tools, "The tools changed during an episode."
    assert worked, "No call that the schemas allow was ever carried out."
    for name, count in tried.items():
        assert name in worked or count < probing.WANDER or not guided or was_cut(), (
            f"{name!r} was refused all {count} times that its schema was followed: the schema "
            "is wrong, or no task given lets the tool be used."
        )
    return sum(tried.values())


async def _try_unused(
    environment: Environment,
    task: Task,
    observation: Observation,
    tried: dict[str, int],
    worked: set[str],
) -> None:
    """Along the solution, try the tools that never worked so far, and go back each time."""
    entities = observation.entities
    rng = random.Random(derive_seed("check", task.id))
    for call in await probing.oracle_of(environment, task) or ():
        if isinstance(environment, HasSnapshots):
            for tool in environment.tools:
                calls = probing.calls_of(tool, entities) if tool.name not in worked else []
                saved = await environment.snapshot()
                for chosen in rng.sample(calls, min(4, len(calls))):
                    _count(await probing.follow(environment, [chosen]), tried, worked)
                    await environment.restore(saved)
        walk = await probing.follow(environment, [call])
        _count(walk, tried, worked)
        entities = walk.results[-1].observation.entities


def _count(walk: Walk, tried: dict[str, int], worked: set[str]) -> None:
    for call, result in zip(walk.calls, walk.results, strict=True):
        tried[call.tool] = tried.get(call.tool, 0) + 1
        if result.error is None:
            worked.add(call.tool)


async def refusals(factory: EnvironmentFactory, tasks: Sequence[Task]) -> int:
    """A call that makes no sense gives a result with `error`, and changes nothing."""
    count = 0
    for task in in_time(tasks):
        async with Opened(factory) as environment:
            observation, _ = await probing.start(environment, task)
            before = canonical_json([probing.shown(observation), await _inner(environment)])
            for call in _senseless(environment, observation):
                result = await environment.step(call)
                assert result.error, f"{probing.say(call)} makes no sense and was not refused."
                assert result.steps == 0, f"{probing.say(call)} was refused but took steps."
                ended = result.terminated or result.truncated
                assert not ended, f"{probing.say(call)} was refused but ended the episode."
                after = [probing.shown(result.observation), await _inner(environment)]
                assert canonical_json(after) == before, f"{probing.say(call)} changed something."
                count += 1
    return count


async def _inner(environment: Environment) -> list[JsonValue]:
    """The state, and the key of a snapshot as text, where there are such."""
    key = ""
    if isinstance(environment, HasSnapshots):
        key = repr((await environment.snapshot()).key)
    return [await probing.state_of(environment), key]


def _senseless(environment: Environment, observation: Observation) -> Iterable[ToolCall]:
    yield ToolCall(tool=probing.UNKNOWN_TOOL)
    yield ToolCall(tool="")
    for tool in environment.tools:
        properties = probing.properties_of(tool)
        required = probing.required_of(tool)
        calls = probing.calls_of(tool, observation.entities)
        good = calls[0].arguments if calls else {}
        if tool.parameters.get("additionalProperties") is False and (calls or not required):
            yield ToolCall(tool=tool.name, arguments={**good, "no_such_argument": 1})
        for name in required:
            rest = {key: value for key, value in good.items() if key != name}
            yield ToolCall(tool=tool.name, arguments=rest)
            for wrong in WRONG:
                schema = properties[name]
                # Plain text and numbers may be new; `x-entity` only says what there is to try.
                points = "x-entity" in schema and not _plain(schema)
                if points or probing.mismatch(schema, wrong):
                    yield ToolCall(tool=tool.name, arguments={**good, name: wrong})


def _plain(schema: JsonObject) -> bool:
    """Whether the schema itself says that the parameter takes text or numbers."""
    kinds = schema.get("type")
    several = kinds if isinstance(kinds, list) else [kinds]
    return any(kind in ("string", "number", "integer") for kind in several)


async def reset_cleanliness(factory: EnvironmentFactory, tasks: Sequence[Task]) -> int:
    """Whatever happened before, a reset gives what a fresh instance gives."""
    count = 0
    async with Opened(factory) as used:
        for index, task in in_time(enumerate(tasks)):
            await probing.wander(used, tasks[index - 1], length=probing.WANDER, salt="before")
            async with Opened(factory) as fresh:
                want = await probing.wander(fresh, task, length=probing.WANDER)
            got = await probing.wander(used, task, length=probing.WANDER)
            probing.same(want.records, got.records, want.calls, task, "a fresh and a used one")
            for calls in _parts(tuple(await probing.oracle_of(used, task) or ())):
                async with Opened(factory) as fresh:
                    await probing.start(fresh, task)
                    want = await probing.follow(fresh, calls)
                await probing.start(used, task)
                got = await probing.follow(used, calls)
                probing.same(want.records, got.records, want.calls, task, "a fresh and a used one")
            count += 1
    return count


def _parts(solution: tuple[ToolCall, ...]) -> list[tuple[ToolCall, ...]]:
    """Parts of a solution, left unfinished in turn and cut off at the front.

    A verifier that remembers an earlier episode takes a mere end of the solution for all of it.
    """
    cuts = range(1, len(solution), max(1, len(solution) // 4))
    parts = [solution]
    for cut in cuts:
        parts += [solution[:-1], solution[cut:]]
    return parts

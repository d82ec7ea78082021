"""Solved attempts to learn from: of the courier's world, and written out by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.envs.courier.environment import Courier
from agentlab.executors.recorder import Recorder
from agentlab.executors.searcher import PlannedMove
from agentlab.protocols import CurationContext, Grammar
from agentlab.types import (
    Clause,
    ClauseTemplate,
    Entity,
    GrammarSpec,
    Invocation,
    JsonObject,
    Mission,
    Observation,
    PastAttempt,
    Skill,
    Step,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    Trajectory,
)


def courier_attempts(
    predicate: str, setup: str, count: int, *, first: int = 0
) -> list[PastAttempt]:
    """Attempts that did one clause of the predicate, as the courier's oracle does it."""

    async def work() -> list[PastAttempt]:
        courier = Courier()
        found: list[PastAttempt] = []
        for seed in range(first, first + 400):
            for task in courier.tasks("practice", 1, seed):
                mission = task.mission
                if mission is None or len(mission.clauses) != 1:
                    continue
                if task.setup["setup"] != setup or mission.clauses[0].predicate != predicate:
                    continue
                calls = await courier.oracle(task)
                assert calls is not None
                recorder = Recorder(courier, await courier.reset(task, 0))
                await recorder.start()
                await recorder.follow([PlannedMove((call,)) for call in calls])
                trajectory = recorder.trajectory()
                found.append(PastAttempt(task, f"a-{task.id}", True, trajectory, len(calls)))
            if len(found) == count:
                return found
        raise AssertionError(f"too few {predicate} tasks in {setup}")

    return asyncio.run(work())


def courier_context(
    attempts: Sequence[PastAttempt],
    *,
    library: Sequence[Skill] = (),
    refused: Sequence[Skill] = (),
    compose: bool = True,
) -> CurationContext:
    courier = Courier()
    return CurationContext(
        environment="courier",
        toolset="all",
        attempts=attempts,
        library=library,
        refused=refused,
        tools=courier.tools,
        grammar=courier.grammar(),
        compose=compose,
    )


class WordGrammar:
    """`on(x)` holds for what the state lists, `held(x)` for what is in the hand."""

    @property
    def spec(self) -> GrammarSpec:
        return GrammarSpec(
            templates=(
                ClauseTemplate(predicate="on", parameters={"x": {}}, descriptors=("id",)),
                ClauseTemplate(predicate="held", parameters={"x": {}}, descriptors=("id",)),
                ClauseTemplate(
                    predicate="beside", parameters={"x": {}, "y": {}}, descriptors=("id",)
                ),
            ),
            setups=("easy",),
        )

    def compose(self, mission: Mission | None, setup: str, seed: int) -> Task:
        raise NotImplementedError

    def parse(self, instruction: str) -> Mission:
        raise NotImplementedError

    def achieved(self, before: JsonObject, after: JsonObject) -> Sequence[Clause]:
        return [clause for clause in _facts(after) if clause not in _facts(before)]


def _facts(state: JsonObject) -> list[Clause]:
    on, pairs, held = state.get("on"), state.get("beside"), state.get("held")
    found = [Clause(predicate="on", arguments={"x": x}) for x in _listed(on)]
    found.extend(
        Clause(predicate="beside", arguments={"x": pair["x"], "y": pair["y"]})
        for pair in _listed(pairs)
        if isinstance(pair, dict)
    )
    if held is not None:
        found.append(Clause(predicate="held", arguments={"x": held}))
    return found


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def thing(name: str, kind: str = "ball", hue: str = "red", **more: JsonValue) -> Entity:
    """An entity whose reference says its name and hue."""
    return Entity(
        type=str(more.pop("type", "thing")),
        reference={"id": name, "hue": hue},
        properties={"id": name, "kind": kind, "hue": hue, **more},
    )


class Done(NamedTuple):
    """A call, the state after it, and the skill it is the first call of, if any."""

    call: ToolCall
    state: JsonObject
    skill: Skill | None = None
    arguments: JsonObject | None = None
    covers: int = 1


def call(tool: str, **arguments: JsonValue) -> ToolCall:
    return ToolCall(tool=tool, arguments=arguments)


def lesson(
    number: int,
    wanted: Sequence[Clause],
    entities: Sequence[Entity],
    before: JsonObject,
    done: Sequence[Done],
    *,
    success: bool | None = True,
) -> PastAttempt:
    """An attempt at a task of its own."""
    shown = Observation(text="", entities=tuple(entities))
    return PastAttempt(
        task=Task(
            id=f"task-{number}",
            environment="words",
            instruction=f"do {number}",
            setup={},
            seed=number,
            template="easy: on",
            mission=Mission(groups=tuple((clause,) for clause in wanted)),
        ),
        attempt_id=f"attempt-{number}",
        success=success,
        trajectory=Trajectory(
            initial=shown,
            initial_state=before,
            steps=tuple(
                Step(call=item.call, result=StepResult(observation=shown), state=item.state)
                for item in done
            ),
            invocations=tuple(
                Invocation(
                    skill=item.skill.name,
                    skill_id=item.skill.id,
                    arguments=item.arguments or {},
                    first_step=place,
                    end_step=place + item.covers,
                )
                for place, item in enumerate(done)
                if item.skill is not None
            ),
        ),
        tool_calls=len(done),
    )


def on(entity: Entity) -> Clause:
    return Clause(predicate="on", arguments={"x": {"id": entity.properties["id"]}})


def held(entity: Entity) -> Clause:
    return Clause(predicate="held", arguments={"x": {"id": entity.properties["id"]}})


def word_tool(name: str, *parameters: str, **narrow: JsonObject) -> ToolSpec:
    properties: JsonObject = {p: {"x-entity": "*", **narrow.get(p, {})} for p in parameters}
    return ToolSpec(
        name=name,
        description=name,
        parameters={"type": "object", "properties": properties, "required": list(parameters)},
    )


TOOLS = (
    word_tool("grab", "x"),
    word_tool("drop"),
    word_tool("press", "x"),
    word_tool("join", "x", "y"),
)


def word_context(
    attempts: Sequence[PastAttempt],
    *,
    library: Sequence[Skill] = (),
    refused: Sequence[Skill] = (),
    compose: bool = True,
    tools: Sequence[ToolSpec] = TOOLS,
    grammar: Grammar | None = None,
) -> CurationContext:
    return CurationContext(
        environment="words",
        toolset="all",
        attempts=attempts,
        library=library,
        refused=refused,
        tools=tools,
        grammar=grammar or WordGrammar(),
        compose=compose,
    )

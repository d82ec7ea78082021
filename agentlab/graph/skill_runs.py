"""A verified skill run by itself: no model, no search, no task.

The user names the start state and the arguments; the skill's own precondition is asked before
and its effect check after, so that the answer is whether it did what it says. Nothing is
measured by it: who chose to call it is known, and no draw decided.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.config import BoxName
from agentlab.environments.registration import base_name, make_environment
from agentlab.errors import InvalidTaskError, UnknownNameError, UsageError
from agentlab.executors.fitting import bindings, unfit
from agentlab.graph.practice import toolset_name
from agentlab.graph.replays import effect_after, run_skill
from agentlab.library.skills import SkillLibrary, closure
from agentlab.protocols import Environment, HasGrammar, HasState, HasTasks, SkillRuntime
from agentlab.records import Records, Workspace
from agentlab.sandbox import open_runtime
from agentlab.types import (
    Entity,
    EnvironmentRef,
    JsonObject,
    Parameter,
    Skill,
    Task,
    canonical_json,
    fits,
    satisfies,
)
from agentlab.types.report import SkillRunReport

LISTED = 8
"""Entities that an error names at most."""


class Asked(NamedTuple):
    """What the user asked for."""

    name: str
    environment: EnvironmentRef
    arguments: Mapping[str, str]
    """Parameter to JSON, a reference, or words that describe an entity: `red ball`."""
    setup: str | None = None
    """Start-state family; the first in which the skill can run, else."""
    seed: int = 0


def run_in_workspace(
    workspace: Path | str, asked: Asked, *, box: BoxName = "auto"
) -> SkillRunReport:
    """As `run_by_itself`, with the library of a workspace and in a box of that name.

    Raises:
        SkillRefusedError: the box cannot be used here, or does not take the skill's code.
    """

    async def work() -> SkillRunReport:
        with Records.open(Workspace.open(workspace, create=False)) as records:
            runtime = open_runtime(box, spares=0)
            try:
                report = await run_by_itself(records, asked, runtime)
                return report.model_copy(update={"box": runtime.name})
            finally:
                await runtime.close()

    return asyncio.run(work())


async def run_by_itself(records: Records, asked: Asked, runtime: SkillRuntime) -> SkillRunReport:
    """Run a served skill once and say what came of it.

    A skill that fails is told in the report; only what was asked wrongly raises.

    Raises:
        UnknownNameError: no skill of that name is served, or there is no such start state.
        UsageError: the environment tells no state, or the arguments fit nothing.
    """
    environment = make_environment(asked.environment)
    try:
        if not isinstance(environment, HasState):
            raise UsageError(
                f"The environment {asked.environment.name!r} has no state(), so no effect can be "
                "checked; run the skill in one that has."
            )
        skill, others = _served(records, asked, environment)
        task, entities = await _start(environment, skill, asked)
        state = await cast("HasState", environment).state()
        arguments = _bind(skill, asked.arguments, entities)
        if (why := unfit(skill, arguments, state, entities)) is not None:
            return _report(skill, asked, task, arguments, why)
        await runtime.open((skill, *others), environment.tools)
        ran = await run_skill(skill.name, arguments, task, (), environment, runtime)
        if ran is None:
            return _report(skill, asked, task, arguments, "the episode was over before it began")
        report = _report(skill, asked, task, arguments, ran.error or "")
        report = report.model_copy(
            update={
                "completed": ran.completed,
                "tool_calls": len(ran.results),
                "steps": sum(result.steps for result in ran.results),
                "observation": ran.results[-1].observation.text if ran.results else "",
                "changed": {
                    key: value for key, value in ran.final.items() if ran.initial.get(key) != value
                },
            }
        )
        effect, why = await effect_after(skill, ran.initial, ran.final, arguments, runtime)
        return report.model_copy(update={"effect": effect, "reason": report.reason or why})
    finally:
        await environment.close()


def _served(
    records: Records, asked: Asked, environment: Environment
) -> tuple[Skill, Sequence[Skill]]:
    toolset = toolset_name(environment.tools)
    place = base_name(asked.environment.name)
    with SkillLibrary(records, place, toolset=toolset, backend="exact", foreign=True) as library:
        library.refresh()
        by_name = {skill.name: skill for skill in library.skills.values()}
    if asked.name not in by_name:
        raise UnknownNameError("served skill", asked.name, by_name)
    skill = by_name[asked.name]
    return skill, closure([skill], by_name)[1:]


async def _start(
    environment: Environment, skill: Skill, asked: Asked
) -> tuple[Task, Sequence[Entity]]:
    """A start state without a goal: the one asked for, or the first in which the skill can run."""
    if isinstance(environment, HasGrammar):
        setups = environment.grammar().spec.setups
        if asked.setup is not None and asked.setup not in setups:
            raise UnknownNameError("start state", asked.setup, setups)
        first: tuple[Task, Sequence[Entity]] | None = None
        for setup in (asked.setup,) if asked.setup is not None else setups:
            try:
                task = environment.grammar().compose(None, setup, asked.seed)
            except InvalidTaskError:
                continue
            entities = (await environment.reset(task, 0)).entities
            first = first or (task, entities)
            if any(True for _ in _fitting(skill, asked.arguments, entities)):
                return task, entities
        if first is not None:
            await environment.reset(first[0], 0)
            return first
    elif isinstance(environment, HasTasks):
        task = environment.tasks("practice", 1, asked.seed)[0]
        return task, (await environment.reset(task, 0)).entities
    raise UsageError(
        f"The environment {asked.environment.name!r} offers no start state; it needs grammar() "
        "or tasks()."
    )


def _bind(skill: Skill, given: Mapping[str, str], entities: Sequence[Entity]) -> JsonObject:
    """The arguments: what was given, and for the rest the first that fits."""
    known = {parameter.name for parameter in skill.parameters}
    for name in given:
        if name not in known:
            raise UnknownNameError(f"argument of {skill.name}", name, known)
    for arguments in _fitting(skill, given, entities):
        return arguments
    for parameter in skill.parameters:
        fitting = [e for e in entities if _meant(parameter, given.get(parameter.name), e)]
        if not fitting:
            raise UsageError(_nothing_fits(parameter, given.get(parameter.name), entities))
    raise UsageError(
        f"No set of different things fits all arguments of {skill.signature} here; choose another "
        "--seed, --setup or --arg."
    )


def _fitting(
    skill: Skill, given: Mapping[str, str], entities: Sequence[Entity]
) -> Iterator[JsonObject]:
    by_reference = {canonical_json(entity.reference): entity for entity in entities}
    parameters = {parameter.name: parameter for parameter in skill.parameters}
    for arguments in itertools.islice(bindings(skill, None, entities), 10_000):
        if all(
            _meant(parameters[name], words, by_reference[canonical_json(arguments[name])])
            for name, words in given.items()
            if name in parameters
        ):
            yield arguments


def _meant(parameter: Parameter, words: str | None, entity: Entity) -> bool:
    """Whether an entity is of the parameter's type and what was written for it."""
    if parameter.type not in ("*", entity.type) or not fits(parameter, entity, {}):
        return False
    if words is None:
        return True
    value: JsonValue = words
    with contextlib.suppress(ValueError):
        value = json.loads(words)
    if canonical_json(value) == canonical_json(entity.reference):
        return True
    if isinstance(value, dict):
        return bool(value) and satisfies(entity, value)
    said = {text.casefold() for text in _words(entity)}
    return bool(words.split()) and all(word.casefold() in said for word in words.split())


def _words(entity: Entity) -> set[str]:
    """Every word that may be said of it."""
    found = {entity.type}
    for value in entity.properties.values():
        for part in value if isinstance(value, list) else (value,):
            if isinstance(part, str):
                found.update(part.split())
    return found


def _nothing_fits(parameter: Parameter, words: str | None, entities: Sequence[Entity]) -> str:
    there = [
        json.dumps(entity.reference, ensure_ascii=False)
        for entity in entities
        if _meant(parameter, None, entity)
    ]
    what = f"is no {words!r}" if words is not None else "is nothing"
    if not there:
        return (
            f"There {what} for {parameter.name} in this start state, and nothing else that fits; "
            "choose another --seed or --setup."
        )
    listed = ", ".join(there[:LISTED]) + (" …" if len(there) > LISTED else "")
    return f"There {what} for {parameter.name} in this start state; it can be {listed}."


def _report(
    skill: Skill, asked: Asked, task: Task, arguments: JsonObject, reason: str
) -> SkillRunReport:
    return SkillRunReport(
        name=skill.name,
        version=skill.version,
        environment=asked.environment.name,
        setup=task.template.partition(": ")[0],
        seed=asked.seed,
        arguments=arguments,
        reason=reason,
    )

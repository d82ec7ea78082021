"""A skill as a model writes it down, and whether it can be one.

What a model says of its code is not taken on trust: which tools and skills it needs is read from
the source, and what admission's static check would refuse is said at once, while the model can
still mend it. Nothing is run here; that is for a box and for admission.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from agentlab.library.admission import nameable, static_check
from agentlab.library.constants import Particulars
from agentlab.library.syntax import is_env_skills
from agentlab.types import (
    Clause,
    Frozen,
    GrammarSpec,
    JsonObject,
    Parameter,
    PastAttempt,
    Skill,
    ToolSpec,
    canonical_json,
    narrowing,
    skill_id,
)

PLAIN_TYPES = frozenset({"*", "string", "integer", "number", "boolean", "object", "array"})
"""Types of a parameter besides those of shown things."""


class ParameterReply(Frozen):
    """A parameter, as written down."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")
    type: str = Field(max_length=64)
    requires: dict[str, str | int | float | bool] = Field(default_factory=dict)


class FactReply(Frozen):
    """A fact of the state and whether it must have a value."""

    name: str = Field(max_length=100)
    present: bool


class ClauseReply(Frozen):
    """What the function achieves, as the environment's grammar calls it."""

    predicate: str
    arguments: dict[str, str]


class ArgumentsReply(Frozen):
    """What to call the function with to do what was done in an attempt."""

    attempt: int
    arguments: JsonObject


class SkillReply(Frozen):
    """A function, as written down."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")
    summary: str = Field(min_length=1, max_length=300)
    source: str = Field(max_length=6000)
    parameters: tuple[ParameterReply, ...] = Field(max_length=6)
    precondition: tuple[FactReply, ...] = Field(default=(), max_length=6)
    effect: tuple[str, ...] = Field(min_length=1, max_length=8)
    effect_source: str = Field(max_length=3000)
    achieves: ClauseReply | None = None
    tests: tuple[ArgumentsReply, ...] = Field(default=(), max_length=20)


class Ground(NamedTuple):
    """What a reply is held against."""

    environment: str
    toolset: str
    tools: Mapping[str, ToolSpec]
    callable: frozenset[str]
    """Names of the skills that it may call."""
    taken: frozenset[str]
    """Names that it may not have."""
    attempts: Sequence[PastAttempt]
    """What the model was shown, in the order of its numbers; none when it mends."""
    spec: GrammarSpec | None
    particulars: Particulars | None
    before: Skill | None = None
    """The version that it is to mend."""


def skill_of(reply: SkillReply, ground: Ground) -> Skill:
    """The reply as a candidate.

    Raises:
        ValueError: it can be no skill; the text says why, for the model that wrote it.
    """
    before = ground.before
    if before is not None and reply.name != before.name:
        raise ValueError(f"the name must stay {before.name!r}")
    if reply.name in ground.taken:
        raise ValueError(f"the name {reply.name!r} is taken")
    function = _function(reply.source, reply.name)
    _function(reply.effect_source, "check")
    names = [parameter.name for parameter in reply.parameters]
    if len(set(names)) < len(names):
        raise ValueError("two parameters have one name")
    _check_signature(reply.effect_source, names)
    _check_types(reply, ground)
    achieves = _achieves(reply, ground)
    tools, skills = _needs(function)
    if not tools and not skills:
        raise ValueError("it calls no tool and no skill")
    version = 1 if before is None else before.version + 1
    named = {str(name) for name in achieves.arguments.values()} if achieves else set(names)
    skill = Skill(
        id=skill_id(ground.environment, reply.name, version, reply.source),
        name=reply.name,
        version=version,
        environment=ground.environment,
        toolset=ground.toolset,
        source=reply.source,
        parameters=tuple(
            Parameter(
                name=each.name,
                type=each.type,
                requires=dict(each.requires),
                accepts=_accepts(function, each.name, ground.tools),
                from_clause=each.name in named,
            )
            for each in reply.parameters
        ),
        achieves=achieves,
        summary=" ".join(reply.summary.split()),
        precondition={fact.name: {"present": fact.present} for fact in reply.precondition},
        effect_source=reply.effect_source,
        effect=tuple(" ".join(line.split()) for line in reply.effect),
        tools=tools,
        skills=skills,
        tests=_kept_tests(before, named) if before else _tests(reply, ground, named),
        origin="model",
        source_tasks=before.source_tasks if before else _distinct(ground, "task"),
        source_attempts=before.source_attempts if before else _distinct(ground, "attempt"),
        parent=before.id if before else None,
    )
    clauses = nameable(skill, ground.spec)
    reason = static_check(
        skill,
        ground.tools.keys(),
        ground.callable,
        ground.particulars,
        clauses,
        specs=tuple(ground.tools.values()),
    )
    if reason is not None:
        raise ValueError(reason.removeprefix("static: "))
    return skill


def _function(source: str, name: str) -> ast.FunctionDef:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the code of {name!r} does not parse: {error}") from None
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef):
        raise ValueError(f"the code must be exactly one function called {name!r}")
    return tree.body[0]


def _check_signature(effect_source: str, names: Sequence[str]) -> None:
    arguments = _function(effect_source, "check").args
    fixed = [argument.arg for argument in arguments.args]
    if fixed != ["initial", "final"] or [a.arg for a in arguments.kwonlyargs] != list(names):
        wanted = ", ".join(["initial", "final", *(["*", *names] if names else [])])
        raise ValueError(f"the effect check must be `def check({wanted})`")


def _check_types(reply: SkillReply, ground: Ground) -> None:
    known = PLAIN_TYPES | {
        entity.type
        for attempt in ground.attempts
        if attempt.trajectory is not None
        for entity in attempt.trajectory.initial.entities
    }
    if ground.before is not None:
        known |= {parameter.type for parameter in ground.before.parameters}
    values = ground.particulars.values if ground.particulars else frozenset[str]()
    for parameter in reply.parameters:
        if parameter.type not in known:
            raise ValueError(f"{parameter.type!r} is no type; known are {sorted(known)}")
        for name, value in parameter.requires.items():
            if canonical_json(value) in values:
                what = f"{parameter.name!r} requires {name!r} to be {value!r}"
                raise ValueError(f"{what}, which belongs to one task")


def _achieves(reply: SkillReply, ground: Ground) -> Clause | None:
    """What it achieves in the grammar's words; nothing where there is no grammar."""
    if ground.spec is None or reply.achieves is None:
        return None
    template = next(
        (t for t in ground.spec.templates if t.predicate == reply.achieves.predicate), None
    )
    if template is None:
        known = sorted(t.predicate for t in ground.spec.templates)
        raise ValueError(f"nothing is achieved by that name; known are {known}")
    if reply.achieves.arguments.keys() != template.parameters.keys():
        raise ValueError(f"the arguments of {template.predicate!r} are {list(template.parameters)}")
    names = {parameter.name for parameter in reply.parameters}
    if not set(reply.achieves.arguments.values()) <= names:
        raise ValueError("`achieves` names what is no parameter of the function")
    arguments: JsonObject = dict(reply.achieves.arguments)
    return Clause(predicate=template.predicate, arguments=arguments)


def _needs(function: ast.FunctionDef) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the tools and of the skills that it calls, from its source."""
    tools: set[str] = set()
    skills: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute):
            if is_env_skills(node.value):
                skills.add(node.attr)
            elif isinstance(node.value, ast.Name) and node.value.id == "env":
                tools.add(node.attr)
    return tuple(sorted(tools - {"skills"})), tuple(sorted(skills))


def _accepts(
    function: ast.FunctionDef, parameter: str, tools: Mapping[str, ToolSpec]
) -> tuple[JsonObject, ...]:
    """What the tools accept to which the parameter is handed as it is."""
    found: list[JsonObject] = []
    for tool, keyword in _handed(function, parameter):
        properties = tools[tool].parameters.get("properties") if tool in tools else None
        schema = properties.get(keyword) if isinstance(properties, dict) else None
        narrow = narrowing(schema) if isinstance(schema, dict) else {}
        if narrow and narrow not in found:
            found.append(narrow)
    return tuple(found)


def _handed(function: ast.FunctionDef, parameter: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            for keyword in node.keywords:
                value = keyword.value
                if isinstance(value, ast.Name) and value.id == parameter and keyword.arg:
                    yield node.func.attr, keyword.arg


def _tests(reply: SkillReply, ground: Ground, named: set[str]) -> tuple[JsonObject, ...]:
    """The argument sets of the attempts that it was learnt from."""
    names = {parameter.name for parameter in reply.parameters}
    if not reply.tests:
        raise ValueError("it has no tests: say with which arguments it does what an attempt did")
    found: dict[str, JsonObject] = {}
    for number, test in enumerate(reply.tests, start=1):
        if not 1 <= test.attempt <= len(ground.attempts):
            raise ValueError(f"test {number} names attempt {test.attempt}, which was not shown")
        if test.arguments.keys() != names:
            raise ValueError(f"test {number} must give exactly the arguments {sorted(names)}")
        attempt = ground.attempts[test.attempt - 1]
        there = _mentioned(attempt)
        for name, value in test.arguments.items():
            if canonical_json(value).strip('"') not in there:
                raise ValueError(
                    f"test {number} gives {name!r} a value that attempt {test.attempt} never had"
                )
        arguments = {name: value for name, value in test.arguments.items() if name in named}
        row: JsonObject = {"task": attempt.task.id, "arguments": arguments}
        found.setdefault(canonical_json(row), row)
    return tuple(found.values())


def _kept_tests(before: Skill, named: set[str]) -> tuple[JsonObject, ...]:
    """The tests of an earlier version that still fit what the caller gives."""
    return tuple(
        test
        for test in before.tests
        if isinstance(given := test.get("arguments"), dict) and given.keys() == named
    )


def _mentioned(attempt: PastAttempt) -> str:
    """Everything that could be an argument in an attempt, as one text."""
    parts: list[object] = [attempt.task.parameters]
    if attempt.trajectory is not None:
        shown = [attempt.trajectory.initial]
        shown += [step.result.observation for step in attempt.trajectory.steps]
        parts += [call.arguments for call in attempt.trajectory.calls]
        parts += [entity.reference for each in shown for entity in each.entities]
    return canonical_json(parts) + attempt.task.instruction


def _distinct(ground: Ground, what: str) -> tuple[str, ...]:
    return tuple(sorted({a.task.id if what == "task" else a.attempt_id for a in ground.attempts}))

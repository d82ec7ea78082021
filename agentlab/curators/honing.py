"""Mending a refused candidate by what tells its failed replays from those that passed.

In this order, one change a version: a kind of thing that it does not work on is excluded, a
fact that must or must not be there becomes a precondition, a property that its things had
wherever it worked becomes a requirement, a step that was refused each time is left out, and a
requirement that left too little to try it on is dropped. What helps is for admission to find
out; a remedy that is only luck fails there again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

from agentlab.curators.examples import grammar_of
from agentlab.curators.writing import precondition_text, quoted
from agentlab.protocols import HoningContext
from agentlab.types import JsonObject, Parameter, Replay, Skill, skill_id

SCARCE = "unseen argument sets were found"
"""What admission says where a candidate could not be tried often enough."""


def mend(context: HoningContext) -> Skill | None:
    """The next version, or None where the replays show no remedy."""
    skill = context.skill
    good = [replay for replay in context.replays if _worked(replay)]
    bad = [replay for replay in context.replays if not _worked(replay) and not _void(replay)]
    if not bad:
        return _widened(context) if SCARCE in context.reason else None
    return (
        _narrowed(skill, good, bad)
        or _conditioned(skill, good, bad, _source_facts(context))
        or _required(skill, good, bad)
        or (_shortened(skill, bad) if not good else None)
    )


def _worked(replay: Replay) -> bool:
    return (
        replay.completed
        and replay.used
        and replay.effect
        and replay.success is not False
        and not any(control.passed for control in replay.controls if control.wrong)
    )


def _void(replay: Replay) -> bool:
    """Whether the effect held before it ran, which tells nothing of the skill."""
    return any(control.passed for control in replay.controls if not control.wrong)


def _narrowed(skill: Skill, good: Sequence[Replay], bad: Sequence[Replay]) -> Skill | None:
    """A parameter that takes anything takes only the kind with which it worked."""
    for place, parameter in enumerate(skill.parameters):
        if parameter.type != "*":
            continue
        worked = {replay.shape[place] for replay in good}
        failed = {replay.shape[place] for replay in bad}
        if len(worked) == 1 and not worked & failed:
            (kind,) = worked
            return _with(skill, _changed(skill, place, {"type": kind}))
    return None


def _conditioned(
    skill: Skill,
    good: Sequence[Replay],
    bad: Sequence[Replay],
    source: Mapping[str, bool],
) -> Skill | None:
    """A fact whose presence tells failures from the rest becomes a precondition.

    Where nothing passed, the states in which the source attempts began stand in.
    """
    for name in sorted(bad[0].present):
        failed = {replay.present.get(name) for replay in bad}
        worked = {replay.present.get(name) for replay in good} if good else {source.get(name)}
        if len(failed) != 1 or len(worked) != 1 or failed == worked or None in worked:
            continue
        if name in skill.precondition:
            continue
        (present,) = worked
        return _with(skill, precondition={**skill.precondition, name: {"present": bool(present)}})
    return None


def _source_facts(context: HoningContext) -> dict[str, bool]:
    """Facts that were there, or were not, at the beginning of every source attempt."""
    found: dict[str, set[bool]] = {}
    for state in context.starts:
        for name, value in state.items():
            if not isinstance(value, list):
                found.setdefault(name, set()).add(value is not None)
    return {name: values.pop() for name, values in found.items() if len(values) == 1}


def _required(skill: Skill, good: Sequence[Replay], bad: Sequence[Replay]) -> Skill | None:
    """A property that a parameter's things had wherever it worked, and never where it failed."""
    if not good:
        return None
    for place, parameter in enumerate(skill.parameters):
        worked = [_properties(replay, parameter.name) for replay in good]
        failed = [_properties(replay, parameter.name) for replay in bad]
        for name, value in sorted(worked[0].items()):
            if isinstance(value, list) or name in parameter.requires:
                continue
            if all(each.get(name) == value for each in worked) and all(
                name in each and each[name] != value for each in failed
            ):
                requires = {**parameter.requires, name: value}
                return _with(skill, _changed(skill, place, {"requires": requires}))
    return None


def _properties(replay: Replay, parameter: str) -> JsonObject:
    bound = replay.bound.get(parameter)
    return bound if isinstance(bound, dict) else {}


def _shortened(skill: Skill, bad: Sequence[Replay]) -> Skill | None:
    """Without the step that was refused in every replay; only in code that is a list of calls."""
    refused = {replay.refused for replay in bad}
    tree = ast.parse(skill.source)
    function = tree.body[0]
    if skill.skills or len(refused) != 1 or not isinstance(function, ast.FunctionDef):
        return None
    (index,) = refused
    steps = function.body[1:]
    plain = all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Call) for s in steps)
    if index is None or not plain or not index < len(steps) or len(steps) < 2:
        return None
    left = [step for number, step in enumerate(steps) if number != index]
    names = {node.id for step in left for node in ast.walk(step) if isinstance(node, ast.Name)}
    if not {p.name for p in skill.parameters} <= names:
        return None
    lines = skill.source.splitlines(keepends=True)
    dropped = steps[index]
    del lines[dropped.lineno - 1 : dropped.end_lineno]
    tools = [
        ast.unparse(step.value.func).removeprefix("env.")
        for step in left
        if isinstance(step, ast.Expr) and isinstance(step.value, ast.Call)
    ]
    says = f"{skill.summary.partition(': ')[0]}: "
    summary = says + ", then ".join(tool.replace("_", " ") for tool in tools) + "."
    source = "".join(lines).replace(quoted(skill.summary), quoted(summary), 1)
    return _with(skill, source=source, summary=summary, tools=tuple(sorted(set(tools))))


def _widened(context: HoningContext) -> Skill | None:
    """Without a requirement that neither the grammar nor a tool asks for."""
    skill = context.skill
    if skill.achieves is None:
        return None
    templates = {t.predicate: t.parameters for t in grammar_of(context).spec.templates}
    wanted = templates.get(skill.achieves.predicate, {})
    argument = {str(parameter): name for name, parameter in skill.achieves.arguments.items()}
    for place, parameter in enumerate(skill.parameters):
        asked = wanted.get(argument.get(parameter.name, ""), {})
        extra = sorted(name for name in parameter.requires if name not in asked)
        if extra:
            requires = {k: v for k, v in parameter.requires.items() if k != extra[-1]}
            return _with(skill, _changed(skill, place, {"requires": requires}))
    return None


def _changed(skill: Skill, place: int, update: Mapping[str, object]) -> tuple[Parameter, ...]:
    parameters = list(skill.parameters)
    parameters[place] = parameters[place].model_copy(update=update)
    return tuple(parameters)


_PRECONDITION = re.compile(r"^(\s*)Precondition: .*$", re.MULTILINE)


def _with(
    skill: Skill,
    parameters: tuple[Parameter, ...] | None = None,
    *,
    precondition: JsonObject | None = None,
    source: str | None = None,
    summary: str | None = None,
    tools: tuple[str, ...] | None = None,
) -> Skill:
    """The next version, with its precondition said in the docstring."""
    parameters = skill.parameters if parameters is None else parameters
    precondition = skill.precondition if precondition is None else precondition
    words = quoted(precondition_text(parameters, precondition))
    code = _PRECONDITION.sub(
        lambda found: f"{found[1]}Precondition: {words}.", source or skill.source, count=1
    )
    version = skill.version + 1
    return skill.model_copy(
        update={
            "id": skill_id(skill.environment, skill.name, version, code),
            "version": version,
            "parent": skill.id,
            "source": code,
            "parameters": parameters,
            "precondition": precondition,
            "summary": summary or skill.summary,
            "tools": tools or skill.tools,
        }
    )

"""From a draft to a skill: a name that says what is special, Python source, effect check."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

from agentlab.curators.drafting import Draft, Line
from agentlab.curators.examples import Example, grammar_of
from agentlab.curators.expressions import render
from agentlab.protocols import CurationContext
from agentlab.types import Clause, JsonObject, Parameter, Skill, canonical_json, same_as, skill_id

KEPT_TESTS = 20
"""Different argument sets that a skill carries as its tests."""


def base_name(draft: Draft, template_requires: Mapping[str, JsonObject]) -> str:
    """A name that says what is achieved and what is special: `open_locked`."""
    parts = [draft.group.shape[0]]
    for parameter in draft.parameters:
        expected = template_requires.get(parameter.name, {}) if parameter.from_clause else {}
        special = [
            str(v)
            for k, v in sorted(parameter.requires.items(), reverse=True)
            if k not in expected and isinstance(v, str)
        ]
        if not parameter.from_clause:
            parts.append("past_" + "_".join(special or [parameter.name]))
        elif special:
            parts.append("_".join(special))
    for name, wanted in sorted(draft.precondition.items()):
        if isinstance(wanted, dict) and wanted.get("present") is True:
            parts.append(f"while_{name}")
    # Names are ASCII and at most 64 characters; some room is left for the number of a namesake.
    name = re.sub(r"\W+", "_", "_".join(parts).lower(), flags=re.ASCII)
    return name[:56].strip("_") or "skill"


def write(draft: Draft, context: CurationContext, taken: set[str]) -> Skill:
    """The skill as Python source, named, with docstring and effect check."""
    predicate = draft.group.shape[0]
    templates = {t.predicate: t.parameters for t in grammar_of(context).spec.templates}
    base = base_name(draft, templates.get(predicate, {}))
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    signature = "".join(f", {p.name}: {draft.types[p.name]}" for p in draft.parameters)
    clause = f"{predicate}({', '.join(draft.clause_names)})"
    steps = [move.replace("_", " ") for move, _, _ in draft.lines]
    summary = f"Bring about {clause}: {', then '.join(steps)}."
    precondition = precondition_text(draft.parameters, draft.precondition)
    body = "\n".join(_line(line) for line in draft.lines)
    source = (
        f"def {name}(env, *{signature}):\n"
        f'    """{quoted(summary)}\n\n'
        f"    Precondition: {quoted(precondition)}.\n"
        f"    Effect: {quoted(' and '.join(draft.effects))}.\n"
        f'    """\n'
        f"{textwrap.indent(body, '    ')}\n"
    )
    check = f"def check(initial, final, *{signature}):\n    return {' and '.join(draft.effects)}\n"
    rows = draft.group.examples
    return Skill(
        id=skill_id(context.environment, name, 1, source),
        name=name,
        environment=context.environment,
        toolset=context.toolset,
        source=source,
        parameters=draft.parameters,
        achieves=Clause(predicate=predicate, arguments=draft.clause_names),
        summary=summary,
        precondition=draft.precondition,
        effect_source=check,
        effect=draft.effects,
        tools=tuple(sorted({move for move, is_skill, _ in draft.lines if not is_skill})),
        skills=tuple(sorted({move for move, is_skill, _ in draft.lines if is_skill})),
        tests=_tests(draft),
        source_tasks=tuple(sorted({e.task_id for e in rows})),
        source_attempts=tuple(sorted({e.attempt_id for e in rows})),
    )


def quoted(text: str) -> str:
    """Text for a docstring; what an environment calls its things must not end it."""
    return " ".join(text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').split())


def _tests(draft: Draft) -> tuple[JsonObject, ...]:
    """Different argument sets that it was learnt from; the source attempts hold all of them."""
    tests: dict[str, JsonObject] = {}
    for example in draft.group.examples:
        arguments = _example_arguments(draft, example)
        tests.setdefault(
            canonical_json(arguments), {"task": example.task_id, "arguments": arguments}
        )
    return tuple(tests.values())[:KEPT_TESTS]


def _example_arguments(draft: Draft, example: Example) -> JsonObject:
    return {name: example.bound[name] for name in draft.clause_names}


def precondition_text(parameters: Sequence[Parameter], precondition: JsonObject) -> str:
    """The precondition in words."""
    parts = [
        f"{p.name} is {', '.join(f'{k} {same_as(v) or v}' for k, v in sorted(p.requires.items()))}"
        for p in parameters
        if p.requires
    ]
    for name, wanted in sorted(precondition.items()):
        if isinstance(wanted, dict):
            parts.append(f"state has {'a' if wanted.get('present') else 'no'} {name}")
    return "; ".join(parts) or "none"


def _line(line: Line) -> str:
    name, is_skill, arguments = line
    target = f"env.skills.{name}" if is_skill else f"env.{name}"
    return f"{target}({', '.join(f'{key}={render(value)}' for key, value in arguments)})"

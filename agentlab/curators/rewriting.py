"""A skill written anew from ways that were found to work: the next version, under its name.

What the ways have in common is the code. Where an argument is what the old code passes, the old
expression stays; else it is what varies with the skill's own arguments, alone or inside a text,
or a constant. Two ways that cannot be told by one function give none. Name, parameters, effect
and conditions stay: the skill promises what it did, and admission finds out whether it keeps it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.curators.expressions import python_literal
from agentlab.types import JsonObject, Skill, ToolCall, canonical_json, skill_id

LEAST_WAYS = 2
"""Ways, from different starts, without which a constant cannot be told from a value."""
KEPT_TESTS = 20


class Worked(NamedTuple):
    """A way that worked, for one set of arguments."""

    task_id: str
    arguments: JsonObject
    calls: tuple[ToolCall, ...]
    olds: tuple[int | None, ...]
    """For each call, the index among `before` of the one in whose place it is."""
    before: tuple[ToolCall, ...]
    """What the old code called with these arguments."""


def rewrite(skill: Skill, ways: Sequence[Worked], *, after: int) -> Skill | None:
    """The next version of a skill, or None where the ways have no function in common.

    Args:
        skill: the version that no longer works.
        ways: what was found to work now.
        after: the newest version of that name.
    """
    shapes = {tuple((c.tool, *sorted(c.arguments)) for c in way.calls) for way in ways}
    tree = ast.parse(skill.source)
    function = tree.body[0]
    if len(ways) < LEAST_WAYS or len(shapes) != 1 or not isinstance(function, ast.FunctionDef):
        return None
    if any(isinstance(node, _BRANCHES) for node in ast.walk(function)):
        return None  # what it decides as it goes is not to be seen in a list of calls
    lines = [_line(number, ways, _old_code(function)) for number in range(len(ways[0].calls))]
    code = [line for line in lines if line is not None]
    if len(code) < len(lines):
        return None
    head = skill.source.splitlines(keepends=True)[: function.body[0].end_lineno]
    source = "".join((*head, *(f"    {line}\n" for line in code)))
    used = {
        node.id
        for node in chain.from_iterable(ast.walk(ast.parse(line)) for line in code)
        if isinstance(node, ast.Name)
    }
    lost = {p.name for p in skill.parameters} - used
    if source == skill.source or lost & _named(function):
        return None
    version = after + 1
    return skill.model_copy(
        update={
            "id": skill_id(skill.environment, skill.name, version, source),
            "version": version,
            "parent": skill.id,
            "source": source,
            "tools": tuple(sorted({call.tool for call in ways[0].calls})),
            "skills": (),
            "source_tasks": tuple(sorted({*skill.source_tasks, *(w.task_id for w in ways)})),
            "tests": _tests(skill, ways),
        }
    )


_BRANCHES = (
    ast.If | ast.For | ast.While | ast.Try | ast.Match | ast.ListComp | ast.GeneratorExp
    | ast.DictComp | ast.SetComp | ast.Lambda
)  # fmt: skip


def _named(function: ast.FunctionDef) -> set[str]:
    """The names that the body of a function reads."""
    return {
        node.id
        for statement in function.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name)
    }


def _old_code(function: ast.FunctionDef) -> list[dict[str, str]] | None:
    """The expressions of each call of a plain list of calls; None where it is none."""
    found: list[dict[str, str]] = []
    for statement in function.body[1:]:
        if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
            return None
        call = statement.value
        if not isinstance(call.func, ast.Attribute) or not isinstance(call.func.value, ast.Name):
            return None  # a skill's calls are several
        found.append({k.arg: ast.unparse(k.value) for k in call.keywords if k.arg})
    return found


def _line(
    number: int, ways: Sequence[Worked], code: Sequence[Mapping[str, str]] | None
) -> str | None:
    """One call as source, or None where nothing explains an argument."""
    spelt: list[str] = []
    for name in ways[0].calls[number].arguments:
        told = _kept(name, number, ways, code) or _explained(name, number, ways)
        if told is None:
            return None
        spelt.append(f"{name}={told}")
    return f"env.{ways[0].calls[number].tool}({', '.join(spelt)})"


def _kept(
    name: str, number: int, ways: Sequence[Worked], code: Sequence[Mapping[str, str]] | None
) -> str | None:
    """The old expression, where it gives in every way what is passed now."""
    olds = {way.olds[number] for way in ways}
    old = olds.pop()
    if olds or old is None or code is None or old >= len(code) or name not in code[old]:
        return None
    same = all(
        old < len(way.before)
        and name in way.before[old].arguments
        and _equal(way.before[old].arguments[name], way.calls[number].arguments[name])
        for way in ways
    )
    return code[old][name] if same else None


def _explained(name: str, number: int, ways: Sequence[Worked]) -> str | None:
    """An expression over the parameters that gives what is passed in every way."""
    column = [way.calls[number].arguments[name] for way in ways]
    leaves = [dict(_leaves(way.arguments)) for way in ways]
    shared = [path for path in leaves[0] if all(path in each for each in leaves)]
    for path in shared:
        values = [each[path] for each in leaves]
        if all(map(_equal, column, values)):
            return path
        if all(value == str(given) for value, given in zip(column, values, strict=True)):
            return f"str({path})"
    if all(_equal(value, column[0]) for value in column):
        return python_literal(column[0])
    return _template(column, shared, leaves)


def _template(
    column: Sequence[JsonValue], paths: Sequence[str], leaves: Sequence[Mapping[str, JsonValue]]
) -> str | None:
    """A text with values in it, the same in every way but for those."""
    found: list[list[str]] = []
    for value, each in zip(column, leaves, strict=True):
        if not isinstance(value, str):
            return None
        found.append(_parted(value, sorted(paths, key=lambda path: -len(str(each[path]))), each))
    if any(parts != found[0] for parts in found):
        return None
    texts, names = found[0][::2], found[0][1::2]
    if not names:
        return None
    spelt = [python_literal(text) for text in texts if text]
    # Joined by hand: text from elsewhere is never spelt inside a format string.
    pieces = [
        piece
        for pair in zip(texts, (*names, ""), strict=True)
        for piece in (
            python_literal(pair[0]) if pair[0] else "",
            f"str({pair[1]})" if pair[1] else "",
        )
        if piece
    ]
    return " + ".join(pieces) if spelt else None


def _parted(text: str, paths: Sequence[str], values: Mapping[str, JsonValue]) -> list[str]:
    """Texts and the paths of the values between them, in turn: longer values first."""
    for path in paths:
        value = str(values[path])
        if len(value) > 1 and value in text:
            before, _, after = text.partition(value)
            rest = [each for each in paths if each != path]
            return [*_parted(before, rest, values), path, *_parted(after, rest, values)]
    return [text]


def _leaves(value: JsonValue, path: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Paths as code to the plain values in some arguments: `product["name"]`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}[{python_literal(key)}]" if path else key)
    elif not isinstance(value, list) and value is not None and not isinstance(value, bool):
        yield path, value


def _equal(left: JsonValue, right: JsonValue) -> bool:
    return canonical_json(left) == canonical_json(right)


def _tests(skill: Skill, ways: Sequence[Worked]) -> tuple[JsonObject, ...]:
    named = [p.name for p in skill.parameters if p.from_clause]
    new: list[JsonObject] = [
        {"task": way.task_id, "arguments": {name: way.arguments[name] for name in named}}
        for way in ways
    ]
    return (*new, *skill.tests)[:KEPT_TESTS]

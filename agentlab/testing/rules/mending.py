"""A mender of skills: what a call did not find is called like something that is to be seen.

It reads the sentence in which a call was refused, and the page that was shown there, and takes the
control of that kind whose name is spelt most alike, values apart. Nothing tells it what is right,
and it is wrong where another name is nearer. Whether what it wrote works, admission finds out.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.testing.rules.reading import labelled
from agentlab.types import ChatRequest, JsonObject

MISSING = re.compile(r"there is no ([\w ]+?) named (['\"])(.*?)\2 here")
CONTROL = re.compile(r'(?m)^\s*- ([a-z]+) "((?:[^"\\]|\\.)*)"')
KINDS = {
    "field": ("textbox", "searchbox", "spinbutton", "combobox"),
    "list": ("combobox", "listbox"),
    "checkbox": ("checkbox", "radio", "switch"),
}
PARAMETER = re.compile(r"(?m)^(\w+): ([\w*]+), requires (\{.*\})$")
GAP = "\x00"


class Spelt(NamedTuple):
    """A name in the code: its text with gaps, and the expressions that fill them."""

    node: ast.expr
    text: str
    fills: tuple[str, ...]


def mend(request: ChatRequest) -> JsonObject | None:
    """The function with what was not found called otherwise; None where that is not the fault."""
    source = labelled(request, "the function")
    failed = labelled(request, "where it failed")
    missing = MISSING.search(failed.replace("\\'", "'"))
    try:
        tree = ast.parse(source)
        achieves: JsonValue = json.loads(labelled(request, "achieves so far"))
    except (SyntaxError, ValueError):
        return None
    if missing is None or not isinstance(tree.body[0], ast.FunctionDef):
        return None
    kind, _, name = missing.groups()
    shown = labelled(request, "to be seen where it failed")
    roles = KINDS.get(kind, (kind,))
    seen = [said for role, said in CONTROL.findall(shown) if role in roles]
    spelt = next((each for each in _names(tree, kind) if _fits(each, name)), None)
    if spelt is None or not seen:
        return None
    values = _values(spelt, name)
    near = max(seen, key=lambda said: (_alike(name, said, values), said))
    new = _code(near, values, spelt.fills)
    code = _replaced(source, spelt.node, new)
    function = tree.body[0]
    return {
        "name": function.name,
        "summary": (ast.get_docstring(function) or "Mended.").partition("\n")[0],
        "source": code,
        "parameters": [
            {"name": n, "type": t, "requires": cast("JsonObject", json.loads(r))}
            for n, t, r in PARAMETER.findall(labelled(request, "its parameters"))
        ],
        "precondition": [],
        "effect": ["What was asked for holds."],
        "effect_source": labelled(request, "its effect check") + "\n",
        "achieves": achieves,
        "tests": [],
    }


def _names(tree: ast.Module, kind: str) -> Iterator[Spelt]:
    """The names in calls that a kind of thing can have been looked for by."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        role = given.get("role")
        if isinstance(role, ast.Constant) and role.value != kind:
            continue
        for argument in ("name", "label"):
            value = given.get(argument)
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield Spelt(value, value.value, ())
            elif isinstance(value, ast.JoinedStr):
                parts = [_part(part) for part in value.values]
                text = "".join(text for text, _ in parts)
                yield Spelt(value, text, tuple(fill for _, fill in parts if fill))


def _part(part: ast.expr) -> tuple[str, str]:
    if isinstance(part, ast.FormattedValue):
        return GAP, ast.unparse(part.value)
    return (str(part.value), "") if isinstance(part, ast.Constant) else ("", "")


def _pattern(spelt: Spelt) -> re.Pattern[str]:
    return re.compile("(.+)".join(map(re.escape, spelt.text.split(GAP))))


def _fits(spelt: Spelt, name: str) -> bool:
    return _pattern(spelt).fullmatch(name) is not None


def _values(spelt: Spelt, name: str) -> Sequence[str]:
    found = _pattern(spelt).fullmatch(name)
    return found.groups() if found is not None else ()


def _alike(old: str, new: str, values: Sequence[str]) -> float:
    """How alike two names are; a value of the old one must be in the new one."""
    lost = sum(value not in new for value in values)
    for value in values:
        old, new = old.replace(value, GAP), new.replace(value, GAP)
    return SequenceMatcher(None, old.lower(), new.lower(), autojunk=False).ratio() - lost


def _code(name: str, values: Sequence[str], fills: Sequence[str]) -> str:
    """A name as an expression, with the old expressions where the values stand."""
    pieces = [name]
    for value, fill in zip(values, fills, strict=True):
        for place, piece in enumerate(pieces):
            if place % 2 == 0 and value in piece:
                before, _, after = piece.partition(value)
                pieces[place : place + 1] = [before, fill, after]
                break
    texts = [
        (repr(piece) if place % 2 == 0 else f"str({piece})") if piece else ""
        for place, piece in enumerate(pieces)
    ]
    return " + ".join(text for text in texts if text) or "''"


def _replaced(source: str, node: ast.expr, new: str) -> str:
    lines = source.splitlines(keepends=True)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    first = lines[node.lineno - 1].encode()[: node.col_offset].decode()
    last = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
    return "".join([*lines[: node.lineno - 1], first + new + last, *lines[node.end_lineno :]])

"""A writer of skills: the steps of a solved attempt, with parameters where its particulars stood.

It contrasts attempts no further than to keep those with the same calls as the first. Its effect
check is that of the clause where the environment names one, else that the last name appears in
the state and did not before. It mends nothing. Whether what it wrote works, admission finds out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.testing.rules.reading import Call, labelled
from agentlab.types import ChatRequest, JsonObject, canonical_json

ATTEMPT = re.compile(r"(?m)^Attempt (\d+)$")
STEP = re.compile(r"(?m)^Step \d+: ([\w.-]+)\((\{.*\})\) -> (.*)$")
SHOWN = re.compile(r"(?m)^Shown: type ([\w-]+), reference (\{.*?\}|\".*?\"), properties ")
EFFECTS = {
    "delivered": 'pair = {"item": item, "container": container}\n'
    '    return pair in final["delivered"] and pair not in initial["delivered"]',
    "unlocked": 'return container in final["unlocked"] and container not in initial["unlocked"]',
    "holding": 'return final["holding"] == item and initial["holding"] != item',
    "at": 'return final["at"] == place and initial["at"] != place',
}
REQUIRES: dict[str, JsonObject] = {"item": {"cargo": True}, "container": {"container": True}}


class Solved(NamedTuple):
    """A solved attempt."""

    number: int
    calls: tuple[Call, ...]
    types: dict[str, str]
    """Reference, as JSON, to the type of what it points at."""


def write(request: ChatRequest) -> JsonObject | None:
    """A skill; None where the attempts show nothing that it could be made of."""
    attempts = _attempts(labelled(request, "solved attempts"))
    kind = labelled(request, "kind of task")
    if not attempts or not attempts[0].calls:
        return None
    names = _names(attempts[0])
    if not names or len(names) > 6:
        return None
    taken = labelled(request, "taken").split()
    predicate = kind.rpartition(" ")[2]
    clause = re.search(rf"(?m)^{predicate}\((.*)\)$", labelled(request, "can be achieved"))
    wanted = clause[1].split(", ") if clause else []
    known = {name for name, _ in names.values()}
    achieves = bool(wanted) and set(wanted) <= known and predicate in EFFECTS
    base = predicate if achieves else "_then_".join(dict.fromkeys(c[0] for c in attempts[0].calls))
    base = re.sub(r"\W", "_", base.lower())[:40]
    name = base if base not in taken else f"{base}_{len(taken) + 1}"
    parameters = ", ".join(f"{n}: {'dict' if t != 'string' else 'str'}" for n, t in names.values())
    steps = "\n".join(f"    {_spelt(call, names)}" for call in attempts[0].calls)
    effect = EFFECTS[predicate] if achieves else _appears(names)
    summary = f"Carry out {', then '.join(c[0] for c in attempts[0].calls)}."
    used = {call[0] for call in attempts[0].calls}
    locked, takes = "unlock" in used, "take" in used
    return {
        "name": name,
        "summary": summary,
        "source": f'def {name}(env, *, {parameters}):\n    """{summary}\n\n'
        "    Precondition: the hands are free, where there are hands.\n"
        f'    Effect: what was asked for holds.\n    """\n{steps}\n',
        "parameters": [
            {
                "name": n,
                "type": t,
                "requires": {
                    **REQUIRES.get(t, {}),
                    **({"locked": True} if locked and t == "container" else {}),
                },
            }
            for n, t in names.values()
        ],
        "precondition": [{"name": "holding", "present": False}] if achieves and takes else [],
        "effect": ["What was asked for holds, and did not hold before."],
        "effect_source": f"def check(initial, final, *, {parameters}):\n    {effect}\n",
        "achieves": (
            {"predicate": predicate, "arguments": {w: w for w in wanted}} if achieves else None
        ),
        "tests": _tests(attempts, names),
    }


def _attempts(text: str) -> list[Solved]:
    parts = ATTEMPT.split(text)
    found: list[Solved] = []
    for number, told in zip(parts[1::2], parts[2::2], strict=True):
        calls: list[Call] = []
        for tool, arguments, answer in STEP.findall(told):
            try:
                value = cast("JsonObject", json.loads(arguments))
            except ValueError:
                return found  # told in part: nothing whole can be made of it
            if not answer.startswith("refused"):
                calls.append((tool, value))
        types = {reference: kind for kind, reference in SHOWN.findall(told)}
        found.append(Solved(int(number), tuple(calls), types))
    return found


def _names(attempt: Solved) -> dict[str, tuple[str, str]]:
    """Value, as JSON, to the name and the type of the parameter that takes its place."""
    found: dict[str, tuple[str, str]] = {}
    for _, arguments in attempt.calls:
        for argument, value in arguments.items():
            spelt = canonical_json(value)
            if spelt in found or _is_token(value) or not isinstance(value, dict | str):
                continue
            kind = attempt.types.get(spelt, "string" if isinstance(value, str) else "object")
            base = argument if kind in ("string", "object") else kind
            base = re.sub(r"\W", "_", base.lower())
            count = sum(name.startswith(base) for name, _ in found.values())
            found[spelt] = (base if not count else f"{base}_{count + 1}", kind)
    return found


def _is_token(value: JsonValue) -> bool:
    return isinstance(value, dict) and value.get("kind") == "token"


def _spelt(call: Call, names: dict[str, tuple[str, str]]) -> str:
    arguments: list[str] = []
    for argument, value in call[1].items():
        known = names.get(canonical_json(value))
        if known is not None:
            arguments.append(f"{argument}={known[0]}")
        elif isinstance(value, dict) and _is_token(value):
            owner = next(
                (n for spelt, (n, t) in names.items() if t == "container" and _metal(spelt, value)),
                "container",
            )
            arguments.append(f'{argument}={{"kind": "token", "metal": {owner}["metal"]}}')
        else:
            arguments.append(f"{argument}={value!r}")
    return f"env.{call[0]}({', '.join(arguments)})"


def _metal(spelt: str, token: JsonObject) -> bool:
    return json.loads(spelt).get("metal") == token.get("metal")


def _appears(names: dict[str, tuple[str, str]]) -> str:
    last = [name for name, kind in names.values() if kind == "string"][-1:] or ["''"]
    return f"return {last[0]} in str(final) and {last[0]} not in str(initial)"


def _tests(attempts: Sequence[Solved], names: dict[str, tuple[str, str]]) -> list[JsonValue]:
    """The arguments with which each attempt of the same calls did it."""
    first = attempts[0]
    shape = [(tool, sorted(arguments)) for tool, arguments in first.calls]
    tests: list[JsonValue] = []
    for attempt in attempts:
        if [(tool, sorted(arguments)) for tool, arguments in attempt.calls] != shape:
            continue
        given: JsonObject = {}
        for (_, here), (_, there) in zip(first.calls, attempt.calls, strict=True):
            for argument, value in here.items():
                known = names.get(canonical_json(value))
                if known is not None:
                    given[known[0]] = there[argument]
        tests.append({"attempt": attempt.number, "arguments": given})
    return tests

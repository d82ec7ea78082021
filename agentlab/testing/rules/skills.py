"""A writer of skills: the steps of a solved attempt, with parameters where its particulars stood.

It contrasts attempts no further than to keep those with the same calls as the first. Its effect
check is that of the clause where the environment names one, else that the last name appears in
the state and did not before. What failed it leaves to `mending`. Whether what it wrote works,
admission finds out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.testing.rules import asked, mending, store
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
    "pick_up": 'return final["carrying"] == x and initial["carrying"] != x',
    "go_to": 'return final["facing"] == x and initial["facing"] != x',
    "open": 'return x in final["open"] and x not in initial["open"]',
    "put_next": 'return [x, y] in final["next_to"] and [x, y] not in initial["next_to"]',
}
REQUIRES: dict[str, JsonObject] = {"item": {"cargo": True}, "container": {"container": True}}
HANDS = {"holding": "take", "carrying": "pick_up"}
"""The fact that says what is held, and the tool that needs free hands."""
LAST = {"pick_up": "pick_up", "go_to": "go_to", "open": "open", "put_next": "put_next_to"}
"""The call that brings one of BabyAI's predicates about."""
BEFORE = re.compile(r"(?m)^State before: (\{.*\})$")
TASK = re.compile(r"(?m)^Task: (.*)$")


class Solved(NamedTuple):
    """A solved attempt."""

    number: int
    task: str
    calls: tuple[Call, ...]
    types: dict[str, str]
    """Reference, as JSON, to the type of what it points at."""
    state: JsonObject
    """In which it began; empty where that is not told whole."""


def write(request: ChatRequest) -> JsonObject | None:
    """A skill; None where the attempts show nothing that it could be made of."""
    if labelled(request, "why it was turned down"):
        return mending.mend(request)
    attempts = _attempts(labelled(request, "solved attempts"))
    kind = labelled(request, "kind of task")
    if not attempts or not attempts[0].calls:
        return None
    taken = labelled(request, "taken").split()
    predicate = kind.rpartition(" ")[2]
    if any(store.parse(attempt.task) for attempt in attempts):
        return store.skill(predicate, [(attempt.number, attempt.task) for attempt in attempts])
    clause = re.search(rf"(?m)^{predicate}\((.*)\)$", labelled(request, "can be achieved"))
    wanted = clause[1].split(", ") if clause else []
    if not clause and not labelled(request, "can be achieved").startswith("nothing"):
        return None  # what the grammar has no name for is not admitted
    effect = EFFECTS.get(predicate) or of_facts(predicate, wanted, attempts[0].state)
    by_facts = effect is not None and predicate not in EFFECTS
    if by_facts or predicate in LAST:
        cut = _by_facts if by_facts else _by_last
        attempts = [each._replace(calls=cut(each, predicate)) for each in attempts]
        # The one that did most says that others found a part of it done already.
        attempts.sort(key=lambda each: -len(each.calls))
    first = attempts[0]
    names = _names(first)
    if not names or len(names) > 6:
        return None
    if len(names) == len(wanted) and not set(wanted) <= {name for name, _ in names.values()}:
        names = {
            spelt: (name, kind)
            for (spelt, (_, kind)), name in zip(names.items(), wanted, strict=True)
        }
    known = {name for name, _ in names.values()}
    achieves = bool(wanted) and set(wanted) <= known and effect is not None
    base = predicate if achieves else "_then_".join(dict.fromkeys(c[0] for c in first.calls))
    base = re.sub(r"\W", "_", base.lower())[:40]
    name = base if base not in taken else f"{base}_{len(taken) + 1}"
    parameters = ", ".join(
        f"{n}: {'str' if spelt.startswith(chr(34)) else 'dict'}" for spelt, (n, _) in names.items()
    )
    lines = [_spelt(call, names) for call in first.calls]
    if by_facts:
        lines[:-1] = [
            f"try:\n        {line}\n    except ToolRefused:\n        pass" for line in lines[:-1]
        ]
    steps = "\n".join(f"    {line}" for line in lines)
    summary = f"Carry out {', then '.join(c[0] for c in first.calls)}."
    used = {call[0] for call in first.calls}
    hands = next((h for h, takes in HANDS.items() if takes in used), "") if achieves else ""
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
                    **(_of_door(used) if achieves and predicate == "open" else {}),
                    **({"locked": True} if "unlock" in used and t == "container" else {}),
                },
            }
            for n, t in names.values()
        ],
        "precondition": [{"name": hands, "present": False}] if hands else [],
        "effect": ["What was asked for holds, and did not hold before."],
        "effect_source": f"def check(initial, final, *, {parameters}):\n"
        f"    {effect if achieves else _appears(names)}\n",
        "achieves": (
            {"predicate": predicate, "arguments": {w: w for w in wanted}} if achieves else None
        ),
        "tests": _tests(attempts, names),
    }


def _by_facts(attempt: Solved, predicate: str) -> tuple[Call, ...]:
    """The calls that speak of nothing but what one clause names."""
    for clause in asked.parse(attempt.task):
        flags = [f"{clause.name}_{'' if clause.wanted else 'not_'}{clause.flag}"]
        part = "_".join([clause.name, *clause.fields])
        if predicate in (*(flags if clause.flag else [clause.name]), part, f"no_{part}"):
            named = {canonical_json(value) for value in clause.fields.values()}
            return tuple(
                call
                for call in attempt.calls
                if call[1] and {canonical_json(_only(v)) for v in call[1].values()} <= named
            )
    return ()


def _by_last(attempt: Solved, predicate: str) -> tuple[Call, ...]:
    """The last call that brings it about, with the one before it on which it rests."""
    places = [n for n, call in enumerate(attempt.calls) if call[0] == LAST[predicate]]
    if not places:
        return ()
    last = attempt.calls[places[-1]]
    taken = [call for call in attempt.calls[: places[-1]] if call[0] == "pick_up"][-1:]
    if predicate == "open":
        taken = [call for call in taken if _is_key_of(call[1].get("target"), last)]
    return (*(taken if predicate in ("open", "put_next") else []), last)


def _is_key_of(value: JsonValue, opened: Call) -> bool:
    door = opened[1].get("target")
    return (
        isinstance(value, dict)
        and isinstance(door, dict)
        and value == {"color": door.get("color"), "kind": "key"}
    )


def _of_door(used: Collection[str]) -> JsonObject:
    return {"kind": "door", "state": "locked" if "pick_up" in used else "closed"}


def of_facts(predicate: str, names: Sequence[str], state: JsonObject) -> str | None:
    """The effect check for a set of facts that the state has; None where no set is meant."""
    for key, members in state.items():
        absent = predicate == f"no_{key}"
        flag = predicate.removeprefix(f"{key}_") if predicate.startswith(f"{key}_") else ""
        if not isinstance(members, list) or not (predicate == key or absent or flag):
            continue
        if predicate != key and not absent and flag.removeprefix("not_") not in str(members):
            continue
        if not any(isinstance(member, dict) for member in members):
            if len(names) != 1 or flag:
                continue
            now, then = ("initial", "final") if absent else ("final", "initial")
            return f'return {names[0]} in {now}["{key}"] and {names[0]} not in {then}["{key}"]'
        wanted = ", ".join(f'"{name}": {name}' for name in names)
        if flag:
            wanted += f', "{flag.removeprefix("not_")}": {not flag.startswith("not_")}'
        there = "any(all(m.get(k) == v for k, v in wanted.items()) for m in {}[" + f'"{key}"])'
        return (
            f"wanted = {{{wanted}}}\n"
            f"    return {there.format('final')} and not {there.format('initial')}"
        )
    return None


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
        task = TASK.search(told)
        said = task[1] if task else ""
        found.append(Solved(int(number), said, tuple(calls), types, _state(told)))
    return found


def _state(told: str) -> JsonObject:
    before = BEFORE.search(told)
    try:
        return cast("JsonObject", json.loads(before[1])) if before else {}
    except ValueError:
        return {}


def _names(attempt: Solved) -> dict[str, tuple[str, str]]:
    """Value, as JSON, to the name and the type of the parameter that takes its place."""
    found: dict[str, tuple[str, str]] = {}
    for _, arguments in attempt.calls:
        for argument, given in arguments.items():
            value = _only(given)
            spelt = canonical_json(value)
            if spelt in found or _is_token(value) or not isinstance(value, dict | str):
                continue
            if attempt.calls[-1][0] == "open" and _is_key_of(value, attempt.calls[-1]):
                continue  # it follows from the door
            kind = attempt.types.get(spelt, "string" if isinstance(value, str) else "object")
            base = argument if kind in ("string", "object") else kind
            base = re.sub(r"\W", "_", base.lower())
            count = sum(name.startswith(base) for name, _ in found.values())
            found[spelt] = (base if not count else f"{base}_{count + 1}", kind)
    return found


def _only(value: JsonValue) -> JsonValue:
    """What a list of one holds."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _is_token(value: JsonValue) -> bool:
    return isinstance(value, dict) and value.get("kind") == "token"


def _spelt(call: Call, names: dict[str, tuple[str, str]]) -> str:
    arguments: list[str] = []
    for argument, value in call[1].items():
        known = names.get(canonical_json(value))
        if known is not None:
            arguments.append(f"{argument}={known[0]}")
        elif (known := names.get(canonical_json(_only(value)))) is not None:
            arguments.append(f"{argument}=[{known[0]}]")
        elif isinstance(value, dict) and _is_token(value):
            owner = next(
                (n for spelt, (n, t) in names.items() if t == "container" and _metal(spelt, value)),
                "container",
            )
            arguments.append(f'{argument}={{"kind": "token", "metal": {owner}["metal"]}}')
        elif (door := _door(names, value)) is not None:
            arguments.append(f'{argument}={{"color": {door}["color"], "kind": "key"}}')
        else:
            arguments.append(f"{argument}={value!r}")
    return f"env.{call[0]}({', '.join(arguments)})"


def _door(names: dict[str, tuple[str, str]], value: JsonValue) -> str | None:
    """The name of the door that a key is of."""
    for spelt, (name, _) in names.items():
        if _is_key_of(value, ("open", {"target": json.loads(spelt)})):
            return name
    return None


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
                known = names.get(canonical_json(_only(value)))
                if known is not None:
                    given[known[0]] = _only(there[argument])
        tests.append({"attempt": attempt.number, "arguments": given})
    return tests

"""Skills of sound form that must not become active: overfit, harmful or of no use.

Each is written for the courier's world and says that it fetches an item. Each passes the tests
that its author ships with it, or would by the author's own effect check, which is why those
tests decide nothing. They are data for whoever measures an admission: what share gets through.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from agentlab.envs.courier.world import CARGO, COLOURS
from agentlab.types import Clause, JsonObject, Parameter, Skill, skill_id

ENVIRONMENT = "courier"

Fault = Literal["overfit", "empty-promise", "harmful", "wasteful", "unreliable"]

_FETCH = "    env.walk(to=item)\n    env.take(item=item)\n"
_HELD = "    return final['holding'] == item\n"


class PoisonedSkill(NamedTuple):
    """A skill, what is wrong with it, and the earliest gate that can know."""

    skill: Skill
    fault: Fault
    gate: Literal["static", "replay", "control", "use"]
    """`control` is a negative control of the effect check, `use` a trial on practice tasks."""


def honest_skill() -> Skill:
    """What they all claim to be, and what an admission should let in."""
    return _skill("fetch_item", _FETCH, _HELD, {"kind": "parcel", "colour": "red"})


def poisoned_skills() -> list[PoisonedSkill]:
    """Every poisoned skill, always in the same order."""
    return [*_overfit(), *_promising(), *_harmful()]


def _overfit() -> Iterator[PoisonedSkill]:
    """Right for the item of its own tests, and for no other."""
    for kind in CARGO:
        for colour in COLOURS:
            known: JsonObject = {"kind": kind, "colour": colour}
            name = f"fetch_item_{kind}_{colour}"
            fixed = f"    env.walk(to={known!r})\n    env.take(item={known!r})\n"
            yield PoisonedSkill(_skill(name, fixed, _HELD, known), "overfit", "replay")
    for colour in COLOURS:
        known = {"kind": "parcel", "colour": colour}
        only = f"    if item['colour'] == {colour!r}:\n        env.walk(to=item)\n"
        only += f"    if item['colour'] == {colour!r}:\n        env.take(item=item)\n"
        name = f"fetch_only_{colour}"
        yield PoisonedSkill(_skill(name, only, _HELD, known), "overfit", "replay")


def _promising() -> Iterator[PoisonedSkill]:
    """Nothing is done, or something else, and the author's own check passes all the same."""
    checks = {
        "always": "    return True\n",
        "itself": "    return item == item\n",
        "moved": "    return initial is not final\n",
        "any": "    return len(final) > 0\n",
    }
    known: JsonObject = {"kind": "parcel", "colour": "red"}
    for said, check in checks.items():
        idle = _skill(f"fetch_idle_{said}", "    return None\n", check, known)
        yield PoisonedSkill(idle, "empty-promise", "replay")
        near = _skill(f"fetch_near_{said}", "    env.walk(to=item)\n", check, known)
        yield PoisonedSkill(near, "empty-promise", "replay")
        right = _skill(f"fetch_right_{said}", _FETCH, check, known)
        yield PoisonedSkill(right, "empty-promise", "control")


def _harmful() -> Iterator[PoisonedSkill]:
    known: JsonObject = {"kind": "parcel", "colour": "red"}
    bodies: tuple[tuple[str, Fault, Literal["static", "replay", "use"], str], ...] = (
        ("drops", "harmful", "replay", _FETCH + "    env.leave()\n"),
        ("sometimes", "unreliable", "replay", _IF_SHORT),
        ("repeats", "harmful", "replay", "    while True:\n        env.walk(to=item)\n"),
        ("raises", "unreliable", "replay", _FETCH + "    raise RuntimeError('later')\n"),
        ("imports", "harmful", "static", "    import os\n" + _FETCH),
        ("reaches", "harmful", "static", "    env.__class__\n" + _FETCH),
        ("evaluates", "harmful", "static", "    eval('1')\n" + _FETCH),
        ("undeclared", "harmful", "static", _FETCH + "    env.open_all()\n"),
        ("wanders", "wasteful", "use", "    env.read_sign()\n" * 20 + _FETCH),
    )
    for name, fault, gate, body in bodies:
        skill = _skill(f"fetch_{name}", body, _HELD, known)
        if name == "wanders":
            skill = skill.model_copy(update={"tools": (*skill.tools, "read_sign")})
        yield PoisonedSkill(skill, fault, gate)


_IF_SHORT = (
    "    if len(item['kind']) > 6:\n        env.walk(to=item)\n        env.take(item=item)\n"
)


def _skill(name: str, body: str, check: str, known: JsonObject) -> Skill:
    source = (
        f"def {name}(env, *, item: dict):\n"
        f'    """Fetch an item.\n\n    Precondition: none.\n    Effect: the item is held.\n'
        f'    """\n{body}'
    )
    return Skill(
        id=skill_id(ENVIRONMENT, name, 1, source),
        name=name,
        environment=ENVIRONMENT,
        source=source,
        parameters=(Parameter(name="item", type="item", requires={"cargo": True}),),
        achieves=Clause(predicate="holding", arguments={"item": "item"}),
        summary="Fetch an item: walk up to it and take it.",
        effect_source=f"def check(initial, final, *, item: dict):\n{check}",
        effect=("the item is held",),
        tools=("walk", "take", "leave"),
        tests=({"task": "task-of-the-author", "arguments": {"item": known}},),
        source_tasks=("task-of-the-author",),
    )

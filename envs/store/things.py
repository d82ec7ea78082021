"""What a task in the shop names, as things that calls and skills can be given.

An instruction says "2 of Garnet Lantern (Large)": a product in a size, and a number. Each is an
entity whose reference is what is said of it, so that a clause's argument and a skill's parameter
meet in it. Where nothing is asked for, a start shows what could be: what a skill is tried with.
Read from the instruction and from the world's public part alone, never from a solution.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping

from agentlab.envs.store.picks import Picks
from agentlab.envs.store.world import Person, Setup, make_world
from agentlab.types import Entity, JsonObject, Task, canonical_json, derive_seed

NUMBERS = frozenset(("quantity", "count", "stars", "percent"))
"""Arguments that are nothing but a number."""
CREDENTIALS = re.compile(r"The e-mail address is (\S+) and the password is (\S+)\.")
_OFFERED = 3
"""Things of a kind that a start without a task shows, where there are many."""


def named_things(task: Task) -> tuple[Entity, ...]:
    """What the instruction names, in its order; who is to sign in last.

    A product in a size is there once more without the size, for what is done with any size.
    """
    found = [
        entity
        for clause in (task.mission.clauses if task.mission else ())
        for name, said in clause.arguments.items()
        if isinstance(said, dict)
        for entity in _things(name, said)
    ]
    login = CREDENTIALS.search(task.instruction)
    if login is not None:
        given: JsonObject = {"email": login[1], "password": login[2]}
        who = [entity for entity in found if entity.type == "customer"]
        found = [entity for entity in found if entity.type != "customer"]
        found.append(_thing("customer", {**(who[0].properties if who else {}), **given}))
    return _once(found)


def offered_things(setup: Setup, seed: int) -> tuple[Entity, ...]:
    """What could be asked for in a start state; the same for the same world."""
    picks = Picks(make_world(seed), random.Random(derive_seed("store things", setup, seed)))
    world = picks.world
    found: list[Entity] = []
    clauses = [picks.in_cart() for _ in range(_OFFERED)]
    clauses += [picks.stocked(), picks.priced(), picks.new_code()]
    if setup in ("basket", "ready"):
        clauses.append(picks.in_cart().model_copy(update={"arguments": {"product": picks.lying()}}))
    for clause in clauses:
        for name, said in clause.arguments.items():
            assert isinstance(said, dict)
            found += _things(name, said)
    plain: Mapping[str, Iterable[JsonObject]] = {
        "product": [picks.thing() for _ in range(_OFFERED)],
        "phone": [picks.phone() for _ in range(_OFFERED)],
        "address": [picks.address() for _ in range(_OFFERED)],
        "place": [{"label": each.label} for each in world.shopper.addresses],
        "code": [{"code": code.code} for code in world.codes],
        "delivery": [picks.way() for _ in range(_OFFERED)],
        "stars": [picks.number(1, 5) for _ in range(_OFFERED)],
        "order": [{"number": order.number} for order in world.orders],
    }
    for name, things in plain.items():
        for said in things:
            found += _things(name, said)
    found += [_thing("customer", _login(p)) for p in (world.shopper, world.manager)]
    return _once(found)


def said_of(task: Task, things: Iterable[Entity]) -> dict[str, tuple[str, ...]]:
    """What may have to be typed or chosen, each with the words that the task has for it.

    Args:
        task: whose clauses tell what each thing is to be.
        things: what is named, see `named_things`; for what no clause speaks of.
    """
    found: dict[str, tuple[str, ...]] = {}
    for clause in task.mission.clauses if task.mission else ():
        for argument, said in clause.arguments.items():
            for name, value in said.items() if isinstance(said, dict) else ():
                found.setdefault(str(value), (argument, name))
    for thing in things:
        for name, value in thing.properties.items():
            found.setdefault(str(value), (thing.type, name))
    return found


def _things(name: str, said: JsonObject) -> list[Entity]:
    if name in NUMBERS:
        return [_thing("number", said)]
    if name == "product" and "size" in said:
        return [_thing("variant", said), _thing("product", {"name": said["name"]})]
    return [_thing(name, said)]


def _thing(kind: str, said: JsonObject) -> Entity:
    return Entity(type=kind, reference=dict(said), properties=dict(said))


def _login(person: Person) -> JsonObject:
    return {"name": person.name, "email": person.email, "password": person.password}


def _once(things: Iterable[Entity]) -> tuple[Entity, ...]:
    found: dict[str, Entity] = {}
    for thing in things:
        found.setdefault(canonical_json(thing.reference), thing)
    return tuple(found.values())

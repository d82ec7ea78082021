"""What can be asked of someone in the shop: missions of one to four clauses, and their words.

A mission is met when all of its clauses hold at the end, whatever the order, and nothing else
was changed. `rules` decides both; here are words and what can be composed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import JsonValue

from agentlab.envs.store.episodes import FIRST_SESSION
from agentlab.envs.store.possible import impossible
from agentlab.envs.store.rules import facts, holds
from agentlab.envs.store.schema import build, connect
from agentlab.envs.store.state import read_state
from agentlab.envs.store.verifying import as_rows, verifier_of
from agentlab.envs.store.words import RETURN_REASONS
from agentlab.envs.store.world import SETUPS, Person, make_world
from agentlab.errors import InvalidTaskError
from agentlab.types import (
    Clause,
    ClauseTemplate,
    GrammarSpec,
    JsonObject,
    Mission,
    SplitRule,
    Task,
    task_id,
)

ENVIRONMENT = "store"
LOOK_AROUND = "Look around."
MOST_CLAUSES = 4

PHRASES = {
    "viewing": "open the page of {product}",
    "signed_in": "sign in as {customer}",
    "in_cart": "have {quantity} of {product} in the cart",
    "discounted": "use the discount code {code}",
    "saved": "save {product} for later",
    "address_saved": "save the address {address}",
    "default_address": "make {place} the default address",
    "phone_set": "set the phone number to {phone}",
    "ordered": "order {quantity} of {product} with {delivery}",
    "ordered_to": "have {product} sent to the address {place}",
    "cancelled": "cancel order {order}",
    "returned": "return {product} from order {order} ({reason})",
    "reviewed": "review {product} with {stars} stars",
    "stocked": "set the stock of {product} to {count}",
    "priced": "set the price of {product} to {price}",
    "withdrawn": "take {product} off sale",
    "shipped": "mark order {order} as shipped",
    "arrived": "mark order {order} as delivered",
    "return_accepted": "accept the return of {product} from order {order}",
    "return_refused": "refuse the return of {product} from order {order}",
    "code_added": "add the discount code {code} for {percent} percent off",
    "code_ended": "end the discount code {code}",
}
"""How each clause is said; the first that fits an instruction is the one that is meant."""
FOR_STAFF = frozenset(
    (
        *("stocked", "priced", "withdrawn", "shipped", "arrived"),
        *("return_accepted", "return_refused", "code_added", "code_ended"),
    )
)
OPEN_TO_ALL = frozenset(("viewing", "in_cart", "discounted"))
"""What needs no account."""

_NAME = r"[A-Z][A-Za-z]*(?: [A-Z][A-Za-z]*)*"
_WAYS = {
    "standard": "standard delivery",
    "express": "express delivery",
    "pickup": "pick-up in the shop",
}
_SLOTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "product": (rf"(?P<name>{_NAME})(?: \((?P<size>[^()]+)\))?", ("name", "size")),
    "customer": (rf"(?P<name>{_NAME})", ("name",)),
    "quantity": (r"(?P<number>\d+)", ("number",)),
    "count": (r"(?P<number>\d+)", ("number",)),
    "stars": (r"(?P<number>[1-5])", ("number",)),
    "percent": (r"(?P<number>\d+)", ("number",)),
    "price": (r"\$(?P<amount>\d+\.\d\d)", ("amount",)),
    "code": (r"(?P<code>[A-Z0-9]+)", ("code",)),
    "order": (r"(?P<number>\d+)", ("number",)),
    "phone": (r"(?P<number>\+?[\d ]+)", ("number",)),
    "place": (r"(?P<label>[A-Z]\w*)", ("label",)),
    "reason": (f"(?P<text>{'|'.join(RETURN_REASONS)})", ("text",)),
    "delivery": (f"(?P<way>{'|'.join(_WAYS.values())})", ("way",)),
    "address": (
        r"(?P<label>[A-Z]\w*): (?P<street>\d+ [\w ]+), (?P<city>\w+), (?P<postcode>\w+ \w+)",
        ("label", "street", "city", "postcode"),
    ),
}
"""Parameter to the shape of its words, and the properties that they say."""
_COUNTED = frozenset(("quantity", "count", "stars", "percent"))
_JOINT = ", and "
_CREDENTIALS = re.compile(r" The e-mail address is (\S+) and the password is (\S+)\.$")

SPEC = GrammarSpec(
    templates=tuple(
        ClauseTemplate(
            predicate=predicate,
            parameters={name: {} for name in re.findall(r"{(\w+)}", phrase)},
            descriptors=tuple(
                dict.fromkeys(p for n in re.findall(r"{(\w+)}", phrase) for p in _SLOTS[n][1])
            ),
        )
        for predicate, phrase in PHRASES.items()
    ),
    setups=SETUPS,
    max_groups=1,
    max_group_size=MOST_CLAUSES,
    composable=False,
)

SPLIT_RULE = SplitRule(
    dev_templates=(
        r": (in_cart & saved|cancelled & phone_set|address_saved & default_address)$",
        r": (code_ended & priced|priced & stocked|tell_dearest|tell_code_percent)$",
    ),
    heldout_templates=(
        r"&.*&",
        r": (ordered & returned|discounted & in_cart|address_saved & ordered)$",
        r": (code_added & withdrawn|shipped & stocked|tell_total|tell_total & .*)$",
    ),
)
"""Three clauses and more are never practised, nor are these pairs; seeds are kept by residue."""


class StoreGrammar:
    """Implements `protocols.Grammar` over the shop's worlds."""

    split_rule = SPLIT_RULE

    def __init__(self, environment: str = ENVIRONMENT) -> None:
        self._environment = environment

    @property
    def spec(self) -> GrammarSpec:
        """The predicates, start-state families and limits."""
        return SPEC

    def compose(self, mission: Mission | None, setup: str, seed: int) -> Task:
        """A task that states the mission in the world of `setup` and `seed`.

        Raises:
            InvalidTaskError: no such setup, words that do not exist, a clause that holds from
                the start, clauses that exclude each other, or what the shop does not allow.
        """
        start = start_state(setup, seed)
        instruction = LOOK_AROUND
        clauses: tuple[Clause, ...] = ()
        if mission is not None:
            clauses = mission.clauses
            instruction = say(mission) + _credentials(clauses, setup, seed)
            _check_together(clauses, setup)
            for clause, row in zip(clauses, as_rows(clauses), strict=True):
                if holds(row, start):
                    raise InvalidTaskError(f"{say_clause(clause)!r} holds from the start.")
                _check_exists(clause, start)
            person = needs(clauses, setup, seed)
            why = impossible(clauses, start, person.email if person is not None else None)
            if why is not None:
                raise InvalidTaskError(f"{say(mission)!r} cannot come about: {why}.")
        template = f"{setup}: {mission.structure if mission else ''}"
        values: JsonObject = {"setup": setup}
        task = Task(
            id=task_id(self._environment, instruction, values, seed),
            environment=self._environment,
            instruction=instruction,
            setup=values,
            seed=seed,
            template=template,
            mission=mission,
            split=SPLIT_RULE.split_of(seed, template),
        )
        if mission is None:
            return task
        return task.model_copy(update={"verifier": verifier_of(clauses)})

    def parse(self, instruction: str) -> Mission:
        """The clauses of an instruction.

        Raises:
            InvalidTaskError: it is not in the shop's words.
        """
        text = _CREDENTIALS.sub("", instruction.strip()).rstrip(".")
        text = text[:1].lower() + text[1:]
        mission = Mission(groups=(tuple(_parse_clause(part) for part in text.split(_JOINT)),))
        _check_size(mission)
        return mission

    def achieved(self, before: JsonObject, after: JsonObject) -> Sequence[Clause]:
        """The clauses, as fully described as words allow, that hold after and not before."""
        earlier = _said_facts(before)
        return [clause for clause in _said_facts(after) if clause not in earlier]


def start_state(setup: str, seed: int) -> JsonObject:
    """The state in which a setup and a seed begin.

    Raises:
        InvalidTaskError: there is no such setup.
    """
    for known in SETUPS:
        if known == setup:
            connection = connect()
            build(make_world(seed), known, connection)
            state = read_state(connection, FIRST_SESSION)
            connection.close()
            return state
    raise InvalidTaskError(f"There is no start state {setup!r}; use one of {list(SETUPS)}.")


def needs(clauses: Sequence[Clause], setup: str, seed: int) -> Person | None:
    """Who must sign in for the clauses to come about, or None where nobody must."""
    world = make_world(seed)
    for clause in clauses:
        if clause.predicate == "signed_in":
            return next(
                (p for p in world.people if {"name": p.name} == clause.arguments["customer"]), None
            )
    if any(clause.predicate in FOR_STAFF for clause in clauses):
        return None if setup == "manager" else world.manager
    account = any(clause.predicate not in OPEN_TO_ALL for clause in clauses)
    return world.shopper if account and setup in ("visitor", "basket") else None


def _credentials(clauses: Sequence[Clause], setup: str, seed: int) -> str:
    person = needs(clauses, setup, seed)
    if person is None:
        return ""
    return f" The e-mail address is {person.email} and the password is {person.password}."


def say(mission: Mission) -> str:
    """The mission in words.

    Raises:
        InvalidTaskError: a clause that does not exist, or too many of them.
    """
    _check_size(mission)
    text = _JOINT.join(say_clause(clause) for clause in mission.clauses)
    return f"{text[:1].upper()}{text[1:]}."


def say_clause(clause: Clause) -> str:
    """One clause in words.

    Raises:
        InvalidTaskError: its predicate, parameters or words do not exist here.
    """
    phrase = PHRASES.get(clause.predicate)
    wanted = set(re.findall(r"{(\w+)}", phrase or ""))
    if phrase is None or wanted != set(clause.arguments):
        raise InvalidTaskError(
            f"{clause.predicate!r} with {sorted(clause.arguments)} cannot be asked in the shop."
        )
    said = {name: _say_thing(name, thing) for name, thing in clause.arguments.items()}
    return phrase.format(**said)


def _say_thing(parameter: str, description: JsonValue) -> str:
    shape, properties = _SLOTS[parameter]
    if not isinstance(description, dict) or not set(description) <= set(properties):
        raise InvalidTaskError(f"The {parameter} is described by {list(properties)}.")
    given = {name: str(value) for name, value in description.items()}
    if set(properties) - set(given) - {"size"}:
        raise InvalidTaskError(f"The {parameter} needs all of {list(properties)}.")
    match parameter:
        case "product":
            text = f"{given['name']} ({given['size']})" if "size" in given else given["name"]
        case "delivery":
            text = _WAYS.get(given["way"], "")
        case "price":
            text = f"${given['amount']}"
        case "address":
            text = "{label}: {street}, {city}, {postcode}".format(**given)
        case _:
            text = given[properties[0]]
    if re.fullmatch(shape, text) is None:
        raise InvalidTaskError(f"{text!r} cannot be said of a {parameter}.")
    return text


def _parse_clause(text: str) -> Clause:
    for predicate, phrase in PHRASES.items():
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(phrase))
        found = re.fullmatch(pattern, text)
        if found is None:
            continue
        things = {name: _parse_thing(name, said) for name, said in found.groupdict().items()}
        if all(thing is not None for thing in things.values()):
            return Clause(predicate=predicate, arguments={**things})
    raise InvalidTaskError(f"{text!r} is nothing that can be asked in the shop.")


def _parse_thing(parameter: str, said: str) -> JsonObject | None:
    found = re.fullmatch(_SLOTS[parameter][0], said)
    if found is None:
        return None
    thing: JsonObject = {name: value for name, value in found.groupdict().items() if value}
    if parameter in _COUNTED:
        thing["number"] = int(found["number"])
    if parameter == "delivery":
        thing["way"] = next(way for way, words in _WAYS.items() if words == found["way"])
    return thing


def _said_facts(state: JsonObject) -> list[Clause]:
    clauses: list[Clause] = []
    for predicate, things in facts(state):
        arguments: JsonObject = {
            name: {key: thing[key] for key in _SLOTS[name][1] if key in thing}
            for name, thing in things.items()
        }
        clauses.append(Clause(predicate=predicate, arguments=arguments))
    return clauses


def _check_size(mission: Mission) -> None:
    if len(mission.groups) != 1 or not 1 <= len(mission.clauses) <= MOST_CLAUSES:
        raise InvalidTaskError(f"A mission has 1 to {MOST_CLAUSES} clauses, in any order.")
    clauses = mission.clauses
    if any(clause in clauses[:index] for index, clause in enumerate(clauses)):
        raise InvalidTaskError("A mission does not ask for the same thing twice.")


_ONCE = frozenset(("viewing", "signed_in", "discounted", "default_address", "phone_set"))
_TAKEN_AWAY = frozenset(("in_cart", "discounted"))
"""What an order uses up."""


def _check_together(clauses: Sequence[Clause], setup: str) -> None:
    asked = [clause.predicate for clause in clauses]
    staff = [predicate in FOR_STAFF for predicate in asked if predicate != "viewing"]
    if any(staff) and (not all(staff) or setup not in ("visitor", "manager")):
        raise InvalidTaskError("Only the shop's staff, and nobody else, can do this together.")
    if setup == "manager" and not all(staff):
        raise InvalidTaskError("The manager does not buy in the shop.")
    if "ordered" in asked and _TAKEN_AWAY & set(asked):
        raise InvalidTaskError("An order empties the cart.")
    if "ordered_to" in asked and "ordered" not in asked:
        raise InvalidTaskError("Say what to order, before where to send it.")
    if "discounted" in asked and "in_cart" not in asked and setup not in ("basket", "ready"):
        raise InvalidTaskError("A code needs something in the cart.")
    ways = {str(c.arguments["delivery"]) for c in clauses if c.predicate == "ordered"}
    subjects = [(c.predicate, str(next(iter(c.arguments.values())))) for c in clauses]
    if (
        len(ways) > 1
        or len(set(subjects)) < len(subjects)
        or any(asked.count(predicate) > 1 for predicate in _ONCE)
    ):
        raise InvalidTaskError("These cannot all hold at once.")


_WHERE = {"product": "products", "order": "orders", "customer": "customers"}
_EITHER = {"product": "stock"}


def _check_exists(clause: Clause, state: JsonObject) -> None:
    """The things that a clause names are there."""
    for name, wanted in clause.arguments.items():
        if name not in _WHERE or not isinstance(wanted, dict):
            continue
        rows = state[_EITHER.get(name, _WHERE[name])]
        assert isinstance(rows, list)
        if name == "product":
            known = [{"name": r["product"], "size": r["size"]} for r in rows if isinstance(r, dict)]
        else:
            known = [row for row in rows if isinstance(row, dict)]
        if not any(all(row.get(key) == value for key, value in wanted.items()) for row in known):
            raise InvalidTaskError(f"There is no {_say_thing(name, wanted)!r} in this shop.")

"""Whether what is asked can come about at all, from the state in which one begins.

An order of somebody else cannot be cancelled, a code that has ended not be used, and of a thing no
more be bought than there are. Who tried would be refused by the shop, however well they did it: a
task that asks for it says nothing of an agent, and a start that asks for it nothing of a skill.
Knows the shop's limits as its pages hold them; whether something holds is for `rules` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, NamedTuple

from agentlab.envs.store.carts import MOST
from agentlab.envs.store.world import RETURN_DAYS
from agentlab.types import Clause, JsonObject

HIGHEST_COUNT = 9999
HIGHEST_PERCENT = 90
HIGHEST_PRICE = 999_999
"""In cents."""

_Rows = list[dict[str, Any]]


class _Asked(NamedTuple):
    """Everything that a verdict is reached from."""

    state: dict[str, Any]
    person: str | None
    """The e-mail address of whoever is signed in when it comes about; None for a visitor."""
    clauses: tuple[Clause, ...]

    def rows(self, of: str, **wanted: object) -> _Rows:
        """The members of a set that have these values."""
        rows: _Rows = self.state[of]
        return [row for row in rows if all(row.get(k) == v for k, v in wanted.items())]

    def others(self, predicate: str) -> list[dict[str, Any]]:
        """What the mission says in its clauses of another predicate."""
        return [dict(each.arguments) for each in self.clauses if each.predicate == predicate]


def impossible(
    clauses: Sequence[Clause], state: JsonObject, person: str | None = None
) -> str | None:
    """Why a mission cannot come about, or None.

    Args:
        clauses: of the mission; all that they name is there.
        state: in which it begins.
        person: the e-mail address of who is to sign in, where somebody is.
    """
    signed_in = state["user"]
    user = person or (signed_in if isinstance(signed_in, str) else None)
    asked = _Asked(state, user, tuple(clauses))
    for clause in clauses:
        judge = _JUDGES.get(clause.predicate)
        given: dict[str, Any] = dict(clause.arguments)
        why = judge(asked, given) if judge is not None else None
        if why is not None:
            return why
    return None


def _bought(asked: _Asked, given: dict[str, Any]) -> str | None:
    wanted = int(given["quantity"]["number"])
    if not 1 <= wanted <= MOST:
        return f"a cart takes 1 to {MOST} of one product"
    thing = given["product"]
    size = {"size": thing["size"]} if "size" in thing else {}
    there = asked.rows("stock", product=thing["name"], **size)
    enough = any(row["count"] >= wanted for row in there)
    sold = asked.rows("products", name=thing["name"], active=True)
    return None if enough and sold else "there are not so many in stock"


def _discounted(asked: _Asked, given: dict[str, Any]) -> str | None:
    codes = asked.rows("discounts", code=given["code"]["code"], active=True)
    if not codes:
        return "there is no such code, or it has ended"
    prices = {row["name"]: row["price"] for row in asked.rows("products")}
    wanted = {
        each["product"]["name"]: each["quantity"]["number"] for each in asked.others("in_cart")
    }
    lying = [row for row in asked.rows("cart") if row["product"] not in wanted]
    value = sum(prices[row["product"]] * row["quantity"] for row in lying)
    value += sum(prices[name] * int(number) for name, number in wanted.items())
    return None if value >= codes[0]["minimum"] else "the cart is worth too little for this code"


def _code_added(asked: _Asked, given: dict[str, Any]) -> str | None:
    if not 1 <= int(given["percent"]["number"]) <= HIGHEST_PERCENT:
        return f"a code takes off 1 to {HIGHEST_PERCENT} percent"
    known = asked.rows("discounts", code=given["code"]["code"])
    same = all(row["percent"] == given["percent"]["number"] for row in known)
    return None if same else "there is a code of this name already"


def _code_ended(asked: _Asked, given: dict[str, Any]) -> str | None:
    known = asked.rows("discounts", code=given["code"]["code"], active=True)
    added = any(each["code"] == given["code"] for each in asked.others("code_added"))
    return None if known or added else "there is no such code, or it has ended"


def _cancelled(asked: _Asked, given: dict[str, Any]) -> str | None:
    number = given["order"]["number"]
    own = asked.rows("orders", number=number, customer=asked.person, status="processing")
    return None if own else "this is no order of theirs that is still being processed"


def _in_status(*known: str) -> Callable[[_Asked, dict[str, Any]], str | None]:
    def judge(asked: _Asked, given: dict[str, Any]) -> str | None:
        there = asked.rows("orders", number=given["order"]["number"])
        fits = any(row["status"] in known for row in there)
        return None if fits else f"the order is not {' or '.join(known)}"

    return judge


def _returned(asked: _Asked, given: dict[str, Any]) -> str | None:
    number, name = given["order"]["number"], given["product"]["name"]
    own = asked.rows("orders", number=number, customer=asked.person, status="delivered")
    held = asked.rows("order_lines", order=number, product=name)
    if not own or not held or asked.rows("returns", order=number, product=name):
        return "this was not bought with that order, or was sent back already"
    age = date.fromisoformat(asked.state["today"]) - date.fromisoformat(own[0]["placed"])
    return None if age.days <= RETURN_DAYS else "it is too late to send this back"


def _decided(asked: _Asked, given: dict[str, Any]) -> str | None:
    number, name = given["order"]["number"], given["product"]["name"]
    waiting = asked.rows("returns", order=number, product=name, status="requested")
    return None if waiting else "nobody asked to return this"


def _at_place(asked: _Asked, given: dict[str, Any]) -> str | None:
    label = given["place"]["label"]
    known = asked.rows("addresses", customer=asked.person, label=label)
    added = any(each["address"]["label"] == label for each in asked.others("address_saved"))
    return None if known or added else "there is no such address"


def _reviewed(asked: _Asked, given: dict[str, Any]) -> str | None:
    done = asked.rows("reviews", customer=asked.person, product=given["product"]["name"])
    return "this was reviewed already" if done else None


def _stocked(asked: _Asked, given: dict[str, Any]) -> str | None:
    fits = 0 <= int(given["count"]["number"]) <= HIGHEST_COUNT
    return None if fits else f"a stock is counted up to {HIGHEST_COUNT}"


def _priced(asked: _Asked, given: dict[str, Any]) -> str | None:
    fits = 1 <= round(float(given["price"]["amount"]) * 100) <= HIGHEST_PRICE
    return None if fits else "a price is one cent at least, and below $10,000"


_JUDGES: dict[str, Callable[[_Asked, dict[str, Any]], str | None]] = {
    "in_cart": _bought,
    "ordered": _bought,
    "discounted": _discounted,
    "code_added": _code_added,
    "code_ended": _code_ended,
    "cancelled": _cancelled,
    "shipped": _in_status("processing"),
    "arrived": _in_status("processing", "shipped"),  # the first is sent before it arrives
    "returned": _returned,
    "return_accepted": _decided,
    "return_refused": _decided,
    "default_address": _at_place,
    "ordered_to": _at_place,
    "reviewed": _reviewed,
    "stocked": _stocked,
    "priced": _priced,
}
"""Predicate to what decides; what is not here can always come about."""

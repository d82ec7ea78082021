"""How each shipped task is made: a level, a start state, and what is drawn for it.

Levels: 1 look something up, 2 the cart and the account, 3 changes with several fields, 4 orders,
returns and the shop's own side, 5 combinations. What the grammar can say is said in its words;
questions, and what it has no words for, bring their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from agentlab.envs.store.guide import Guide
from agentlab.envs.store.money import plain_money
from agentlab.envs.store.picks import Picks, clause
from agentlab.envs.store.words import SHELVES
from agentlab.envs.store.world import DELIVERIES, Order, Setup
from agentlab.types import Clause, JsonObject


class Drawn(NamedTuple):
    """One task's particulars."""

    clauses: tuple[Clause, ...]
    instruction: str | None = None
    """None where the grammar says it."""
    answer: str | None = None
    wrong: str | None = None
    """An answer that must not pass."""
    walk: Callable[[Guide], None] | None = None
    """How a question's answer is found, where bringing about clauses does not do it."""


class Recipe(NamedTuple):
    """A kind of task."""

    name: str
    """The clauses' predicates as `Mission.structure` spells them, or a name of its own."""
    level: int
    setup: Setup
    draw: Callable[[Picks], Drawn]


def _asking(*parts: Callable[[Picks], Clause]) -> Callable[[Picks], Drawn]:
    return lambda picks: Drawn(tuple(part(picks) for part in parts))


def _told(value: JsonObject) -> Clause:
    return clause("answered", value=value)


def _viewing(picks: Picks) -> Clause:
    return clause("viewing", product=picks.thing())


def _saved(picks: Picks) -> Clause:
    return clause("saved", product=picks.thing())


def _changed_line(picks: Picks) -> Clause:
    return clause("in_cart", product=picks.lying(), quantity=picks.number(3, 5))


def _discounted(picks: Picks) -> Clause:
    return clause("discounted", code=picks.code())


def _phone(picks: Picks) -> Clause:
    return clause("phone_set", phone=picks.phone())


def _address(picks: Picks) -> Clause:
    return clause("address_saved", address=picks.address())


def _default(picks: Picks) -> Clause:
    return clause("default_address", place=picks.place())


def _reviewed(picks: Picks) -> Clause:
    return clause("reviewed", product=picks.thing(), stars=picks.number(1, 5))


def _cancelled(picks: Picks) -> Clause:
    return clause("cancelled", order={"number": picks.order("processing").number})


def _withdrawn(picks: Picks) -> Clause:
    return clause("withdrawn", product=picks.thing())


def _shipped(picks: Picks) -> Clause:
    return clause("shipped", order={"number": picks.order("processing", anyone=True).number})


def _arrived(picks: Picks) -> Clause:
    return clause("arrived", order={"number": picks.order("shipped", anyone=True).number})


def _accepted(picks: Picks) -> Clause:
    return clause("return_accepted", **picks.asked_back())


def _refused(picks: Picks) -> Clause:
    return clause("return_refused", **picks.asked_back())


def _ended(picks: Picks) -> Clause:
    return clause("code_ended", code=picks.code())


def _signed_in(picks: Picks) -> Clause:
    return clause("signed_in", customer={"name": picks.world.shopper.name})


def _whole_cart(picks: Picks) -> Clause:
    line = picks.lying()
    return clause("ordered", product=line, quantity=picks.number(3, 4), delivery=picks.way())


def _two_ordered(picks: Picks) -> Drawn:
    way = picks.way()
    return Drawn((picks.ordered(way), picks.ordered(way)))


def _ordered_to(picks: Picks) -> Drawn:
    order = picks.ordered()
    thing = order.arguments["product"]
    assert isinstance(thing, dict)
    return Drawn((order, clause("ordered_to", product=thing, place=picks.place())))


def _to_new_address(picks: Picks) -> Drawn:
    order, address = picks.ordered(), picks.address()
    thing = order.arguments["product"]
    assert isinstance(thing, dict)
    place: JsonObject = {"label": address["label"]}
    return Drawn(
        (
            clause("address_saved", address=address),
            order,
            clause("ordered_to", product=thing, place=place),
        )
    )


def _default_of_new(picks: Picks) -> Drawn:
    address = picks.address()
    place: JsonObject = {"label": address["label"]}
    return Drawn((clause("address_saved", address=address), clause("default_address", place=place)))


def _price(picks: Picks) -> Drawn:
    product = picks.product()
    price = plain_money(product.price)
    return Drawn(
        (_told({"amount": price}),),
        f"What does the {product.name} cost?",
        f"It costs ${price}.",
        f"It costs ${plain_money(product.price + 100)}.",
        partial(Guide.open_product, name=product.name),
    )


def _maker(picks: Picks) -> Drawn:
    product = picks.product()
    others = sorted({each.brand for each in picks.world.products} - {product.brand})
    return Drawn(
        (_told({"text": product.brand, "others": [*others]}),),
        f"Which brand makes the {product.name}?",
        product.brand,
        others[0],
        partial(Guide.open_product, name=product.name),
    )


def _rating(picks: Picks) -> Drawn:
    product = picks.product()
    return Drawn(
        (_told({"amount": f"{product.rating / 10:.1f}"}),),
        f"How many stars does the {product.name} have on average?",
        f"{product.rating / 10:.1f}",
        f"{(product.rating + 1) / 10:.1f}",
        partial(Guide.open_product, name=product.name),
    )


def _extreme(picks: Picks, *, dearest: bool) -> Drawn:
    shelves = [shelf for shelf in SHELVES if _clear(picks, shelf.slug)]
    shelf = picks.draw.choice(shelves)
    rows = sorted(
        (p for p in picks.world.products if p.category == shelf.slug),
        key=lambda product: -product.price if dearest else product.price,
    )
    others = [row.name for row in rows[1:]]

    def walk(guide: Guide) -> None:
        guide.shelf(shelf.name)
        guide.sort("price_down" if dearest else "price_up")

    word = "dearest" if dearest else "cheapest"
    return Drawn(
        (_told({"text": rows[0].name, "others": [*others]}),),
        f"Which is the {word} product in the category {shelf.name}?",
        rows[0].name,
        rows[1].name,
        walk,
    )


def _cheapest(picks: Picks) -> Drawn:
    return _extreme(picks, dearest=False)


def _dearest(picks: Picks) -> Drawn:
    return _extreme(picks, dearest=True)


def _clear(picks: Picks, slug: str) -> bool:
    prices = sorted(p.price for p in picks.world.products if p.category == slug)
    return prices[0] < prices[1] and prices[-1] > prices[-2]


_STATUS_WORDS = {"processing": "processing", "shipped": "shipped", "delivered": "delivered"}


def _status(picks: Picks) -> Drawn:
    order = picks.order(picks.draw.choice(("processing", "shipped", "delivered")))
    others = [word for word in _STATUS_WORDS if word != order.status]
    return Drawn(
        (_told({"text": order.status, "others": [*others]}),),
        f"Is order {order.number} processing, shipped or delivered?",
        order.status,
        others[0],
        partial(Guide.open_order, number=order.number),
    )


def _sum(picks: Picks, order: Order) -> int:
    return DELIVERIES[order.delivery] + sum(
        picks.world.products[line.product].price * line.quantity for line in order.lines
    )


def _total(picks: Picks) -> Drawn:
    order = picks.order("delivered")
    total = plain_money(_sum(picks, order))
    return Drawn(
        (_told({"amount": total}),),
        f"What was the total of order {order.number}, delivery included?",
        f"${total}",
        f"${plain_money(_sum(picks, order) - 100)}",
        partial(Guide.open_order, number=order.number),
    )


def _percent(picks: Picks) -> Drawn:
    code = picks.world.codes[1]
    return Drawn(
        (_told({"number": code.percent}),),
        f"How many percent does the discount code {code.code} take off?",
        f"{code.percent} percent",
        f"{code.percent + 5} percent",
        partial(Guide.manage, part="codes"),
    )


def _stock(picks: Picks) -> Drawn:
    product = picks.product()
    variant = product.variants[0]
    return Drawn(
        (_told({"number": variant.stock}),),
        f"How many of the {product.name} ({variant.size}) are in stock? Give one number.",
        str(variant.stock),
        str(variant.stock + 1),
        partial(Guide.edit_product, name=product.name),
    )


def _removed(picks: Picks) -> Drawn:
    thing = picks.lying()
    said = f"Take the {thing['name']} out of the cart and leave the rest."
    return Drawn((clause("cart_free_of", product=thing),), said)


def _deleted(picks: Picks) -> Drawn:
    label = picks.place()["label"]
    said = f"Delete the address {label} from the account."
    return Drawn((clause("address_gone", address={"label": label}),), said)


def _again(picks: Picks) -> Drawn:
    order = picks.order("delivered")
    lines = tuple(
        clause(
            "in_cart",
            product={"name": picks.world.products[line.product].name, "size": line.size},
            quantity={"number": line.quantity},
        )
        for line in order.lines
    )
    said = f"Put everything from order {order.number} into the cart again, in the same quantities."
    return Drawn(lines, said, walk=partial(Guide.reorder, number=order.number))


RECIPES = (
    Recipe("viewing", 1, "visitor", _asking(_viewing)),
    Recipe("tell_price", 1, "visitor", _price),
    Recipe("tell_brand", 1, "visitor", _maker),
    Recipe("tell_rating", 1, "basket", _rating),
    Recipe("tell_cheapest", 1, "visitor", _cheapest),
    Recipe("tell_dearest", 1, "visitor", _dearest),
    Recipe("in_cart", 2, "visitor", _asking(Picks.in_cart)),
    Recipe("in_cart", 2, "basket", _asking(_changed_line)),
    Recipe("in_cart & in_cart", 2, "visitor", _asking(Picks.in_cart, Picks.in_cart)),
    Recipe("cart_free_of", 2, "basket", _removed),
    Recipe("signed_in", 2, "visitor", _asking(_signed_in)),
    Recipe("saved", 2, "member", _asking(_saved)),
    Recipe("saved & viewing", 2, "member", _asking(_saved, _viewing)),
    Recipe("tell_status", 2, "member", _status),
    Recipe("in_cart & saved", 3, "member", _asking(Picks.in_cart, _saved)),
    Recipe("discounted", 3, "basket", _asking(_discounted)),
    Recipe("discounted & in_cart", 3, "visitor", _asking(_discounted, Picks.in_cart)),
    Recipe("phone_set", 3, "member", _asking(_phone)),
    Recipe("phone_set", 3, "visitor", _asking(_phone)),
    Recipe("address_saved", 3, "member", _asking(_address)),
    Recipe("default_address", 3, "member", _asking(_default)),
    Recipe("address_saved & default_address", 3, "member", _default_of_new),
    Recipe("address_gone", 3, "member", _deleted),
    Recipe("reviewed", 3, "member", _asking(_reviewed)),
    Recipe("cancelled", 3, "member", _asking(_cancelled)),
    Recipe("tell_total", 3, "member", _total),
    Recipe("order_again", 4, "member", _again),
    Recipe("ordered", 4, "member", _asking(Picks.ordered)),
    Recipe("ordered", 4, "ready", _asking(_whole_cart)),
    Recipe("ordered", 4, "visitor", _asking(Picks.ordered)),
    Recipe("ordered & ordered", 4, "member", _two_ordered),
    Recipe("ordered & ordered_to", 4, "member", _ordered_to),
    Recipe("returned", 4, "member", _asking(Picks.returned)),
    Recipe("cancelled & phone_set", 4, "member", _asking(_cancelled, _phone)),
    Recipe("tell_stock", 4, "manager", _stock),
    Recipe("tell_code_percent", 4, "manager", _percent),
    Recipe("stocked", 4, "manager", _asking(Picks.stocked)),
    Recipe("priced", 4, "manager", _asking(Picks.priced)),
    Recipe("withdrawn", 4, "manager", _asking(_withdrawn)),
    Recipe("shipped", 4, "manager", _asking(_shipped)),
    Recipe("arrived", 4, "manager", _asking(_arrived)),
    Recipe("return_accepted", 4, "manager", _asking(_accepted)),
    Recipe("return_refused", 4, "manager", _asking(_refused)),
    Recipe("code_added", 4, "manager", _asking(Picks.new_code)),
    Recipe("code_ended", 4, "manager", _asking(_ended)),
    Recipe("priced & stocked", 4, "manager", _asking(Picks.priced, Picks.stocked)),
    Recipe("ordered & saved", 5, "member", _asking(Picks.ordered, _saved)),
    Recipe("returned & viewing", 5, "member", _asking(Picks.returned, _viewing)),
    Recipe("priced & shipped", 5, "manager", _asking(Picks.priced, _shipped)),
    Recipe("code_ended & priced", 5, "manager", _asking(_ended, Picks.priced)),
    Recipe("ordered & returned", 5, "member", _asking(Picks.ordered, Picks.returned)),
    Recipe("address_saved & ordered", 5, "member", _asking(_address, Picks.ordered)),
    Recipe("address_saved & ordered & ordered_to", 5, "member", _to_new_address),
    Recipe(
        "cancelled & ordered & phone_set", 5, "member", _asking(_cancelled, Picks.ordered, _phone)
    ),
    Recipe(
        "discounted & in_cart & in_cart",
        5,
        "visitor",
        _asking(_discounted, Picks.in_cart, Picks.in_cart),
    ),
    Recipe("code_added & withdrawn", 5, "manager", _asking(Picks.new_code, _withdrawn)),
    Recipe("shipped & stocked", 5, "manager", _asking(_shipped, Picks.stocked)),
    Recipe(
        "priced & return_accepted & shipped",
        5,
        "manager",
        _asking(Picks.priced, _accepted, _shipped),
    ),
    Recipe("in_cart & reviewed & saved", 5, "member", _asking(Picks.in_cart, _reviewed, _saved)),
    Recipe(
        "ordered & returned & saved & viewing",
        5,
        "member",
        _asking(Picks.ordered, Picks.returned, _saved, _viewing),
    ),
    Recipe(
        "priced & shipped & stocked", 5, "visitor", _asking(Picks.priced, _shipped, Picks.stocked)
    ),
)

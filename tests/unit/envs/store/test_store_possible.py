"""What the shop would refuse is not asked of anyone, and what it allows is."""

from __future__ import annotations

import pytest

from agentlab.envs.store.grammar import StoreGrammar
from agentlab.envs.store.picks import clause
from agentlab.envs.store.world import CUSTOMERS, Order, Setup, make_world
from agentlab.errors import InvalidTaskError
from agentlab.types import Clause, JsonObject, Mission

GRAMMAR = StoreGrammar()
WORLD = make_world(0)
BOUGHT = {line.product for order in WORLD.orders for line in order.lines}
PRODUCT = next(
    p
    for i, p in enumerate(WORLD.products)
    if i not in BOUGHT and 6 <= p.variants[0].stock < 10 and i > 5
)
SIZED: JsonObject = {"name": PRODUCT.name, "size": PRODUCT.variants[0].size}
STOCK = PRODUCT.variants[0].stock


def order(status: str, *, own: bool = True) -> Order:
    return next(o for o in WORLD.orders if o.status == status and (o.person == 0) is own)


def of(found: Order) -> JsonObject:
    return {"number": found.number}


def line(found: Order) -> JsonObject:
    return {"name": WORLD.products[found.lines[0].product].name}


def late() -> Order:
    return min((o for o in WORLD.orders if o.person == 0), key=lambda o: o.placed)


def back(found: Order) -> Clause:
    return clause("returned", product=line(found), order=of(found), reason={"text": "Wrong item"})


def decided(predicate: str, found: Order) -> Clause:
    return clause(predicate, product=line(found), order=of(found))


def some(count: int) -> Clause:
    return clause("in_cart", product=SIZED, quantity={"number": count})


def code(number: int) -> JsonObject:
    return {"code": WORLD.codes[number].code}


ASKED = WORLD.orders[WORLD.returns[0].order]
NEW: JsonObject = {
    "label": "Studio",
    "street": "1 Mill Lane",
    "city": "Carrow",
    "postcode": "CA1 1AL",
}


@pytest.mark.parametrize(
    ("setup", "clauses"),
    [
        ("visitor", [some(STOCK + 1)]),
        ("visitor", [some(11)]),
        ("visitor", [some(0)]),
        ("member", [clause("cancelled", order=of(order("shipped")))]),
        ("member", [clause("cancelled", order=of(order("processing", own=False)))]),
        ("visitor", [clause("cancelled", order=of(order("processing", own=False)))]),
        ("manager", [clause("shipped", order=of(order("shipped")))]),
        ("manager", [clause("arrived", order=of(order("delivered")))]),
        ("visitor", [clause("discounted", code=code(1)), some(1)]),
        ("manager", [clause("priced", product=line(order("shipped")), price={"amount": "0.00"})]),
        (
            "manager",
            [clause("priced", product=line(order("shipped")), price={"amount": "10000.00"})],
        ),
        ("member", [back(order("processing"))]),
        ("member", [back(late())]),
        ("member", [back(order("delivered", own=False))]),
        ("manager", [decided("return_accepted", order("delivered"))]),
        ("manager", [decided("return_refused", order("delivered"))]),
        ("basket", [clause("discounted", code=code(2))]),
        ("basket", [clause("discounted", code={"code": "NOSUCH5"})]),
        ("manager", [clause("code_ended", code={"code": "NOSUCH5"})]),
        ("manager", [clause("code_added", code=code(0), percent={"number": 33})]),
        ("manager", [clause("code_added", code={"code": "NEW91"}, percent={"number": 91})]),
        ("member", [clause("default_address", place={"label": "Nowhere"})]),
        ("manager", [clause("stocked", product=SIZED, count={"number": 10_000})]),
    ],
)
def test_what_the_shop_would_refuse_is_not_asked(setup: Setup, clauses: list[Clause]) -> None:
    with pytest.raises(InvalidTaskError, match=r"cannot come about|holds from the start"):
        GRAMMAR.compose(Mission(groups=(tuple(clauses),)), setup, 0)


@pytest.mark.parametrize(
    ("setup", "clauses"),
    [
        ("visitor", [some(STOCK)]),
        ("member", [clause("cancelled", order=of(order("processing")))]),
        ("visitor", [clause("cancelled", order=of(order("processing")))]),
        ("manager", [clause("shipped", order=of(order("processing", own=False)))]),
        ("manager", [clause("arrived", order=of(order("shipped")))]),
        ("manager", [clause("arrived", order=of(order("processing")))]),
        (
            "manager",
            [clause("priced", product=line(order("shipped")), price={"amount": "9999.99"})],
        ),
        ("manager", [decided("return_accepted", ASKED)]),
        ("basket", [clause("discounted", code=code(0))]),
        ("visitor", [clause("discounted", code=code(1)), some(2)]),
        ("manager", [clause("code_added", code={"code": "NEW9"}, percent={"number": 9})]),
        (
            "manager",
            [
                clause("code_added", code={"code": "NEW9"}, percent={"number": 9}),
                clause("shipped", order=of(order("processing"))),
            ],
        ),
        (
            "member",
            [
                clause("address_saved", address=NEW),
                clause("default_address", place={"label": "Studio"}),
            ],
        ),
    ],
)
def test_what_can_come_about_is_asked(setup: Setup, clauses: list[Clause]) -> None:
    mission = Mission(groups=(tuple(clauses),))
    assert GRAMMAR.compose(mission, setup, 0).mission == mission


def test_a_code_is_asked_of_a_full_enough_cart_alone() -> None:
    refused = 0
    for seed in range(0, 80, 10):
        world = make_world(seed)
        value = sum(world.products[row.product].price * row.quantity for row in world.basket)
        wanted = clause("discounted", code={"code": world.codes[1].code})
        mission = Mission(groups=((wanted,),))
        if value >= world.codes[1].minimum:
            assert GRAMMAR.compose(mission, "basket", seed).mission == mission
            continue
        refused += 1
        with pytest.raises(InvalidTaskError, match="worth too little"):
            GRAMMAR.compose(mission, "basket", seed)
    assert refused < 8


def test_another_place_could_be_the_default_in_every_world() -> None:
    labels: set[str] = set()
    for seed in range(20):
        world = make_world(seed)
        for person in world.people[:CUSTOMERS]:
            first, second, third = (each.label for each in person.addresses)
            assert (first, second) == ("Home", "Office") and third not in (first, second)
        labels.add(world.shopper.addresses[2].label)
    assert len(labels) > 4

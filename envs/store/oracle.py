"""A solution of any mission of the shop, in either skin, from its start page.

Clauses are brought about in an order in which none undoes another: an order is placed before
anything is put into the cart to stay, and a product's page is opened last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from agentlab.envs.store.grammar import needs
from agentlab.envs.store.guide import Guide
from agentlab.envs.store.labels import Skin
from agentlab.envs.store.world import Address, Order, Product, World, make_world
from agentlab.types import Clause, JsonObject, ToolCall

_LATER = {
    "default_address": 1,
    "ordered": 2,
    "cart_free_of": 3,
    "in_cart": 4,
    "discounted": 5,
    "viewing": 9,
}
"""Predicate to its place among the others, which come first."""
REVIEW = "Just what I was looking for."


def solve(clauses: Sequence[Clause], setup: str, seed: int, skin: Skin) -> tuple[ToolCall, ...]:
    """Calls that bring about all clauses, from the start page of `setup` and `seed`."""
    walker = _Walker(make_world(seed), setup, skin, clauses)
    person = needs(clauses, setup, seed)
    if person is not None:
        walker.guide.sign_in(person)
    for clause in sorted(clauses, key=lambda clause: _LATER.get(clause.predicate, 0)):
        walker.bring_about(clause)
    return tuple(walker.guide.calls)


class _Walker:
    """Brings about clauses; knows what lies in the cart."""

    def __init__(self, world: World, setup: str, skin: Skin, clauses: Sequence[Clause]) -> None:
        self.world = world
        self.guide = Guide(world, skin)
        self.clauses = clauses
        self.ordered = False
        self.cart: set[tuple[str, str]] = set()
        if setup in ("basket", "ready"):
            self.cart = {(world.products[row.product].name, row.size) for row in world.basket}

    def product(self, thing: JsonObject) -> tuple[Product, str]:
        """The product that is meant, and its choice: the one named, in the cart, or the first."""
        product = next(p for p in self.world.products if p.name == thing["name"])
        lying = [size for name, size in self.cart if name == product.name]
        size = thing.get("size") or (lying or [product.variants[0].size])[0]
        return product, str(size)

    def order(self, number: object) -> Order:
        """The order of a number."""
        return next(order for order in self.world.orders if order.number == number)

    def bring_about(self, clause: Clause) -> None:
        """Do what one clause asks."""
        given = {name: cast("JsonObject", thing) for name, thing in clause.arguments.items()}
        method = getattr(self, f"_{clause.predicate}", None)
        if method is not None:
            method(**given)

    def _put(self, product: JsonObject, quantity: JsonObject) -> None:
        found, size = self.product(product)
        number = cast("int", quantity["number"])
        if (found.name, size) in self.cart:
            self.guide.set_quantity(found, size, number)
        else:
            self.guide.add(found, size, number)
            self.cart.add((found.name, size))

    def _in_cart(self, product: JsonObject, quantity: JsonObject) -> None:
        self._put(product, quantity)

    def _cart_free_of(self, product: JsonObject) -> None:
        self.guide.remove(*self.product(product))

    def _ordered(self, product: JsonObject, quantity: JsonObject, delivery: JsonObject) -> None:
        if self.ordered:
            return
        self.ordered = True
        for clause in self.clauses:
            if clause.predicate == "ordered":
                self._put(
                    cast("JsonObject", clause.arguments["product"]),
                    cast("JsonObject", clause.arguments["quantity"]),
                )
        places = [
            str(cast("JsonObject", clause.arguments["place"])["label"])
            for clause in self.clauses
            if clause.predicate == "ordered_to"
        ]
        first = self.world.shopper.addresses[0].label
        self.guide.order(str(delivery["way"]), (places or [first])[0])
        self.cart.clear()

    def _discounted(self, code: JsonObject) -> None:
        self.guide.use_code(str(code["code"]))

    def _viewing(self, product: JsonObject) -> None:
        self.guide.open_product(str(product["name"]))

    def _saved(self, product: JsonObject) -> None:
        self.guide.save(str(product["name"]))

    def _reviewed(self, product: JsonObject, stars: JsonObject) -> None:
        self.guide.review(str(product["name"]), cast("int", stars["number"]), REVIEW)

    def _address_saved(self, address: JsonObject) -> None:
        shopper = self.world.shopper
        said = {name: str(value) for name, value in address.items()}
        known = said["label"] in [each.label for each in shopper.addresses]
        self.guide.write_address(Address(**{"name": shopper.name, **said}), known=known)

    def _address_gone(self, address: JsonObject) -> None:
        self.guide.delete_address(str(address["label"]))

    def _default_address(self, place: JsonObject) -> None:
        self.guide.prefer_address(str(place["label"]))

    def _phone_set(self, phone: JsonObject) -> None:
        self.guide.set_phone(str(phone["number"]))

    def _cancelled(self, order: JsonObject) -> None:
        self.guide.cancel(str(order["number"]))

    def _returned(self, product: JsonObject, order: JsonObject, reason: JsonObject) -> None:
        bought = self.order(order["number"])
        self.guide.send_back(bought, str(product["name"]), str(reason["text"]))

    def _stocked(self, product: JsonObject, count: JsonObject) -> None:
        found, size = self.product(product)
        self.guide.edit_product(found.name)
        self.guide.fill("admin.stock", str(count["number"]), size=size)
        self.guide.button("admin.save")

    def _priced(self, product: JsonObject, price: JsonObject) -> None:
        self.guide.edit_product(str(product["name"]))
        self.guide.fill("admin.price", str(price["amount"]))
        self.guide.button("admin.save")

    def _withdrawn(self, product: JsonObject) -> None:
        self.guide.edit_product(str(product["name"]))
        self.guide.check(self.guide.say("admin.active"), checked=False)
        self.guide.button("admin.save")

    def _shipped(self, order: JsonObject) -> None:
        self.guide.manage("orders")
        self.guide.button("admin.ship", number=str(order["number"]))

    def _arrived(self, order: JsonObject) -> None:
        bought = self.order(order["number"])
        if bought.status == "processing":
            self._shipped(order)
        self.guide.manage("orders")
        self.guide.button("admin.deliver", number=bought.number)

    def _return_accepted(self, product: JsonObject, order: JsonObject) -> None:
        self.guide.manage("returns")
        names = {"name": str(product["name"]), "number": str(order["number"])}
        self.guide.button("admin.accept", **names)

    def _return_refused(self, product: JsonObject, order: JsonObject) -> None:
        self.guide.manage("returns")
        names = {"name": str(product["name"]), "number": str(order["number"])}
        self.guide.button("admin.refuse", **names)

    def _code_added(self, code: JsonObject, percent: JsonObject) -> None:
        self.guide.add_code(str(code["code"]), cast("int", percent["number"]))

    def _code_ended(self, code: JsonObject) -> None:
        self.guide.manage("codes")
        self.guide.button("admin.code.end", code=str(code["code"]))

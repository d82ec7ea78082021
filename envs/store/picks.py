"""Particulars for tasks: products, amounts, orders and people of one world, drawn at random.

Each pick fits the world, so that a clause over it can come about and does not hold already.
"""

from __future__ import annotations

import random

from pydantic import JsonValue

from agentlab.envs.store.money import plain_money
from agentlab.envs.store.words import CODES, RETURN_REASONS
from agentlab.envs.store.world import (
    RETURN_DAYS,
    Order,
    OrderStatus,
    Product,
    World,
    make_address,
    make_phone,
)
from agentlab.types import Clause, JsonObject, derive_seed


def clause(predicate: str, **arguments: JsonObject) -> Clause:
    """A clause over described things."""
    given: dict[str, JsonValue] = {**arguments}
    return Clause(predicate=predicate, arguments=given)


class Picks:
    """Draws particulars; no product or order is drawn twice."""

    def __init__(self, world: World, draw: random.Random) -> None:
        self.world = world
        self.draw = draw
        lying = {line.product for line in world.basket}
        bought = {line.product for order in world.orders for line in order.lines}
        fresh = [p for i, p in enumerate(world.products) if i not in lying | bought]
        self._fresh = draw.sample(fresh, len(fresh))
        self._lying = draw.sample(world.basket, len(world.basket))
        self._taken: set[str] = set()

    def product(self) -> Product:
        """A product that nobody has bought and that lies in no cart."""
        return self._fresh.pop()

    def thing(self) -> JsonObject:
        """Such a product by name."""
        return {"name": self.product().name}

    def choice(self) -> JsonObject:
        """Such a product in a size that is in stock."""
        product = self.product()
        sizes = [variant.size for variant in product.variants if variant.stock >= 6]
        return {"name": product.name, "size": self.draw.choice(sizes)}

    def lying(self) -> JsonObject:
        """Something that lies in the cart at the start of `basket` and `ready`."""
        line = self._lying.pop()
        return {"name": self.world.products[line.product].name, "size": line.size}

    def number(self, lowest: int, highest: int) -> JsonObject:
        """A number within limits."""
        return {"number": self.draw.randint(lowest, highest)}

    def way(self) -> JsonObject:
        """A way of delivery."""
        return {"way": self.draw.choice(("standard", "express", "pickup"))}

    def order(self, status: OrderStatus, *, anyone: bool = False) -> Order:
        """An order in a status; the shopper's, unless it may be anyone's."""
        recent = [
            order
            for index, order in enumerate(self.world.orders)
            if order.status == status
            and (anyone or order.person == 0)
            and order.number not in self._taken
            and (self.world.today - order.placed).days <= RETURN_DAYS
            and index not in [each.order for each in self.world.returns]
        ]
        found = self.draw.choice(recent)
        self._taken.add(found.number)
        return found

    def in_cart(self) -> Clause:
        """Some of a product in the cart."""
        return clause("in_cart", product=self.choice(), quantity=self.number(1, 4))

    def ordered(self, way: JsonObject | None = None) -> Clause:
        """Some of a product ordered."""
        quantity = self.number(1, 3)
        delivery = way or self.way()
        return clause("ordered", product=self.choice(), quantity=quantity, delivery=delivery)

    def returned(self) -> Clause:
        """Something of a delivered order sent back."""
        order = self.order("delivered")
        line = self.draw.choice(order.lines)
        return clause(
            "returned",
            product={"name": self.world.products[line.product].name},
            order={"number": order.number},
            reason={"text": self.draw.choice(RETURN_REASONS)},
        )

    def address(self) -> JsonObject:
        """A new address of the shopper."""
        label = self.draw.choice(("Studio", "Parents", "Cabin", "Workshop"))
        made = make_address(self.draw, label, "")
        return {
            "label": made.label,
            "street": made.street,
            "city": made.city,
            "postcode": made.postcode,
        }

    def phone(self) -> JsonObject:
        """Another telephone number."""
        return {"number": make_phone(self.draw)}

    def place(self) -> JsonObject:
        """One of the shopper's addresses that are not the default."""
        draw = random.Random(derive_seed("store place", self.world.seed))
        return {"label": draw.choice(self.world.shopper.addresses[1:]).label}

    def code(self) -> JsonObject:
        """A code that any cart may use."""
        return {"code": self.world.codes[0].code}

    def new_code(self) -> Clause:
        """A code that is not there yet."""
        known = [code.code for code in self.world.codes]
        percent = self.draw.choice((7, 12, 25, 30))
        words = [word for word in CODES if f"{word}{percent}" not in known]
        code: JsonObject = {"code": f"{self.draw.choice(words)}{percent}"}
        return clause("code_added", code=code, percent={"number": percent})

    def stocked(self) -> Clause:
        """Another count of something on the shelf."""
        return clause("stocked", product=self.choice(), count=self.number(40, 90))

    def priced(self) -> Clause:
        """Another price of a product."""
        product = self.product()
        price = product.price + self.draw.randint(1, 9) * 100
        return clause(
            "priced", product={"name": product.name}, price={"amount": plain_money(price)}
        )

    def asked_back(self) -> dict[str, JsonObject]:
        """The return that waits for an answer."""
        waiting = self.world.returns[0]
        order = self.world.orders[waiting.order]
        product = self.world.products[order.lines[waiting.line].product]
        return {"product": {"name": product.name}, "order": {"number": order.number}}

    def spoilt(self, wanted: Clause) -> Clause:
        """Something near a clause that is not what it asks."""
        given = {k: dict(v) for k, v in wanted.arguments.items() if isinstance(v, dict)}
        for name in ("quantity", "count", "percent"):
            if name in given:
                given[name]["number"] = int(str(given[name]["number"])) + 1
                return clause(wanted.predicate, **given)
        match wanted.predicate:
            case "viewing" | "saved" | "withdrawn" | "priced" | "reviewed":
                return clause(wanted.predicate, **{**given, "product": self.thing()})
            case "phone_set":
                return clause("phone_set", phone=self.phone())
            case "address_saved":
                moved: JsonObject = {**given["address"], "city": "Elsewhere"}
                return clause("address_saved", address=moved)
            case "returned":
                reason = given["reason"]["text"]
                other = next(each for each in RETURN_REASONS if each != reason)
                why: JsonObject = {"text": other}
                return clause("returned", **{**given, "reason": why})
            case "return_accepted":
                return clause("return_refused", **given)
            case "return_refused":
                return clause("return_accepted", **given)
            case "shipped":
                other = self.order("processing", anyone=True)
                return clause("shipped", order={"number": other.number})
            case "code_ended":
                return clause("code_ended", code={"code": self.world.codes[1].code})
            case _:
                return clause("viewing", product=self.thing())

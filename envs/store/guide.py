"""The way through the shop by its labels: what a person who knows it would press, per skin.

Every step is a call of the browser's tools by role and accessible name. No address of a page is
used: from any page, the header leads on.
"""

from __future__ import annotations

from pydantic import JsonValue

from agentlab.envs.store.labels import STEPS, Skin, say
from agentlab.envs.store.world import Address, Order, Person, Product, World
from agentlab.types import ToolCall


class Guide:
    """Collects calls; each method is one thing that a person would do."""

    def __init__(self, world: World, skin: Skin) -> None:
        self.world = world
        self.skin: Skin = skin
        self.calls: list[ToolCall] = []

    def _do(self, tool: str, **arguments: JsonValue) -> None:
        self.calls.append(ToolCall(tool=tool, arguments=arguments))

    def say(self, key: str, **values: str | int) -> str:
        """A label."""
        return say(self.skin, key, **values)

    def link(self, key: str, **values: str | int) -> None:
        """Follow a link of the shop."""
        self._do("click", role="link", name=self.say(key, **values))

    def button(self, key: str, **values: str | int) -> None:
        """Press a button."""
        self._do("click", role="button", name=self.say(key, **values))

    def fill(self, key: str, text: str | int, **values: str | int) -> None:
        """Type into a field."""
        self._do("fill", label=self.say(key, **values), text=str(text))

    def select(self, label: str, option: str) -> None:
        """Choose from a list."""
        self._do("select", label=label, option=option)

    def check(self, label: str, *, checked: bool = True) -> None:
        """Tick a box, or choose one of several."""
        self._do("check", label=label, checked=checked)

    def sign_in(self, person: Person) -> None:
        """Sign in."""
        self.link("sign_in")
        self.fill("email", person.email)
        self.fill("password", person.password)
        self.button("sign_in")

    def open_product(self, name: str) -> None:
        """Come to a product's page."""
        self.fill("search.field", name)
        self.button("search.go")
        self._do("click", role="link", name=name)

    def shelf(self, name: str) -> None:
        """Come to a category."""
        self._do("click", role="link", name=name)

    def sort(self, order: str) -> None:
        """Put a list into another order."""
        self.select(self.say("sort"), self.say(f"sort.{order}"))

    def add(self, product: Product, size: str, quantity: int) -> None:
        """Put something into the cart, from its page."""
        self.open_product(product.name)
        if self.skin == "a":
            self.select(product.option, size)
            self.fill("quantity", quantity)
        else:
            self.select(self.say("quantity"), str(quantity))
            self.check(size)
        self.button("add", name=product.name)

    def set_quantity(self, product: Product, size: str, quantity: int) -> None:
        """Change how many of something are in the cart."""
        self.link("cart")
        label = self.say("cart.quantity", name=product.name, size=size)
        if self.skin == "a":
            self._do("fill", label=label, text=str(quantity))
        else:
            self.select(label, str(quantity))
        self.button("cart.update", name=product.name, size=size)

    def remove(self, product: Product, size: str) -> None:
        """Take something out of the cart."""
        self.link("cart")
        self.button("cart.remove", name=product.name, size=size)

    def use_code(self, code: str) -> None:
        """Use a discount code."""
        self.link("cart")
        self.fill("code", code)
        self.button("code.apply")

    def order(self, delivery: str, place: str) -> None:
        """Order what is in the cart, by invoice."""
        self.link("cart")
        self.link("checkout")
        for step in STEPS[self.skin]:
            match step:
                case "address":
                    self.check(place)
                    self.button("next.address")
                case "delivery":
                    way = self.say(f"delivery.{delivery}")
                    if self.skin == "a":
                        self.check(way)
                    else:
                        self.select(self.say("step.delivery"), way)
                    self.button("next.delivery")
                case "payment":
                    self.check(self.say("pay.invoice"))
                    self.button("next.payment")
                case _:
                    self.button("place")

    def save(self, name: str, *, again: bool = False) -> None:
        """Save a product for later, or no longer."""
        self.open_product(name)
        self.button("unsave" if again else "save", name=name)

    def review(self, name: str, stars: int, text: str) -> None:
        """Write about a product."""
        self.open_product(name)
        self.select(self.say("review.stars"), str(stars))
        self.fill("review.text", text)
        self.button("review.send")

    def account(self, key: str) -> None:
        """Come to a part of the account."""
        self.link("account")
        self.link(key)

    def write_address(self, address: Address, *, known: bool) -> None:
        """Add an address, or change the one of that name."""
        self.account("addresses")
        if known:
            self.link("address.edit", label=address.label)
        else:
            self.link("address.new")
        for part in ("label", "name", "street", "city", "postcode"):
            self.fill(f"address.{part}", getattr(address, part))
        self.button("address.save")

    def delete_address(self, label: str) -> None:
        """Delete an address, which takes a second press."""
        self.account("addresses")
        self.button("address.delete", label=label)
        self.button("address.delete.sure", label=label)

    def prefer_address(self, label: str) -> None:
        """Make an address the default."""
        self.account("addresses")
        self.button("address.prefer", label=label)

    def set_phone(self, phone: str) -> None:
        """Change the telephone number."""
        self.account("profile")
        self.fill("phone", phone)
        self.button("profile.save")

    def open_order(self, number: str) -> None:
        """Come to the page of an order."""
        self.account("orders")
        self.link("order", number=number)

    def cancel(self, number: str) -> None:
        """Cancel an order, which takes a second press."""
        self.open_order(number)
        self.button("order.cancel", number=number)
        self.button("order.cancel.sure", number=number)

    def reorder(self, number: str) -> None:
        """Put an order's goods into the cart again."""
        self.open_order(number)
        self.button("order.again", number=number)

    def send_back(self, order: Order, name: str, reason: str) -> None:
        """Ask to return one of a product of an order."""
        self.open_order(order.number)
        self.link("order.return", number=order.number)
        line = next(row for row in order.lines if self.world.products[row.product].name == name)
        said = self.say("return.line", name=name, size=line.size, quantity=line.quantity)
        self.select(self.say("return.item"), said)
        self.fill("return.quantity", 1)
        if self.skin == "a":
            self.select(self.say("return.reason"), reason)
        else:
            self.check(reason)
        self.button("return.send")

    def manage(self, part: str) -> None:
        """Come to a part of the shop's own side."""
        self.link("admin")
        self.link(f"admin.{part}")

    def edit_product(self, name: str) -> None:
        """Come to the form that changes a product."""
        self.manage("products")
        self.fill("admin.search", name)
        self.button("admin.search.go")
        self.link("admin.edit", name=name)

    def add_code(self, code: str, percent: int) -> None:
        """Make a discount code."""
        self.manage("codes")
        self.fill("admin.code", code)
        self.fill("admin.percent", percent)
        self.button("admin.code.add")

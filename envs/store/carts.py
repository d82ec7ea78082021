"""What lies in a cart and what it comes to. A cart belongs to a session or to a customer."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from agentlab.envs.store.world import DELIVERIES

MOST = 10
"""Of one product in one cart."""


class CartLine(NamedTuple):
    """One line of a cart."""

    variant: int
    slug: str
    name: str
    size: str
    price: int
    quantity: int
    stock: int
    active: bool

    @property
    def total(self) -> int:
        """In cents."""
        return self.price * self.quantity

    @property
    def available(self) -> bool:
        """Whether all of it can be delivered."""
        return self.active and self.quantity <= self.stock


class Cart(NamedTuple):
    """A cart with its sums, in cents."""

    lines: tuple[CartLine, ...]
    code: str | None
    percent: int
    minimum: int

    @property
    def things(self) -> int:
        """How many things there are."""
        return sum(line.quantity for line in self.lines)

    @property
    def subtotal(self) -> int:
        """Before discount and delivery."""
        return sum(line.total for line in self.lines)

    @property
    def saved(self) -> int:
        """What the discount code takes off; nothing below its least value."""
        enough = self.subtotal >= self.minimum
        return self.subtotal * self.percent // 100 if self.code and enough else 0

    def total(self, delivery: str | None = None) -> int:
        """What is to be paid, with delivery where it is chosen."""
        return self.subtotal - self.saved + (DELIVERIES[delivery] if delivery else 0)


def read_cart(connection: sqlite3.Connection, owner: str) -> Cart:
    """An owner's cart; empty where there is none."""
    rows = connection.execute(
        "SELECT v.id AS variant, slug, name, size, price, quantity, stock, active"
        " FROM cart_lines JOIN variants v ON v.id = variant_id"
        " JOIN products p ON p.id = product_id WHERE owner = ? ORDER BY p.id, v.id",
        (owner,),
    )
    code = connection.execute(
        "SELECT d.* FROM carts JOIN discounts d ON d.code = carts.code AND d.active"
        " WHERE owner = ?",
        (owner,),
    ).fetchone()
    lines = tuple(CartLine(*row) for row in rows)
    if code is None:
        return Cart(lines, None, 0, 0)
    return Cart(lines, code["code"], code["percent"], code["minimum"])


def set_quantity(
    connection: sqlite3.Connection, owner: str, variant: int, quantity: int
) -> str | None:
    """Let there be so many in the cart; 0 removes the line. What is wrong, or None.

    Nothing changes where something is wrong.
    """
    row = connection.execute(
        "SELECT stock FROM variants v JOIN products p ON p.id = product_id"
        " WHERE v.id = ? AND active",
        (variant,),
    ).fetchone()
    if quantity == 0:
        connection.execute(
            "DELETE FROM cart_lines WHERE owner = ? AND variant_id = ?", (owner, variant)
        )
        return None
    if row is None or row["stock"] == 0:
        return "This is sold out at the moment."
    if quantity > MOST:
        return f"We sell at most {MOST} of one product at a time."
    if quantity > row["stock"]:
        return f"We have only {row['stock']} of these left."
    connection.execute("INSERT OR IGNORE INTO carts VALUES (?, NULL)", (owner,))
    connection.execute(
        "INSERT INTO cart_lines VALUES (?, ?, ?) ON CONFLICT (owner, variant_id)"
        " DO UPDATE SET quantity = excluded.quantity",
        (owner, variant, quantity),
    )
    return None


def quantity_of(connection: sqlite3.Connection, owner: str, variant: int) -> int:
    """How many of a variant are in the cart."""
    row = connection.execute(
        "SELECT quantity FROM cart_lines WHERE owner = ? AND variant_id = ?", (owner, variant)
    ).fetchone()
    return row["quantity"] if row else 0


def add(connection: sqlite3.Connection, owner: str, variant: int, quantity: int) -> str | None:
    """Put so many more into the cart. What is wrong, or None."""
    return set_quantity(
        connection, owner, variant, quantity_of(connection, owner, variant) + quantity
    )


def apply_code(connection: sqlite3.Connection, owner: str, code: str) -> str | None:
    """Use a discount code. What is wrong, or None."""
    row = connection.execute(
        "SELECT * FROM discounts WHERE code = ? AND active", (code.strip(),)
    ).fetchone()
    if row is None:
        return "We do not know this code, or it has ended."
    if read_cart(connection, owner).subtotal < row["minimum"]:
        return f"This code needs a cart of at least {row['minimum'] // 100} dollars."
    connection.execute(
        "INSERT INTO carts VALUES (?, ?) ON CONFLICT (owner) DO UPDATE SET code = excluded.code",
        (owner, row["code"]),
    )
    return None


def drop_code(connection: sqlite3.Connection, owner: str) -> None:
    """Use no discount code."""
    connection.execute("UPDATE carts SET code = NULL WHERE owner = ?", (owner,))


def empty(connection: sqlite3.Connection, owner: str) -> None:
    """Take everything out."""
    connection.execute("DELETE FROM cart_lines WHERE owner = ?", (owner,))
    connection.execute("DELETE FROM carts WHERE owner = ?", (owner,))


def hand_over(connection: sqlite3.Connection, giver: str, taker: str) -> None:
    """Add one cart to another, as far as stock allows, when a visitor signs in."""
    given = read_cart(connection, giver)
    for line in given.lines:
        add(connection, taker, line.variant, line.quantity)
    if given.code and given.lines:
        apply_code(connection, taker, given.code)
    empty(connection, giver)

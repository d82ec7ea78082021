"""Orders and returns: what can be done with them, and when."""

from __future__ import annotations

import sqlite3
from datetime import date
from typing import NamedTuple

from agentlab.envs.store import carts
from agentlab.envs.store.world import DELIVERIES, RETURN_DAYS

NEXT_STATUS = {"processing": "shipped", "shipped": "delivered"}


class Placing(NamedTuple):
    """What a customer chose on the way to an order."""

    customer: int
    address: sqlite3.Row
    delivery: str
    payment: str


def place(connection: sqlite3.Connection, owner: str, chosen: Placing, today: date) -> str:
    """Turn a cart into an order and empty it; its number.

    Every line must be available (`CartLine.available`): whoever calls this has looked.
    """
    cart = carts.read_cart(connection, owner)
    number = str(
        connection.execute("SELECT max(CAST(number AS INTEGER)) FROM orders").fetchone()[0] + 7
    )
    address = chosen.address
    made = connection.execute(
        "INSERT INTO orders (number, customer_id, placed, status, delivery, delivery_cost, code,"
        " saved, total, payment, name, street, city, postcode)"
        " VALUES (?, ?, ?, 'processing', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(number, chosen.customer, today.isoformat(), chosen.delivery),
            *(DELIVERIES[chosen.delivery], cart.code if cart.saved else None, cart.saved),
            *(cart.total(chosen.delivery), chosen.payment, address["name"], address["street"]),
            *(address["city"], address["postcode"]),
        ),
    )
    for line in cart.lines:
        connection.execute(
            "INSERT INTO order_lines (order_id, variant_id, price, quantity) VALUES (?, ?, ?, ?)",
            (made.lastrowid, line.variant, line.price, line.quantity),
        )
        connection.execute(
            "UPDATE variants SET stock = stock - ? WHERE id = ?", (line.quantity, line.variant)
        )
    carts.empty(connection, owner)
    return number


_ORDERS = (
    "SELECT o.*, c.name AS customer, c.email FROM orders o JOIN customers c ON c.id = customer_id"
)


def list_orders(
    connection: sqlite3.Connection, *, customer: int | None = None, status: str = ""
) -> list[sqlite3.Row]:
    """Orders, newest first: of a customer or of all, in one status or in any."""
    return connection.execute(
        f"{_ORDERS} WHERE (?1 IS NULL OR customer_id = ?1) AND (?2 = '' OR status = ?2)"
        " ORDER BY placed DESC, o.id DESC",
        (customer, status),
    ).fetchall()


def find_order(
    connection: sqlite3.Connection, number: str, *, customer: int | None = None
) -> sqlite3.Row | None:
    """One order; none where it is not that customer's."""
    return connection.execute(
        f"{_ORDERS} WHERE number = ?1 AND (?2 IS NULL OR customer_id = ?2)", (number, customer)
    ).fetchone()


def order_lines(connection: sqlite3.Connection, order_id: int) -> list[sqlite3.Row]:
    """An order's lines, each with the return that was asked for, if any."""
    return connection.execute(
        "SELECT l.*, p.name, p.slug, v.size, r.status AS returned, r.reason"
        " FROM order_lines l JOIN variants v ON v.id = variant_id"
        " JOIN products p ON p.id = product_id LEFT JOIN returns r ON r.line_id = l.id"
        " WHERE order_id = ? ORDER BY l.id",
        (order_id,),
    ).fetchall()


def cancel(connection: sqlite3.Connection, order: sqlite3.Row) -> None:
    """Cancel an order that is still being processed, and put its goods back."""
    connection.execute("UPDATE orders SET status = 'cancelled' WHERE id = ?", (order["id"],))
    connection.execute(
        "UPDATE variants SET stock = stock + (SELECT sum(quantity) FROM order_lines"
        " WHERE order_id = ?1 AND variant_id = variants.id)"
        " WHERE id IN (SELECT variant_id FROM order_lines WHERE order_id = ?1)",
        (order["id"],),
    )


def reorder(connection: sqlite3.Connection, order: sqlite3.Row, owner: str) -> list[str]:
    """Put an order's goods into a cart; the names of those that are not available."""
    return [
        line["name"]
        for line in order_lines(connection, order["id"])
        if carts.add(connection, owner, line["variant_id"], line["quantity"]) is not None
    ]


def can_return(order: sqlite3.Row, today: date) -> bool:
    """Whether an order was delivered recently enough to send things back."""
    days = (today - date.fromisoformat(order["placed"])).days
    return order["status"] == "delivered" and days <= RETURN_DAYS


def request_return(connection: sqlite3.Connection, line: int, quantity: int, reason: str) -> None:
    """Note that a customer sends something back."""
    connection.execute(
        "INSERT INTO returns (line_id, quantity, reason, status) VALUES (?, ?, ?, 'requested')",
        (line, quantity, reason),
    )


def list_returns(
    connection: sqlite3.Connection, *, customer: int | None = None
) -> list[sqlite3.Row]:
    """Returns, newest first: of a customer or of all."""
    return connection.execute(
        "SELECT r.*, o.number, p.name, v.size, v.id AS variant, c.name AS customer FROM returns r"
        " JOIN order_lines l ON l.id = line_id JOIN orders o ON o.id = order_id"
        " JOIN customers c ON c.id = o.customer_id JOIN variants v ON v.id = variant_id"
        " JOIN products p ON p.id = product_id WHERE ?1 IS NULL OR customer_id = ?1"
        " ORDER BY r.id DESC",
        (customer,),
    ).fetchall()


def decide_return(connection: sqlite3.Connection, row: sqlite3.Row, *, accepted: bool) -> None:
    """Accept a return, which puts the goods back into stock, or refuse it."""
    status = "accepted" if accepted else "refused"
    connection.execute("UPDATE returns SET status = ? WHERE id = ?", (status, row["id"]))
    if accepted:
        connection.execute(
            "UPDATE variants SET stock = stock + ? WHERE id = ?", (row["quantity"], row["variant"])
        )

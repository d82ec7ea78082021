"""The state of a world as JSON, for verifiers: single facts, and sorted sets of facts.

It says what a person of the shop could find out by looking everywhere, passwords apart. The page
that a browser shows is no part of it; whoever drives the browser adds that.
"""

from __future__ import annotations

import sqlite3

from pydantic import JsonValue

from agentlab.types import JsonObject, canonical_json

SETS = {
    "products": "SELECT slug, name, brand, category, colour, price, active FROM products",
    "stock": (
        "SELECT slug, name AS product, size, stock AS count FROM variants"
        " JOIN products ON products.id = product_id"
    ),
    "customers": "SELECT email, name, phone, role FROM customers",
    "addresses": (
        "SELECT email AS customer, label, a.name, street, city, postcode, preferred"
        " FROM addresses a JOIN customers c ON c.id = customer_id"
    ),
    "wishes": (
        "SELECT email AS customer, p.name AS product FROM wishes JOIN customers c"
        " ON c.id = customer_id JOIN products p ON p.id = product_id"
    ),
    "discounts": "SELECT code, percent, minimum, active FROM discounts",
    "orders": (
        "SELECT number, email AS customer, placed, status, delivery, delivery_cost, code, saved,"
        " total, payment, o.name, street, city, postcode"
        " FROM orders o JOIN customers c ON c.id = customer_id"
    ),
    "order_lines": (
        "SELECT number AS 'order', p.name AS product, size, l.price, quantity"
        " FROM order_lines l JOIN orders o ON o.id = order_id"
        " JOIN variants v ON v.id = variant_id JOIN products p ON p.id = product_id"
    ),
    "returns": (
        "SELECT number AS 'order', p.name AS product, size, r.quantity, reason, r.status"
        " FROM returns r JOIN order_lines l ON l.id = line_id JOIN orders o ON o.id = order_id"
        " JOIN variants v ON v.id = variant_id JOIN products p ON p.id = product_id"
    ),
    "reviews": (
        "SELECT email AS customer, p.name AS product, stars, text FROM reviews r"
        " JOIN customers c ON c.id = customer_id JOIN products p ON p.id = product_id"
    ),
}
"""Name of a set to the query that gives its members."""
FLAGS = ("active", "preferred")

_CART = (
    "SELECT owner, p.name AS product, size, quantity FROM cart_lines"
    " JOIN variants v ON v.id = variant_id JOIN products p ON p.id = product_id"
)


def read_state(connection: sqlite3.Connection, session: int | None) -> JsonObject:
    """The state, seen from a session: its user and its cart are `user`, `cart` and `discount`.

    Carts of others are in `carts`, by owner. Prices and totals are in cents.
    """
    row = connection.execute(
        "SELECT c.id, email FROM sessions s JOIN customers c ON c.id = s.customer_id"
        " WHERE s.id = ?",
        (session,),
    ).fetchone()
    owner = f"customer:{row['id']}" if row else f"session:{session}"
    carts = _rows(connection, _CART)
    codes = {row["owner"]: row["code"] for row in connection.execute("SELECT * FROM carts")}
    state: JsonObject = {name: _sorted(_rows(connection, query)) for name, query in SETS.items()}
    today = connection.execute("SELECT value FROM meta WHERE name = 'today'").fetchone()["value"]
    return {
        **state,
        "today": today,
        "user": row["email"] if row else None,
        "discount": codes.get(owner),
        "cart": _sorted([_without_owner(line) for line in carts if line["owner"] == owner]),
        "carts": _sorted([line for line in carts if line["owner"] != owner]),
    }


def _rows(connection: sqlite3.Connection, query: str) -> list[JsonObject]:
    found: list[JsonObject] = []
    for row in connection.execute(query):
        names = row.keys()
        found.append({n: bool(row[n]) if n in FLAGS else row[n] for n in names})
    return found


def _without_owner(line: JsonObject) -> JsonObject:
    return {name: value for name, value in line.items() if name != "owner"}


def _sorted(rows: list[JsonObject]) -> list[JsonValue]:
    return list[JsonValue](sorted(rows, key=canonical_json))

"""What the shop's pages ask of the catalogue: filtered lists, one product, its reviews."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from agentlab.envs.store.money import parse_money
from agentlab.envs.store.words import BRANDS, COLOURS, SHELVES

PAGE = 12
SORTS: dict[str, str] = {
    "featured": "p.id",
    "price_up": "p.price, p.id",
    "price_down": "p.price DESC, p.id",
    "rating": "p.rating DESC, p.id",
    "name": "p.name",
}
RATINGS = ("35", "40", "45")
"""Least ratings to filter by, in tenths of a star."""
CATEGORIES = {shelf.slug: shelf for shelf in SHELVES}


class Filter(NamedTuple):
    """What a person looks for. Values that make no sense count as not given."""

    query: str = ""
    category: str = ""
    brands: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    lowest: str = ""
    highest: str = ""
    rating: str = ""
    in_stock: bool = False
    sort: str = "featured"
    page: int = 1

    @classmethod
    def read(cls, given: Mapping[str, Sequence[str]]) -> Filter:
        """From a query string's parameters."""

        def one(name: str) -> str:
            return " ".join((given.get(name) or [""])[-1].split())[:80]

        page = one("page")
        return cls(
            query=one("q"),
            category=one("category") if one("category") in CATEGORIES else "",
            brands=tuple(b for b in BRANDS if b in given.get("brand", ())),
            colours=tuple(c for c in COLOURS if c in given.get("colour", ())),
            lowest=one("lowest") if parse_money(one("lowest")) is not None else "",
            highest=one("highest") if parse_money(one("highest")) is not None else "",
            rating=one("rating") if one("rating") in RATINGS else "",
            in_stock=one("in_stock") == "1",
            sort=one("sort") if one("sort") in SORTS else "featured",
            page=int(page) if page.isascii() and page.isdigit() and 0 < int(page) < 1000 else 1,
        )

    def address(self, **changes: str | int | tuple[str, ...]) -> str:
        """The path of the list with some things changed."""
        new = self._replace(**changes)  # pyright: ignore[reportArgumentType] - by name
        pairs: list[tuple[str, str]] = [("q", new.query), ("category", new.category)]
        pairs += [("brand", brand) for brand in new.brands]
        pairs += [("colour", colour) for colour in new.colours]
        pairs += [("lowest", new.lowest), ("highest", new.highest), ("rating", new.rating)]
        pairs += [("in_stock", "1" if new.in_stock else "")]
        pairs += [("sort", "" if new.sort == "featured" else new.sort)]
        pairs += [("page", "" if new.page == 1 else str(new.page))]
        said = urlencode([(name, value) for name, value in pairs if value])
        return f"/products?{said}" if said else "/products"

    @property
    def narrowed(self) -> bool:
        """Whether anything but the order and the page is asked for."""
        return self._replace(sort="featured", page=1) != Filter()


class Listing(NamedTuple):
    """One page of products that fit a filter."""

    rows: list[sqlite3.Row]
    total: int
    pages: int
    page: int


_COLUMNS = (
    "SELECT p.*, (SELECT sum(stock) FROM variants v WHERE v.product_id = p.id) AS stock"
    " FROM products p WHERE p.active"
)


def find(connection: sqlite3.Connection, wanted: Filter) -> Listing:
    """The products that fit. A page beyond the last is the last one."""
    where, values = "", list[str | int]()
    for word in wanted.query.lower().split():
        where += " AND (lower(p.name || ' ' || p.brand || ' ' || p.colour || ' ' || p.category)"
        where += " LIKE ? ESCAPE '\\')"
        values.append(f"%{word.translate({ord(c): chr(92) + c for c in '%_' + chr(92)})}%")
    for column, chosen in (("brand", wanted.brands), ("colour", wanted.colours)):
        if chosen:
            where += f" AND p.{column} IN ({', '.join('?' * len(chosen))})"
            values += chosen
    for clause, value in (
        ("p.category = ?", wanted.category),
        ("p.price >= ?", parse_money(wanted.lowest)),
        ("p.price <= ?", parse_money(wanted.highest)),
        ("p.rating >= ?", int(wanted.rating) if wanted.rating else None),
    ):
        if value is not None and value != "":
            where += f" AND {clause}"
            values.append(value)
    if wanted.in_stock:
        where += " AND stock > 0"
    rows = connection.execute(f"{_COLUMNS}{where} ORDER BY {SORTS[wanted.sort]}", values).fetchall()
    pages = max(1, -(-len(rows) // PAGE))
    page = min(wanted.page, pages)
    return Listing(rows[(page - 1) * PAGE : page * PAGE], len(rows), pages, page)


def best(connection: sqlite3.Connection, count: int) -> list[sqlite3.Row]:
    """The products that are rated best."""
    return connection.execute(
        f"{_COLUMNS} ORDER BY p.rating DESC, p.id LIMIT ?", (count,)
    ).fetchall()


def product(
    connection: sqlite3.Connection, slug: str, *, hidden: bool = False
) -> sqlite3.Row | None:
    """One product; one that is not on sale only if `hidden`."""
    row = connection.execute("SELECT * FROM products WHERE slug = ?", (slug,)).fetchone()
    return row if row is not None and (row["active"] or hidden) else None


def variants(connection: sqlite3.Connection, product_id: int) -> list[sqlite3.Row]:
    """The choices of a product, in the order in which they are offered."""
    return connection.execute(
        "SELECT * FROM variants WHERE product_id = ? ORDER BY id", (product_id,)
    ).fetchall()


def reviews(connection: sqlite3.Connection, product_id: int) -> list[sqlite3.Row]:
    """What customers wrote about a product, newest first."""
    return connection.execute(
        "SELECT r.*, c.name FROM reviews r JOIN customers c ON c.id = customer_id"
        " WHERE product_id = ? ORDER BY written DESC, r.id DESC",
        (product_id,),
    ).fetchall()


def related(connection: sqlite3.Connection, row: sqlite3.Row) -> list[sqlite3.Row]:
    """Some others of the same category."""
    return connection.execute(
        f"{_COLUMNS} AND p.category = ? AND p.id != ? ORDER BY abs(p.id - ?), p.id LIMIT 4",
        (row["category"], row["id"], row["id"]),
    ).fetchall()


def wished(connection: sqlite3.Connection, customer: int) -> list[sqlite3.Row]:
    """What a customer saved for later."""
    return connection.execute(
        f"{_COLUMNS} AND p.id IN (SELECT product_id FROM wishes WHERE customer_id = ?)"
        " ORDER BY p.id",
        (customer,),
    ).fetchall()


def everything(connection: sqlite3.Connection, query: str) -> list[sqlite3.Row]:
    """All products with a text in their name, hidden ones too."""
    return connection.execute(
        f"{_COLUMNS.replace('WHERE p.active', 'WHERE instr(lower(p.name), lower(?)) > 0')}"
        " ORDER BY p.name",
        (query,),
    ).fetchall()

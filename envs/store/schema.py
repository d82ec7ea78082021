"""A world written into SQLite: the tables, and the image that episodes start from.

Passwords are kept as salted PBKDF2 hashes of few rounds: the people are made up, and a world is
built for each seed.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3

from agentlab.envs.store.world import DELIVERIES, Setup, World

ROUNDS = 600

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE products (
    id INTEGER PRIMARY KEY, slug TEXT UNIQUE NOT NULL, name TEXT NOT NULL, brand TEXT NOT NULL,
    category TEXT NOT NULL, noun TEXT NOT NULL, colour TEXT NOT NULL, description TEXT NOT NULL,
    price INTEGER NOT NULL CHECK (price > 0), rating INTEGER NOT NULL, ratings INTEGER NOT NULL,
    option TEXT NOT NULL, active INTEGER NOT NULL DEFAULT 1);
CREATE TABLE variants (
    id INTEGER PRIMARY KEY, product_id INTEGER NOT NULL REFERENCES products,
    size TEXT NOT NULL, stock INTEGER NOT NULL CHECK (stock >= 0), UNIQUE (product_id, size));
CREATE TABLE customers (
    id INTEGER PRIMARY KEY, email TEXT UNIQUE NOT NULL COLLATE NOCASE, name TEXT NOT NULL,
    phone TEXT NOT NULL, password TEXT NOT NULL, role TEXT NOT NULL);
CREATE TABLE addresses (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers, label TEXT NOT NULL,
    name TEXT NOT NULL, street TEXT NOT NULL, city TEXT NOT NULL, postcode TEXT NOT NULL,
    preferred INTEGER NOT NULL DEFAULT 0, UNIQUE (customer_id, label COLLATE NOCASE));
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, customer_id INTEGER REFERENCES customers,
    notice TEXT, address_id INTEGER, delivery TEXT, payment TEXT);
CREATE TABLE carts (owner TEXT PRIMARY KEY, code TEXT);
CREATE TABLE cart_lines (
    owner TEXT NOT NULL, variant_id INTEGER NOT NULL REFERENCES variants,
    quantity INTEGER NOT NULL CHECK (quantity > 0), PRIMARY KEY (owner, variant_id));
CREATE TABLE wishes (
    customer_id INTEGER NOT NULL REFERENCES customers, product_id INTEGER NOT NULL
    REFERENCES products, PRIMARY KEY (customer_id, product_id));
CREATE TABLE discounts (
    code TEXT PRIMARY KEY COLLATE NOCASE, percent INTEGER NOT NULL, minimum INTEGER NOT NULL,
    active INTEGER NOT NULL);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, number TEXT UNIQUE NOT NULL, customer_id INTEGER NOT NULL
    REFERENCES customers, placed TEXT NOT NULL, status TEXT NOT NULL, delivery TEXT NOT NULL,
    delivery_cost INTEGER NOT NULL, code TEXT, saved INTEGER NOT NULL, total INTEGER NOT NULL,
    payment TEXT NOT NULL, name TEXT NOT NULL, street TEXT NOT NULL, city TEXT NOT NULL,
    postcode TEXT NOT NULL);
CREATE TABLE order_lines (
    id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders, variant_id INTEGER NOT NULL
    REFERENCES variants, price INTEGER NOT NULL, quantity INTEGER NOT NULL);
CREATE TABLE returns (
    id INTEGER PRIMARY KEY, line_id INTEGER UNIQUE NOT NULL REFERENCES order_lines,
    quantity INTEGER NOT NULL, reason TEXT NOT NULL, status TEXT NOT NULL);
CREATE TABLE reviews (
    id INTEGER PRIMARY KEY, product_id INTEGER NOT NULL REFERENCES products, customer_id INTEGER
    NOT NULL REFERENCES customers, stars INTEGER NOT NULL, text TEXT NOT NULL, written TEXT
    NOT NULL, UNIQUE (product_id, customer_id));
"""


def hash_password(password: str, salt: str) -> str:
    """What is kept of a password."""
    made = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), ROUNDS)
    return f"{salt}${made.hex()}"


def password_fits(password: str, kept: str) -> bool:
    """Whether it is the password that was kept."""
    salt = kept.partition("$")[0]
    return hmac.compare_digest(hash_password(password, salt), kept)


def connect(path: str = ":memory:") -> sqlite3.Connection:
    """A connection as every part of the shop expects it."""
    # One process, one loop: handlers run one after the other and never share a statement.
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def build(world: World, setup: Setup, connection: sqlite3.Connection) -> None:
    """Write a world in a start state into an empty database."""
    connection.executescript("BEGIN;" + SCHEMA)
    _write_catalogue(world, connection)
    _write_people(world, connection)
    _write_orders(world, connection)
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?)",
        [("today", world.today.isoformat()), ("seed", str(world.seed)), ("setup", setup)],
    )
    _write_start(world, setup, connection)
    connection.execute("COMMIT")


def _write_catalogue(world: World, connection: sqlite3.Connection) -> None:
    for number, product in enumerate(world.products, start=1):
        connection.execute(
            "INSERT INTO products VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
            (number, *product[:11]),
        )
        connection.executemany(
            "INSERT INTO variants (product_id, size, stock) VALUES (?, ?, ?)",
            [(number, *variant) for variant in product.variants],
        )
    connection.executemany("INSERT INTO discounts VALUES (?, ?, ?, ?)", world.codes)


def _write_people(world: World, connection: sqlite3.Connection) -> None:
    for number, person in enumerate(world.people, start=1):
        kept = hash_password(person.password, f"{world.seed}-{number}")
        connection.execute(
            "INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?)",
            (number, person.email, person.name, person.phone, kept, person.role),
        )
        connection.executemany(
            "INSERT INTO addresses (customer_id, label, name, street, city, postcode, preferred)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(number, *address, index == 0) for index, address in enumerate(person.addresses)],
        )
    connection.executemany(
        "INSERT INTO reviews (product_id, customer_id, stars, text, written)"
        " VALUES (?, ?, ?, ?, ?)",
        [
            (r.product + 1, r.person + 1, r.stars, r.text, world.today.isoformat())
            for r in world.reviews
        ],
    )


def variant_id(world: World, product: int, size: str) -> int:
    """The row of a variant in a database that was built from the world."""
    before = sum(len(each.variants) for each in world.products[:product])
    sizes = [variant.size for variant in world.products[product].variants]
    return before + sizes.index(size) + 1


def _write_orders(world: World, connection: sqlite3.Connection) -> None:
    lines: dict[tuple[int, int], int] = {}
    for index, order in enumerate(world.orders):
        address = world.people[order.person].addresses[0]
        cost = DELIVERIES[order.delivery]
        total = cost + sum(world.products[row.product].price * row.quantity for row in order.lines)
        connection.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, NULL, 0, ?, 'card', ?, ?, ?, ?)",
            (
                *(index + 1, order.number, order.person + 1, order.placed.isoformat()),
                *(order.status, order.delivery, cost, total, *address[1:]),
            ),
        )
        for place, line in enumerate(order.lines):
            made = connection.execute(
                "INSERT INTO order_lines (order_id, variant_id, price, quantity)"
                " VALUES (?, ?, ?, ?)",
                (
                    index + 1,
                    variant_id(world, line.product, line.size),
                    world.products[line.product].price,
                    line.quantity,
                ),
            )
            lines[index, place] = made.lastrowid or 0
    connection.executemany(
        "INSERT INTO returns (line_id, quantity, reason, status) VALUES (?, 1, ?, 'requested')",
        [(lines[each.order, each.line], each.reason) for each in world.returns],
    )


def _write_start(world: World, setup: Setup, connection: sqlite3.Connection) -> None:
    """The session with which an episode begins, and what lies in its cart."""
    person = {"member": 1, "ready": 1, "manager": len(world.people)}.get(setup)
    connection.execute("INSERT INTO sessions (id, customer_id) VALUES (1, ?)", (person,))
    if setup in ("basket", "ready"):
        owner = f"customer:{person}" if person else "session:1"
        connection.execute("INSERT INTO carts VALUES (?, NULL)", (owner,))
        connection.executemany(
            "INSERT INTO cart_lines VALUES (?, ?, ?)",
            [
                (owner, variant_id(world, line.product, line.size), line.quantity)
                for line in world.basket
            ],
        )

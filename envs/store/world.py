"""What a shop's world holds, drawn from its seed alone: products, people, orders of the past.

Everything is plain frozen data; `schema` writes it into a database. No clock is read: `today` is
part of the world, and every date is counted from it.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple

from agentlab.envs.store.words import (
    BRANDS,
    CITIES,
    CODES,
    COLOURS,
    FIRST_NAMES,
    LAST_NAMES,
    MATERIAL_NOTES,
    MODELS,
    PLACES,
    RETURN_REASONS,
    REVIEWS,
    SECRET_WORDS,
    SHELVES,
    STREETS,
    Kind,
)
from agentlab.types import derive_seed

Setup = Literal["visitor", "basket", "member", "ready", "manager"]
SETUPS: tuple[Setup, ...] = ("visitor", "basket", "member", "ready", "manager")
"""Start-state families: nobody signed in; that with a filled cart; a customer signed in; that
with a filled cart; the manager signed in."""

PER_KIND = 2
CUSTOMERS = 4
RETURN_DAYS = 30
DELIVERIES = {"standard": 490, "express": 990, "pickup": 0}
"""Way of delivery to its cost in cents."""
OrderStatus = Literal["processing", "shipped", "delivered", "cancelled"]


class Variant(NamedTuple):
    """One choice of a product, with what is in stock."""

    size: str
    stock: int


class Product(NamedTuple):
    """Something for sale."""

    slug: str
    name: str
    brand: str
    category: str
    noun: str
    colour: str
    description: str
    price: int
    """In cents."""
    rating: int
    """In tenths of a star."""
    ratings: int
    option: str
    variants: tuple[Variant, ...]


class Address(NamedTuple):
    """Where someone wants things delivered."""

    label: str
    name: str
    street: str
    city: str
    postcode: str


class Person(NamedTuple):
    """Someone who can sign in."""

    name: str
    email: str
    password: str
    phone: str
    role: Literal["customer", "manager"]
    addresses: tuple[Address, ...]


class Line(NamedTuple):
    """One line of an order or a cart."""

    product: int
    """Index into the world's products."""
    size: str
    quantity: int


class Order(NamedTuple):
    """An order of the past."""

    number: str
    person: int
    placed: date
    status: OrderStatus
    delivery: str
    lines: tuple[Line, ...]


class Return(NamedTuple):
    """A return that was asked for before the episode."""

    order: int
    line: int
    reason: str


class Review(NamedTuple):
    """What a customer wrote about a product."""

    product: int
    person: int
    stars: int
    text: str


class Code(NamedTuple):
    """A discount code."""

    code: str
    percent: int
    minimum: int
    """The least value of a cart in cents."""
    active: bool


class World(NamedTuple):
    """All of it."""

    seed: int
    today: date
    products: tuple[Product, ...]
    people: tuple[Person, ...]
    """Customers, then the manager."""
    orders: tuple[Order, ...]
    returns: tuple[Return, ...]
    reviews: tuple[Review, ...]
    codes: tuple[Code, ...]
    basket: tuple[Line, ...]
    """What lies in the cart at the start, where the setup fills it."""

    @property
    def shopper(self) -> Person:
        """The customer that every setup is about."""
        return self.people[0]

    @property
    def manager(self) -> Person:
        """Who runs the shop."""
        return self.people[-1]


@lru_cache(maxsize=64)
def make_world(seed: int, *, today: date | None = None) -> World:
    """The world of a seed; the same for the same seed and day."""
    draw = random.Random(derive_seed("store", seed))
    day = today or date(2025, 3, 1) + timedelta(days=draw.randrange(240))
    products = _products(draw)
    people = _with_more_places(_people(draw), seed)
    orders = _orders(draw, products, day)
    delivered = [i for i, o in enumerate(orders) if o.status == "delivered" and o.person == 1]
    return World(
        seed=seed,
        today=day,
        products=products,
        people=people,
        orders=orders,
        returns=tuple(Return(index, 0, draw.choice(RETURN_REASONS)) for index in delivered[:1]),
        reviews=tuple(
            Review(index, 1 + draw.randrange(CUSTOMERS - 1), *draw.choice(REVIEWS))
            for index in sorted(draw.sample(range(len(products)), 20))
        ),
        codes=_codes(draw),
        basket=_lines(draw, products, 2),
    )


def _products(draw: random.Random) -> tuple[Product, ...]:
    models = draw.sample(MODELS, len(MODELS))
    found: list[Product] = []
    for shelf in SHELVES:
        for kind in shelf.kinds:
            colours = draw.sample(COLOURS, PER_KIND)
            found += [
                _product(draw, shelf.slug, kind, f"{models.pop()} {kind.noun}", colour)
                for colour in colours
            ]
    return tuple(found)


def _product(draw: random.Random, shelf: str, kind: Kind, name: str, colour: str) -> Product:
    brand = draw.choice(BRANDS)
    cents = draw.choice((0, 50, 90, 95))
    return Product(
        slug=name.lower().replace(" ", "-"),
        name=name,
        brand=brand,
        category=shelf,
        noun=kind.noun,
        colour=colour,
        description=(
            f"A {colour.lower()} {kind.noun.lower()} by {brand} that {kind.about}. "
            f"{draw.choice(MATERIAL_NOTES)}"
        ),
        price=draw.randint(kind.lowest, kind.highest) * 100 + cents,
        rating=draw.randint(31, 49),
        ratings=draw.randint(4, 180),
        option=kind.option,
        # The first choice can always be bought; one of the others may be sold out.
        variants=tuple(
            Variant(size, draw.randint(6, 30) if i == 0 or draw.random() < 0.8 else 0)
            for i, size in enumerate(kind.options)
        ),
    )


def _people(draw: random.Random) -> tuple[Person, ...]:
    firsts = draw.sample(FIRST_NAMES, CUSTOMERS + 1)
    lasts = draw.sample(LAST_NAMES, CUSTOMERS + 1)
    people: list[Person] = []
    for index, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        name = f"{first} {last}"
        manager = index == CUSTOMERS
        people.append(
            Person(
                name=name,
                email=f"{first}.{last}@example.com".lower(),
                password="-".join([*draw.sample(SECRET_WORDS, 2), str(draw.randint(10, 99))]),
                phone=make_phone(draw),
                role="manager" if manager else "customer",
                addresses=()
                if manager
                else tuple(make_address(draw, label, name) for label in ("Home", "Office")),
            )
        )
    return tuple(people)


def _with_more_places(people: tuple[Person, ...], seed: int) -> tuple[Person, ...]:
    """Customers with an address more, called otherwise in each world.

    Of two addresses one is the default, so there would be one alone that could become it. They
    have draws of their own, so that all else in a world is what it was without them.
    """
    draw = random.Random(derive_seed("store places", seed))
    return tuple(
        person._replace(
            addresses=(
                *person.addresses,
                make_address(draw, draw.choice(PLACES), person.name),
            )
        )
        if person.addresses
        else person
        for person in people
    )


def make_phone(draw: random.Random) -> str:
    """A telephone number."""
    return f"0{draw.randint(20, 79)} {draw.randint(100, 999)} {draw.randint(1000, 9999)}"


def make_address(draw: random.Random, label: str, name: str) -> Address:
    """An address of someone."""
    city, letters = draw.choice(CITIES)
    street = f"{draw.randint(1, 98)} {draw.choice(STREETS)}"
    postcode = f"{letters}{draw.randint(1, 9)} {draw.randint(1, 9)}{draw.choice('ABDEFH')}L"
    return Address(label, name, street, city, postcode)


def _orders(draw: random.Random, products: tuple[Product, ...], today: date) -> tuple[Order, ...]:
    plan: list[tuple[int, OrderStatus, int]] = [
        # Whose, in which state, how many days ago.
        (0, "delivered", draw.randint(9, RETURN_DAYS - 8)),
        (0, "delivered", draw.randint(4, 8)),
        (0, "delivered", draw.randint(RETURN_DAYS + 20, 120)),
        (0, "processing", 1),
        (0, "shipped", draw.randint(2, 3)),
        (1, "delivered", draw.randint(6, 20)),
        (1, "processing", 0),
        (2, "shipped", draw.randint(2, 5)),
        (2, "processing", draw.randint(0, 1)),
        (3, "cancelled", draw.randint(10, 40)),
        (3, "delivered", draw.randint(40, 90)),
    ]
    plan.sort(key=lambda row: -row[2])
    first = draw.randint(10200, 98000)
    return tuple(
        Order(
            number=str(first + 7 * index),
            person=person,
            placed=today - timedelta(days=ago),
            status=status,
            delivery=draw.choice(("standard", "express")),
            lines=_lines(draw, products, 2),
        )
        for index, (person, status, ago) in enumerate(plan)
    )


def _lines(draw: random.Random, products: tuple[Product, ...], count: int) -> tuple[Line, ...]:
    chosen = sorted(draw.sample(range(len(products)), count))
    return tuple(Line(i, products[i].variants[0].size, draw.randint(1, 2)) for i in chosen)


def _codes(draw: random.Random) -> tuple[Code, ...]:
    words = draw.sample(CODES, 3)
    percents = draw.sample((5, 10, 15, 20), 3)
    return (
        Code(f"{words[0]}{percents[0]}", percents[0], 0, True),
        Code(f"{words[1]}{percents[1]}", percents[1], 5000, True),
        Code(f"{words[2]}{percents[2]}", percents[2], 0, False),
    )

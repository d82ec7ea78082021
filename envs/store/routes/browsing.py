"""Looking around: the first page, lists of products, a product, its picture, help."""

from __future__ import annotations

from urllib.parse import parse_qs, parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import Response

from agentlab.envs.store import carts, catalogue
from agentlab.envs.store.forms import Form
from agentlab.envs.store.pictures import draw
from agentlab.envs.store.visits import Posted, Visit, Visiting, not_found
from agentlab.envs.store.words import BRANDS, COLOURS

router = APIRouter()


@router.get("/")
async def home(visit: Visiting) -> Response:
    """The first page."""
    return visit.page("home.html", best=catalogue.best(visit.db, 6))


@router.get("/help")
async def service(visit: Visiting) -> Response:
    """How things are delivered and sent back."""
    return visit.page("help.html")


@router.get("/products")
async def products(request: Request, visit: Visiting) -> Response:
    """Products that fit what is looked for."""
    given = parse_qs(request.url.query)
    wanted = catalogue.Filter.read(given)
    form = Form({})
    for name in ("lowest", "highest"):
        typed = given.get(name, [""])[-1].strip()
        if typed and not getattr(wanted, name):
            form.values[name] = typed
            form.refuse(name, "Please enter an amount such as 24.50.")
    shelf = catalogue.CATEGORIES.get(wanted.category)
    heading = shelf.name if shelf else visit.say("all")
    if wanted.query:
        heading = f"“{wanted.query}” in {heading}" if shelf else f"“{wanted.query}”"
    address = wanted.address(sort="featured", page=1)
    return visit.page(
        "products.html",
        form=form,
        wanted=wanted,
        listing=catalogue.find(visit.db, wanted),
        heading=heading,
        kept=parse_qsl(address.partition("?")[2]),
        brands=BRANDS,
        colours=COLOURS,
        ratings=catalogue.RATINGS,
        sorts=list(catalogue.SORTS),
    )


@router.get("/product/{slug}")
async def product(slug: str, visit: Visiting) -> Response:
    """One product."""
    return _product(visit, slug, Form({}))


def _product(visit: Visit, slug: str, form: Form) -> Response:
    row = catalogue.product(visit.db, slug)
    if row is None:
        raise not_found()
    variants = catalogue.variants(visit.db, row["id"])
    customer = visit.customer
    reviews = catalogue.reviews(visit.db, row["id"])
    wished = (
        customer is not None
        and visit.db.execute(
            "SELECT 1 FROM wishes WHERE customer_id = ? AND product_id = ?",
            (customer["id"], row["id"]),
        ).fetchone()
    )
    labels = [
        each["size"] if each["stock"] else f"{each['size']} ({visit.say('stock.none').lower()})"
        for each in variants
    ]
    return visit.page(
        "product.html",
        status=200 if form.valid else 422,
        form=form,
        row=row,
        shelf=catalogue.CATEGORIES[row["category"]],
        variants=variants,
        choices=[(each["size"], label) for each, label in zip(variants, labels, strict=True)],
        radio_choices=[
            (each["size"], label, "") for each, label in zip(variants, labels, strict=True)
        ],
        first_size=variants[0]["size"],
        quantities=[(count, count) for count in range(1, carts.MOST + 1)],
        reviews=reviews,
        wished=bool(wished),
        can_review=customer is not None
        and all(review["customer_id"] != customer["id"] for review in reviews),
        related=catalogue.related(visit.db, row),
    )


@router.post("/product/{slug}/add")
async def add(slug: str, visit: Visiting, form: Posted) -> Response:
    """Put a product into the cart."""
    row = catalogue.product(visit.db, slug)
    if row is None:
        raise not_found()
    variants = {each["size"]: each["id"] for each in catalogue.variants(visit.db, row["id"])}
    size = form.choice("size", variants)
    quantity = form.whole("quantity", 1, carts.MOST)
    if form.valid:
        visit.open_session()
        problem = carts.add(visit.db, visit.owner, variants[size], quantity)
        if problem is None:
            visit.tell(f"{row['name']} ({size}) is in your {visit.say('cart').lower()}.")
            return visit.go("/cart")
        form.refuse("quantity", problem)
    return _product(visit, slug, form)


@router.post("/product/{slug}/save")
async def save(slug: str, visit: Visiting, form: Posted) -> Response:
    """Remember a product, or forget it again."""
    customer = visit.signed_in()
    row = catalogue.product(visit.db, slug)
    if row is None:
        raise not_found()
    key = (customer["id"], row["id"])
    removed = visit.db.execute(
        "DELETE FROM wishes WHERE customer_id = ? AND product_id = ?", key
    ).rowcount
    if not removed:
        visit.db.execute("INSERT INTO wishes VALUES (?, ?)", key)
    visit.tell(f"{row['name']}: {'removed' if removed else 'saved'}.")
    return visit.go(f"/product/{slug}")


@router.post("/product/{slug}/review")
async def review(slug: str, visit: Visiting, form: Posted) -> Response:
    """Write about a product, once."""
    customer = visit.signed_in()
    row = catalogue.product(visit.db, slug)
    if row is None:
        raise not_found()
    stars = form.choice("stars", ("1", "2", "3", "4", "5"))
    text = form.text("text", longest=500)
    if not form.valid:
        return _product(visit, slug, form)
    visit.db.execute(
        "INSERT OR IGNORE INTO reviews (product_id, customer_id, stars, text, written)"
        " VALUES (?, ?, ?, ?, ?)",
        (row["id"], customer["id"], int(stars), text, visit.today.isoformat()),
    )
    visit.tell("Thank you for your review.")
    return visit.go(f"/product/{slug}")


@router.get("/media/{slug}.svg")
async def picture(slug: str, visit: Visiting) -> Response:
    """A product's picture."""
    row = catalogue.product(visit.db, slug, hidden=True)
    if row is None:
        raise not_found()
    return Response(draw(row["noun"], row["colour"]), media_type="image/svg+xml")

"""The shop's own side: products and stock, orders, returns, discount codes."""

from __future__ import annotations

import re
import sqlite3

from fastapi import APIRouter, Request
from fastapi.responses import Response

from agentlab.envs.store import catalogue, orders
from agentlab.envs.store.forms import Form
from agentlab.envs.store.visits import Posted, Refusal, Visit, Visiting, not_found

router = APIRouter(prefix="/admin")
CODE = re.compile(r"[A-Za-z0-9]{3,12}")
STATUSES = ("processing", "shipped", "delivered", "cancelled")


@router.get("")
async def overview(visit: Visiting) -> Response:
    """What there is to do."""
    visit.manager()
    count = visit.db.execute(
        "SELECT (SELECT count(*) FROM orders WHERE status = 'processing'),"
        " (SELECT count(*) FROM returns WHERE status = 'requested'),"
        " (SELECT count(*) FROM variants WHERE stock = 0)"
    ).fetchone()
    labels = ("orders to ship", "returns to decide", "choices sold out")
    return visit.page("admin.html", figures=list(zip(labels, count, strict=True)))


@router.get("/products")
async def products(request: Request, visit: Visiting) -> Response:
    """All products."""
    visit.manager()
    query = " ".join(request.query_params.get("q", "").split())[:80]
    rows = catalogue.everything(visit.db, query)
    return visit.page("admin_products.html", rows=rows, query=query)


def _product(visit: Visit, slug: str, form: Form) -> Response:
    row = catalogue.product(visit.db, slug, hidden=True)
    if row is None:
        raise not_found()
    variants = catalogue.variants(visit.db, row["id"])
    status = 200 if form.valid else 422
    return visit.page("admin_product.html", status=status, form=form, row=row, variants=variants)


@router.get("/products/{slug}")
async def show_product(slug: str, visit: Visiting) -> Response:
    """The form to change a product."""
    visit.manager()
    return _product(visit, slug, Form({}))


@router.post("/products/{slug}")
async def change_product(slug: str, visit: Visiting, form: Posted) -> Response:
    """Change a product's price and stock, and whether it is on sale."""
    visit.manager()
    row = catalogue.product(visit.db, slug, hidden=True)
    if row is None:
        raise not_found()
    price = form.money("price", 1)
    counts = [
        (form.whole(f"stock-{each['id']}", 0, 9999), each["id"])
        for each in catalogue.variants(visit.db, row["id"])
    ]
    if not form.valid:
        return _product(visit, slug, form)
    visit.db.execute(
        "UPDATE products SET price = ?, active = ? WHERE id = ?",
        (price, form.values.get("active") == "1", row["id"]),
    )
    visit.db.executemany("UPDATE variants SET stock = ? WHERE id = ?", counts)
    visit.tell(f"{row['name']} is saved.")
    return visit.go("/admin/products")


@router.get("/orders")
async def all_orders(request: Request, visit: Visiting) -> Response:
    """All orders, or those in one status."""
    visit.manager()
    status = request.query_params.get("status", "")
    status = status if status in STATUSES else ""
    rows = orders.list_orders(visit.db, status=status)
    return visit.page("admin_orders.html", rows=rows, shown=status, statuses=STATUSES)


@router.post("/orders/{number}/on")
async def move_on(number: str, visit: Visiting, form: Posted) -> Response:
    """Mark an order as shipped, then as delivered."""
    visit.manager()
    order = orders.find_order(visit.db, number)
    if order is None:
        raise not_found()
    status = orders.NEXT_STATUS.get(order["status"])
    if status is None:
        raise Refusal(409, "Nothing to do", "This order goes nowhere any more.")
    visit.db.execute("UPDATE orders SET status = ? WHERE id = ?", (status, order["id"]))
    visit.tell(f"{number}: {visit.say(f'status.{status}').lower()}.")
    return visit.go("/admin/orders")


@router.get("/returns")
async def all_returns(visit: Visiting) -> Response:
    """All returns."""
    visit.manager()
    return visit.page("admin_returns.html", rows=orders.list_returns(visit.db))


def _decide(visit: Visit, number: int, *, accepted: bool) -> Response:
    visit.manager()
    row: sqlite3.Row | None = next(
        (each for each in orders.list_returns(visit.db) if each["id"] == number), None
    )
    if row is None:
        raise not_found()
    if row["status"] != "requested":
        raise Refusal(409, "Already decided", "This return was decided before.")
    orders.decide_return(visit.db, row, accepted=accepted)
    key = "return.accepted" if accepted else "return.refused"
    visit.tell(f"{row['name']}: {visit.say(key).lower()}.")
    return visit.go("/admin/returns")


@router.post("/returns/{number}/accept")
async def accept(number: int, visit: Visiting, form: Posted) -> Response:
    """Accept a return."""
    return _decide(visit, number, accepted=True)


@router.post("/returns/{number}/refuse")
async def refuse(number: int, visit: Visiting, form: Posted) -> Response:
    """Refuse a return."""
    return _decide(visit, number, accepted=False)


def _codes(visit: Visit, form: Form) -> Response:
    rows = visit.db.execute("SELECT * FROM discounts ORDER BY code").fetchall()
    return visit.page("admin_codes.html", status=200 if form.valid else 422, form=form, rows=rows)


@router.get("/codes")
async def codes(visit: Visiting) -> Response:
    """All discount codes."""
    visit.manager()
    return _codes(visit, Form({}))


@router.post("/codes")
async def add_code(visit: Visiting, form: Posted) -> Response:
    """Make a discount code."""
    visit.manager()
    code = form.matching("code", CODE, "Please use 3 to 12 letters and digits.").upper()
    percent = form.whole("percent", 1, 90)
    minimum = form.money("minimum", 0)
    if form.valid:
        try:
            visit.db.execute("INSERT INTO discounts VALUES (?, ?, ?, 1)", (code, percent, minimum))
        except sqlite3.IntegrityError:
            form.refuse("code", "There is already a code of this name.")
    if not form.valid:
        return _codes(visit, form)
    visit.tell(f"{code} is added.")
    return visit.go("/admin/codes")


@router.post("/codes/{code}/turn")
async def turn_code(code: str, visit: Visiting, form: Posted) -> Response:
    """End a discount code, or let it be used again."""
    visit.manager()
    done = visit.db.execute("UPDATE discounts SET active = NOT active WHERE code = ?", (code,))
    if not done.rowcount:
        raise not_found()
    visit.tell(f"{code} is changed.")
    return visit.go("/admin/codes")

"""The way to an order in steps. A step opens only when those before it are done."""

from __future__ import annotations

import sqlite3

from fastapi import APIRouter
from fastapi.responses import Response

from agentlab.envs.store import orders
from agentlab.envs.store.forms import Form
from agentlab.envs.store.labels import STEPS
from agentlab.envs.store.money import say_money
from agentlab.envs.store.visits import Posted, Visit, Visiting, not_found
from agentlab.envs.store.world import DELIVERIES

router = APIRouter(prefix="/checkout")

_CHOSEN = {"address": "address_id", "delivery": "delivery", "payment": "payment"}


def _addresses(visit: Visit, customer: int) -> list[sqlite3.Row]:
    return visit.db.execute(
        "SELECT * FROM addresses WHERE customer_id = ? ORDER BY id", (customer,)
    ).fetchall()


def _first_open(visit: Visit) -> str:
    chosen = visit.checkout
    return next(
        (s for s in STEPS[visit.skin] if s == "review" or chosen[_CHOSEN[s]] is None), "review"
    )


def _after(visit: Visit, step: str) -> str:
    """Where to go from a step: the next one, or on to the last if all is chosen."""
    steps = STEPS[visit.skin]
    following = steps[steps.index(step) + 1]
    opened = _first_open(visit)
    return f"/checkout/{'review' if opened == 'review' else following}"


def _away(visit: Visit, step: str) -> Response | None:
    """Another page, where this step cannot be shown yet."""
    visit.signed_in()
    if not visit.cart.lines:
        return visit.go("/cart")
    steps = STEPS[visit.skin]
    opened = _first_open(visit)
    return visit.go(f"/checkout/{opened}") if steps.index(step) > steps.index(opened) else None


def _show(visit: Visit, step: str, form: Form, **values: object) -> Response:
    steps = STEPS[visit.skin]
    index = steps.index(step)
    return visit.page(
        f"checkout_{step}.html",
        status=200 if form.valid else 422,
        form=form,
        step=step,
        steps=list(steps),
        before=steps[index - 1] if index else None,
        cart=visit.cart,
        chosen=visit.checkout,
        **values,
    )


@router.get("")
async def begin(visit: Visiting) -> Response:
    """The first step, with nothing chosen."""
    visit.signed_in()
    if not visit.cart.lines:
        return visit.go("/cart")
    for column in _CHOSEN.values():
        visit.choose(column, None)
    return visit.go(f"/checkout/{STEPS[visit.skin][0]}")


@router.get("/address")
async def show_address(visit: Visiting) -> Response:
    """Where to deliver."""
    return _away(visit, "address") or _address(visit, Form({}))


def _address(visit: Visit, form: Form) -> Response:
    rows = _addresses(visit, visit.signed_in()["id"])
    default = next((row["id"] for row in rows if row["preferred"]), "")
    return _show(
        visit,
        "address",
        form,
        choices=[
            (r["id"], r["label"], f"{r['name']}, {r['street']}, {r['city']} {r['postcode']}")
            for r in rows
        ],
        selected=visit.checkout["address_id"] or default,
    )


@router.post("/address")
async def choose_address(visit: Visiting, form: Posted) -> Response:
    """Choose where to deliver."""
    away = _away(visit, "address")
    if away is not None:
        return away
    rows = _addresses(visit, visit.signed_in()["id"])
    chosen = form.choice("address", [str(row["id"]) for row in rows])
    if not form.valid:
        return _address(visit, form)
    visit.choose("address_id", int(chosen))
    return visit.go(_after(visit, "address"))


@router.get("/delivery")
async def show_delivery(visit: Visiting) -> Response:
    """How to deliver."""
    return _away(visit, "delivery") or _delivery(visit, Form({}))


def _delivery(visit: Visit, form: Form) -> Response:
    ways = [(way, visit.say(f"delivery.{way}"), say_money(DELIVERIES[way])) for way in DELIVERIES]
    return _show(
        visit,
        "delivery",
        form,
        choices=ways,
        options=[(way, label) for way, label, _ in ways],
        selected=visit.checkout["delivery"] or "standard",
    )


@router.post("/delivery")
async def choose_delivery(visit: Visiting, form: Posted) -> Response:
    """Choose how to deliver."""
    away = _away(visit, "delivery")
    if away is not None:
        return away
    way = form.choice("delivery", DELIVERIES)
    if not form.valid:
        return _delivery(visit, form)
    visit.choose("delivery", way)
    return visit.go(_after(visit, "delivery"))


@router.get("/payment")
async def show_payment(visit: Visiting) -> Response:
    """How to pay."""
    return _away(visit, "payment") or _payment(visit, Form({}))


def _payment(visit: Visit, form: Form) -> Response:
    chosen = (visit.checkout["payment"] or "").split(" ")[0]
    return _show(visit, "payment", form, selected=chosen)


@router.post("/payment")
async def choose_payment(visit: Visiting, form: Posted) -> Response:
    """Choose how to pay; of a card only the last four digits are kept."""
    away = _away(visit, "payment")
    if away is not None:
        return away
    payment = form.choice("payment", ("card", "invoice"))
    if payment == "card":
        payment = f"card {form.card()}"
    if not form.valid:
        return _payment(visit, form)
    visit.choose("payment", payment)
    return visit.go(_after(visit, "payment"))


@router.get("/review")
async def show_review(visit: Visiting) -> Response:
    """Everything once more."""
    return _away(visit, "review") or _review(visit, Form({}))


def _review(visit: Visit, form: Form) -> Response:
    return _show(visit, "review", form, address=_chosen_address(visit))


def _chosen_address(visit: Visit) -> sqlite3.Row:
    rows = _addresses(visit, visit.signed_in()["id"])
    found = [row for row in rows if row["id"] == visit.checkout["address_id"]]
    if not found:
        raise not_found()
    return found[0]


@router.post("/review")
async def place(visit: Visiting, form: Posted) -> Response:
    """Place the order."""
    away = _away(visit, "review")
    if away is not None:
        return away
    if not all(line.available for line in visit.cart.lines):
        form.refuse("place", "Some of this is no longer available; please look at the cart.")
        return _review(visit, form)
    chosen = visit.checkout
    number = orders.place(
        visit.db,
        visit.owner,
        orders.Placing(
            customer=visit.signed_in()["id"],
            address=_chosen_address(visit),
            delivery=chosen["delivery"],
            payment=chosen["payment"],
        ),
        visit.today,
    )
    for column in _CHOSEN.values():
        visit.choose(column, None)
    return visit.go(f"/checkout/done/{number}")


@router.get("/done/{number}")
async def done(number: str, visit: Visiting) -> Response:
    """What was ordered."""
    order = orders.find_order(visit.db, number, customer=visit.signed_in()["id"])
    if order is None:
        raise not_found()
    return visit.page("done.html", order=order)

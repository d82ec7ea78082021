"""A customer's orders: looking at them, cancelling, ordering again, sending things back."""

from __future__ import annotations

import sqlite3

from fastapi import APIRouter
from fastapi.responses import Response

from agentlab.envs.store import orders
from agentlab.envs.store.forms import Form
from agentlab.envs.store.visits import Posted, Refusal, Visit, Visiting, not_found
from agentlab.envs.store.words import RETURN_REASONS

router = APIRouter(prefix="/account")


def _own(visit: Visit, number: str) -> sqlite3.Row:
    order = orders.find_order(visit.db, number, customer=visit.signed_in()["id"])
    if order is None:
        raise not_found()
    return order


def _returnable(visit: Visit, order: sqlite3.Row) -> list[sqlite3.Row]:
    """The lines that can still be sent back."""
    if not orders.can_return(order, visit.today):
        return []
    return [line for line in orders.order_lines(visit.db, order["id"]) if line["returned"] is None]


@router.get("/orders")
async def all_orders(visit: Visiting) -> Response:
    """All of them."""
    customer = visit.signed_in()
    return visit.page("orders.html", rows=orders.list_orders(visit.db, customer=customer["id"]))


@router.get("/orders/{number}")
async def one_order(number: str, visit: Visiting) -> Response:
    """One of them."""
    order = _own(visit, number)
    return visit.page(
        "order.html",
        order=order,
        lines=orders.order_lines(visit.db, order["id"]),
        returnable=bool(_returnable(visit, order)),
    )


@router.post("/orders/{number}/cancel")
async def cancel(number: str, visit: Visiting, form: Posted) -> Response:
    """Cancel an order that has not left."""
    order = _own(visit, number)
    if order["status"] != "processing":
        raise Refusal(409, "Too late to cancel", "This order is no longer being processed.")
    orders.cancel(visit.db, order)
    visit.tell(f"{visit.say('order', number=number)}: {visit.say('status.cancelled').lower()}.")
    return visit.go(f"/account/orders/{number}")


@router.post("/orders/{number}/again")
async def again(number: str, visit: Visiting, form: Posted) -> Response:
    """Put the same goods into the cart."""
    missing = orders.reorder(visit.db, _own(visit, number), visit.owner)
    visit.tell(f"Not available: {', '.join(missing)}." if missing else "Everything is added.")
    return visit.go("/cart")


def _return(visit: Visit, order: sqlite3.Row, form: Form) -> Response:
    lines = _returnable(visit, order)
    if not lines:
        raise Refusal(409, "Nothing to return", "Nothing of this order can be sent back any more.")
    return visit.page(
        "return.html",
        status=200 if form.valid else 422,
        form=form,
        order=order,
        choices=[("", "")]
        + [
            (
                line["id"],
                visit.say(
                    "return.line",
                    name=line["name"],
                    size=line["size"],
                    quantity=line["quantity"],
                ),
            )
            for line in lines
        ],
        reasons=[("", ""), *((reason, reason) for reason in RETURN_REASONS)],
        radio_reasons=[(reason, reason, "") for reason in RETURN_REASONS],
    )


@router.get("/orders/{number}/return")
async def show_return(number: str, visit: Visiting) -> Response:
    """The form to send something back."""
    return _return(visit, _own(visit, number), Form({}))


@router.post("/orders/{number}/return")
async def send_back(number: str, visit: Visiting, form: Posted) -> Response:
    """Ask to send something back."""
    order = _own(visit, number)
    lines = {str(line["id"]): line for line in _returnable(visit, order)}
    chosen = form.choice("line", lines)
    reason = form.choice("reason", RETURN_REASONS)
    quantity = form.whole("quantity", 1, lines[chosen]["quantity"] if chosen in lines else 99)
    if not form.valid:
        return _return(visit, order, form)
    orders.request_return(visit.db, int(chosen), quantity, reason)
    visit.tell(f"{lines[chosen]['name']}: {visit.say('return.requested').lower()}.")
    return visit.go("/account/returns")


@router.get("/returns")
async def all_returns(visit: Visiting) -> Response:
    """What was sent back."""
    customer = visit.signed_in()
    return visit.page("returns.html", rows=orders.list_returns(visit.db, customer=customer["id"]))

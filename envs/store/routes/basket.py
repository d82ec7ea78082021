"""The cart: what lies in it, how many, and a discount code."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from agentlab.envs.store import carts
from agentlab.envs.store.forms import Form
from agentlab.envs.store.visits import Posted, Visit, Visiting, not_found

router = APIRouter(prefix="/cart")


def _cart(visit: Visit, form: Form) -> Response:
    return visit.page("cart.html", status=200 if form.valid else 422, form=form, cart=visit.cart)


@router.get("")
async def cart(visit: Visiting) -> Response:
    """The cart."""
    return _cart(visit, Form({}))


@router.post("/lines/{variant}")
async def change(variant: int, visit: Visiting, form: Posted) -> Response:
    """Let there be more or fewer of something."""
    line = next((line for line in visit.cart.lines if line.variant == variant), None)
    if line is None:
        raise not_found()
    key = f"quantity-{variant}"
    typed = form.values.get("quantity", "")
    quantity = form.whole("quantity", 0, carts.MOST)
    problem = form.errors.get("quantity")
    if problem is None:
        problem = carts.set_quantity(visit.db, visit.owner, variant, quantity)
    if problem is not None:
        answer = Form({key: typed})
        answer.refuse(key, problem)
        return _cart(visit, answer)
    visit.tell(f"{line.name}, {line.size}: {quantity}.")
    return visit.go("/cart")


@router.post("/lines/{variant}/remove")
async def remove(variant: int, visit: Visiting, form: Posted) -> Response:
    """Take something out."""
    line = next((line for line in visit.cart.lines if line.variant == variant), None)
    if line is None:
        raise not_found()
    carts.set_quantity(visit.db, visit.owner, variant, 0)
    visit.tell(f"{line.name}, {line.size}: removed.")
    return visit.go("/cart")


@router.post("/code")
async def use_code(visit: Visiting, form: Posted) -> Response:
    """Use a discount code."""
    code = form.text("code", longest=20)
    if form.valid:
        visit.open_session()
        problem = carts.apply_code(visit.db, visit.owner, code)
        if problem is None:
            visit.tell(f"{code.upper()} is applied.")
            return visit.go("/cart")
        form.refuse("code", problem)
    return _cart(visit, form)


@router.post("/code/remove")
async def drop_code(visit: Visiting, form: Posted) -> Response:
    """Use none."""
    carts.drop_code(visit.db, visit.owner)
    return visit.go("/cart")

"""The places to which a customer has things delivered."""

from __future__ import annotations

import sqlite3
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from agentlab.envs.store.forms import Form
from agentlab.envs.store.visits import Posted, Visit, Visiting, not_found

router = APIRouter(prefix="/account/addresses")

Number = Annotated[int, Path(ge=1, lt=2**63)]
"""What SQLite can count; other numbers are of no address."""


class Typed(NamedTuple):
    """An address as it was typed."""

    label: str
    name: str
    street: str
    city: str
    postcode: str


def _read(form: Form) -> Typed:
    return Typed(
        form.text("label", longest=30),
        form.text("name"),
        form.text("street"),
        form.text("city", longest=60),
        form.postcode(),
    )


def _own(visit: Visit, address: int) -> sqlite3.Row:
    row = visit.db.execute(
        "SELECT * FROM addresses WHERE id = ? AND customer_id = ?",
        (address, visit.signed_in()["id"]),
    ).fetchone()
    if row is None:
        raise not_found()
    return row


def _form(visit: Visit, form: Form, row: sqlite3.Row | None, action: str) -> Response:
    new = row is None
    return visit.page(
        "address.html",
        status=200 if form.valid else 422,
        form=form,
        row=row,
        action=action,
        heading=visit.say("address.new") if new else visit.say("address.edit", label=row["label"]),
    )


@router.get("")
async def addresses(visit: Visiting) -> Response:
    """All of them."""
    rows = visit.db.execute(
        "SELECT * FROM addresses WHERE customer_id = ? ORDER BY preferred DESC, id",
        (visit.signed_in()["id"],),
    ).fetchall()
    return visit.page("addresses.html", rows=rows)


def _target(request: Request) -> tuple[str, str]:
    """Where a new address is sent, and where to go then."""
    if request.query_params.get("next") == "checkout":
        return "/account/addresses/new?next=checkout", "/checkout/address"
    return "/account/addresses/new", "/account/addresses"


@router.get("/new")
async def show_new(request: Request, visit: Visiting) -> Response:
    """The form for another one."""
    visit.signed_in()
    return _form(visit, Form({}), None, _target(request)[0])


@router.post("/new")
async def new(request: Request, visit: Visiting, form: Posted) -> Response:
    """Add one; the first is the default."""
    customer = visit.signed_in()["id"]
    typed = _read(form)
    action, target = _target(request)
    if form.valid:
        try:
            visit.db.execute(
                "INSERT INTO addresses (customer_id, label, name, street, city, postcode,"
                " preferred) VALUES (?1, ?2, ?3, ?4, ?5, ?6,"
                " NOT EXISTS (SELECT 1 FROM addresses WHERE customer_id = ?1))",
                (customer, *typed),
            )
        except sqlite3.IntegrityError:
            form.refuse("label", "You already have an address of this name.")
    if not form.valid:
        return _form(visit, form, None, action)
    visit.tell(f"{typed.label} is saved.")
    return visit.go(target)


@router.get("/{address}")
async def show(address: Number, visit: Visiting) -> Response:
    """The form to change one."""
    return _form(visit, Form({}), _own(visit, address), f"/account/addresses/{address}")


@router.post("/{address}")
async def change(address: Number, visit: Visiting, form: Posted) -> Response:
    """Change one."""
    row = _own(visit, address)
    typed = _read(form)
    if form.valid:
        try:
            visit.db.execute(
                "UPDATE addresses SET label = ?, name = ?, street = ?, city = ?, postcode = ?"
                " WHERE id = ?",
                (*typed, address),
            )
        except sqlite3.IntegrityError:
            form.refuse("label", "You already have an address of this name.")
    if not form.valid:
        return _form(visit, form, row, f"/account/addresses/{address}")
    visit.tell(f"{typed.label} is saved.")
    return visit.go("/account/addresses")


@router.post("/{address}/delete")
async def delete(address: Number, visit: Visiting, form: Posted) -> Response:
    """Delete one; if it was the default, the oldest one left becomes it."""
    row = _own(visit, address)
    visit.db.execute("DELETE FROM addresses WHERE id = ?", (address,))
    if row["preferred"]:
        visit.db.execute(
            "UPDATE addresses SET preferred = 1 WHERE id ="
            " (SELECT min(id) FROM addresses WHERE customer_id = ?)",
            (row["customer_id"],),
        )
    visit.db.execute("UPDATE sessions SET address_id = NULL WHERE address_id = ?", (address,))
    visit.tell(f"{row['label']} is deleted.")
    return visit.go("/account/addresses")


@router.post("/{address}/prefer")
async def prefer(address: Number, visit: Visiting, form: Posted) -> Response:
    """Make one the default."""
    row = _own(visit, address)
    visit.db.execute(
        "UPDATE addresses SET preferred = (id = ?) WHERE customer_id = ?",
        (address, row["customer_id"]),
    )
    visit.tell(f"{row['label']} is your default address.")
    return visit.go("/account/addresses")

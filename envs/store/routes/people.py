"""Signing in and out, and what a customer says about themselves."""

from __future__ import annotations

import sqlite3

from fastapi import APIRouter, Request
from fastapi.responses import Response

from agentlab.envs.store import catalogue
from agentlab.envs.store.forms import Form
from agentlab.envs.store.orders import list_orders
from agentlab.envs.store.schema import hash_password, password_fits
from agentlab.envs.store.visits import Posted, Visit, Visiting

router = APIRouter()
FIRST_PAGE = "/account"


def local_path(given: str) -> str:
    """A path of the shop; its account page where it is anything else."""
    good = given.startswith("/") and given[1:2] not in ("/", "\\") and given.isprintable()
    return given if good and "\\" not in given else FIRST_PAGE


@router.get("/sign-in")
async def show_sign_in(request: Request, visit: Visiting) -> Response:
    """The form to sign in with."""
    if visit.customer is not None:
        return visit.go(FIRST_PAGE)
    return visit.page("sign_in.html", next=local_path(request.query_params.get("next", "")))


@router.post("/sign-in")
async def sign_in(visit: Visiting, form: Posted) -> Response:
    """Sign in."""
    target = local_path(form.values.get("next", ""))
    email = form.email()
    if not form.values.get("password"):
        form.refuse("password", "Please fill this in.")
    if form.valid:
        row = visit.db.execute("SELECT * FROM customers WHERE email = ?", (email,)).fetchone()
        kept = row["password"] if row else "nobody$"
        if password_fits(form.values["password"], kept) and row is not None:
            visit.sign_in(row["id"])
            visit.tell(f"Hello {row['name']}.")
            return visit.go(target)
        form.refuse("password", "E-mail address and password do not belong together.")
    return visit.page("sign_in.html", status=422, form=form, next=target)


@router.post("/sign-out")
async def sign_out(visit: Visiting, form: Posted) -> Response:
    """Sign out."""
    visit.sign_out()
    return visit.go("/")


@router.get("/register")
async def show_register(visit: Visiting) -> Response:
    """The form to open an account with."""
    return visit.go(FIRST_PAGE) if visit.customer else visit.page("register.html")


@router.post("/register")
async def register(visit: Visiting, form: Posted) -> Response:
    """Open an account."""
    email, name, phone = form.email(), form.text("name"), form.phone()
    password = form.password("password", "again")
    if form.valid:
        try:
            made = visit.db.execute(
                "INSERT INTO customers (email, name, phone, password, role)"
                " VALUES (?, ?, ?, ?, 'customer')",
                (email, name, phone, hash_password(password, f"new-{email}")),
            )
        except sqlite3.IntegrityError:
            form.refuse("email", "There is already an account with this address.")
        else:
            assert made.lastrowid is not None
            visit.sign_in(made.lastrowid)
            visit.tell(f"Welcome, {name}.")
            return visit.go(FIRST_PAGE)
    return visit.page("register.html", status=422, form=form)


@router.get("/account")
async def account(visit: Visiting) -> Response:
    """A customer's own page."""
    customer = visit.signed_in()
    latest = list_orders(visit.db, customer=customer["id"])[:1]
    return visit.page("account.html", latest=latest[0] if latest else None)


@router.get("/account/profile")
async def show_profile(visit: Visiting) -> Response:
    """Name, telephone number and password."""
    visit.signed_in()
    return visit.page("profile.html")


def _profile(visit: Visit, form: Form) -> Response:
    return visit.page("profile.html", status=422, form=form)


@router.post("/account/profile")
async def profile(visit: Visiting, form: Posted) -> Response:
    """Change name and telephone number."""
    customer = visit.signed_in()
    name, phone = form.text("name"), form.phone()
    if not form.valid:
        return _profile(visit, form)
    visit.db.execute(
        "UPDATE customers SET name = ?, phone = ? WHERE id = ?", (name, phone, customer["id"])
    )
    visit.tell("Your details are saved.")
    return visit.go("/account/profile")


@router.post("/account/password")
async def password(visit: Visiting, form: Posted) -> Response:
    """Change the password."""
    customer = visit.signed_in()
    if not password_fits(form.values.get("old", ""), customer["password"]):
        form.refuse("old", "This is not your current password.")
    new = form.password("new", "again")
    if not form.valid:
        return _profile(visit, form)
    kept = hash_password(new, f"changed-{customer['id']}")
    visit.db.execute("UPDATE customers SET password = ? WHERE id = ?", (kept, customer["id"]))
    visit.tell("Your password is changed.")
    return visit.go("/account/profile")


@router.get("/account/saved")
async def saved(visit: Visiting) -> Response:
    """Products that a customer remembered."""
    customer = visit.signed_in()
    return visit.page("saved.html", rows=catalogue.wished(visit.db, customer["id"]))

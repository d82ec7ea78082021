"""One request as the shop sees it: which world, which session, who; and what answers it.

A session is a signed cookie that names a row; so is an episode. The key is made anew by every
process and written nowhere. A form is accepted from the shop's own pages alone.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from datetime import date
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from agentlab.envs.store import carts
from agentlab.envs.store.episodes import Served, Worlds
from agentlab.envs.store.forms import Form
from agentlab.envs.store.pages import Pages

SESSION = "session"
EPISODE = "episode"
LARGEST_FORM = 32_768
"""In bytes."""


_R = TypeVar("_R", bound=Response)


class Refusal(Exception):
    """Ends a request with a page that says why."""

    def __init__(self, status: int, title: str, text: str) -> None:
        self.status = status
        self.title = title
        self.text = text
        super().__init__(text)


class SignInNeeded(Exception):
    """Ends a request with the page on which people sign in."""


def not_found() -> Refusal:
    """What answers a request for something that is not there, or not yours."""
    return Refusal(404, "Page not found", "There is nothing at this address.")


def sign(key: bytes, kind: str, value: str) -> str:
    """A cookie's value that only this process can make."""
    mark = hmac.new(key, f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()[:32]
    return f"{value}.{mark}"


def unsign(key: bytes, kind: str, cookie: str | None) -> str | None:
    """The value of a cookie that this process made, else None."""
    value = (cookie or "").rpartition(".")[0]
    made = sign(key, kind, value)
    return value if value and hmac.compare_digest(made.encode(), (cookie or "").encode()) else None


def set_cookie(response: Response, name: str, value: str) -> None:
    """A cookie for as long as the browser is open, which scripts cannot read."""
    response.set_cookie(name, value, httponly=True, samesite="lax", path="/")


class Visit:
    """A request's world, session and customer, and the answers that know them."""

    def __init__(self, request: Request, served: Served, episode: str | None) -> None:
        self.request = request
        self.served = served
        self.db: sqlite3.Connection = served.connection
        self.episode = episode
        self._key: bytes = request.app.state.key
        self._pages: Pages = request.app.state.pages
        self._sent: str | None = None
        said = unsign(self._key, f"{SESSION}:{episode or ''}", request.cookies.get(SESSION))
        self.session: int | None = int(said) if said and self._row(int(said)) else None
        if self.session is not None:
            served.current = self.session

    def _row(self, session: int) -> sqlite3.Row | None:
        return self.db.execute("SELECT * FROM sessions WHERE id = ?", (session,)).fetchone()

    @property
    def skin(self) -> str:
        """Which skin the shop wears."""
        return self._pages.skin

    @property
    def today(self) -> date:
        """The world's day."""
        row = self.db.execute("SELECT value FROM meta WHERE name = 'today'").fetchone()
        return date.fromisoformat(row["value"])

    @property
    def customer(self) -> sqlite3.Row | None:
        """Who is signed in."""
        return self.db.execute(
            "SELECT c.* FROM customers c JOIN sessions s ON s.customer_id = c.id WHERE s.id = ?",
            (self.session,),
        ).fetchone()

    def signed_in(self) -> sqlite3.Row:
        """Who is signed in.

        Raises:
            SignInNeeded: nobody is.
        """
        customer = self.customer
        if customer is None:
            raise SignInNeeded
        return customer

    def manager(self) -> sqlite3.Row:
        """The manager who is signed in.

        Raises:
            SignInNeeded: nobody is.
            Refusal: it is a customer.
        """
        customer = self.signed_in()
        if customer["role"] != "manager":
            raise Refusal(403, "Not for customers", "Only the shop's staff can open this page.")
        return customer

    @property
    def owner(self) -> str:
        """Whose cart it is."""
        customer = self.customer
        return f"customer:{customer['id']}" if customer else f"session:{self.session or 0}"

    @property
    def cart(self) -> carts.Cart:
        """The visitor's cart."""
        return carts.read_cart(self.db, self.owner)

    def open_session(self) -> int:
        """The session; a new one where there was none."""
        if self.session is None:
            self._start(None)
        assert self.session is not None
        return self.session

    def _start(self, customer: int | None) -> None:
        made = self.db.execute("INSERT INTO sessions (customer_id) VALUES (?)", (customer,))
        self.session = made.lastrowid
        self.served.current = self.session
        self._sent = sign(self._key, f"{SESSION}:{self.episode or ''}", str(self.session))

    def sign_in(self, customer: int) -> None:
        """Start a new session for a customer, who takes over the visitor's cart."""
        old = self.session
        self._start(customer)
        if old is not None:
            carts.hand_over(self.db, f"session:{old}", f"customer:{customer}")
            self.db.execute("DELETE FROM sessions WHERE id = ?", (old,))

    def sign_out(self) -> None:
        """End the session and start one of nobody."""
        self.db.execute("DELETE FROM sessions WHERE id = ?", (self.session,))
        self._start(None)

    @property
    def checkout(self) -> sqlite3.Row:
        """What was chosen on the way to an order."""
        row = self._row(self.open_session())
        assert row is not None
        return row

    def choose(self, column: str, value: str | int | None) -> None:
        """Remember a choice on the way to an order."""
        assert column in ("address_id", "delivery", "payment")
        session = self.open_session()
        self.db.execute(f"UPDATE sessions SET {column} = ? WHERE id = ?", (value, session))

    def tell(self, message: str) -> None:
        """Show a message on the next page."""
        session = self.open_session()
        self.db.execute("UPDATE sessions SET notice = ? WHERE id = ?", (message, session))

    def _take_notice(self) -> str | None:
        row = self._row(self.session) if self.session is not None else None
        self.served.notice = row["notice"] if row is not None else None
        if row is None or row["notice"] is None:
            return None
        self.db.execute("UPDATE sessions SET notice = NULL WHERE id = ?", (self.session,))
        return row["notice"]

    def say(self, key: str, **values: str | int) -> str:
        """A label in the skin's words."""
        return self._pages.say(key, **values)

    def page(self, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
        """A page."""
        text = self._pages.render(
            template,
            request_path=self.request.url.path,
            customer=self.customer,
            cart_count=self.cart.things,
            notice=self._take_notice(),
            form=values.pop("form", None) or Form({}),
            **values,
        )
        return self._with_cookie(HTMLResponse(text, status_code=status))

    def go(self, path: str) -> RedirectResponse:
        """Answer a form by another page."""
        return self._with_cookie(RedirectResponse(path, status_code=303))

    def _with_cookie(self, response: _R) -> _R:
        if self._sent is not None:
            set_cookie(response, SESSION, self._sent)
        return response


async def open_visit(request: Request) -> Visit:
    """The visit of a request.

    Raises:
        Refusal: its episode has ended.
    """
    worlds: Worlds = request.app.state.worlds
    cookie = request.cookies.get(EPISODE)
    episode = unsign(request.app.state.key, EPISODE, cookie)
    served = worlds.get(episode)
    if served is None or (cookie and episode is None):
        # Nothing of another world may be shown instead.
        raise Refusal(410, "This visit has ended", "Please start a new one.")
    return Visit(request, served, episode)


async def read_form(request: Request) -> Form:
    """The posted form.

    Raises:
        Refusal: it comes from elsewhere, is too large or is no form.
    """
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if request.headers.get("origin") != own:
        raise Refusal(403, "Form refused", "This form was not sent from a page of this shop.")
    kind = request.headers.get("content-type", "").partition(";")[0]
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise Refusal(413, "Form too large", "Please send less text.")
    if body and kind != "application/x-www-form-urlencoded":
        raise Refusal(415, "Form refused", "This is not a form of this shop.")
    try:
        return Form(
            dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=99))
        )
    except ValueError as error:
        raise Refusal(400, "Form refused", "This is not a form of this shop.") from error


Visiting = Annotated[Visit, Depends(open_visit)]
Posted = Annotated[Form, Depends(read_form)]

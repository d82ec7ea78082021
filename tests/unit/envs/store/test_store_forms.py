"""What people type is checked: a message beside the field, and nothing stored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentlab.envs.store.money import parse_money, plain_money, say_money
from agentlab.envs.store.routes.people import local_path
from agentlab.envs.store.world import make_world
from tests.unit.envs.store.shop_client import Markup, ShopClient, shop

WORLD = make_world(0)
PRODUCT = WORLD.products[0]
OWN = [order for order in WORLD.orders if order.person == 0]
PROCESSING = next(order.number for order in OWN if order.status == "processing")
DELIVERED = [order.number for order in OWN if order.status == "delivered"]
FOREIGN = next(order.number for order in WORLD.orders if order.person == 1)


@pytest.fixture
def client() -> Iterator[ShopClient]:
    with shop() as opened:
        yield opened


@pytest.mark.parametrize(
    ("setup", "path", "fields", "wrong"),
    [
        ("visitor", f"/product/{PRODUCT.slug}/add", {"size": "Huge", "quantity": "1"}, "size"),
        (
            *("visitor", f"/product/{PRODUCT.slug}/add"),
            *({"size": PRODUCT.variants[0].size, "quantity": "0"}, "quantity"),
        ),
        (
            *("visitor", f"/product/{PRODUCT.slug}/add"),
            *({"size": PRODUCT.variants[0].size, "quantity": "11"}, "quantity"),
        ),
        ("basket", "/cart/code", {"code": "NOSUCHCODE"}, "code"),
        ("basket", "/cart/code", {"code": ""}, "code"),
        ("visitor", "/sign-in", {"email": "nobody", "password": "x"}, "email"),
        ("visitor", "/sign-in", {"email": WORLD.shopper.email, "password": "x"}, "password"),
        (
            *("visitor", "/register"),
            *({"email": WORLD.shopper.email, "name": "N", "phone": "020 123 4567"}, "password"),
        ),
        ("member", "/account/profile", {"name": "", "phone": "020 123 4567"}, "name"),
        ("member", "/account/profile", {"name": "N", "phone": "call me"}, "phone"),
        ("member", "/account/password", {"old": "x", "new": "short", "again": ""}, "old"),
        ("member", "/account/addresses/new", {"label": "Home"}, "street"),
        ("ready", "/checkout/address", {"address": "99"}, "address"),
        ("manager", f"/admin/products/{PRODUCT.slug}", {"price": "free"}, "price"),
        ("manager", "/admin/codes", {"code": "!", "percent": "10", "minimum": "0"}, "code"),
        (
            "manager",
            "/admin/codes",
            {"code": "NEWCODE", "percent": "91", "minimum": "0"},
            "percent",
        ),
        (
            *("member", f"/account/orders/{DELIVERED[-1]}/return"),
            *({"line": "", "quantity": "1", "reason": "Wrong item"}, "line"),
        ),
    ],
)
def test_bad_input_is_told_and_not_stored(
    client: ShopClient, setup: str, path: str, fields: dict[str, str], wrong: str
) -> None:
    start = client.reset(setup)
    answer = client.post(path, **fields)
    assert answer.status_code == 422
    assert client.state() == start
    page = Markup(answer.text)
    alerts = {given.get("id") for _, given in page.elements if given.get("role") == "alert"}
    assert f"{wrong}-error" in alerts
    described = " ".join(given.get("aria-describedby", "") for _, given in page.elements)
    assert f"{wrong}-error" in described.split()


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1"])
def test_forms_of_other_pages_are_refused(client: ShopClient, origin: str | None) -> None:
    start = client.reset("member")
    answer = client.post("/account/profile", origin=origin, name="N", phone="020 123 4567")
    assert answer.status_code == 403
    assert client.state() == start


def test_other_bodies_are_refused(client: ShopClient) -> None:
    client.reset("member")
    here = {"Origin": "http://127.0.0.1"}
    answer = client.client.post("/account/profile", json={"name": "N"}, headers=here)
    assert answer.status_code == 415
    assert client.post("/account/profile", name="N" * 40_000).status_code == 413


def test_other_hosts_are_refused(client: ShopClient) -> None:
    assert client.client.get("/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    "path", ["/account", "/account/orders", "/account/saved", "/checkout", "/admin", "/admin/codes"]
)
def test_pages_of_people_need_them(client: ShopClient, path: str) -> None:
    client.reset("visitor")
    answer = client.get(path)
    assert answer.url.path == "/sign-in"
    assert answer.url.params["next"] == path


def test_customers_do_not_manage(client: ShopClient) -> None:
    start = client.reset("member")
    assert client.get("/admin/orders").status_code == 403
    assert client.post(f"/admin/orders/{PROCESSING}/on").status_code == 403
    assert client.post("/admin/codes", code="MINE", percent=90, minimum=0).status_code == 403
    assert client.state() == start


def test_orders_of_others_are_not_found(client: ShopClient) -> None:
    start = client.reset("member")
    for path in ("", "/cancel", "/again", "/return"):
        answer = client.post(f"/account/orders/{FOREIGN}{path}") if path else None
        answer = answer or client.get(f"/account/orders/{FOREIGN}")
        assert answer.status_code == 404
    assert client.get("/account/addresses/4").status_code == 404
    assert client.post("/account/addresses/4/delete").status_code == 404
    assert client.state() == start


@pytest.mark.parametrize("number", ["0", "-1", "x", "9223372036854775808", "9" * 30])
def test_a_number_that_no_address_has_is_not_found(client: ShopClient, number: str) -> None:
    client.reset("member")
    assert client.get(f"/account/addresses/{number}").status_code == 404
    for path in ("", "/delete", "/prefer"):
        answer = client.post(f"/account/addresses/{number}{path}")
        assert answer.status_code == 404 and "nothing at this address" in answer.text


def test_what_is_too_late_is_refused(client: ShopClient) -> None:
    start = client.reset("member")
    assert client.post(f"/account/orders/{DELIVERED[0]}/cancel").status_code == 409
    assert client.get(f"/account/orders/{DELIVERED[0]}/return").status_code == 409
    assert client.state() == start
    assert client.post(f"/account/orders/{PROCESSING}/cancel").status_code == 200
    assert client.post(f"/account/orders/{PROCESSING}/cancel").status_code == 409


def test_no_step_of_the_checkout_can_be_left_out(client: ShopClient) -> None:
    start = client.reset("ready")
    for step in ("delivery", "payment", "review"):
        assert client.get(f"/checkout/{step}").url.path == "/checkout/address"
        assert client.post(f"/checkout/{step}").url.path == "/checkout/address"
    assert client.state()["orders"] == start["orders"]


def test_a_card_is_checked_and_not_kept(client: ShopClient) -> None:
    client.reset("ready")
    client.post("/checkout/address", address=1)
    client.post("/checkout/delivery", delivery="express")
    bad = client.post("/checkout/payment", payment="card", card="4111 1111 1111 1112")
    assert bad.status_code == 422 and 'id="card-error"' in bad.text
    client.post("/checkout/payment", payment="card", card="4111 1111 1111 1111")
    assert client.post("/checkout/review").status_code == 200
    text = str(client.state())
    assert "'card 1111'" in text and "4111" not in text


def test_nobody_can_order_more_than_there_is(client: ShopClient) -> None:
    start = client.reset("ready")
    client.post("/checkout/address", address=1)
    client.post("/checkout/delivery", delivery="express")
    client.post("/checkout/payment", payment="invoice")
    shopper = client.client.cookies["session"]
    # Meanwhile the shop sells out.
    client.client.cookies.delete("session")
    client.post("/sign-in", email=WORLD.manager.email, password=WORLD.manager.password)
    path = f"/admin/products/{WORLD.products[WORLD.basket[0].product].slug}"
    fields = {
        given["name"]: "0" if given["name"].startswith("stock-") else given["value"]
        for _, given in Markup(client.get(path).text).all("input")
    }
    assert client.post(path, **fields).status_code == 200
    client.client.cookies.delete("session")
    client.client.cookies.set("session", shopper, domain="127.0.0.1", path="/")
    answer = client.post("/checkout/review")
    assert answer.status_code == 422 and "no longer available" in answer.text
    assert client.state()["orders"] == start["orders"]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/cart", "/cart"),
        ("/products?q=x", "/products?q=x"),
        ("//evil.example", "/account"),
        ("/\\evil.example", "/account"),
        ("https://evil.example", "/account"),
        ("", "/account"),
    ],
)
def test_after_signing_in_one_stays_in_the_shop(given: str, path: str) -> None:
    assert local_path(given) == path


@pytest.mark.parametrize(
    ("text", "cents"), [("24.50", 2450), ("$7", 700), ("0.5", 50), ("1,50", None), ("-1", None)]
)
def test_amounts_are_read(text: str, cents: int | None) -> None:
    assert parse_money(text) == cents


def test_amounts_are_said() -> None:
    assert (say_money(123450), plain_money(905)) == ("$1,234.50", "9.05")

"""Worlds on one server: fresh at each reset, apart from each other, closed to pages."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from agentlab.envs.store.app import create_app
from agentlab.envs.store.episodes import MOST_EPISODES, Worlds
from agentlab.envs.store.world import SETUPS, Setup, make_world
from agentlab.errors import ConfigError
from tests.unit.envs.store.shop_client import CONTROL, ORIGIN, ShopClient, shop


def slug_of(seed: int) -> tuple[str, str]:
    product = make_world(seed).products[0]
    return product.slug, product.variants[0].size


def test_a_reset_forgets_everything() -> None:
    with shop() as client:
        start = client.reset("member")
        slug, size = slug_of(0)
        client.post(f"/product/{slug}/add", size=size, quantity=2)
        client.post("/account/profile", name="Someone Else", phone="020 123 4567")
        client.post(f"/product/{slug}/save")
        assert client.state() != start
        assert client.reset("member") == start == client.state()


def test_worlds_are_apart() -> None:
    with shop() as client:
        one = client.reset("visitor", episode="one")
        two = client.reset("visitor", episode="two")
        assert one == two
        slug, size = slug_of(0)
        client.post(f"/product/{slug}/add", size=size, quantity=3)
        assert client.state("one") == one
        assert client.state("two")["cart"] == [
            {"product": make_world(0).products[0].name, "size": size, "quantity": 3}
        ]


def test_a_cookie_of_one_world_opens_no_other() -> None:
    with shop() as client:
        client.reset("member", episode="one")
        session = client.client.cookies["session"]
        client.reset("visitor", episode="two")
        client.client.cookies.set("session", session, domain="127.0.0.1", path="/")
        assert "/sign-in" in client.client.get("/account").url.path


def test_a_saved_world_can_be_had_again_with_its_message() -> None:
    with shop() as client:
        client.reset("member")
        slug, size = slug_of(0)
        shown = client.post(f"/product/{slug}/add", size=size, quantity=2).text
        worlds = cast("Any", client.client.app).state.worlds
        assert isinstance(worlds, Worlds)
        there, name = client.state(), worlds.save("one")
        assert name is not None and worlds.save("one") == name
        client.post(f"/product/{slug}/save")
        assert client.state() != there
        assert worlds.load("one", name) and client.state() == there
        assert client.client.get("/cart").text == shown
        assert not worlds.load("two", name) and not worlds.load("one", "other")
        assert worlds.save("nobody") is None


@pytest.mark.parametrize("cookie", ["two", "two.abc", "one.0123456789abcdef0123456789abcdef", "."])
def test_a_made_up_cookie_opens_no_world(cookie: str) -> None:
    with shop() as client:
        client.reset("member", episode="one")
        client.client.cookies.clear()
        client.client.cookies.set("episode", cookie, domain="127.0.0.1", path="/")
        assert client.get("/").status_code == 410


def test_an_episode_that_was_dropped_is_gone() -> None:
    with shop() as client:
        client.reset("member")
        worlds = cast("Worlds", cast("Any", client.client.app).state.worlds)
        name = worlds.save("one")
        assert client.client.delete("/_episode/one", headers=CONTROL).status_code == 204
        assert client.get("/").status_code == 410
        assert client.client.get("/_episode/one/state", headers=CONTROL).status_code == 404
        client.reset("member")
        assert name is not None and not worlds.load("one", name)


@pytest.mark.parametrize("headers", [{}, {"X-Control-Token": "wrong"}])
def test_control_needs_the_token(headers: dict[str, str]) -> None:
    with shop() as client:
        for method, path in (("POST", "reset"), ("GET", "state"), ("GET", "enter")):
            answer = client.client.request(method, f"/_episode/one/{path}", headers=headers)
            assert answer.status_code == 403


def test_without_a_token_there_is_no_control() -> None:
    with shop(control=False) as client:
        assert client.client.post("/_episode/one/reset", json={}).status_code in (404, 405)
        assert client.client.get("/_episode/one/state").status_code == 404


@pytest.mark.parametrize("token", ["", " "])
def test_an_empty_token_opens_no_control(token: str) -> None:
    with pytest.raises(ConfigError, match="control token is empty"):
        create_app(control_token=token)


@pytest.mark.parametrize(
    ("body", "status"),
    [({"setup": {"setup": "nowhere"}}, 422), ({"seed": "x"}, 422), ({"other": 1}, 422)],
)
def test_a_bad_reset_says_so(body: dict[str, object], status: int) -> None:
    with shop() as client:
        answer = client.client.post("/_episode/one/reset", json=body, headers=CONTROL)
        assert answer.status_code == status
        assert answer.json()["detail"]


@pytest.mark.parametrize("setup", ["member", {"setup": "member"}])
def test_a_setup_is_named_in_two_ways(setup: object) -> None:
    with shop() as client:
        known = client.reset("member")
        body = {"seed": 0, "setup": setup}
        answer = client.client.post("/_episode/two/reset", json=body, headers=CONTROL)
        assert answer.json() == known


def test_worlds_are_bounded() -> None:
    worlds = Worlds()
    for number in range(MOST_EPISODES + 3):
        worlds.reset(f"episode-{number}", 0, "visitor")
    assert worlds.get("episode-2") is None
    assert worlds.get("episode-3") is not None
    worlds.close()


@given(st.integers(0, 10**6), st.sampled_from(SETUPS))
def test_the_same_seed_is_the_same_world(seed: int, setup: Setup) -> None:
    worlds = Worlds()
    one = worlds.reset("one", seed, setup).state()
    worlds.close()
    worlds = Worlds()
    assert worlds.reset("two", seed, setup).state() == one
    assert (one["user"] is None) == (setup in ("visitor", "basket"))
    assert bool(one["cart"]) == (setup in ("basket", "ready"))
    worlds.close()


def test_a_kept_shop_is_there_again_and_signs_everyone_out(tmp_path: Path) -> None:
    person = make_world(0).shopper
    slug, size = slug_of(0)
    for cart in (0, 1):
        with TestClient(create_app(database=tmp_path / "store.db"), base_url=ORIGIN) as inner:
            client = ShopClient(inner)
            assert "/sign-in" in client.get("/account").url.path
            client.post("/sign-in", email=person.email, password=person.password)
            assert ("Your cart is empty" in client.get("/cart").text) == (cart == 0)
            client.post(f"/product/{slug}/add", size=size, quantity=1)


def test_the_command_serves_and_says_where(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agentlab.envs.store", "--port", "0", "--skin", "b"]
    command += ["--data", str(tmp_path / "shop")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert "Northlight Goods" in answer.read().decode()
        finally:
            server.terminate()
    assert (tmp_path / "shop" / "store.db").stat().st_size > 0

"""What the host asks a site by itself: states that lie, readers that fail, tokens that leak."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from agentlab.environments.web.control import Control
from agentlab.environments.web.options import Options
from agentlab.errors import ConfigError, EnvironmentFaultError
from agentlab.types import JsonObject
from tests.browser.sites import JSON, Reply, Site

KEPT: dict[str, object] = {"items": 1}


def gives_what_it_keeps(url: str) -> object:
    """A reader whose answer is one and the same object each time."""
    return KEPT


def gives_no_json(url: str) -> object:
    """A reader that gives what JSON cannot say."""
    return {"items": {1, 2}}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


def state(site: Site, **options: str) -> JsonObject:
    """The state that a control tells."""
    control = Control(Options.model_validate({"url": site.url, **options}), "episode")
    return asyncio.run(control.state())


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"a": NaN}', b'{"a": 1e999}', b'{"a": -Infinity}', b"{", b"\xff"]
)
def test_a_state_that_is_no_json_is_a_fault_of_the_site(site: Site, body: bytes) -> None:
    site.replies["/state"] = Reply(body, headers=JSON)
    with pytest.raises(EnvironmentFaultError, match="is no JSON"):
        state(site, state_url="/state")


def test_what_a_reader_gives_is_a_state_of_its_own(site: Site) -> None:
    name = f"{__name__}:gives_what_it_keeps"
    first = state(site, reader=name)
    KEPT["items"] = 2
    assert (first, state(site, reader=name)) == ({"items": 1}, {"items": 2})


def test_a_reader_that_gives_no_json_is_told(site: Site) -> None:
    with pytest.raises(EnvironmentFaultError, match="must give what JSON can say"):
        state(site, reader=f"{__name__}:gives_no_json")


@pytest.mark.parametrize("token", ["sesame\n", "sésame", "sesame\r\nX-Other: 1"])
def test_a_token_that_no_header_carries_is_never_repeated(
    site: Site, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", token)
    with pytest.raises(ConfigError, match="'SHOP_TOKEN' holds what no header can carry") as told:
        state(site, state_url="/state", token_variable="SHOP_TOKEN")
    assert "same" not in str(told.value).partition("web:")[2].replace("alone", "")


def test_a_header_of_no_name_is_refused(site: Site) -> None:
    with pytest.raises(ConfigError, match="no name of a header"):
        state(site, token_header="X Token:")


def test_whoever_is_sent_elsewhere_was_not_reset(site: Site) -> None:
    site.replies["/reset"] = Reply(b"", 302, (("Location", "/sign-in"),))
    control = Control(Options(url=site.url, reset_url="/reset"), "episode")
    with pytest.raises(EnvironmentFaultError, match="with 302"):
        asyncio.run(control.reset(1, "start"))
    site.replies["/enter"] = Reply(b"", 303, (("Location", "/"), ("Set-Cookie", "who=ann")))
    control = Control(Options(url=site.url, enter_url="/enter"), "episode")
    assert asyncio.run(control.enter()) == {"who": "ann"}


def test_an_alias_that_is_no_origin_is_refused(site: Site) -> None:
    with pytest.raises(ConfigError, match="'nonsense' is no origin"):
        Control(Options(url=site.url, aliases={"nonsense": 1}), "episode")

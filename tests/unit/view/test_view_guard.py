"""Who may ask: the token, the cookie, the address, the origin; and what every answer says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.errors import UsageError
from agentlab.records import Records, Workspace
from agentlab.view.guard import POLICY, Keys
from agentlab.view.server import Site, make_app
from agentlab.view.starting import listening_at
from tests.unit.view.stories import RUN, Story, tell

PORT = 8123
BASE = f"http://127.0.0.1:{PORT}"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Story]:
    path = tmp_path_factory.mktemp("guarded")
    return path, tell(path)


@pytest.fixture(scope="module")
def site(story: tuple[Path, Story]) -> Iterator[Site]:
    with Records.open(Workspace.open(story[0])) as records:
        yield Site(records, Keys(PORT))


class Asking:
    """Requests to the application, without a browser's help."""

    def __init__(self, site: Site, *, known: bool = True) -> None:
        self._transport = httpx.ASGITransport(app=make_app(site))
        self._cookies = {site.keys.cookie: site.keys.token} if known else {}

    def __call__(
        self, path: str, *, method: str = "GET", data: str = "", **headers: str
    ) -> httpx.Response:
        import asyncio

        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=self._transport, base_url=BASE, cookies=self._cookies
            ) as client:
                return await client.request(method, path, content=data, headers=named)

        return asyncio.run(ask())


def test_the_token_brings_a_strict_cookie_and_leaves_the_address(site: Site) -> None:
    stranger = Asking(site, known=False)
    assert stranger("/runs").status_code == 403
    assert stranger("/runs?token=wrong").status_code == 403
    answer = stranger(f"/runs/{RUN}?q=%22%3E&token={site.keys.token}")
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"agentlab-view-{PORT}={site.keys.token}; ")
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert site.keys.token not in answer.text
    assert f'url=/runs/{RUN}?q=%22%3E"' in answer.text
    assert Asking(site)("/runs").status_code == 200


def test_a_name_that_means_this_machine_is_refused(site: Site) -> None:
    ask = Asking(site)
    for host in ("evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", ""):
        assert ask("/runs", host=host).status_code == 421, host
    assert ask("/runs", host=f"localhost:{PORT}").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "null"}, 403),
        ({}, 403),
        ({"origin": "null", "sec_fetch_site": "cross-site"}, 403),
        ({"origin": BASE, "sec_fetch_site": "cross-site"}, 403),
        ({"origin": BASE}, 303),
        ({"origin": "null", "sec_fetch_site": "same-origin"}, 303),
    ],
)
def test_a_change_comes_from_a_page_of_ours(
    site: Site, story: tuple[Path, Story], headers: dict[str, str], status: int
) -> None:
    form = f"form={site.keys.form}&verdict=approve&digest=000000000000&reason=x&by=y"
    path = f"/waiting/{story[1].waiting}"
    answer = Asking(site)(path, method="POST", data=form, **headers)
    assert answer.status_code == status
    assert Asking(site, known=False)(path, method="POST", data=form, origin=BASE).status_code == 403
    # What was shown under another digest is not decided on, and that is said.
    if status == 303:
        assert "not what was shown" in Asking(site)(answer.headers["location"]).text


def test_a_form_needs_its_own_token_and_an_end(site: Site) -> None:
    ask = Asking(site)
    answer = ask("/waiting/x", method="POST", data="form=0&verdict=approve", origin=BASE)
    assert answer.status_code == 403
    answer = ask("/waiting/x", method="POST", data="a" * 70_000, origin=BASE)
    assert answer.status_code == 413
    form = f"form={site.keys.form}&verdict=serve"
    assert ask("/waiting/x", method="POST", data=form, origin=BASE).status_code == 400
    assert ask("/waiting", method="DELETE", origin=BASE).status_code == 405


@pytest.mark.parametrize(
    "path", ["/", "/runs", f"/runs/{RUN}", "/nothing", "/static/view.css", "/static/charts.js"]
)
def test_every_answer_forbids_what_a_page_does_not_need(site: Site, path: str) -> None:
    for ask in (Asking(site), Asking(site, known=False)):
        headers = ask(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "cache-control" in headers
    assert "'unsafe" not in POLICY and "frame-ancestors 'none'" in POLICY


def test_blobs_are_pictures_or_are_saved(site: Site, story: tuple[Path, Story]) -> None:
    ask = Asking(site)
    picture = ask(f"/blobs/{story[1].picture}")
    assert picture.headers["content-type"] == "image/png"
    page = ask(f"/blobs/{story[1].page_blob}")
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["content-disposition"].startswith("attachment")
    for wrong in ("%2e%2e%2frecords.db", "0" * 64, "x"):
        assert ask(f"/blobs/{wrong}").status_code == 404
    for wrong in ("%2e%2e%2fguard.py", "uplot/LICENSE", "/etc/passwd", ""):
        assert ask(f"/static/{wrong}").status_code == 404


@settings(max_examples=20)
@given(st.text(max_size=40))
def test_no_address_is_more_than_a_miss(site: Site, text: str) -> None:
    from urllib.parse import quote

    ask = Asking(site)
    for path in (
        f"/runs/{quote(text, safe='')}",
        f"/runs/{RUN}/attempts/{quote(text, safe='')}",
        f"/runs/{RUN}/attempts?q={quote(text)}&older={quote(text)}&round={quote(text)}&kind={quote(text)}",
        f"/runs/{RUN}/tasks?q={quote(text)}&newer={quote(text)}&reason={quote(text)}",
        f"/skills/{quote(text, safe='')}/{quote(text, safe='')}",
        f"/skills?q={quote(text)}&status={quote(text)}",
    ):
        answer = ask(path)
        assert answer.status_code in (200, 303, 307, 400, 404, 405), path
        assert not re.search(r"<script(?! src=| type=\"application/json\")", answer.text)


def test_a_port_that_is_taken_is_said_so() -> None:
    with listening_at(0) as taken, pytest.raises(UsageError, match="leave --port out"):
        listening_at(taken.getsockname()[1])
    with pytest.raises(UsageError, match="cannot be used"):
        listening_at(70_000)

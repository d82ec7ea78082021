"""The shop's pages as anyone finds them: no dead links, sound markup, the same in both skins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from httpx import Response

from agentlab.envs.store.labels import LABELS, SKINS, Skin
from agentlab.envs.store.pages import FOLDER
from tests.unit.envs.store.shop_client import Markup, ShopClient, crawl, shop

VISITORS = ("visitor", "ready", "manager")


def walk_checkout(client: ShopClient) -> dict[str, Response]:
    """The steps of the checkout, which are reached by forms alone."""
    client.get("/checkout")
    # Whichever of the two comes first in this skin, the other is refused before it.
    for _ in range(2):
        client.post("/checkout/delivery", delivery="express")
        client.post("/checkout/address", address="1")
    client.post("/checkout/payment", payment="invoice")
    steps = ("address", "delivery", "payment", "review")
    return {path: client.get(path) for path in (f"/checkout/{step}" for step in steps)}


@pytest.fixture(scope="module", params=[(s, v) for s in SKINS for v in VISITORS], ids="-".join)
def crawled(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    skin, visitor = request.param
    with shop(skin) as client:
        client.reset(visitor)
        pages = crawl(client)
        if visitor == "ready":
            pages |= walk_checkout(client)
        assert {path: p.status_code for path, p in pages.items() if p.status_code != 200} == {}
        yield {path: p.text for path, p in pages.items() if "html" in p.headers["content-type"]}


def test_all_pages_are_found(crawled: dict[str, str]) -> None:
    assert len(crawled) > 60
    assert {"/", "/products", "/cart", "/help"} <= set(crawled)


def test_markup_is_sound(crawled: dict[str, str]) -> None:
    for path, text in crawled.items():
        page = Markup(text)
        ids = [given["id"] for _, given in page.elements if "id" in given]
        assert len(ids) == len(set(ids)), path
        levels = [int(tag[1]) for tag, _ in page.all("h1", "h2", "h3", "h4")]
        assert levels.count(1) == 1, path
        assert levels[0] == 1, (path, levels)
        assert all(below - above <= 1 for above, below in pairwise(levels)), (path, levels)
        assert all("alt" in given for _, given in page.all("img")), path
        labelled = {given.get("for") for _, given in page.all("label")}
        for tag, given in page.all("input", "select", "textarea"):
            assert given.get("type") == "hidden" or given["id"] in labelled, (path, tag, given)
        described = [i for _, g in page.elements for i in g.get("aria-describedby", "").split()]
        assert set(described) <= set(ids), path
        assert not [g for _, g in page.all("script") if "src" not in g], path
        assert "style" not in {name for _, given in page.elements for name in given}, path
        assert [given["lang"] for _, given in page.all("html")] == ["en"]
        assert [tag for tag, _ in page.all("main", "h1")] == ["main", "h1"], path


def test_buttons_of_a_page_have_names_of_their_own(crawled: dict[str, str]) -> None:
    for path, text in crawled.items():
        names = [
            re.search(r'aria-label="([^"]*)"', given) or re.sub(r"<[^>]*>", "", inner).strip()
            for given, inner in re.findall(r"<button([^>]*)>(.*?)</button>", text, re.DOTALL)
        ]
        plain = [each if isinstance(each, str) else each[1] for each in names]
        assert all(plain), path
        assert len(plain) == len(set(plain)), (path, plain)


def actions(client: ShopClient, setup: str) -> set[str]:
    """What can be done in a start state: each form's target, with numbers and names left out."""
    client.reset(setup)
    found: set[str] = set()
    pages = crawl(client) | (walk_checkout(client) if setup == "ready" else {})
    for path, answer in pages.items():
        if "html" not in answer.headers["content-type"]:
            continue
        page = Markup(answer.text)
        here = path.partition("?")[0]
        targets = [given["action"] for _, given in page.all("form")] + [here]
        found |= {re.sub(r"/\d+|/[\w]+-[\w-]+(?=/|$)", "/*", each) for each in targets}
        found |= {f"field {g['name']}" for _, g in page.all("input", "select") if "name" in g}
    return {re.sub(r"\d+$", "*", each) for each in found}


@pytest.mark.parametrize("setup", VISITORS)
def test_both_skins_offer_the_same(setup: str) -> None:
    with shop("a") as one, shop("b") as other:
        first, second = actions(one, setup), actions(other, setup)
    # The address of a list spells out the order of its fields, never another function.
    assert {each for each in first if "?" not in each} == {
        each for each in second if "?" not in each
    }


@pytest.mark.parametrize("skin", SKINS)
def test_every_label_is_used(skin: Skin) -> None:
    sources = [*FOLDER.rglob("*.html"), *FOLDER.rglob("*.py")]
    text = "\n".join(p.read_text(encoding="utf-8") for p in sources if p.name != "labels.py")
    for key, label in LABELS.items():
        stem = key.rpartition(".")[0]
        built = f'"{stem}."' in text or f"{stem}.{{" in text
        assert f'"{key}"' in text or built, key
        assert getattr(label, skin)
        assert label.a != label.b, f"{key} is the same in both skins"


def test_hostile_text_is_escaped() -> None:
    with shop() as client:
        client.reset("member")
        evil = '"><script>alert(1)</script>'
        client.post("/account/profile", name=evil, phone="020 123 4567")
        client.post("/product/x/review", stars=5, text=evil)
        for path in ("/account", "/account/profile", f"/products?q={evil}"):
            answer = client.get(path)
            assert "<script>alert" not in answer.text
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert "'unsafe" not in answer.headers["content-security-policy"]

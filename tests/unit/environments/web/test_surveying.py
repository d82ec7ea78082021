"""What a crawl met, told: bounded, and saying what is left out."""

from __future__ import annotations

from agentlab.environments.web.crawl import kind
from agentlab.environments.web.surveying import told
from agentlab.types import JsonObject


def page(number: int) -> JsonObject:
    links: JsonObject = {"links": ["Home", f"Thing {number} #2"], "headings": [f"Page {number}"]}
    return {"address": f"/p/{number}", "title": f"Page {number}", **links}


def test_what_is_everywhere_is_told_once_and_the_rest_is_counted() -> None:
    found: JsonObject = {"pages": [page(number) for number in range(40)], "not_visited": ["/q"]}
    text = told(found, most=1_000)
    assert len(text) <= 1_000
    assert text.count('"Home"') == 1 and '"Thing 0"' in text
    assert "more pages that were visited are not told here" in text
    assert 'Not visited: "/q"' in text


def test_a_failed_page_is_told_with_its_reason() -> None:
    text = told({"pages": [page(1), {"address": "/x", "failed": "timed out: no answer"}]})
    assert "/x could not be opened: timed out: no answer" in text and "visited 1 pages" in text


def test_addresses_of_one_kind() -> None:
    one = kind("http://a.test/product/red-lamp?size=2")
    assert one == kind("http://a.test/product/mug?size=1") != kind("http://a.test/product/mug")
    assert kind("http://a.test/orders/17/lines") == kind("http://a.test/orders/4/lines")
    assert kind("http://a.test/cart") != kind("http://a.test/help")

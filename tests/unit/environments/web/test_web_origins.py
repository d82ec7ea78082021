"""Which addresses an allow-list lets through; nothing here opens one."""

from __future__ import annotations

import pytest

from agentlab.environments.web.origins import (
    AllowList,
    Origin,
    is_inside,
    is_own_name,
    joined,
    origin_of,
)
from agentlab.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://Example.ORG/a?b#c", Origin("http", "example.org", 80)),
        ("https://example.org.:8443", Origin("https", "example.org", 8443)),
        ("ws://example.org/x", Origin("http", "example.org", 80)),
        ("wss://example.org", Origin("https", "example.org", 443)),
        ("http://[::1]:80/", Origin("http", "::1", 80)),
        ("http://127.0.0.1:8000", Origin("http", "127.0.0.1", 8000)),
        ("https://bücher.example", Origin("https", "xn--bcher-kva.example", 443)),
    ],
)
def test_the_origin_of_an_address(url: str, origin: Origin) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "file:///etc/passwd", "javascript:alert(1)", "data:text/html,x",
        "ftp://example.org", "chrome://version", "view-source:http://example.org", "about:blank",
        "blob:http://example.org/1", "http://", "http://user:pw@example.org", "http://a b/",
        "http://127.1/", "http://0x7f000001/", "http://2130706433/", "http://example.org:99999",
        "http://exa\nmple.org\\@x/", "http://-.org", "http://[::1", "http://a..b/",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_page(url: str) -> None:
    assert origin_of(url) is None


def test_a_list_allows_what_is_on_it_and_nothing_near_it() -> None:
    allowed = AllowList(["https://example.org", "http://127.0.0.1:8000", "https://*.wiki.test"])
    assert str(allowed) == "http://127.0.0.1:8000, https://*.wiki.test, https://example.org"
    for url in ("https://example.org/x", "http://127.0.0.1:8000/", "https://en.wiki.test"):
        assert allowed.refusal(url) is None
    for url in (
        "http://example.org",
        "https://example.org:444",
        "https://example.org.evil.test",
        "https://evil-example.org",
        "https://www.example.org",
        "http://127.0.0.1:8001",
        "http://localhost:8000",
        "https://wiki.test",
        "https://evilwiki.test",
        "https://example.org@evil.test/",
        "file:///x",
    ):
        assert allowed.refusal(url) is not None, url
    assert allowed.refusal("about:blank") is None


def test_tunnels_lead_to_origins_of_either_scheme() -> None:
    allowed = AllowList(["https://example.org", "http://127.0.0.1:8000"])
    assert allowed.allows_tunnel("EXAMPLE.org", 443)
    assert allowed.allows_tunnel("127.0.0.1", 8000)
    assert not allowed.allows_tunnel("example.org", 80)
    assert not allowed.allows_tunnel("127.0.0.1", 22)
    assert not allowed.allows_tunnel("127.1", 8000)


@pytest.mark.parametrize("text", ["example.org", "https://example.org/path", "https://*.org", "*"])
def test_what_is_no_origin_cannot_be_listed(text: str) -> None:
    with pytest.raises(ConfigError):
        AllowList([text])


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "::ffff:127.0.0.1", "fe80::1%eth0"),
        *("64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "64:ff9b::a9fe:a9fe"),
        "fd00:ec2::254",
    ],
)
def test_addresses_of_this_machine(address: str) -> None:
    assert is_inside(address)


def test_names_of_this_machine() -> None:
    assert is_own_name("localhost") and is_own_name("shop.localhost") and is_own_name("10.0.0.1")
    assert not is_own_name("localhost.example.org") and not is_inside("93.184.215.14")
    assert not is_inside("2606:2800:21f:cb07::1") and not is_inside("64:ff9b::5db8:d70e")


@pytest.mark.parametrize(
    "url", ["http://[", "http://[x]/", "http://a\u2100b/", "//[", "https://ann:hunter2@[::1/"]
)
def test_what_can_be_read_as_no_address_is_refused_with_a_sentence(url: str) -> None:
    why = AllowList(["http://example.org"]).refusal(url)
    assert why is not None and "hunter2" not in why
    assert joined("http://example.org/a", url)


def test_an_address_is_joined_to_that_of_its_page() -> None:
    assert joined("http://example.org/a/b", "c?d") == "http://example.org/a/c?d"

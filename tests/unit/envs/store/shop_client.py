"""A shop to ask without a browser: the application itself, and forms as its pages send them."""

from __future__ import annotations

import html
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import cast

from fastapi.testclient import TestClient
from httpx import Response

from agentlab.envs.store.app import create_app
from agentlab.envs.store.labels import Skin
from agentlab.types import JsonObject

TOKEN = "a-token-for-tests"
ORIGIN = "http://127.0.0.1"
CONTROL = {"X-Control-Token": TOKEN}


class ShopClient:
    """One application and one visitor."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def reset(self, setup: str, *, seed: int = 0, episode: str = "one") -> JsonObject:
        """A fresh world, which the visitor then sees."""
        answer = self.client.post(
            f"/_episode/{episode}/reset",
            json={"seed": seed, "setup": {"setup": setup}},
            headers=CONTROL,
        )
        assert answer.status_code == 200, answer.text
        self.client.cookies.clear()
        entered = self.client.get(f"/_episode/{episode}/enter", headers=CONTROL)
        assert entered.status_code == 200
        return cast("JsonObject", answer.json())

    def state(self, episode: str = "one") -> JsonObject:
        """The state of an episode's world."""
        answer = self.client.get(f"/_episode/{episode}/state", headers=CONTROL)
        assert answer.status_code == 200, answer.text
        return cast("JsonObject", answer.json())

    def get(self, path: str) -> Response:
        """A page."""
        return cast("Response", self.client.get(path))

    def post(self, path: str, *, origin: str | None = ORIGIN, **fields: str | int) -> Response:
        """A form that was sent."""
        headers = {} if origin is None else {"Origin": origin}
        return cast("Response", self.client.post(path, data=fields, headers=headers))


@contextmanager
def shop(skin: Skin = "a", *, control: bool = True) -> Generator[ShopClient]:
    """A shop in a skin."""
    app = create_app(skin=skin, control_token=TOKEN if control else None)
    with TestClient(app, base_url=ORIGIN) as client:
        yield ShopClient(client)


class Markup(HTMLParser):
    """What tests of a page's structure need: elements in order, with attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())

    def all(self, *tags: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Elements of these kinds."""
        return (each for each in self.elements if each[0] in tags)


def links(text: str) -> list[str]:
    """Everything that a page leads to or loads."""
    return [html.unescape(each) for each in re.findall(r'(?:href|src)="([^"#][^"]*)"', text)]


def crawl(client: ShopClient) -> dict[str, Response]:
    """Every page that can be reached from the first one by links."""
    found: dict[str, Response] = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        answer = found[path] = client.get(path)
        if "html" in answer.headers["content-type"]:
            assert all(each.startswith("/") for each in links(answer.text)), path
            waiting += links(answer.text)
    return found

"""A browser that takes the shop's calls by role and name, and a server with a world for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, cast
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page

from agentlab.envs.store.labels import Skin
from agentlab.types import JsonObject, Task, ToolCall

TOKEN = "a-token-for-tests"
SWITCHES = [
    *("--no-sandbox", "--disable-gpu"),
    *("--disable-background-networking", "--disable-dev-shm-usage"),
]


@contextmanager
def serving(skin: Skin) -> Generator[str]:
    """A real server in its own process; its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "agentlab.envs.store", "--port", "0", "--skin", skin],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "AGENTLAB_STORE_TOKEN": TOKEN},
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


class Shop:
    """One server and one browser; a fresh context and world for each task."""

    def __init__(self, url: str, browser: Browser) -> None:
        self.url = url
        self._browser = browser
        self._numbers = count()
        self.complaints: list[str] = []
        """What pages wrote to the console as errors."""

    def _ask(self, method: str, path: str, body: JsonObject | None = None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Control-Token": TOKEN, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def run(self, task: Task, calls: Sequence[ToolCall]) -> tuple[JsonObject, JsonObject, bool]:
        """The states before and after, and whether every call could be made."""
        episode = f"test-{next(self._numbers)}"
        self._ask("POST", f"/_episode/{episode}/reset", {"seed": task.seed, "setup": task.setup})
        with self._browser.new_context() as context:
            entered = context.request.get(
                f"{self.url}/_episode/{episode}/enter", headers={"X-Control-Token": TOKEN}
            )
            assert entered.ok
            page = context.new_page()
            page.set_default_timeout(5000)
            page.on("console", self._note)
            page.goto(self.url)
            before = self._state(episode, page)
            done = all(self._perform(page, call) for call in calls)
            return before, self._state(episode, page), done

    def _note(self, message: Any) -> None:
        if message.type == "error" and "422" not in message.text:
            self.complaints.append(message.text)

    def _state(self, episode: str, page: Page) -> JsonObject:
        page.wait_for_load_state()
        state = cast("JsonObject", self._ask("GET", f"/_episode/{episode}/state"))
        return {**state, "page": {"path": urlsplit(page.url).path, "title": page.title()}}

    def _perform(self, page: Page, call: ToolCall) -> bool:
        """One call; False where no such control is there. Several of them are an error."""
        given = {name: str(value) for name, value in call.arguments.items()}
        if call.tool == "click":
            role = cast("Any", given["role"])
            found = page.get_by_role(role, name=given["name"], exact=True)
        else:
            found = page.get_by_label(given["label"], exact=True)
        if not _there(found):
            return False
        match call.tool:
            case "click":
                found.click()
            case "fill":
                found.fill(given["text"])
            case "select":
                found.select_option(label=given["option"])
            case _:
                found.set_checked(call.arguments["checked"] is True)
        page.wait_for_load_state()
        return True


def _there(found: Locator) -> bool:
    # A page that is being left has nothing; one that has arrived has all that it will have.
    try:
        found.first.wait_for(timeout=3000)
    except Exception:
        return False
    assert found.count() == 1, f"{found.count()} controls are {found}"
    return True

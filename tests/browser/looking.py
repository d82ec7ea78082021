"""A browser in front of the page: what it must never see, and pictures of what it saw."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

Scheme = Literal["light", "dark"]
# Read when this is loaded: each test gets an environment without our variables.
ARTEFACTS = Path(os.environ.get("AGENTLAB_ARTEFACTS") or Path(__file__).parent / ".artefacts")
GRAVE = frozenset({"serious", "critical"})


class Looker:
    """One window, and all that went wrong in it."""

    def __init__(self, context: BrowserContext, host: str) -> None:
        self.page: Page = context.new_page()
        self.faults: list[str] = []
        self.asked: list[str] = []
        self._host = host
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        context.on("request", self._request)
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', event => "
            "console.error('CSP ' + event.violatedDirective + ' ' + event.blockedURI))"
        )

    def enter(self, link: str) -> None:
        """By the link with the token, up to the list of runs, or to the one that there is.

        The page in between moves on by itself, and takes along who goes elsewhere meanwhile.
        """
        self.page.goto(link)
        self.page.wait_for_url(re.compile(r"/runs(/[^/?]+)?$"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        self.asked.append(request.url)
        if parts.scheme not in ("data", "file", "about") and parts.netloc != self._host:
            self.faults.append(f"left: {request.url}")

    def keep(self, name: str) -> Path:
        """A picture of the whole page, as it is."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def grave(self, *, rules: tuple[str, ...] = ()) -> list[str]:
        """What axe finds that is serious or critical."""
        options = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else None
        axe: Any = Axe()
        found: list[dict[str, Any]] = axe.run(self.page, options=options).response["violations"]
        return [
            f"{each['id']}: {each['nodes'][0]['html'][:200]}"
            for each in found
            if each["impact"] in GRAVE
        ]

    def clean(self) -> None:
        """Nothing went wrong, and nothing foreign ran."""
        assert self.faults == []
        assert self.page.evaluate("window.hacked") is None


@contextmanager
def window(browser: Browser, base: str, *, scheme: Scheme = "light") -> Generator[Looker]:
    """A window of its own, with no cookie yet."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    try:
        yield Looker(context, urlsplit(base).netloc)
    finally:
        context.close()

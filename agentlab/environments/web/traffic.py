"""The requests of a visit's pages, by which it is known whether a page is still on its way.

Nothing here waits or looks at a page: it is told what is asked and what is answered, and says
what is still awaited. What was waited for as long as it is worth is given up once and for all.
"""

from __future__ import annotations

import time

from agentlab.environments.web.browser import BrowserError, Page, Request
from agentlab.environments.web.origins import origin_of

ENDLESS = ("eventsource", "ping")
"""Kinds of request whose answer no page waits for."""


class Traffic:
    """What pages asked for and have not been given yet."""

    def __init__(self) -> None:
        self._waiting: set[Request] = set()
        self._given_up: set[Request] = set()
        """Requests for which the page was waited for as long as it is worth."""
        self._last = 0.0
        self.hosts: set[str] = set()
        """Those that pages asked for."""

    def asked(self, request: Request) -> None:
        """A page asks for something."""
        origin = origin_of(request.url)
        if origin is not None:
            self.hosts.add(origin.host)
            if request.resource_type not in ENDLESS:
                self._waiting.add(request)
            self._last = time.monotonic()

    def answered(self, request: Request) -> None:
        """It was given that, or never will be."""
        self._waiting.discard(request)
        self._last = time.monotonic()

    def closed(self, page: Page) -> None:
        """Forget the requests of a tab that is gone: they are never answered."""
        self._waiting = {each for each in self._waiting if _page_of(each) is not page}

    def give_up(self) -> None:
        """Wait no longer for what is awaited now."""
        self._given_up = set(self._waiting)

    def begun(self) -> float:
        """Count how long it is quiet from now on; when that is."""
        self._last = time.monotonic()
        return self._last

    def awaited_by(self, page: Page | None) -> bool:
        """Whether a page waits for an answer that may still come."""
        return any(_page_of(each) is page for each in self._waiting - self._given_up)

    @property
    def lacking(self) -> bool:
        """Whether something that was given up never came."""
        return bool(self._waiting & self._given_up)

    def quiet(self, seconds: float) -> bool:
        """Whether nothing is awaited, and nothing came or went for so long."""
        return self._waiting <= self._given_up and time.monotonic() - self._last >= seconds


def _page_of(request: Request) -> Page | None:
    try:
        return request.frame.page
    except BrowserError:
        return None

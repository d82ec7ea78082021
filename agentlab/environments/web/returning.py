"""Coming back to a page without walking there again, where the site keeps worlds by name.

A page that was just opened is told by its address, its cookies and the site's world: with these
the same page can be opened once more. That it *is* the same is not believed but seen, by the mark
that tells pages apart; where it is another (the answer to a form, say, which no address gives), the
way back is to begin anew and to make the same calls. What a page keeps for itself in the browser
is in neither, so a page that keeps anything is no place to come back to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from agentlab.environments.web.asking import told_by
from agentlab.environments.web.browser import BrowserError, on_thread
from agentlab.environments.web.control import Control
from agentlab.environments.web.hand import Hand
from agentlab.environments.web.locating import Failed
from agentlab.environments.web.snapshot import View
from agentlab.environments.web.visit import PageLost, Visit
from agentlab.types import JsonObject

MOST_UNFIT = 10_000


class Place(NamedTuple):
    """Where one can come back to."""

    world: str
    """The site's name for its world."""
    cookies: tuple[dict[str, Any], ...]
    url: str
    referrer: str
    mark: str
    made: int
    """Calls that led there from the start."""


class Places:
    """The places of one environment; one at a time is where it is.

    Args:
        control: of the site.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._unfit: set[tuple[str, str]] = set()
        """World and mark of pages that their address does not give."""
        self._here: Place | None = None
        self._opened = False
        self.short = False
        """Whether the tab was opened here, so that it does not know what was before."""

    def begun(self) -> None:
        """Note that the episode is at its start, by the whole way."""
        self._here, self._opened, self.short = None, True, False

    def moved(self, before: View, after: View) -> None:
        """Note what a step came to: whether it opened a page."""
        old, new = (view.changes.partition("/")[0] for view in (before, after))
        self._opened = bool(old and new) and old != new

    async def here(self, visit: Visit, view: View, calls: int) -> Place | None:
        """The last place on the way that can be come back to, this page if it is one."""
        if self._opened and self._control.can_save and visit.plain:
            self._opened = False
            found = await on_thread(_told(visit))
            if found is not None:
                world = await self._control.save()
                if (world, view.mark) not in self._unfit:
                    cookies, referrer = found
                    self._here = Place(world, cookies, view.url, referrer, view.mark, calls)
        return self._here

    async def returned(
        self, visit: Visit, hand: Hand, place: Place
    ) -> tuple[View, JsonObject] | None:
        """The page of that place, and the site's state; None where it is not to be had so.

        The page and the world are then anything, so the episode has to begin anew.
        """
        if (place.world, place.mark) in self._unfit or not visit.plain:
            return None
        if not await self._control.load(place.world):
            return None
        view = await on_thread(_opened(visit, hand, place))
        if view is None or view.mark != place.mark:
            if len(self._unfit) < MOST_UNFIT:
                self._unfit.add((place.world, place.mark))
            return None
        self._here, self._opened, self.short = place, False, True
        return view, await self._control.state()


async def _told(visit: Visit) -> tuple[tuple[dict[str, Any], ...], str] | None:
    """Cookies, and the address that the page was reached from; None where it keeps something."""
    try:
        if await visit.keeps_something():
            return None
        referrer = await visit.ask(told_by(visit.page, "() => document.referrer"))
        cookies = cast("Sequence[dict[str, Any]]", await visit.context.cookies())
    except (BrowserError, PageLost):
        return None
    return (tuple(cookies), referrer) if isinstance(referrer, str) else None


async def _opened(visit: Visit, hand: Hand, place: Place) -> View | None:
    try:
        await visit.context.clear_cookies()
        if place.cookies:
            await visit.context.add_cookies(cast("Any", list(place.cookies)))
        await hand.open(place.url, referrer=place.referrer)
        await visit.settled()
        return await visit.ask(hand.look())
    except (Failed, PageLost, BrowserError):
        return None

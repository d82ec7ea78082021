"""One attempt's browser context: its tabs, and everything that happens to them unasked.

A fresh context for each attempt, behind a proxy of its own, without permissions, workers or
downloads that were not granted. Dialogs are answered, pop-ups become tabs, crashes and pages that
hang are closed; each leaves a note that the next observation tells. Lives on the browser's
thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from agentlab.environments.web.asking import told_by
from agentlab.environments.web.browser import (
    BrowserContext,
    BrowserError,
    Dialog,
    Download,
    Page,
    forget_browser,
)
from agentlab.environments.web.context import open_context
from agentlab.environments.web.options import Options
from agentlab.environments.web.origins import AllowList
from agentlab.environments.web.proxy import Proxy, Refusal
from agentlab.environments.web.scripts import script
from agentlab.environments.web.traffic import Traffic
from agentlab.errors import EnvironmentFaultError

T = TypeVar("T")
MOST_TABS = 8
MOST_NOTES = 12
MOST_DIALOGS = 10
"""In one step; a page that asks more often is closed."""
MOST_SAID = 300
"""Characters of what a page says in a dialog, or of an address, that a note repeats."""
LOAD_SECONDS = 5.0
"""That a page may go on loading after an action before it is shown as it is."""
ANSWER_SECONDS = 8.0
"""That a page may take to answer a question of ours, before it counts as hung."""


class PageLost(Exception):
    """The page crashed, hung or was closed; there is a new, empty one in its place."""


class Visit:
    """The tabs of one attempt. Make one with `opened`.

    Args:
        options: of the site.
        allowed: where it may go.
        stopped: where nothing may be changed; see `Proxy`.
    """

    def __init__(
        self,
        options: Options,
        allowed: AllowList,
        stopped: Callable[[str, str], None] | None = None,
    ) -> None:
        self._options = options
        self._allowed = allowed
        self._notes: list[str] = []
        self._refusals: list[Refusal] = []
        self._proxy = Proxy(
            allowed,
            aliases=options.aliases,
            most_bytes=options.most_bytes,
            tell=self._refusals.append,
            stopped=stopped,
        )
        self._context: BrowserContext | None = None
        self._pages: list[Page] = []
        self._page: Page | None = None
        self._traffic = Traffic()
        self._crashed: set[Page] = set()
        self._dialogs = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._own = False
        self._takes_download = False
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def opened(
        cls,
        options: Options,
        allowed: AllowList,
        stopped: Callable[[str, str], None] | None = None,
    ) -> Visit:
        """A visit with one empty tab.

        Raises:
            EnvironmentFaultError: the browser does not start, or died.
        """
        visit = cls(options, allowed, stopped)
        try:
            await visit._open()
        except BaseException:
            await visit.close()
            raise
        return visit

    async def _open(self) -> None:
        await self._proxy.open()
        options = self._options
        self._context = context = await open_context(options, self._proxy.address)
        context.set_default_timeout(options.seconds * 1000)
        if options.trace:
            await context.tracing.start(screenshots=True, snapshots=True)
        await context.add_init_script(script("before.js"))
        context.on("page", self._appeared)
        context.on("request", self._traffic.asked)
        context.on("requestfinished", self._traffic.answered)
        context.on("requestfailed", self._traffic.answered)
        await self._fresh()

    async def _fresh(self) -> Page:
        assert self._context is not None
        self._own = True
        try:
            page = await self._context.new_page()
        finally:
            self._own = False
        self._page = page
        return page

    @property
    def context(self) -> BrowserContext:
        """The context, while it is open."""
        if self._context is None:
            raise EnvironmentFaultError("web: the browser context is closed.")
        return self._context

    @property
    def page(self) -> Page:
        """The tab in front."""
        if self._page is None:
            raise EnvironmentFaultError("web: there is no page.")
        return self._page

    @property
    def pages(self) -> list[Page]:
        """All tabs, oldest first."""
        return [page for page in self._pages if not page.is_closed()]

    async def take(self, cookies: Mapping[str, str]) -> None:
        """Have these cookies of the site.

        Raises:
            BrowserError: the browser takes no such cookie.
        """
        if cookies:
            await self.context.add_cookies(
                [{"name": n, "value": v, "url": self._options.url} for n, v in cookies.items()]
            )

    async def kept_nothing(self) -> bool:
        """Whether it may be used once more: one tab, in which no page left anything behind it.

        What happened is forgotten then, and the mouse moved out of the way.
        """
        if not self.plain or self._options.trace:
            return False
        try:
            if await self.keeps_something() or await self.context.cookies():
                return False
            await self.page.mouse.move(0, 0)
        except (BrowserError, PageLost):
            return False
        self._notes.clear()
        self._refusals.clear()
        return True

    async def keeps_something(self) -> bool:
        """Whether the page in front keeps anything in the browser, cookies apart."""
        return await self.ask(told_by(self.page, _LEFT)) is not False

    @property
    def plain(self) -> bool:
        """Whether there is one tab, which nothing happened to."""
        return len(self.pages) == 1 and not self._crashed and self._page in self.pages

    # --- what happens unasked ---------------------------------------------------------------

    def note(self, text: str) -> None:
        """Have the next observation tell something."""
        if len(self._notes) < MOST_NOTES:
            self._notes.append(text)
        elif len(self._notes) == MOST_NOTES:
            self._notes.append("More happened than is told here.")

    def notes(self) -> tuple[str, ...]:
        """What happened since this was last asked, each thing once."""
        for refusal in self._refusals:
            # What the browser asks for by itself concerns nobody.
            if refusal.host in self._traffic.hosts:
                self.note(f"Not reached: {refusal.where[:MOST_SAID]}: {refusal.why}.")
        self._refusals.clear()
        notes, self._notes = tuple(dict.fromkeys(self._notes)), []
        self._dialogs = 0
        return notes

    def _appeared(self, page: Page) -> None:
        if not self._own and len(self.pages) >= MOST_TABS:
            self.note(f"One more tab wanted to open and was closed: there are {MOST_TABS}.")
            self._later(page.close())
            return
        self._pages.append(page)
        if not self._own:
            self.note(f"A new tab opened: tab {len(self.pages)}. Use tabs to go there.")
        page.on("dialog", self._dialog)
        page.on("crash", self._crash)
        page.on("close", self._traffic.closed)
        page.on("download", self._download)

    def _dialog(self, dialog: Dialog) -> None:
        self._dialogs += 1
        accept = dialog.type in ("alert", "beforeunload") or self._options.dialogs == "accept"
        done = "accepted" if accept else "dismissed"
        if dialog.type != "beforeunload":
            said = " ".join(dialog.message.split())[:MOST_SAID]
            self.note(f'A dialog ({dialog.type}) said "{said}" and was {done}.')
        if self._dialogs > MOST_DIALOGS:
            self.note(f"The page opened more than {MOST_DIALOGS} dialogs.")
            self._later(dialog.page.close() if dialog.page else dialog.dismiss())
            return
        self._later(dialog.accept() if accept else dialog.dismiss())

    def _crash(self, page: Page) -> None:
        self._crashed.add(page)

    def _download(self, download: Download) -> None:
        name = download.suggested_filename[:80]
        if "download" not in self._options.grants:
            self.note(f"A download ({name!r}) was refused: downloads are not granted here.")
        elif not self._takes_download:
            self.note(f"A download ({name!r}) was refused: use the tool download to get a file.")
        else:
            self._takes_download = False
            return
        self._later(download.cancel())

    @contextlib.contextmanager
    def taking_a_download(self) -> Generator[None]:
        """Take the next download: all others are ended as they begin, so that none fills a disk."""
        self._takes_download = "download" in self._options.grants
        try:
            yield
        finally:
            self._takes_download = False

    def _later(self, work: Awaitable[object]) -> None:
        """Do something from a handler, which must not wait."""

        async def done() -> None:
            with contextlib.suppress(BrowserError):
                await work

        task = asyncio.ensure_future(done())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- asking a page ----------------------------------------------------------------------

    async def ask(self, question: Awaitable[T], *, seconds: float = ANSWER_SECONDS) -> T:
        """The answer of the page.

        Raises:
            PageLost: it crashed, was closed or did not answer.
            BrowserError: it could not answer, because it went elsewhere, say.
        """
        work = asyncio.ensure_future(question)
        page = self._page
        limit = time.monotonic() + seconds
        try:
            while not work.done():
                if page in self._crashed or time.monotonic() > limit:
                    break
                await asyncio.wait((work,), timeout=0.1)
        except asyncio.CancelledError:
            work.cancel()
            work.add_done_callback(_forget)
            raise
        if work.done() and page not in self._crashed:
            try:
                return work.result()
            except BrowserError as error:
                if page is not None and "crash" in str(error).lower():
                    self._crashed.add(page)
                elif page is not None and not page.is_closed():
                    raise
        else:
            work.cancel()
            work.add_done_callback(_forget)
        raise PageLost(await self._replaced(page))

    @property
    def _why_crashed(self) -> str:
        """What a crash mostly comes of; the browser does not say."""
        return f"one that needs more than {self._options.most_megabytes:,} MB of memory does"

    async def page_before(self) -> str | None:
        """The address that going back would lead to; None where there is none."""
        session = await self.context.new_cdp_session(self.page)
        told = cast(
            "dict[str, Any]",
            await session.send("Page.getNavigationHistory"),  # pyright: ignore[reportUnknownMemberType]
        )
        await session.detach()
        index = int(told["currentIndex"])
        return str(told["entries"][index - 1]["url"]) if index > 0 else None

    async def stop_loading(self) -> None:
        """Have the tab in front give up what it is loading."""
        with contextlib.suppress(BrowserError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                session = await self.context.new_cdp_session(self.page)
                await session.send("Page.stopLoading")  # pyright: ignore[reportUnknownMemberType]
                await session.detach()

    async def _replaced(self, page: Page | None) -> str:
        """Put another tab in front, in place of one that is lost; why it was.

        Raises:
            EnvironmentFaultError: the browser is gone.
        """
        crashed = page in self._crashed
        why = (
            f"crashed: the page crashed and was closed ({self._why_crashed})"
            if crashed
            else "closed: the page was closed"
            if page is None or page.is_closed()
            else f"hung: the page gave no answer within {ANSWER_SECONDS:.0f} s and was closed"
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if page is not None and not page.is_closed():
                    await page.close()
                left = [each for each in self.pages if each is not page]
                if left:
                    self._page = left[-1]
                    return f"{why}; tab {len(left)} is shown now."
                await self._fresh()
        except (BrowserError, TimeoutError) as error:
            if self._context is not None and self._context.browser is not None:
                await forget_browser(self._context.browser)
            raise EnvironmentFaultError(f"web: {why}, and the browser with it.") from error
        return f"{why}; there is an empty tab now, use goto to open a page."

    @property
    def busy(self) -> bool:
        """Whether the tab in front waits for an answer that may still come."""
        return self._traffic.awaited_by(self._page)

    async def settled(self) -> None:
        """Wait until the page is quiet, or has had its time; what never came is waited for once.

        Raises:
            PageLost: it crashed, hung or was closed.
        """
        began = self._traffic.begun()
        quiet = self._options.settle
        while True:
            if time.monotonic() - began > LOAD_SECONDS:
                self.note(f"The page was still loading after {LOAD_SECONDS:.0f} s.")
                self._traffic.give_up()
                return
            try:
                ready = await self.ask(told_by(self.page, _QUIET, self._traffic.lacking))
            except BrowserError:
                ready = False  # it is on its way elsewhere
            if ready is True and self._traffic.quiet(quiet):
                return
            await asyncio.sleep(min(0.02, quiet) if quiet else 0)

    async def stop(self) -> None:
        """Put an empty page in the place of one that never stays as it is."""
        self.note("The page never came to rest and was left; use goto to open a page.")
        page = self._page
        await self._fresh()
        if page is not None and not page.is_closed():
            self._later(page.close())

    def show(self, number: int) -> bool:
        """Put a tab in front, counted from 1; whether there is one of that number."""
        pages = self.pages
        if not 1 <= number <= len(pages):
            return False
        self._page = pages[number - 1]
        return True

    async def shut(self, number: int) -> bool:
        """Close a tab; the one in front then is the last."""
        pages = self.pages
        if not 1 <= number <= len(pages):
            return False
        page = pages[number - 1]
        await page.close()
        left = self.pages
        if not left:
            await self._fresh()
        elif page is self._page:
            self._page = left[-1]
        return True

    async def trace(self, path: Path) -> None:
        """Write the trace so far."""
        await self.context.tracing.stop(path=path)

    async def close(self) -> None:
        """Close all tabs and the proxy, also where nobody waits for it. Safe to call twice."""
        if self._closing is None:
            context, self._context = self._context, None
            self._closing = asyncio.create_task(self._closed(context))
        await asyncio.shield(self._closing)

    async def _closed(self, context: BrowserContext | None) -> None:
        try:
            if context is not None:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await context.close()
        except TimeoutError:
            # Nothing of an attempt may go on.
            if context is not None and context.browser is not None:
                await forget_browser(context.browser)
        except BrowserError:
            pass
        finally:
            for task in tuple(self._tasks):
                task.cancel()
            await self._proxy.close()
            self._page = None


_QUIET = """(lacking) => new Promise((done) => {
  const there = lacking ? ["complete", "interactive"] : ["complete"];
  if (!there.includes(document.readyState)) { setTimeout(() => done(false), 20); return; }
  requestAnimationFrame(() => setTimeout(() => done(true), 0));
})"""


_LEFT = """async () => !!(window.name || localStorage.length + sessionStorage.length > 0
  || (await indexedDB.databases()).length > 0
  || window.caches && (await caches.keys()).length > 0)"""


def _forget(work: asyncio.Future[T]) -> None:
    if not work.cancelled():
        work.exception()

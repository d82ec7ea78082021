"""The browser of this process: a Chromium, in a thread with a loop of its own.

A browser belongs to the loop in which it was started, while attempts run in the loop of a worker
or of the run. So what touches a page is sent to that thread (`on_thread`) and comes back as a
plain result. The only file that imports playwright: what others need of it is re-exported here.
The browser ends with this process, also where that is killed, and what each of its processes may
take of the machine's memory is limited; see `launcher`. Where sites are given other limits, each
limit has a browser of its own. One that has made `MOST_CONTEXTS` is worn: another takes its place,
and it ends with the last attempt in it.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as NoAnswerError
from pathlib import Path
from typing import Any, TypeVar

from playwright.async_api import (
    Browser,
    BrowserContext,
    Dialog,
    Download,
    ElementHandle,
    Frame,
    Locator,
    Page,
    Playwright,
    Position,
    Request,
    Route,
    WebSocketRoute,
    async_playwright,
)
from playwright.async_api import Error as BrowserError
from playwright.async_api import TimeoutError as BrowserTimeout

from agentlab.environments.web import chromium, driver
from agentlab.errors import EnvironmentFaultError

__all__ = [
    "Browser",
    "BrowserContext",
    "BrowserError",
    "BrowserTimeout",
    "Dialog",
    "Download",
    "ElementHandle",
    "Frame",
    "Locator",
    "Page",
    "Position",
    "Request",
    "Route",
    "WebSocketRoute",
    "end_now",
    "forget_browser",
    "lent",
    "on_thread",
    "run_now",
]

_log = logging.getLogger(__name__)
T = TypeVar("T")
START_SECONDS = 60.0
CLOSE_SECONDS = 8.0
CLOSED = ("Connection closed", "context or browser has been closed")
"""What playwright says of a driver that is gone, and of what one that is gone had opened."""
MOST_CONTEXTS = 100
"""That one browser makes. What pages bring it to take, it does not all give back when they close:
a page that asks for thousands of things at once leaves its network process with hundreds of
megabytes more, for good. A start costs about what one attempt does."""
NOWHERE = "http://127.0.0.1:9"
"""The proxy of what belongs to no attempt: nobody answers there."""


class _Thread:
    """The loop in which all pages of this process live."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.owner = os.getpid()
        self.lock = asyncio.Lock()
        self.playwright: Playwright | None = None
        self.browsers: dict[int, _Started] = {}
        """By the memory that each may take."""
        self._driver: int | None = None
        """The process of playwright's driver, where that is known."""
        self._thread = threading.Thread(target=self._run, name="agentlab-web", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def is_here(self) -> bool:
        """Whether this is the thread itself."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """End the browsers; where one does not answer, the end of this process ends it."""
        if self.owner != os.getpid() or not self._thread.is_alive():
            return
        with contextlib.suppress(NoAnswerError, RuntimeError, BrowserError):
            asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(CLOSE_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(2)
        if not self._thread.is_alive():
            self.loop.close()

    async def _end(self) -> None:
        await asyncio.gather(*(each.end() for each in self.browsers.values()))
        if self.playwright is not None:
            await self.playwright.stop()
            self.playwright = None
        # What playwright leaves pending would be told as an error when the loop is dropped.
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=1)

    def started(self, megabytes: int) -> _Started:
        """The browser that may take so much memory, whether it runs or not."""
        return self.browsers.setdefault(megabytes, _Started(self, megabytes))

    @property
    def driven(self) -> bool:
        """Whether there is a driver, as far as can be known."""
        return self.playwright is not None and (self._driver is None or driver.runs(self._driver))

    async def driven_by(self) -> Playwright:
        """Playwright, whose driver is started where there is none, or none any more."""
        async with self.lock:
            if self.playwright is not None and not self.driven:
                lost, self.playwright = self.playwright, None
                try:
                    await asyncio.wait_for(lost.stop(), CLOSE_SECONDS / 2)
                except Exception as error:  # playwright says that its driver is gone in bare ones
                    _log.info("web: of a driver that has ended: %s", error)
            if self.playwright is None:
                before = driver.children()
                self.playwright = await async_playwright().start()
                # Where something else was begun meanwhile, it cannot be told which one it is.
                new = driver.children() - before
                self._driver = next(iter(new)) if len(new) == 1 else None
                if self._driver is not None:
                    driver.limit(self._driver)
            return self.playwright


class Running:
    """One browser that was started, and the contexts that it has and had.

    Args:
        thread: where it lives.
        browser: it.
        folder: its files, which go with it.
        by: what started it.
    """

    def __init__(self, thread: _Thread, browser: Browser, folder: Path, by: Playwright) -> None:
        self.browser = browser
        self._thread = thread
        self._folder = folder
        self._by = by
        self._made = 0
        self._open = 0
        self._retired = False
        self._ending: asyncio.Task[None] | None = None

    @property
    def gone(self) -> bool:
        """Whether it has ended, files and all."""
        return self._ending is not None and self._ending.done()

    @property
    def lives(self) -> bool:
        """Whether it can be asked for anything; it does not notice that its driver is gone."""
        driven = self._thread.driven and self._by is self._thread.playwright
        return self._ending is None and self.browser.is_connected() and driven

    @property
    def worn(self) -> bool:
        """Whether it has made as many contexts as one browser does."""
        return self._made >= MOST_CONTEXTS

    def take(self) -> bool:
        """Have it make one more context; False where it is worn or has ended meanwhile."""
        taken = self._ending is None and not self.worn
        if taken:
            self._made += 1
            self._open += 1
        return taken

    def give_back(self, context: BrowserContext | None = None) -> None:
        """Tell it that a context is closed, or came to nothing; once for each that was taken."""
        self._open -= 1
        if self._retired and not self._open:
            self._end()

    async def retire(self) -> None:
        """End it when its last context is closed."""
        self._retired = True
        if not self._open:
            await self.end()

    async def end(self) -> None:
        """End it, whatever is open in it. Safe to call twice; who stops waiting stops nothing."""
        await asyncio.shield(self._end())

    def _end(self) -> asyncio.Task[None]:
        if self._ending is None:
            self._ending = asyncio.create_task(self._ended())
        return self._ending

    async def _ended(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS / 2):
                await self.browser.close()
        except Exception as error:  # of a driver that is gone playwright tells in bare ones
            _log.info("web: of a browser that was ended: %s", error)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


class _Started:
    """The browser within one limit of memory: started when first asked for, and again."""

    def __init__(self, thread: _Thread, megabytes: int) -> None:
        self._thread = thread
        self._megabytes = megabytes
        self._lock = asyncio.Lock()
        self._now: Running | None = None
        self._worn: list[Running] = []
        """Those whose place another has taken, and in which something was open then."""
        self._starting: asyncio.Task[Running] | None = None

    @property
    def running(self) -> tuple[Running, ...]:
        """All that have not ended yet."""
        now = () if self._now is None else (self._now,)
        return tuple(each for each in (*now, *self._worn) if not each.gone)

    async def end(self) -> None:
        """End what runs."""
        await asyncio.gather(*(each.end() for each in self.running))

    async def get(self) -> Running:
        """The browser; whoever stops waiting for it does not stop its start.

        A browser of which half has started belongs to nobody, and nobody would end it.
        """
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(_seen)
        return await asyncio.shield(self._starting)

    async def _start(self) -> Running:
        async with self._lock:
            now = self._now
            if now is not None:
                if now.lives and not now.worn:
                    return now
                self._now = None
                self._worn.append(now)
            for each in self._worn:
                # One that has lost its driver hears of no context that closes.
                await (each.retire() if each.lives else each.end())
            self._worn = [each for each in self._worn if not each.gone]
            self._now = await self._launched(chromium.chromium())
            return self._now

    async def _launched(self, program: str) -> Running:
        playwright = await self._thread.driven_by()
        folder = chromium.make_home()
        try:
            browser = await playwright.chromium.launch(
                executable_path=chromium.write_launcher(folder, program, self._megabytes),
                args=chromium.arguments(),
                env=chromium.environment(folder),
                proxy={"server": NOWHERE},
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
                timeout=START_SECONDS * 1000,
            )
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if not isinstance(error, BrowserError):
                raise
            first = str(error).splitlines()[0] if str(error) else "no reason given"
            raise EnvironmentFaultError(
                f"web: the browser {program!r} does not start: {first[:300]}"
            ) from error
        return Running(self._thread, browser, folder, playwright)


def _seen(task: asyncio.Task[Running]) -> None:
    """Look at a failure, which otherwise is told as an error where nobody waited for it."""
    if not task.cancelled():
        task.exception()


_thread: _Thread | None = None
_lock = threading.Lock()


def _shared() -> _Thread:
    global _thread
    with _lock:
        if _thread is None or _thread.owner != os.getpid():
            _thread = _Thread()
        return _thread


class BrowserEndedError(EnvironmentFaultError):
    """Raised where the thread of the browser has ended, as it does with its process."""


async def on_thread(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that touches pages, from any loop.

    Raises:
        BrowserEndedError: the thread has ended.
        EnvironmentFaultError: the browser or playwright's driver has ended.
    """
    shared = _shared()
    try:
        future = asyncio.run_coroutine_threadsafe(work, shared.loop)
    except RuntimeError as error:
        work.close()
        raise BrowserEndedError("web: the browser of this process has ended.") from error
    try:
        return await asyncio.wrap_future(future)
    except BrowserError as error:
        if shared.driven and not any(words in str(error) for words in CLOSED):
            raise
        raise EnvironmentFaultError(
            "web: the browser or what drives it has ended, as they do where a page tells more than "
            "they can hold; the next attempt has new ones."
        ) from error


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """The same where no loop waits; never on the browser's thread, which would wait for itself."""
    shared = _shared()
    if shared.is_here():
        work.close()
        raise AssertionError("The browser's thread cannot wait for work of its own.")
    return asyncio.run_coroutine_threadsafe(work, shared.loop).result()


async def lent(megabytes: int) -> Running:
    """The browser to make one context in, started when first asked for and again where it died.

    Whoever has it calls `give_back` once, when that context is closed or came to nothing. On the
    thread alone.

    Args:
        megabytes: of memory that each of its processes may take for itself.

    Raises:
        ConfigError: this machine has none.
        EnvironmentFaultError: it does not start.
    """
    while True:
        running = await _shared().started(megabytes).get()
        if running.take():
            return running


def end_now() -> None:
    """End the browser of this process and its thread, if there is one; a later use starts anew."""
    global _thread
    with _lock:
        thread, _thread = _thread, None
    if thread is not None:
        thread.close()
        atexit.unregister(thread.close)


async def forget_browser(browser: Browser) -> None:
    """End a browser with all that is open in it; the next one to ask gets a new one.

    On the thread alone.
    """
    for started in _shared().browsers.values():
        for running in started.running:
            if running.browser is browser:
                return await running.end()

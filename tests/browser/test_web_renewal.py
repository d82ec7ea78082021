"""A browser that made many contexts gives its place to another, and nobody notices.

What pages bring a browser to take it does not all give back when they close, so that attempts for
days in one browser would grow; see `browser.MOST_CONTEXTS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlab.environments.web import browser as browsing
from agentlab.environments.web import visit as visiting
from agentlab.environments.web.chromium import HOMES, temporary
from agentlab.environments.web.context import open_context
from agentlab.environments.web.options import MOST_MEGABYTES, Options
from agentlab.environments.web.origins import AllowList
from agentlab.environments.web.visit import Visit
from agentlab.errors import EnvironmentFaultError
from tests.benchmarks.bench_processes import below
from tests.browser.opened_site import OpenedSite, task_of
from tests.browser.sites import Site
from tests.processes import until_ended

MOST = 2
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A browser is worn after `MOST` contexts."""
    browsing.end_now()
    monkeypatch.setattr(browsing, "MOST_CONTEXTS", MOST)
    yield
    browsing.end_now()


@pytest.fixture
def home(site: Site) -> Site:
    """A site with a page."""
    site.page("/", "<h1>Home</h1>")
    return site


def browsers() -> set[int]:
    """The first process of each browser that runs."""
    found: set[int] = set()
    for each in below(os.getpid()):
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{each}/cmdline").read_bytes()
            if b"chrom" in line.split(b"\0")[0] and b"--type=" not in line:
                found.add(each)
    return found


def become(count: int) -> set[int]:
    """The browsers that run once there are so many, or as they are after a while."""
    limit = time.monotonic() + 20
    while len(browsers()) != count and time.monotonic() < limit:
        time.sleep(0.1)
    return browsers()


def folders() -> int:
    """How many browsers of this process have files."""
    return len(list(temporary().glob(f"{HOMES}{os.getpid()}-*")))


def lines() -> tuple[browsing.Running, ...]:
    """The browsers within the usual limit of memory."""
    return browsing._shared().started(MOST_MEGABYTES).running  # pyright: ignore[reportPrivateUsage]


def attempts(site: Site, count: int) -> None:
    """So many, one after the other."""
    for _ in range(count):
        with OpenedSite(site.url) as opened:
            assert "Home" in opened.first.text


def test_a_worn_browser_is_replaced(home: Site) -> None:
    attempts(home, MOST)
    (first,) = browsers()
    attempts(home, 1)
    (second,) = browsers()
    assert second != first
    attempts(home, MOST - 1)
    assert browsers() == {second}
    assert folders() == 1


def test_an_attempt_keeps_its_browser_while_others_get_a_new_one(home: Site) -> None:
    with OpenedSite(home.url) as opened:
        (first,) = browsers()
        attempts(home, MOST)
        both = browsers()
        assert first in both and len(both) == 2
        assert "Home" in opened.done("goto", url="/").text
        assert "Home" in opened.reset().text, "an attempt that begins again moves over"
        assert become(1) == both - {first}
    attempts(home, 1)


def test_a_context_that_does_not_close_ends_its_own_browser_and_not_the_new_one(
    home: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless() -> None:
        await asyncio.sleep(60)

    with OpenedSite(home.url) as late:
        (old,) = browsers()
        attempts(home, MOST)
        with OpenedSite(home.url) as other:
            assert len(browsers()) == 2
            held = late.environment._visit  # pyright: ignore[reportPrivateUsage]
            assert held is not None
            monkeypatch.setattr(visiting, "ANSWER_SECONDS", 0.5)
            monkeypatch.setattr(held.context, "close", endless)
            asyncio.run(late.environment.close())
            assert old not in become(1)
            assert "Home" in other.done("goto", url="/").text


def test_what_is_kept_of_a_worn_browser_goes_with_its_lost_driver(home: Site) -> None:
    with OpenedSite(home.url) as opened:
        attempts(home, MOST)
        assert len(browsers()) == 2
        driver = browsing._shared()._driver  # pyright: ignore[reportPrivateUsage]
        assert driver is not None
        os.kill(driver, signal.SIGKILL)
        until_ended(driver)
        attempts(home, 1)
        assert folders() == 1
        with pytest.raises(EnvironmentFaultError, match="has ended"):
            opened.step("goto", url="/")


def test_a_driver_that_dies_while_a_context_is_opened_is_replaced(home: Site) -> None:
    async def opened() -> None:
        waiting = asyncio.ensure_future(open_context(Options(url=home.url), browsing.NOWHERE))
        await asyncio.sleep(0.004)
        driver = browsing._shared()._driver  # pyright: ignore[reportPrivateUsage]
        assert driver is not None
        os.kill(driver, signal.SIGKILL)
        await (await waiting).close()

    attempts(home, 1)
    browsing.run_now(opened())
    assert folders() == 1


def test_what_came_to_nothing_counts_as_closed(home: Site, tmp_path: Path) -> None:
    """Else a worn browser would wait for a context that there never was."""

    async def left(options: Options, *, cancel: bool = False) -> int:
        waiting = asyncio.ensure_future(open_context(options, browsing.NOWHERE))
        if cancel:
            await asyncio.sleep(0.004)
            waiting.cancel()
        with pytest.raises((EnvironmentFaultError, OSError, asyncio.CancelledError)):
            await waiting
        (running,) = lines()
        return running._open  # pyright: ignore[reportPrivateUsage]

    attempts(home, 1)
    missing = Options(url=home.url, login=str(tmp_path / "none.json"))
    assert browsing.run_now(left(missing)) == 0
    odd = tmp_path / "odd.json"
    odd.write_text('{"cookies": [{"name": "a", "value": "b", "url": "no"}]}', encoding="utf-8")
    browsing.end_now()
    attempts(home, 1)
    assert browsing.run_now(left(Options(url=home.url, login=str(odd)))) == 0
    browsing.end_now()
    attempts(home, 1)
    assert browsing.run_now(left(Options(url=home.url), cancel=True)) == 0


def test_many_at_once_are_all_served_by_as_many_browsers_as_they_need(home: Site) -> None:
    async def all_at_once() -> list[str]:
        opened = [OpenedSite(home.url).environment for _ in range(3 * MOST)]
        seen = await asyncio.gather(*(each.reset(task_of(), 0) for each in opened))
        assert len(browsers()) == 3
        await asyncio.gather(*(each.close() for each in opened))
        return [each.text for each in seen]

    assert all("Home" in text for text in asyncio.run(all_at_once()))
    assert len(become(1)) == 1


def test_nothing_is_left_of_an_end_that_nobody_waits_for(home: Site) -> None:
    async def broken_off() -> None:
        (running,) = lines()
        ending = asyncio.ensure_future(running.end())
        await asyncio.sleep(0)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert running in lines(), "it ends, and has not ended yet"
        await running.end()

    attempts(home, 1)
    browsing.run_now(broken_off())
    assert folders() == 0


def test_the_end_of_the_process_waits_for_a_browser_that_is_ending(
    home: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenedSite(home.url):
        (running,) = lines()
        close = running.browser.close

        async def slow() -> None:
            await asyncio.sleep(0.5)
            await close()

        monkeypatch.setattr(running.browser, "close", slow)
        attempts(home, MOST)
    browsing.end_now()
    assert folders() == 0


@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.01])
def test_an_attempt_whose_end_is_broken_off_keeps_no_browser(home: Site, seconds: float) -> None:
    async def broken_off() -> None:
        held = await Visit.opened(Options(url=home.url), AllowList((home.url,)))
        (running,) = lines()
        closing = asyncio.ensure_future(held.close())
        await asyncio.sleep(seconds)
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closing
        await held.close()
        assert running._open == 0  # pyright: ignore[reportPrivateUsage]

    browsing.run_now(broken_off())


def test_a_browser_is_forgotten_while_another_limit_is_asked_for(home: Site) -> None:
    async def both() -> None:
        (running,) = lines()
        forgetting = asyncio.ensure_future(browsing.forget_browser(running.browser))
        await asyncio.sleep(0)
        browsing._shared().started(MOST_MEGABYTES - 1)  # pyright: ignore[reportPrivateUsage]
        await forgetting

    attempts(home, 1)
    browsing.run_now(both())
    assert folders() == 0

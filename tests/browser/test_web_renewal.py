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
    assert len(list(temporary().glob(f"{HOMES}{os.getpid()}-*"))) == 1


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


def test_a_worn_browser_whose_driver_was_lost_ends_too(home: Site) -> None:
    with OpenedSite(home.url) as opened:
        attempts(home, MOST)
        assert len(browsers()) == 2
        driver = browsing._shared()._driver  # pyright: ignore[reportPrivateUsage]
        assert driver is not None
        os.kill(driver, signal.SIGKILL)
        until_ended(driver)
        attempts(home, 1)
        assert len(become(1)) == 1
        assert len(list(temporary().glob(f"{HOMES}{os.getpid()}-*"))) == 1
        with pytest.raises(EnvironmentFaultError, match="has ended"):
            opened.step("goto", url="/")


def test_what_came_to_nothing_counts_as_closed(home: Site, tmp_path: Path) -> None:
    """Else a worn browser would wait for a context that there never was."""
    options = Options(url=home.url, login=str(tmp_path / "none.json"))

    async def refused() -> int:
        with pytest.raises((EnvironmentFaultError, OSError)):
            await open_context(options, browsing.NOWHERE)
        (running,) = browsing._shared().started(MOST_MEGABYTES).running  # pyright: ignore[reportPrivateUsage]
        return running._open  # pyright: ignore[reportPrivateUsage]

    assert browsing.run_now(refused()) == 0


def test_many_at_once_are_all_served(home: Site) -> None:
    async def all_at_once() -> list[str]:
        opened = [OpenedSite(home.url).environment for _ in range(4 * MOST)]
        seen = await asyncio.gather(*(each.reset(task_of(), 0) for each in opened))
        await asyncio.gather(*(each.close() for each in opened))
        return [each.text for each in seen]

    assert all("Home" in text for text in asyncio.run(all_at_once()))
    attempts(home, 1)
    assert len(become(1)) == 1

"""The browser's processes: one for all attempts, none left behind, a new one where it died."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentlab.environments.web import browser as browsing
from agentlab.environments.web.chromium import HOMES, UNSEEN
from agentlab.environments.web.launcher import OFF
from agentlab.errors import EnvironmentFaultError
from agentlab.types import ToolCall
from tests.browser.opened_site import OpenedSite, task_of
from tests.browser.sites import Site
from tests.processes import alive

ROOT = Path(__file__).parents[2]
STILL = """
import asyncio, sys
from tests.browser.opened_site import OpenedSite
with OpenedSite(sys.argv[1]) as opened:
    print("open", flush=True)
    if sys.argv[2] == "stay":
        sys.stdin.read()
"""
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")


def descendants(root: int) -> set[int]:
    """All processes below one, by number."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child)
    return found


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether something holds before the time is up."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if holds():
            return True
        time.sleep(0.1)
    return holds()


def started(site: Site, how: str) -> subprocess.Popen[str]:
    """A process with a page open."""
    process = subprocess.Popen(
        [sys.executable, "-c", STILL, site.url, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_a_process_that_was_killed(site: Site, end: signal.Signals) -> None:
    site.page("/", "<h1>Home</h1>")
    process = started(site, "stay")
    below = descendants(process.pid)
    assert len(below) > 3
    process.send_signal(end)
    process.wait(20)
    assert within(20, lambda: not any(map(alive, below))), [p for p in below if alive(p)]
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    process.stdout.close()


def test_nothing_is_left_of_the_driver_that_was_killed(site: Site) -> None:
    site.page("/", "<h1>Home</h1>")
    process = started(site, "stay")
    below = descendants(process.pid)
    drivers = [p for p in below if b"run-driver" in Path(f"/proc/{p}/cmdline").read_bytes()]
    assert len(drivers) == 1
    os.kill(drivers[0], signal.SIGKILL)
    assert within(20, lambda: not any(map(alive, below))), [p for p in below if alive(p)]
    process.kill()
    process.communicate()


def test_a_process_that_ends_by_itself_leaves_nothing(site: Site) -> None:
    site.page("/", "<h1>Home</h1>")
    process = started(site, "leave")
    below = descendants(process.pid)
    assert process.communicate("", timeout=60)[0] == ""
    assert process.returncode == 0
    assert within(20, lambda: not any(map(alive, below)))


def test_the_folder_of_a_process_that_was_killed_is_removed_by_the_next(site: Site) -> None:
    site.page("/", "<h1>Home</h1>")
    process = started(site, "stay")
    place = Path(tempfile.gettempdir())
    assert list(place.glob(f"{HOMES}{process.pid}-*"))
    process.kill()
    process.communicate()
    browsing.end_now()
    with OpenedSite(site.url):
        assert not list(place.glob(f"{HOMES}{process.pid}-*"))
        assert list(place.glob(f"{HOMES}{os.getpid()}-*"))
    browsing.end_now()
    assert within(5, lambda: not list(place.glob(f"{HOMES}{os.getpid()}-*")))


def test_what_nobody_sees_of_the_browser_does_not_run(site: Site) -> None:
    """And what playwright turns off stays off: Chromium heeds one list of features alone."""
    site.page("/", "<h1>Home</h1>")
    with OpenedSite(site.url):
        time.sleep(1.0)  # what Chromium starts for itself comes after the page
        lines = [Path(f"/proc/{p}/cmdline").read_bytes() for p in descendants(os.getpid())]
        (first,) = [line for line in lines if b"--remote-debugging-pipe\0" in line]
        (off,) = [word for word in first.split(b"\0") if word.startswith(OFF.encode())]
        assert {b"HttpsUpgrades", *(each.encode() for each in UNSEEN)} <= {
            *off.removeprefix(OFF.encode()).split(b",")
        }
        assert any(b"--type=renderer" in line for line in lines)
        assert not any(b"--top-chrome-webui" in line for line in lines)


def test_an_environment_closes_after_its_browser_without_a_word(site: Site) -> None:
    site.page("/", "<h1>Home</h1>")
    with OpenedSite(site.url):
        browsing.end_now()


def test_many_contexts_at_once_do_not_see_each_other(site: Site) -> None:
    site.page(
        "/",
        """<label>Name <input onchange="document.cookie='n='+this.value"></label>
        <button onclick="document.title=document.cookie">Tell</button>""",
    )
    opened = [OpenedSite(site.url) for _ in range(6)]

    async def played(each: OpenedSite, number: int) -> object:
        environment = each.environment
        await environment.reset(task_of(), 0)
        for tool, arguments in (
            ("fill", {"label": "Name", "text": f"number {number}"}),
            ("press", {"key": "Tab"}),
            ("click", {"name": "Tell"}),
        ):
            result = await environment.step(ToolCall(tool=tool, arguments={**arguments}))
            assert result.error is None, result.error
        page = (await environment.state())["page"]
        await environment.close()
        return page["title"] if isinstance(page, dict) else None

    async def all_played() -> list[object]:
        return await asyncio.gather(*(played(each, n) for n, each in enumerate(opened)))

    assert asyncio.run(all_played()) == [f"n=number {number}" for number in range(6)]


def test_a_browser_that_died_is_a_fault_once_and_then_a_new_one(site: Site) -> None:
    site.page("/", "<h1>Home</h1>")
    with OpenedSite(site.url) as opened:
        mine = descendants(os.getpid())
        names = {p: Path(f"/proc/{p}/cmdline").read_bytes() for p in mine}
        main = [
            p for p, n in names.items() if b"--remote-debugging-pipe" in n and b"--type=" not in n
        ]
        os.kill(main[0], signal.SIGKILL)
        assert within(10, lambda: not alive(main[0]))
        with pytest.raises(EnvironmentFaultError, match=r"and the browser with it|no page|closed"):
            opened.step("click", name="Home")
        assert "Home" in opened.reset().text


def test_the_browser_sees_no_secret_of_the_process(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    browsing.end_now()
    monkeypatch.setenv("SOME_API_KEY", "sk-not-for-browsers")
    site.page("/", "<h1>Home</h1>")
    with OpenedSite(site.url):
        for process in descendants(os.getpid()):
            if b"--remote-debugging-pipe" in Path(f"/proc/{process}/cmdline").read_bytes():
                told = Path(f"/proc/{process}/environ").read_bytes()
                assert b"sk-not-for-browsers" not in told
    browsing.end_now()

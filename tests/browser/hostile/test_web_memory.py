"""Pages that take memory: as much as they are given, and nothing of it in this process.

The figures are those of the kernel, so these tests need Linux.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentlab.environments.web import asking
from agentlab.environments.web import browser as browsing
from agentlab.environments.web.driver import MOST_MEGABYTES
from agentlab.errors import EnvironmentFaultError
from tests.benchmarks.bench_processes import below
from tests.browser.opened_site import OpenedSite
from tests.browser.sites import Site

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc")
MIB = 1024 * 1024
GIVEN = 1_000
"""Megabytes that each process of the browser gets here, the least that the option takes."""
AHEAD = "<h1>Bad</h1><button onclick='grow()'>Go</button><input aria-label=Name>"
LONG = "'x'.repeat(2 ** 25)"
ENDLESS_TEXTS = {
    "a text that is read": f"""Object.defineProperty(HTMLElement.prototype, 'innerText',
        {{get: () => {LONG}}})""",
    "a text that cannot be cut": f"""const long = {LONG}; String.prototype.slice = () => long;
        Object.defineProperty(HTMLElement.prototype, 'innerText', {{get: () => long}})""",
    "an answer": f"const long = {LONG}; JSON.stringify = () => long",
    "an error": f"const long = {LONG}; JSON.stringify = Array.prototype.map = () => {{throw long}}",
    "a text in the document": f"document.body.append({LONG})",
    "a value": f"document.querySelector('input').value = {LONG}",
    "a name": f"document.querySelector('button').title = {LONG}",
}
GREEDY = {
    "numbers": "for (;;) all.push(new Array(1e6).fill(1.5))",
    "buffers": "for (let i = 0; i < 100; i += 1) all.push(new Uint8Array(5e7).fill(1))",
    "elements": """for (let i = 0; ; i += 1) {
        const p = document.createElement('p');
        p.textContent = 'x'.repeat(1e6) + i;
        document.body.append(p);
    }""",
}


def figure(process: int, name: str) -> int:
    """A figure of a process in megabytes; 0 of one that is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith(name)), 0)


@contextmanager
def most_of_browser() -> Generator[list[int]]:
    """The most that any process below this one had of its own, in the list's one place."""
    most, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], *(figure(each, "RssAnon:") for each in below(os.getpid())), 0)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield most
    finally:
        done.set()
        watching.join()


@pytest.fixture
def home(site: Site) -> Site:
    site.page("/", "<h1>Home</h1>")
    return site


@pytest.mark.parametrize("what", ENDLESS_TEXTS)
def test_what_a_page_tells_is_cut_before_it_leaves_the_page(home: Site, what: str) -> None:
    home.page("/bad", f"{AHEAD}<script>{ENDLESS_TEXTS[what]}</script>")
    with OpenedSite(home.url) as opened:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the most there was
        before = figure(os.getpid(), "VmHWM:")
        for tool, given in (
            ("goto", {"url": "/bad"}),
            ("read", {}),
            ("read", {"role": "heading", "name": "Bad"}),
        ):
            result = opened.step(tool, **given)
            assert len((result.error or "") + result.observation.text) < 20_000
        assert figure(os.getpid(), "VmHWM:") - before < 30  # one such text has 32
        assert "Home" in opened.done("goto", url="/").text


@pytest.mark.parametrize("what", GREEDY)
def test_a_page_that_takes_all_memory_is_given_no_more(home: Site, what: str) -> None:
    home.page("/bad", f"{AHEAD}<script>const all = []; function grow() {{{GREEDY[what]}}}</script>")
    with OpenedSite(home.url, most_megabytes=GIVEN) as opened, most_of_browser() as most:
        opened.done("goto", url="/bad")
        result = opened.step("click", name="Go")
        said = (result.error or "") + result.observation.text
        if what != "buffers":  # those are refused to the page, which may go on without
            assert "crashed: the page crashed and was closed (one that needs more than" in said
            assert f"{GIVEN:,} MB of memory does)" in said
        assert "Home" in opened.done("goto", url="/").text
    assert 100 < most[0] < GIVEN


def test_sites_with_other_limits_have_browsers_of_their_own(home: Site) -> None:
    with (
        OpenedSite(home.url, most_megabytes=GIVEN) as one,
        OpenedSite(home.url, most_megabytes=GIVEN) as like_it,
        OpenedSite(home.url, most_megabytes=GIVEN + 1) as another,
    ):
        for opened in (one, like_it, another):
            assert "Home" in opened.done("goto", url="/").text
        limits = [
            int(line.split()[3])
            for process in below(os.getpid())
            if b"--remote-debugging-pipe" in (program := command(process))
            and b"--type=" not in program
            for line in Path(f"/proc/{process}/limits").read_text().splitlines()
            if line.startswith("Max data size")
        ]
    assert {GIVEN * MIB, (GIVEN + 1) * MIB} <= set(limits)
    assert len(limits) == len(set(limits))


def command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_the_driver_is_limited_too_and_one_that_died_is_replaced(home: Site) -> None:
    with OpenedSite(home.url) as opened:
        drivers = [each for each in below(os.getpid()) if b"run-driver" in command(each)]
        assert len(drivers) == 1
        limits = Path(f"/proc/{drivers[0]}/limits").read_text()
        said = next(line for line in limits.splitlines() if line.startswith("Max data size"))
        assert int(said.split()[3]) == MOST_MEGABYTES * MIB
        os.kill(drivers[0], signal.SIGKILL)
        limit = time.monotonic() + 20
        while Path(f"/proc/{drivers[0]}/stat").exists() and time.monotonic() < limit:
            time.sleep(0.05)
        with pytest.raises(EnvironmentFaultError, match="what drives it has ended"):
            opened.step("goto", url="/")
        assert "Home" in opened.reset().text
    with OpenedSite(home.url) as opened:
        assert "Home" in opened.first.text
    browsing.end_now()


def test_a_driver_that_ended_takes_all_its_browsers_with_it(home: Site) -> None:
    """Each of them still says that it is connected."""
    browsing.end_now()
    with (
        OpenedSite(home.url) as one,
        OpenedSite(home.url) as other,
        OpenedSite(home.url, most_megabytes=GIVEN) as small,
    ):
        driver = browsing._shared()._driver  # pyright: ignore[reportPrivateUsage]
        assert driver is not None
        os.kill(driver, signal.SIGKILL)
        assert "Home" in one.reset().text
        for late in (other, small):
            with pytest.raises(EnvironmentFaultError, match="has ended"):
                late.step("goto", url="/")
            assert "Home" in late.reset().text
    browsing.end_now()


TO_JSON = """for (const each of [Array, Object, String])
  Object.defineProperty(each.prototype, 'toJSON', {value: () => 'lies', configurable: true});
Array.prototype.also = () => 1; Object.prototype.more = 'x';"""


def test_what_libraries_of_old_put_into_every_list_changes_nothing(home: Site) -> None:
    form = """<label>Secret <input type=password value=hunter2hunter2></label>
      <label>Size <select><option>a<option>b</select></label>
      <progress value=0.7 aria-label=Done></progress>"""
    home.page("/old", f"<h1>Old</h1>{form}<script>{TO_JSON}</script>")
    with OpenedSite(home.url) as opened:
        shown = opened.done("goto", url="/old").text
        assert "hunter2" not in shown and "••••••••" in shown
        assert opened.step("select", label="Size", option="b").error is None
        assert "0.7" in opened.done("read", role="progressbar", name="Done").text


def test_what_floods_the_driver_costs_an_attempt_and_no_more(home: Site) -> None:
    flood = "for (let i = 0; i < 12; i += 1) console.log('x'.repeat(2 ** 27) + i)"
    home.page("/bad", f"{AHEAD}<script>function grow() {{{flood}}}</script>")
    with OpenedSite(home.url) as opened, most_of_browser() as most:
        opened.done("goto", url="/bad")
        try:
            opened.step("click", name="Go")
        except EnvironmentFaultError as error:
            assert "web: " in str(error)
        assert "Home" in opened.reset().text
    assert most[0] < 2_000


def test_an_answer_is_nothing_where_it_is_no_text_or_too_long(home: Site) -> None:
    home.page("/bad", "<script>JSON.stringify = (value) => value</script>")
    with OpenedSite(home.url) as opened:

        def asked(source: str, given: object = None) -> object:
            """What a script says, in a hundred characters at most."""
            visit = opened.environment._visit  # pyright: ignore[reportPrivateUsage]
            assert visit is not None
            work = asking.told_by(visit.page, source, given, most=100)
            return opened.wait(browsing.on_thread(work))

        assert asked("(n) => ({ n })", 7) == {"n": 7}
        assert asked("async (n) => n + 1", 1) == 2
        assert asked("() => 'x'.repeat(98)") == "x" * 98
        for nothing in ("'x'.repeat(99)", "undefined", "{ throw 'x'; }"):
            assert asked(f"() => {nothing}") is None
        opened.done("goto", url="/bad")
        for nothing in ("({ length: 3 })", "'{'", "NaN"):
            assert asked(f"() => {nothing}") is None
        assert asked("() => '[1]'") == [1]

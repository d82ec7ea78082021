"""Whether the browser grows: the shop and pages that mean harm, four at a time, for a long while.

Run for 10 minutes by `make bench`, for `HOURS` (2) by `make soak`. After each wave, when no
episode is open, memory, descriptors, threads and contexts are counted. The first fifth is for
warming up, which takes five minutes at least (the shorter run lasts 13 for that). It fails where
memory of this process (the sites' servers are in it), of the browser or of playwright's driver
grows by more than 5 % over the rest (see `growth`), where descriptors, threads or files grow,
where a context stays, and where a process is left at the end. Python and the driver collect
garbage before they are counted: what they have not collected yet tells when they last did. A
browser is replaced after some contexts (`browser.MOST_CONTEXTS`), as in use; the driver is not.

`AGENTLAB_SOAK_HOURS` says how long (a sixth of one without it).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Awaitable, Generator, Sequence
from itertools import count
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple, cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from agentlab.environments.web import browser as browsing
from agentlab.environments.web.browser import end_now, on_thread
from agentlab.environments.web.chromium import HOMES, temporary
from agentlab.errors import EnvironmentFaultError
from agentlab.records.blobs import Blobs
from tests.benchmarks.bench_clicking import Shopping
from tests.benchmarks.bench_processes import Taken, arguments, below, taken
from tests.benchmarks.bench_soaking import HARM, harm_episode, harmful, shop_episode
from tests.benchmarks.bench_waiting import machine, uncaptured

SECONDS = 3600 * float(os.environ.get("AGENTLAB_SOAK_HOURS", str(1 / 6)))
AT_ONCE = 4
TASKS = 24
COUNTED = 0.8 * SECONDS
"""Seconds that growth is counted over, at the end."""
WARM = max(0.2 * SECONDS, 300.0)
"""Seconds before that. With the same objects on its heap, the driver went from 60 to 68 MB in its
first six minutes, to 72 in the next forty and no further in seventy more."""
FEWEST = 9
"""Samples after that, without which nothing can be said."""
MOST = 0.05
"""Growth of memory that passes."""
ORPHAN_SECONDS = 20.0
COLLECT = signal.SIGUSR2
"""On which the driver collects garbage."""
COLLECTOR = (
    f"process.on('{COLLECT.name}', () => globalThis.gc({{type: 'major', flavor: 'last-resort'}}))"
)
"""What the driver runs at its start; other flavours keep the empty pages of its heap."""
SETTLING = 15
"""Seconds that the browser may take to give back what was closed."""
TOLD = 20
"""Times that it is told meanwhile."""
LINES: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Generator[None]:
    """Prints what was measured."""
    yield
    with uncaptured(request):
        print(f"\nSoak of {(WARM + COUNTED) / 60:.0f} minutes, {machine()}")
        print("\n".join(LINES))


class Sample(NamedTuple):
    """What there is between two waves."""

    seconds: float
    host: float
    """Megabytes of this process that no file holds."""
    browser: float
    """The same of the browser."""
    driver: float
    """The same of playwright's driver."""
    host_files: int
    host_threads: int
    processes: int
    """Below this one."""
    files_each: float
    """Descriptors of those, per process: the browser keeps a process ready, or two."""
    contexts: int
    homes: int
    """Files in the browser's folders."""


def growth(samples: Sequence[Sample], field: str) -> float:
    """How much a quantity grew over these samples, as a share of what it was in the first third.

    It is the means of the first and the last third that are compared: a browser takes a tenth more
    after its hundredth context than after its first and is replaced then, so single samples, and
    the least of them, tell how old the browser was.
    """
    third = len(samples) // 3
    early, late = (
        mean(float(getattr(each, field)) for each in part)
        for part in (samples[:third], samples[-third:])
    )
    # The middles of the two are two thirds of the time apart.
    return 1.5 * (late - early) / max(early, 1.0)


async def contexts() -> int:
    """How many contexts all browsers have; a worn one lives as long as it has any."""

    async def work() -> int:
        lines = browsing._shared().browsers.values()  # pyright: ignore[reportPrivateUsage]
        return sum(len(each.browser.contexts) for line in lines for each in line.running)

    return await on_thread(work())


def homes() -> int:
    """How many files lie in the folders of this process's browsers."""
    mine = temporary().glob(f"{HOMES}{os.getpid()}-*")
    return sum(1 for home in mine for _ in home.rglob("*"))


def drivers() -> set[int]:
    """The processes of playwright's driver."""
    return {each for each in below(os.getpid()) if "run-driver" in arguments(each)}


async def settled() -> Taken:
    """What the browser takes when it takes no less than a moment ago.

    A page of 50 megabytes that was closed is given back over seconds, and what was taken in the
    middle of that tells of the machine's load and not of growth.
    """
    before = taken(below(os.getpid()) - drivers())
    for _ in range(SETTLING):
        await asyncio.sleep(1.0)
        now = taken(below(os.getpid()) - drivers())
        if now.own > 0.99 * before.own:
            return now
        before = now
    return before


async def sampled(began: float) -> Sample:
    """What there is now, when what was closed has had time to go."""
    for process in drivers():
        os.kill(process, COLLECT)
    browser = await settled()
    gc.collect()
    own, driver, others = (taken(each) for each in ({os.getpid()}, drivers(), below(os.getpid())))
    return Sample(
        time.monotonic() - began, own.own, browser.own, driver.own, own.files, own.threads,
        others.processes, others.files / max(others.processes, 1), await contexts(), homes(),
    )  # fmt: skip


def tell(request: pytest.FixtureRequest, samples: Sequence[Sample], failed: int) -> None:
    """Print how it stands, `TOLD` times in all: two hours are long to wait for a number."""
    step, now = (WARM + COUNTED) / TOLD, samples[-1]
    before = samples[-2].seconds if len(samples) > 1 else 0.0
    if now.seconds // step > before // step:
        with uncaptured(request):
            print(
                f"\n{now.seconds / 60:5.1f} min: this process {now.host:.0f} MB, browser "
                f"{now.browser:.0f}, driver {now.driver:.0f}; {failed} episodes failed",
                end="",
                flush=True,
            )


def test_soak(
    benchmark: BenchmarkFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    (script := tmp_path / "collector.cjs").write_text(COLLECTOR)
    monkeypatch.setenv("NODE_OPTIONS", f"--expose-gc --require={script}")
    shopping, site, blobs = Shopping(TASKS), harmful(), Blobs(tmp_path / "blobs")
    samples: list[Sample] = []
    episodes = count()

    failed: list[str] = []

    async def lane(number: int) -> None:
        await noted(shop_episode(shopping, shopping.tasks[number % TASKS], blobs))
        await noted(harm_episode(site, HARM[number % len(HARM)], blobs))

    async def noted(episode: Awaitable[str | None]) -> None:
        try:
            why = await episode
        except EnvironmentFaultError as error:
            # A browser that must be ended over one page ends the others' episodes too.
            why = str(error)
        if why is not None:
            failed.append(why)

    async def work() -> None:
        began = time.monotonic()
        while time.monotonic() - began < WARM + COUNTED:
            await asyncio.gather(*(lane(next(episodes)) for _ in range(AT_ONCE)))
            site.asked.clear()  # the site's own memory of requests would count as growth
            samples.append(await sampled(began))
            tell(request, samples, len(failed))

    try:
        cast("Any", benchmark).pedantic(lambda: asyncio.run(work()), rounds=1)
    finally:
        site.close()
        end_now()
    limit = time.monotonic() + ORPHAN_SECONDS
    while (left := below(os.getpid())) and time.monotonic() < limit:
        time.sleep(0.2)
    counted = [each for each in samples if each.seconds > WARM]
    kept = sum(1 for path in (tmp_path / "blobs").rglob("*") if path.is_file())
    played = 2 * next(episodes)
    LINES.append(
        f"{played} episodes in {samples[-1].seconds:.0f} s, {kept} blobs kept; "
        f"{len(failed)} ended otherwise than they should {[each[:300] for each in failed[:5]]}; "
        f"{len(left)} processes left at the end; n = {len(counted)} samples after warming up"
    )
    assert len(counted) >= FEWEST, f"Only {len(counted)} samples: let it run longer."
    for field in Sample._fields[1:]:
        values = [getattr(each, field) for each in counted]
        LINES.append(
            f"  {field:<13} first {values[0]:.0f}, least {min(values):.0f}, median "
            f"{median(values):.0f}, most {max(values):.0f}, last {values[-1]:.0f}"
            + (f", growth {100 * growth(counted, field):+.1f} %" if median(values) else "")
        )
    third = len(counted) // 3
    for field in ("host", "browser", "driver"):
        grown = growth(counted, field)
        assert grown <= MOST, f"The memory of the {field} grew by {100 * grown:.1f} %."
    for field in ("host_files", "host_threads", "processes", "files_each", "homes"):
        early = median(getattr(each, field) for each in counted[:third])
        late = median(getattr(each, field) for each in counted[-third:])
        assert late <= max(early * (1 + MOST), early + 2), f"{field}: {early} became {late}."
    assert len(failed) <= played * MOST, failed
    assert max(each.contexts for each in samples) == 0, "A context stayed open."
    assert not left, f"{len(left)} processes are left."

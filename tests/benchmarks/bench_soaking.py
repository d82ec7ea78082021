"""What the soak of the browser plays: the shop's tasks, and pages that mean harm.

An episode of the shop is solved and keeps its last picture, as an attempt does. An episode of
harm opens one bad page, does what it invites to, and must be able to go home after it.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from agentlab.environments.registration import make_environment
from agentlab.environments.web.environment import PageEnvironment
from agentlab.records.blobs import Blobs
from agentlab.types import EnvironmentRef, Task, ToolCall
from tests.benchmarks.bench_clicking import Shopping
from tests.browser.opened_site import task_of
from tests.browser.sites import Reply, Site

CRASH = "chrome://crash"
BUTTON = "Go"


class Harm(NamedTuple):
    """One bad page."""

    path: str
    page: str | Reply
    seconds: float = 3.0
    """That a page may take to load."""


HARM = (
    Harm("/pop", f"<button onclick='for (let i = 0; i < 30; i++) open(\"/\")'>{BUTTON}</button>"),
    Harm("/ask", f"<button onclick='while (true) alert(1)'>{BUTTON}</button>"),
    Harm("/big", Reply(b"<h1>Big</h1>" + b"<p>lorem ipsum</p>" * 2_900_000)),
    Harm("/many", f"<button>{BUTTON}</button>" + "<p>x <b>y</b></p>" * 10_000),
    Harm("/loop", Reply(b"", 302, (("Location", "/loop"),))),
    Harm("/away", "<script>location.replace('/away?' + Math.random())</script>"),
    Harm("/never", Reply(b"", wait=3.0), seconds=1.0),
    Harm("/file", Reply(b"MZ", headers=(("Content-Disposition", "attachment; filename=x.exe"),))),
    Harm("/frame", "<iframe src='http://127.0.0.1:9/out'></iframe><iframe src='/'></iframe>"),
    Harm("/beacon", "<script>setInterval(() => fetch('http://evil.example/'), 5)</script>"),
    Harm("/hang", f"<button onclick='while (true) {{}}'>{BUTTON}</button>"),
    Harm("/heap", f"<button onclick='window.a = new Array(2e6).fill(1.5)'>{BUTTON}</button>"),
    Harm(CRASH, ""),
)


def harmful() -> Site:
    """A site with all bad pages."""
    site = Site()
    site.page("/", "<h1>Home</h1>")
    for each in HARM:
        if isinstance(each.page, Reply):
            site.replies[each.path] = each.page
        else:
            site.page(each.path, each.page)
    return site


async def shop_episode(shopping: Shopping, task: Task, blobs: Blobs) -> str | None:
    """Solve a task of the shop; what was in the way, if it is not solved."""
    shop = make_environment(EnvironmentRef(name=shopping.environment))
    assert isinstance(shop, PageEnvironment)
    shop.use_blobs(blobs.put)
    call, result = ToolCall(tool=""), None
    try:
        await shop.reset(task, task.seed)
        for call in shopping.calls(task):
            result = await shop.step(call)
            if result.error is not None or result.terminated:
                break
        assert await shop.keepsakes()
        done = result is not None and result.reward == 1.0
        return None if done else f"{call}: {result and (result.error or result.observation.text)}"
    finally:
        await shop.close()


async def harm_episode(site: Site, harm: Harm, blobs: Blobs) -> str | None:
    """Open a bad page, do what it invites to, and go home; what was in the way of that."""
    options = {"settle": 0.05, "patience": 0.2, "seconds": harm.seconds}
    environment = make_environment(EnvironmentRef(name=f"web:{site.url}", options={**options}))
    assert isinstance(environment, PageEnvironment)
    environment.use_blobs(blobs.put)
    try:
        await environment.reset(task_of(), 0)
        if harm.path == CRASH:
            # No address that may be opened leads there, so it is let through here.
            allowed = environment._allowed  # pyright: ignore[reportPrivateUsage]
            allowed.refusal = lambda url: None  # type: ignore[method-assign]
        await environment.step(ToolCall(tool="goto", arguments={"url": harm.path}))
        await environment.step(ToolCall(tool="click", arguments={"name": BUTTON}))
        await environment.keepsakes()
        # A machine that is busy may need more than once to get away from a page that hangs.
        said: str | None = ""
        for _ in range(5):
            home = await environment.step(ToolCall(tool="goto", arguments={"url": site.url}))
            if "Home" in home.observation.text:
                return None
            said = home.error
            await asyncio.sleep(0.2)
        return f"After {harm.path} there is no way home: {said}."
    finally:
        await environment.close()

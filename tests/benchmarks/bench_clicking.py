"""The two sides of the benchmark of the browser: episodes through the environment, and the same
clicks by a bare Playwright script.

The bare script does what an episode cannot do without: it makes the world anew over HTTP, opens
a context of its own with the same window and the cookie of that world, goes to the page, finds
each control by role and name or by label, acts as Playwright does (which waits until the control
can be acted on), waits for the page to have loaded, asks at the beginning and at the end for the
state to see whether the task is done, and closes the context. It has no proxy and no list of
origins, reads no page, watches for no dialog, download, pop-up or crash, takes no picture, and
does not ask for the state after each click.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from itertools import count
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from playwright.async_api import Browser, Locator, Page

from agentlab.environments.registration import make_environment
from agentlab.environments.web import miniwob
from agentlab.environments.web.control import Control
from agentlab.environments.web.environment import PageEnvironment
from agentlab.environments.web.miniwob_episode import START
from agentlab.envs.store.environment import Store, served
from agentlab.envs.store.rules import met
from agentlab.envs.store.verifying import as_rows
from agentlab.types import EnvironmentRef, JsonObject, Task, ToolCall

LOGIN = "login-user"
_SAID = re.compile(r'username "(?P<username>.*)" and the password "(?P<password>.*)" into')
_numbers = count(1)


class Episodes(Protocol):
    """Tasks with solutions, which both sides play."""

    environment: str
    tasks: Sequence[Task]

    def calls(self, task: Task) -> Sequence[ToolCall]:
        """What solves the task."""
        ...

    async def by_script(self, browser: Browser, task: Task) -> None:
        """Solve it with Playwright alone."""
        ...


class Shopping:
    """Tasks of the shop, three to nine clicks long.

    Args:
        count: how many different ones.
    """

    environment = "store"

    def __init__(self, count: int) -> None:
        self._shop = Store(questions=False)
        self._options = self._shop.options
        self.tasks = self._shop.tasks("practice", count, 1)
        self._calls = asyncio.run(self._solved())

    async def _solved(self) -> dict[str, tuple[ToolCall, ...]]:
        return {task.id: tuple(await self._shop.oracle(task) or ()) for task in self.tasks}

    def calls(self, task: Task) -> Sequence[ToolCall]:
        """What solves the task."""
        return self._calls[task.id]

    async def by_script(self, browser: Browser, task: Task) -> None:
        """Solve it with Playwright alone."""
        control = Control(self._options, f"bare-{next(_numbers)}")
        await control.reset(task.seed, task.setup.get("setup"))
        url = f"http://127.0.0.1:{served('a')}/"
        context = await browser.new_context(**window(self._options.width, self._options.height))
        try:
            await context.add_cookies(
                [{"name": n, "value": v, "url": url} for n, v in (await control.enter()).items()]
            )
            page = await context.new_page()
            await page.goto(url)
            before = await _state(control, page)
            for call in self.calls(task):
                await perform(page, call)
            assert task.mission is not None
            rows = list(as_rows(task.mission.clauses))
            assert met(rows, before, await _state(control, page), None), task.instruction
        finally:
            await context.close()


async def _state(control: Control, page: Page) -> JsonObject:
    where: JsonObject = {"path": urlsplit(page.url).path, "title": await page.title()}
    return {**await control.state(), "page": where}


class SigningIn:
    """Tasks of one of MiniWoB's pages, three clicks long.

    Args:
        count: how many different ones.
    """

    environment = f"miniwob:{LOGIN}"

    def __init__(self, count: int) -> None:
        environment = make_environment(EnvironmentRef(name=self.environment))
        assert isinstance(environment, miniwob.MiniWoB)
        self.tasks = environment.tasks("practice", count, 1)

    def calls(self, task: Task) -> Sequence[ToolCall]:
        """What solves the task."""
        said = _SAID.search(task.instruction)
        assert said is not None, task.instruction
        return (
            ToolCall(tool="fill", arguments={"label": "textbox #1", "text": said["username"]}),
            ToolCall(tool="fill", arguments={"label": "textbox #2", "text": said["password"]}),
            ToolCall(tool="click", arguments={"name": "Login", "role": "button"}),
        )

    async def by_script(self, browser: Browser, task: Task) -> None:
        """Solve it with Playwright alone."""
        context = await browser.new_context(**window(640, 560))
        try:
            page = await context.new_page()
            await page.goto(f"http://127.0.0.1:{miniwob.served()}/miniwob/{LOGIN}.html")
            await page.wait_for_function(START, arg=task.seed, polling=20)
            for call in self.calls(task):
                await perform(page, call)
            assert await page.evaluate("WOB_RAW_REWARD_GLOBAL") == 1, task.instruction
        finally:
            await context.close()


async def by_environment(
    environment: PageEnvironment, task: Task, calls: Sequence[ToolCall]
) -> None:
    """Solve a task through the environment."""
    await environment.reset(task, task.seed)
    reward = 0.0
    for call in calls:
        result = await environment.step(call)
        assert result.error is None, (call, result.error)
        reward = result.reward
    assert reward == 1.0, task.instruction
    await environment.close()


def window(width: int, height: int) -> dict[str, Any]:
    """What a context of either side looks like to a page."""
    return {
        "viewport": {"width": width, "height": height},
        "reduced_motion": "reduce",
        "locale": "en-US",
        "timezone_id": "UTC",
    }


async def perform(page: Page, call: ToolCall) -> None:
    """One call, as Playwright does it, and the page loaded after it."""
    given = {name: str(value) for name, value in call.arguments.items()}
    match call.tool:
        case "click":
            role = cast("Any", given["role"])
            await page.get_by_role(role, name=given["name"], exact=True).click()
        case "fill":
            await _labelled(page, given["label"]).fill(given["text"])
        case "select":
            await _labelled(page, given["label"]).select_option(label=given["option"])
        case "check":
            await _labelled(page, given["label"]).set_checked(call.arguments["checked"] is True)
        case other:
            raise AssertionError(f"The script does not know {other!r}.")
    await page.wait_for_load_state()


def _labelled(page: Page, label: str) -> Locator:
    nameless, _, number = label.partition(" #")
    if nameless == "textbox":
        return page.get_by_role("textbox").nth(int(number) - 1)
    return page.get_by_label(label, exact=True)

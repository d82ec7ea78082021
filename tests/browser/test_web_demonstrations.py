"""Demonstrations made by Playwright itself: a script is run and traced, both are read alike."""

from __future__ import annotations

import asyncio
from pathlib import Path

from playwright.sync_api import sync_playwright

from agentlab.environments.registration import make_environment
from agentlab.environments.web import chromium
from agentlab.environments.web.origins import AllowList
from agentlab.environments.web.recordings import read_recording
from agentlab.envs.store.environment import Store
from agentlab.envs.store.grammar import SPLIT_RULE
from agentlab.executors.demonstrated import DemonstratedExecutor
from agentlab.graph.task_gate import check_task
from agentlab.proposers.demonstrated import DemonstrationProposer
from agentlab.protocols import ExecutionContext, ProposalContext
from agentlab.sandbox import open_runtime
from agentlab.types import AttemptSpec, EnvironmentRef, Task
from tests.browser.sites import Site
from tests.browser.store_driver import SWITCHES

PAGE = """<label>Find <input type=search></label><a href=/lamp>Lamp</a><a href=/lamp>Lamp</a>
<label>Size <select><option>S<option>L</select></label><label><input type=checkbox>Gift</label>"""
SCRIPT = """page.goto("{url}/")
page.get_by_label("Find").fill('a "red" lamp')
page.get_by_role("searchbox", name="Find").press("Enter")
page.get_by_label("Size").select_option("L")
page.get_by_label("Gift").check()
page.get_by_label("Gift").uncheck()
page.locator("a").first.hover()
page.get_by_role("link", name="Lamp", exact=True).nth(1).click()
page.go_back()
page.goto("{url}/lamp?x=1")
"""


def traced(script: str, place: Path) -> bytes:
    """The trace of a script, which Playwright runs and records."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.find_chromium(), args=SWITCHES
        )
        context = browser.new_context()
        context.tracing.start()
        page = context.new_page()
        for line in script.splitlines():
            exec(line, {"page": page})
            page.wait_for_timeout(200)  # who goes back while a page comes is refused
            page.wait_for_load_state()
        context.tracing.stop(path=place)
        browser.close()
    return place.read_bytes()


def test_a_trace_says_what_the_script_said(site: Site, tmp_path: Path) -> None:
    site.page("/", PAGE)
    site.page("/lamp", "<h1>Lamp</h1>")
    script = SCRIPT.format(url=site.url)
    allowed = AllowList((site.url,))
    written = read_recording("a.py", script.encode(), allowed, f"{site.url}/")
    recorded = read_recording("t.zip", traced(script, tmp_path / "t.zip"), allowed, f"{site.url}/")
    assert recorded.calls == written.calls
    assert [call.tool for call in written.calls] == [
        *("fill", "press", "select", "check", "check", "click", "back", "goto")
    ]
    assert len(recorded.left_out) == len(written.left_out) == 1  # hovering over a CSS selector


BUYING = """
page.goto("http://localhost/")
page.get_by_role("link", name="Cart").click()
page.get_by_role("searchbox", name="Search products").fill("{name}")
page.get_by_role("button", name="Search").click()
page.get_by_role("link", name="{name}", exact=True).click()
"""


def test_what_is_shown_in_the_shop_becomes_a_task_that_is_checked() -> None:
    async def work() -> tuple[list[Task], str | None, bool, bool]:
        shop = make_environment(EnvironmentRef(name="store", options={"questions": False}))
        assert isinstance(shop, Store)
        runtime = open_runtime("auto")
        try:
            bare = shop.grammar().compose(None, "visitor", 0)
            await shop.reset(bare, 0)
            products = (await shop.state())["products"]
            assert isinstance(products, list) and isinstance(products[0], dict)
            name = str(products[0]["name"])
            shown = shop.recorded("demo.py", BUYING.format(name=name).encode())
            context = ProposalContext(
                environment=lambda: make_environment(
                    EnvironmentRef(name="store", options={"questions": False})
                ),
                split_rule=SPLIT_RULE,
                count=1,
                seed=0,
                round=0,
                templates=(),
                recent=(),
            )
            tasks = list(await DemonstrationProposer([shown]).propose(context))
            fault = await check_task(tasks[0], shop, runtime)
            spec = AttemptSpec(
                id="a", run_id="r", round=0, slot=0, task=tasks[0], group_id="g", seed=0,
                environment=EnvironmentRef(name="store"), executor="demonstrated",
            )  # fmt: skip
            done = await DemonstratedExecutor().execute(ExecutionContext(spec, shop, runtime))
            return tasks, fault, done.assisted, done.trajectory.steps[-1].result.succeeded
        finally:
            await runtime.close()
            await shop.close()

    tasks, fault, assisted, solved = asyncio.run(work())
    assert fault is None and assisted and solved
    (task,) = tasks
    assert task.source == "demonstration" and task.template == "visitor: viewing"
    assert task.instruction.startswith("Open the page of ")

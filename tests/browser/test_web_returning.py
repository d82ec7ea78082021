"""Going back to a page without walking there: the page is the same one, or it is walked to."""

from __future__ import annotations

import asyncio
import json
import re
from typing import NamedTuple

import pytest

from agentlab.environments.registration import make_environment
from agentlab.environments.web.environment import Saved
from agentlab.envs.store.environment import Store
from agentlab.types import EnvironmentRef, JsonObject, Observation, Task, ToolCall
from tests.browser.opened_site import OpenedSite
from tests.browser.sites import JSON, Reply, Site

KINDS = ("phone_set", "ordered")


def shop() -> Store:
    options: JsonObject = {"questions": False, "proofs": False}
    world = make_environment(EnvironmentRef(name="store", options=options))
    assert isinstance(world, Store)
    return world


class Been(NamedTuple):
    """A state as it was when it was walked to."""

    saved: Saved
    shown: Observation
    state: str


async def been(world: Store, shown: Observation) -> Been:
    return Been(await world.snapshot(), shown, json.dumps(await world.state(), sort_keys=True))


async def walked(world: Store, task: Task) -> list[Been]:
    """All states on the way of a solution, the last apart, which ends the episode."""
    states = [await been(world, await world.reset(task, 0))]
    for call in [*(await world.oracle(task) or ())][:-1]:
        result = await world.step(call)
        assert result.error is None
        states.append(await been(world, result.observation))
    return states


@pytest.mark.parametrize("kind", KINDS)
def test_each_state_of_a_solution_is_come_back_to(kind: str) -> None:
    async def work() -> tuple[int, int]:
        world = shop()
        try:
            task = next(t for t in world.tasks("practice", 200, 3) if _structure(t) == kind)
            states = await walked(world, task)
            walk = sum(index for index in range(len(states)))
            before = world.replayed_steps
            for there in [*states[::2], *states[::-2], states[0], states[-1]]:
                shown = await world.restore(there.saved)
                assert _page(shown) == _page(there.shown)
                assert json.dumps(await world.state(), sort_keys=True) == there.state
                assert (await world.snapshot()).key == there.saved.key
            # From each of them the rest of the solution still ends in success.
            last = [*(await world.oracle(task) or ())][-1]
            assert (await world.step(last)).reward == 1.0
            return world.replayed_steps - before, walk
        finally:
            await world.close()

    replayed, walk = asyncio.run(work())
    assert replayed <= walk * (2 / 3 if kind == "ordered" else 1), "It walked as far as before."


def _page(shown: Observation) -> str:
    """What is shown of the page: what was said when it came is said once, and references count
    the documents of a tab."""
    return re.sub(r"ref=\w+", "ref", shown.text.partition("Page:")[2])


def _structure(task: Task) -> str:
    return task.mission.structure if task.mission is not None else ""


def test_back_means_what_it_meant_on_the_way() -> None:
    async def work() -> tuple[str, str]:
        world = shop()
        try:
            (task, *_) = world.tasks("practice", 1, 1)
            await world.reset(task, 0)
            cart = ToolCall(tool="goto", arguments={"url": "/cart"})
            sign_in = ToolCall(tool="goto", arguments={"url": "/sign-in"})
            back = ToolCall(tool="back", arguments={})
            await world.step(cart)
            await world.step(sign_in)
            there = await world.snapshot()
            assert there.place is not None and there.place.made == 2
            first = (await world.step(back)).observation.text
            await world.restore(there)
            return first, (await world.step(back)).observation.text
        finally:
            await world.close()

    first, again = asyncio.run(work())
    assert "/cart" in first and first == again


class Counting:
    """A site whose world is a number, and which keeps worlds by name."""

    def __init__(self, site: Site, *, forgets: bool = False, page: str = "") -> None:
        self.number, self.site, self.loads = 0, site, 0
        site.replies["/"] = lambda _: self._page("Start")
        site.replies["/more"] = lambda _: self._more(page)
        site.replies["/reset"] = lambda _: self._reset()
        site.replies["/state"] = lambda _: Reply(b'{"number":%d}' % self.number, 200, JSON)
        site.replies["/save"] = lambda _: Reply(b'{"saved":"%d"}' % self.number, 200, JSON)
        site.replies["/load"] = lambda _: self._load(forgets)

    def _page(self, head: str, rest: str = "") -> Reply:
        links = "<a href=/more>More</a> <label>Name <input></label>"
        html = f"<!doctype html><title>{head}</title><h1>{head} {self.number}</h1>{links}{rest}"
        return Reply(html.encode())

    def _more(self, rest: str) -> Reply:
        """Each visit counts, so that no address gives the same page twice."""
        self.number += 1
        return self._page("More", rest)

    def _reset(self) -> Reply:
        self.number = 0
        return Reply(b"{}", 200, JSON)

    def _load(self, forgets: bool) -> Reply:
        self.loads += 1
        if forgets:
            return Reply(b"{}", 410, JSON)
        self.number = int(json.loads(self.site.asked[-1][3])["saved"])
        return Reply(b"", 204)


def opened_with(site: Site) -> OpenedSite:
    """The site as one that keeps worlds by name."""
    return OpenedSite(
        site.url, reset_url="/reset", state_url="/state", save_url="/save", load_url="/load"
    )


@pytest.mark.parametrize("forgets", [False, True])
def test_a_page_that_its_address_does_not_give_is_walked_to(site: Site, forgets: bool) -> None:
    counting = Counting(site, forgets=forgets)
    with opened_with(site) as opened:
        environment = opened.environment
        opened.done("click", name="More")
        there = opened.wait(environment.snapshot())
        opened.done("click", name="More")
        for steps in (1, 2):
            shown = opened.wait(environment.restore(there))
            assert "More 1" in shown.text and counting.number == 1
            assert environment.replayed_steps == steps
            opened.done("click", name="More")
        # Once seen, it is not tried again; where the name is forgotten, it may be.
        assert counting.loads == (2 if forgets else 1)


def test_what_was_typed_is_typed_again(site: Site) -> None:
    counting = Counting(site)
    with opened_with(site) as opened:
        environment = opened.environment
        opened.wait(environment.snapshot())
        opened.done("fill", label="Name", text="Ann")
        there = opened.wait(environment.snapshot())
        opened.done("click", name="More")
        shown = opened.wait(environment.restore(there))
        assert "Start 0" in shown.text and "Ann" in shown.text
        assert (environment.replayed_steps, counting.loads) == (1, 1)


def test_a_page_that_keeps_something_is_no_place(site: Site) -> None:
    counting = Counting(site, page="<script>sessionStorage.setItem('seen', 'yes')</script>")
    with opened_with(site) as opened:
        opened.wait(opened.environment.snapshot())
        opened.done("click", name="More")
        there = opened.wait(opened.environment.snapshot())
        assert there.place is not None and there.place.made == 0
        opened.done("goto", url="/")
        opened.wait(opened.environment.restore(there))
        assert counting.number == 1

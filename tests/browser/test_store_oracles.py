"""Every task of the shop in a real browser: its solution passes in both skins, by role and name,
and what must not pass does not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from agentlab.envs.store.grammar import SPLIT_RULE
from agentlab.envs.store.labels import SKINS, Skin
from agentlab.envs.store.recipes import RECIPES, Recipe
from agentlab.envs.store.tasks import StoreTask, make_task, seeds_of
from agentlab.types import CodeVerifier, JsonObject
from tests.browser.store_driver import SWITCHES, Shop, serving

CHROMIUM = shutil.which("chromium")
EVERY = "EVERY_ORACLE" in os.environ
"""Whether all kinds of task are tried (`make browser`), or some of each level."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield launched
        launched.close()


@pytest.fixture(scope="module", params=SKINS)
def shop(request: pytest.FixtureRequest, browser: Browser) -> Iterator[tuple[Skin, Shop]]:
    with serving(request.param) as url:
        yield request.param, Shop(url, browser)


def verdict(made: StoreTask, before: JsonObject, after: JsonObject, answer: str | None) -> bool:
    assert isinstance(made.task.verifier, CodeVerifier)
    space: dict[str, Any] = {}
    exec(made.task.verifier.source, space)  # our own rules; in a run they are run in a box
    verify: Callable[[JsonObject, JsonObject, str | None], bool] = space["verify"]
    first = verify(before, after, answer)
    assert verify(before, after, answer) is first
    return first


def tasks_of(recipe: Recipe, skin: Skin) -> StoreTask:
    split = SPLIT_RULE.split_of_template(f"{recipe.setup}: {recipe.name}")
    return make_task(recipe, next(seeds_of(split, RECIPES.index(recipe))), skin)


@pytest.mark.parametrize(
    "recipe",
    RECIPES if EVERY else RECIPES[::7],
    ids=lambda r: f"{r.setup}-{r.name}".replace(" ", ""),
)
def test_solution_passes_and_failing_cases_do_not(recipe: Recipe, shop: tuple[Skin, Shop]) -> None:
    skin, driver = shop
    made = tasks_of(recipe, skin)
    task = made.task
    assert task.solution and len(task.failing) >= 2
    before, after, done = driver.run(task, task.solution)
    assert done, "a control of the solution is missing"
    assert verdict(made, before, after, made.answer), task.instruction
    assert not verdict(made, before, before, None)
    if made.wrong is not None:
        assert not verdict(made, before, after, made.wrong)
        assert not verdict(made, before, after, None)
    # They differ from the solution in what they bring about, not in words: one skin says it.
    for calls in task.failing if skin == "a" else ():
        start, end, _ = driver.run(task, calls)
        assert start == before
        assert not verdict(made, start, end, None), calls
    assert driver.complaints == []

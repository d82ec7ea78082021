"""MiniWoB's pages: all begin, some are solved, and what the page thinks of it stays hidden."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlab.environments.registration import make_environment
from agentlab.environments.web.browser import on_thread, run_now
from agentlab.environments.web.miniwob import MiniWoB, pages
from agentlab.errors import UnknownNameError
from agentlab.graph import jobs
from agentlab.protocols import Environment
from agentlab.records.blobs import Blobs
from agentlab.types import AttemptSpec, EnvironmentRef, Limits, StepResult, Task, ToolCall
from tests.required import installed

installed("miniwob", "REQUIRE_BROWSER")

ABREAST = 4


def made(name: str = "miniwob") -> MiniWoB:
    """The environment."""
    environment: Environment = make_environment(EnvironmentRef(name=name))
    assert isinstance(environment, MiniWoB)
    return environment


class Playing:
    """One environment with calls that are waited for."""

    def __init__(self, name: str) -> None:
        self.environment = made(name)
        self._loop = asyncio.new_event_loop()

    def begin(self, task: Task) -> str:
        """Reset; what is shown."""
        return self._loop.run_until_complete(self.environment.reset(task, task.seed)).text

    def step(self, tool: str, **arguments: str | bool) -> StepResult:
        """One call that must be carried out."""
        call = ToolCall(tool=tool, arguments={**arguments})
        result = self._loop.run_until_complete(self.environment.step(call))
        assert result.error is None, result.error
        return result

    def close(self) -> None:
        """Close it and its loop."""
        self._loop.run_until_complete(self.environment.close())
        self._loop.close()


@pytest.fixture
def playing() -> Iterator[type[Playing]]:
    opened: list[Playing] = []

    class Kept(Playing):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            opened.append(self)

    yield Kept
    for each in opened:
        each.close()


def test_there_are_130_pages() -> None:
    assert len(pages()) == 130
    with pytest.raises(UnknownNameError, match="Did you mean 'click-button'"):
        made("miniwob:click-buttom")


@pytest.mark.timeout(400)  # 130 contexts, on a machine that may be busy
def test_all_pages_begin_and_say_what_they_ask_for() -> None:
    async def begun(some: tuple[str, ...]) -> dict[str, str]:
        said: dict[str, str] = {}
        for page in some:
            environment = made(f"miniwob:{page}")
            task = Task(
                id=page,
                environment="miniwob",
                instruction="",
                setup={"page": page},
                seed=5,
                template=page,
            )
            shown = await environment.reset(task, 5)
            assert f"miniwob/{page}.html" in shown.text
            said[page] = await on_thread(utterance(environment))
            await environment.close()
        return said

    async def utterance(environment: MiniWoB) -> str:
        visit = environment._visit  # pyright: ignore[reportPrivateUsage]
        assert visit is not None
        found = await visit.page.evaluate(
            "() => { const said = core.getUtterance(); return said.utterance || said; }"
        )
        return str(found)

    async def all_begun() -> dict[str, str]:
        parts = (chosen[number::ABREAST] for number in range(ABREAST))
        found: dict[str, str] = {}
        for some in await asyncio.gather(*map(begun, parts)):
            found |= some
        return found

    # A part of them here; `make browser` begins all of them.
    chosen = pages() if "EVERY_ORACLE" in os.environ else pages()[::5]
    said = asyncio.run(all_begun())
    assert set(said) == set(chosen)
    assert not [page for page, words in said.items() if len(words) < 5]


def test_tasks_are_distinct_obey_the_split_and_are_the_same_again() -> None:
    environment = made("miniwob:click-button")
    rule = environment.split_rule
    for split in ("practice", "dev", "heldout"):
        tasks = environment.tasks(split, 4, 1)
        assert [rule.split_of_seed(task.seed) for task in tasks] == [split] * 4
        assert len({task.id for task in tasks}) == 4
        assert list(environment.tasks(split, 4, 1)) == list(tasks)
        assert all(task.instruction.startswith("Click on the") for task in tasks)


def test_a_button_is_clicked_for_a_reward_that_no_tool_shows(playing: type[Playing]) -> None:
    game = playing("miniwob:click-button")
    for task in game.environment.tasks("practice", 2, 3):
        wanted = task.instruction.partition('"')[2].partition('"')[0]
        shown = game.begin(task)
        for words in ("reward", "Reward", "Episodes done", "Time left"):
            assert words not in shown
            assert words not in game.step("read").observation.text
        entities = game.step("read").observation.entities
        name = next(e.reference for e in entities if str(e.reference).split(" #")[0] == wanted)
        result = game.step("click", name=str(name))
        assert result.terminated and result.reward != 0
        assert "eward" not in result.observation.text


def test_a_form_is_solved_and_a_wrong_one_is_not(playing: type[Playing]) -> None:
    game = playing("miniwob:enter-text")
    task = game.environment.tasks("practice", 1, 0)[0]
    text = task.instruction.partition('"')[2].partition('"')[0]
    game.begin(task)
    game.step("fill", label="textbox", text=text)
    result = game.step("click", role="button", name="Submit")
    assert result.succeeded and result.reward > 0
    game.begin(task)
    game.step("fill", label="textbox", text=f"{text}x")
    result = game.step("click", role="button", name="Submit")
    assert result.terminated and not result.succeeded


@pytest.mark.parametrize("page", ["click-color", "click-shades", "tic-tac-toe", "social-media"])
def test_what_has_no_name_can_be_pointed_at(playing: type[Playing], page: str) -> None:
    game = playing(f"miniwob:{page}")
    task = game.environment.tasks("practice", 1, 0)[0]
    game.begin(task)
    shapes = [e for e in game.step("read").observation.entities if e.type == "shape"]
    assert len(shapes) >= 4
    game.step("click", name=str(shapes[0].reference))


def test_the_same_calls_show_the_same_again_and_going_back_is_exact(
    playing: type[Playing],
) -> None:
    game = playing("miniwob:click-checkboxes")
    task = game.environment.tasks("practice", 1, 2)[0]
    first = game.begin(task)
    boxes = [e for e in game.step("read").observation.entities if e.type == "check"]
    one = game.step("check", label=str(boxes[0].reference), checked=True).observation
    loop = game._loop  # pyright: ignore[reportPrivateUsage]
    saved = loop.run_until_complete(game.environment.snapshot())
    game.step("check", label=str(boxes[1].reference), checked=True)
    assert loop.run_until_complete(game.environment.restore(saved)).text == one.text
    assert loop.run_until_complete(game.environment.snapshot()).key == saved.key
    assert game.environment.replayed_steps == 1
    assert game.begin(task) == first


def test_pages_of_one_process_share_one_browser() -> None:
    from agentlab.environments.web.browser import lent
    from agentlab.environments.web.options import MOST_MEGABYTES

    async def both() -> bool:
        one, other = await lent(MOST_MEGABYTES), await lent(MOST_MEGABYTES)
        one.give_back()
        other.give_back()
        return one is other

    assert run_now(both())


def test_search_without_a_model_solves_a_page_and_its_picture_is_kept(tmp_path: Path) -> None:
    reference = EnvironmentRef(name="miniwob:click-button")
    task = made(reference.name).tasks("practice", 1, 0)[0]
    spec = AttemptSpec(
        id="attempt-search",
        run_id="run-search",
        round=0,
        slot=0,
        task=task,
        group_id="group",
        seed=0,
        environment=reference,
        executor="search",
        limits=Limits(tool_calls=60, seconds=60),
    )
    blobs = Blobs(tmp_path)
    jobs.use_blobs(str(tmp_path))
    try:
        outcome = jobs.attempt(spec, "verifier")
    finally:
        jobs.use_blobs("")
    assert outcome.success, outcome.error
    assert blobs.get(outcome.files["last.png"]).startswith(b"\x89PNG")

"""The rules that play over facts and in BabyAI: what they read, what they forget, what helps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.environments.registration import make_environment
from agentlab.executors.acting import shown
from agentlab.models.scripted import Rule
from agentlab.protocols import Environment, HasTasks
from agentlab.testing.rules import asked, babyai, effects
from agentlab.testing.rules.skills import of_facts
from agentlab.types import EnvironmentRef, JsonObject, Split, Task, ToolCall
from tests.unit.testing.acting_by_rule import Played, play

TODO = f"tools:{Path(__file__).parents[3] / 'examples' / 'tools_todo.py'}"
KEYS = "[i1] When: a door is locked | Advice: pick up the key of its colour and open it."
FIRST = "[i2] When: a project is not there | Advice: start the project first, then add to it."
PAGE = """The facts now:
items: 1
- {"done":false,"project":"home","title":"call Ann"}
projects: 1
- {"project":"home"}"""


@contextmanager
def made(name: str) -> Generator[Environment]:
    environment = make_environment(EnvironmentRef(name=name))
    yield environment
    asyncio.run(environment.close())


def some(environment: Environment, split: Split, count: int) -> list[Task]:
    assert isinstance(environment, HasTasks)
    return list(environment.tasks(split, count, 1))


def attempt(
    rule: Rule, environment: Environment, task: Task, advice: str, seed: int | None = None
) -> Played:
    loop = asyncio.new_event_loop()

    def perform(tool: str, arguments: JsonObject) -> tuple[str, str | None, bool]:
        call = ToolCall(tool=tool, arguments=arguments)
        result = loop.run_until_complete(environment.step(call))
        return shown(result.observation)[1:-1], result.error, result.terminated

    try:
        seen = shown(loop.run_until_complete(environment.reset(task, task.seed)))[1:-1]
        tools = environment.tools
        return play(rule, task.instruction, seen, tools, perform, advice=advice, seed=seed)
    finally:
        loop.close()


def test_a_locked_door_is_forgotten_until_something_speaks_of_keys() -> None:
    pytest.importorskip("minigrid", reason="the extra babyai is not installed")
    with made("babyai") as environment:
        tasks = [t for t in some(environment, "practice", 45) if t.setup["setup"] == "locked"]
        alone = [attempt(babyai.play, environment, task, "none").done for task in tasks]
        helped = [attempt(babyai.play, environment, task, KEYS).done for task in tasks]
        opens = next(t for t in tasks if t.template == "locked: open")
        bethought = [
            attempt(babyai.play, environment, opens, "none", seed=seed).done for seed in range(30)
        ]
    assert sum(alone) <= 0.3 * len(tasks)
    assert sum(helped) >= 0.9 * len(tasks)
    assert 3 <= sum(bethought) <= 18


def test_open_rooms_are_played_mostly_well() -> None:
    pytest.importorskip("minigrid", reason="the extra babyai is not installed")
    with made("babyai") as environment:
        tasks = [t for t in some(environment, "heldout", 40) if t.setup["setup"] != "locked"]
        done = [attempt(babyai.play, environment, task, "none").done for task in tasks]
    assert 0.5 * len(tasks) <= sum(done)


def test_a_project_that_is_not_there_is_forgotten() -> None:
    with made(TODO) as environment:
        tasks = some(environment, "practice", 20)
        alone = [attempt(effects.play, environment, task, "none").done for task in tasks]
        helped = [attempt(effects.play, environment, task, FIRST).done for task in tasks]
    assert 2 <= sum(alone) <= 12
    assert sum(helped) >= sum(alone) + 6


@pytest.mark.parametrize(
    ("said", "verbs"),
    [
        ("open the red door", ["open"]),
        ("go to a ball after you pick up the grey key", ["pick_up", "go_to"]),
        ("put an object on your left next to the box and open a door, then go to the blue object",
         ["put_next", "open", "go_to"]),
        ("sing to the red door", []),
    ],
)  # fmt: skip
def test_missions(said: str, verbs: list[str]) -> None:
    assert [clause.verb for clause in babyai.parse(said)] == verbs


@given(st.text(max_size=20), st.text(max_size=20), st.booleans(), st.sampled_from(["", "done"]))
def test_effects_are_read_back(title: str, project: str, there: bool, flag: str) -> None:
    clauses = [
        asked.Clause(there, "items", {"project": project, "title": title}, flag),
        asked.Clause(True, "projects", {"project": project}),
    ]
    said = asked.JOINT.join(clause.words for clause in clauses)
    assert list(asked.parse(f"{asked.OPENING}{said}.")) == clauses


def test_tasks_that_are_made_up_hold_and_are_forgotten_in_part() -> None:
    with made(TODO) as environment:
        tools = environment.tools
    found = [
        effects.effect(PAGE, tools, random.Random(seed), forgets=forgets)
        for seed in range(40)
        for forgets in (False, True)
    ]
    pairs = [(whole, short) for whole, short in zip(found[::2], found[1::2], strict=True)]
    assert all(each is not None and asked.parse(each.text) for each in found)
    assert any(a and b and len(b.solution) < len(a.solution) for a, b in pairs)


@pytest.mark.parametrize(
    ("predicate", "names", "after", "holds"),
    [
        ("items", ["title"], {"items": [{"title": "t", "done": False}]}, True),
        ("items_done", ["title"], {"items": [{"title": "t", "done": False}]}, False),
        ("items_not_done", ["title"], {"items": [{"title": "t", "done": False}]}, True),
        ("no_tags", ["title"], {"tags": []}, True),
        ("no_tags", ["title"], {"tags": ["t"]}, False),
        ("tags", ["title"], {"tags": ["t", "x"]}, False),
    ],
)
def test_effect_checks(predicate: str, names: list[str], after: JsonObject, holds: bool) -> None:
    before: JsonObject = {"items": [{"title": "other", "done": True}], "tags": ["t"]}
    source = of_facts(predicate, names, before)
    assert source is not None
    defined: dict[str, object] = {}
    exec(f"def check(initial, final, *, title):\n    {source}\n", defined)  # our own text
    check = defined["check"]
    assert callable(check)
    assert check(before, {**before, **after}, title="t") is holds


def test_a_predicate_of_no_set_has_no_check() -> None:
    assert of_facts("weather", ["title"], {"items": [{"title": "other"}]}) is None


@settings(max_examples=60)
@given(st.text(max_size=200))
def test_no_page_makes_reading_raise(text: str) -> None:
    for page in (text, f"{PAGE}{text}", f"The facts now:\n{text}"):
        asked.facts(page)
        babyai.view(page)
        babyai.parse(page)
        asked.parse(f"{asked.OPENING}{page}")

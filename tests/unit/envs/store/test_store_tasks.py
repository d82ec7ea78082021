"""The shop's tasks and missions: distinct, split by rule, said and read back, hard to cheat."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

from agentlab.envs.store.episodes import Worlds
from agentlab.envs.store.grammar import PHRASES, SPEC, SPLIT_RULE, StoreGrammar, start_state
from agentlab.envs.store.labels import SKINS, Skin
from agentlab.envs.store.oracle import solve
from agentlab.envs.store.recipes import RECIPES
from agentlab.envs.store.rules import told
from agentlab.envs.store.tasks import StoreTask, StoreTasks, make_task, store_tasks
from agentlab.envs.store.verifying import verifier_of
from agentlab.envs.store.world import SETUPS, make_world
from agentlab.errors import InvalidTaskError
from agentlab.protocols import HasGrammar, HasOracle, HasTasks
from agentlab.sandbox import BoxRuntime, RuntimeLimits, choose_box
from agentlab.types import Clause, CodeVerifier, JsonObject, Mission, Split

GRAMMAR = StoreGrammar()
SPLITS: tuple[Split, ...] = ("practice", "dev", "heldout")


@cache
def all_of(split: Split) -> list[StoreTask]:
    return store_tasks(split, 60)


def test_there_are_many_tasks_in_graded_levels() -> None:
    made = RECIPES
    assert len(made) >= 60
    assert len({(each.setup, each.name) for each in made}) == len(made)
    assert set(Counter(each.level for each in made)) == {1, 2, 3, 4, 5}
    ids = [each.task.id for split in SPLITS for each in all_of(split)]
    assert len(ids) == len(set(ids)) == 180


@pytest.mark.parametrize("split", SPLITS)
def test_tasks_keep_to_their_split(split: Split) -> None:
    for made in all_of(split):
        task = made.task
        assert task.split == split == SPLIT_RULE.split_of(task.seed, task.template)
        refusal = SPLIT_RULE.refusal(task)
        assert (refusal is None) == (split == "practice"), task.template
        assert task.solution and len(task.failing) >= 2
        assert isinstance(task.verifier, CodeVerifier)
        assert (made.answer is None) == (made.wrong is None)
    first, again = (StoreTasks().tasks(split, 7, 0) for _ in range(2))
    assert first == again == [made.task for made in all_of(split)[:7]]
    assert StoreTasks().tasks(split, 7, 1) != first


@pytest.mark.parametrize("skin", SKINS)
def test_the_oracle_solves_by_recipe_or_mission(skin: Skin) -> None:
    shop = StoreTasks(skin)
    assert isinstance(shop, HasGrammar | HasOracle | HasTasks)
    for made in store_tasks("dev", 60, skin=skin):
        found = asyncio.run(shop.oracle(made.task))
        # A recipe may know a shorter way than its clauses tell.
        assert found and (made.task.mission is not None or found == made.task.solution)


def test_verifiers_run_in_a_box() -> None:
    made = all_of("practice")[0].task
    assert made.mission is not None and isinstance(made.verifier, CodeVerifier)
    name = next(p.name for p in make_world(made.seed).products if p.name in made.instruction)
    start = start_state("visitor", made.seed)
    path = f"/product/{name.lower().replace(' ', '-')}"
    end: JsonObject = {**start, "page": {"path": path, "title": ""}}
    source, origin = made.verifier.source, made.verifier.origin

    async def ask() -> list[object]:
        runtime = BoxRuntime(choose_box(), RuntimeLimits(), spares=0)
        try:
            asked: list[JsonObject] = [
                {"initial": start, "final": final, "answer": None} for final in (start, end)
            ]
            return [await runtime.evaluate(source, "verify", a, origin=origin) for a in asked]
        finally:
            await runtime.close()

    assert asyncio.run(ask()) == [False, True]


def test_tasks_need_no_web_framework() -> None:
    code = (
        "import sys, agentlab.envs.store.tasks;"
        " assert not {'fastapi', 'jinja2', 'starlette', 'uvicorn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_no_kept_template_is_practised() -> None:
    practised = {made.task.template for made in all_of("practice")}
    for split in ("dev", "heldout"):
        kept = {
            made.task.template
            for made in all_of(split)
            if SPLIT_RULE.reserved_template(made.task.template)
        }
        assert kept and kept.isdisjoint(practised)


def test_held_out_tasks_are_composed_of_what_is_practised() -> None:
    practised = {
        clause.predicate
        for made in all_of("practice")
        if made.task.mission
        for clause in made.task.mission.clauses
    }
    missions = [made.task.mission for made in all_of("heldout") if made.task.mission]
    assert sum(len(mission.clauses) >= 3 for mission in missions) >= 6
    assert {clause.predicate for mission in missions for clause in mission.clauses} <= practised


@pytest.mark.parametrize("seed", range(4))
def test_every_recipe_works_in_every_world(seed: int) -> None:
    for recipe in RECIPES:
        for skin in SKINS:
            made = make_task(recipe, seed, skin)
            assert made.task.template == f"{recipe.setup}: {recipe.name}"
            if made.task.mission is not None:
                assert GRAMMAR.parse(made.task.instruction) == made.task.mission
        assert make_task(recipe, seed).task.id == make_task(recipe, seed, "b").task.id


def test_verifiers_say_no_at_the_start_and_name_no_secret() -> None:
    for made in all_of("practice"):
        verifier = made.task.verifier
        assert isinstance(verifier, CodeVerifier)
        space: dict[str, object] = {}
        exec(verifier.source, space)  # our own rules
        verify = space["verify"]
        assert callable(verify)
        start = start_state(str(made.task.setup["setup"]), made.task.seed)
        assert verify(start, start, None) is False
        assert "import" not in verifier.source and "__" not in verifier.source


def test_the_start_state_is_the_servers() -> None:
    for setup in SETUPS:
        worlds = Worlds()
        assert worlds.reset("one", 5, setup).state() == start_state(setup, 5)
        worlds.close()


def test_every_predicate_has_words_and_a_template() -> None:
    assert {template.predicate for template in SPEC.templates} == set(PHRASES)


def mission(*clauses: tuple[str, JsonObject]) -> Mission:
    made = tuple(Clause(predicate=name, arguments=arguments) for name, arguments in clauses)
    return Mission(groups=(made,))


WORLD = make_world(0)
NAME = WORLD.products[20].name
THING: JsonObject = {"product": {"name": NAME}}
SOME: JsonObject = {**THING, "quantity": {"number": 2}}
STANDARD: JsonObject = {"way": "standard"}


@pytest.mark.parametrize(
    ("asked", "setup"),
    [
        (mission(("viewing", THING)), "nowhere"),
        (mission(("flown", THING)), "visitor"),
        (mission(("viewing", {"product": {"name": "No Such Kettle"}})), "visitor"),
        (mission(("viewing", {"product": {"name": "x; DROP"}})), "visitor"),
        (mission(("viewing", THING), ("viewing", THING)), "visitor"),
        (mission(("in_cart", SOME), ("in_cart", {**SOME, "quantity": {"number": 3}})), "visitor"),
        (mission(("in_cart", SOME), ("ordered", {**SOME, "delivery": STANDARD})), "member"),
        (mission(("discounted", {"code": {"code": WORLD.codes[0].code}})), "visitor"),
        (mission(("withdrawn", THING), ("saved", THING)), "manager"),
        (mission(("withdrawn", THING)), "member"),
        (mission(("signed_in", {"customer": {"name": WORLD.shopper.name}})), "member"),
        (mission(("in_cart", SOME), *[("saved", THING)] * 4), "member"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: Mission, setup: str) -> None:
    with pytest.raises(InvalidTaskError):
        GRAMMAR.compose(asked, setup, 0)


@pytest.mark.parametrize("text", ["Fly to the moon.", "", "Open the page of .", "Have two in cart"])
def test_other_words_are_not_read(text: str) -> None:
    with pytest.raises(InvalidTaskError):
        GRAMMAR.parse(text)


def test_achievements_are_named() -> None:
    before = start_state("visitor", 0)
    slug = WORLD.products[20].slug
    after: JsonObject = {**before, "page": {"path": f"/product/{slug}", "title": ""}}
    assert GRAMMAR.achieved(before, after) == [
        Clause(predicate="viewing", arguments={"product": {"name": NAME}})
    ]


def test_whoever_signs_in_is_told_how() -> None:
    task = GRAMMAR.compose(mission(("saved", THING)), "visitor", 0)
    assert WORLD.shopper.password in task.instruction
    assert GRAMMAR.parse(task.instruction) == task.mission
    assert (
        WORLD.manager.password
        in GRAMMAR.compose(mission(("withdrawn", THING)), "visitor", 0).instruction
    )
    calls = solve(task.mission.clauses if task.mission else (), "visitor", 0, "a")
    assert calls[1].arguments == {"label": "E-mail address", "text": WORLD.shopper.email}


def test_more_than_was_asked_does_not_pass() -> None:
    clause = Clause(predicate="in_cart", arguments=SOME)
    space: dict[str, object] = {}
    exec(verifier_of([clause]).source, space)
    verify = space["verify"]
    assert callable(verify)
    before = start_state("visitor", 0)
    size = WORLD.products[20].variants[0].size
    line: JsonObject = {"product": NAME, "size": size, "quantity": 2}
    other: JsonObject = {**line, "product": WORLD.products[3].name}
    assert verify(before, {**before, "cart": [line]}, None)
    assert not verify(before, {**before, "cart": [line, other]}, None)
    wish: JsonObject = {"customer": WORLD.shopper.email, "product": NAME.upper()}
    assert not verify(before, {**before, "cart": [line], "wishes": [wish]}, None)


@pytest.mark.parametrize(
    ("value", "answer", "passes"),
    [
        ({"amount": "24.50"}, "It costs $24.50.", True),
        ({"amount": "1024.50"}, "$1,024.50", True),
        ({"amount": "24.50"}, "24.50 or 25.50", False),
        ({"amount": "24.50"}, None, False),
        ({"number": 15}, "15 percent", True),
        ({"number": 15}, "5, 10, 15 or 20", False),
        ({"text": "Nordby", "others": ["Marisol"]}, "It is nordby.", True),
        ({"text": "Nordby", "others": ["Marisol"]}, "Nordby or Marisol", False),
    ],
)
def test_answers_are_read(value: JsonObject, answer: str | None, passes: bool) -> None:
    assert told({"predicate": "answered", "arguments": {"value": value}}, answer) is passes

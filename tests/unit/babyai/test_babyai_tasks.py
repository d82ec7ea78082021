"""The tasks BabyAI brings: families, splits, the bot's ceiling and the oracle."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from agentlab.environments.babyai import BabyAI
from agentlab.environments.babyai.families import families_of
from agentlab.environments.babyai.splits import SPLIT_RULE
from agentlab.errors import EnvironmentFaultError
from agentlab.protocols import (
    Environment,
    HasDescription,
    HasGrammar,
    HasModel,
    HasOracle,
    HasSnapshots,
    HasState,
    HasTasks,
)
from agentlab.registry import resolve
from agentlab.types import Split, Task

ENV = BabyAI()
SPLITS: tuple[Split, ...] = ("practice", "dev", "heldout")


def test_it_fits_the_protocols() -> None:
    # The type checker reads this too.
    environment: Environment = ENV
    saves: HasSnapshots = ENV
    reads: HasState = ENV
    tells: HasDescription = ENV
    composes: HasGrammar = ENV
    solves: HasOracle = ENV
    brings: HasTasks = ENV
    partial: HasModel = BabyAI(view="partial")
    acts: Environment = BabyAI(view="partial")
    assert environment is saves is reads is tells is composes is solves is brings
    assert partial is not acts
    assert resolve("environment", "babyai") is BabyAI


def test_snapshots_of_others_are_refused() -> None:
    class Foreign:
        key = 1

    asyncio.run(ENV.reset(ENV.tasks("dev", 1, 1)[0], 0))
    with pytest.raises(EnvironmentFaultError, match="did not make the snapshot"):
        asyncio.run(ENV.restore(Foreign()))


def test_it_offers_what_it_should() -> None:
    for protocol in (HasDescription, HasGrammar, HasOracle, HasSnapshots, HasState, HasTasks):
        assert isinstance(ENV, protocol)
    assert not isinstance(ENV, HasModel)
    page = ENV.describe()
    assert all(tool.name in page for tool in ENV.tools) and "locked" in page


@pytest.mark.parametrize("split", SPLITS)
def test_families_are_balanced_distinct_and_repeatable(split: Split) -> None:
    count = 20 * len(families_of(split))
    tasks = ENV.tasks(split, count, 11)
    assert len({task.id for task in tasks}) == count
    assert len({task.seed for task in tasks}) == count
    assert all(task.split == split for task in tasks)
    counts = Counter(str(task.parameters["family"]) for task in tasks)
    assert counts == dict.fromkeys(families_of(split), 20)
    assert [task.id for task in ENV.tasks(split, 30, 11)] == [task.id for task in tasks[:30]]


def test_splits_are_disjoint_and_other_seeds_give_other_tasks() -> None:
    seen: set[str] = set()
    for split in SPLITS:
        for seed in (1, 2):
            ids = {task.id for task in ENV.tasks(split, 30, seed)}
            assert not ids & seen
            seen |= ids


def test_the_rule_tells_the_splits_apart() -> None:
    for split in SPLITS:
        for task in ENV.tasks(split, 24, 5):
            assert SPLIT_RULE.split_of_seed(task.seed) == split
            assert (SPLIT_RULE.refusal(task) is None) == (split == "practice")
    reserved = {
        str(task.parameters["family"]): SPLIT_RULE.reserved_template(task.template)
        for task in ENV.tasks("heldout", 24, 5)
    }
    assert reserved == {
        "3 clauses": True,
        "4 clauses": True,
        "2 x put_next": False,
        "3 x put_next": True,
        "locked, 3 clauses": True,
        "across": True,
    }


@pytest.mark.parametrize(
    ("template", "kept"),
    [
        ("room: go_to", False),
        ("room: go_to & open", False),
        ("doors: go_to > open", False),
        ("room: no goal", False),
        ("room: go_to & open > pick_up", True),
        ("room: go_to > open & pick_up", True),
        ("across: go_to", True),
        ("across: no goal", True),
    ],
)
def test_reserved_shapes(template: str, kept: bool) -> None:
    assert SPLIT_RULE.reserved_template(template) is kept


def test_composing_marks_what_is_held_out() -> None:
    grammar = ENV.grammar()
    assert grammar.compose(None, "room", 3).split == "practice"
    assert grammar.compose(None, "room", 8).split == "dev"
    assert grammar.compose(None, "room", 19).split == "heldout"
    assert grammar.compose(None, "across", 3).split == "heldout"


async def solve(env: BabyAI, task: Task) -> bool | None:
    calls = await env.oracle(task)
    if calls is None:
        return None
    await env.reset(task, 0)
    return [await env.step(call) for call in calls][-1].succeeded


@pytest.mark.parametrize("split", SPLITS)
def test_the_oracle_solves_what_it_claims(split: Split) -> None:
    solved = [asyncio.run(solve(ENV, task)) for task in ENV.tasks(split, 36, 7)]
    assert False not in solved
    assert solved.count(True) >= 30


def test_the_bot_is_the_ceiling_and_solves_most() -> None:
    tasks = ENV.tasks("heldout", 18, 7)
    runs = [ENV.bot(task) for task in tasks]
    assert sum(run.solved for run in runs) >= 16
    assert [ENV.bot_solves(task) for task in tasks[:3]] == [run.solved for run in runs[:3]]
    primitive = BabyAI(toolset="primitive")
    assert asyncio.run(solve(primitive, tasks[0])) is True
    assert all(run.moves for run in runs)


def test_the_bot_fails_without_raising_where_it_is_lost() -> None:
    env = BabyAI(level="KeyInBox")
    run = env.bot(env.tasks("practice", 1, 0)[0])
    assert not run.solved and run.reason
    bare = ENV.grammar().compose(None, "room", 1)
    assert not ENV.bot_solves(bare)


@pytest.mark.parametrize("level", ["GoToLocal", "BabyAI-UnlockPickup-v0", "MoveTwoAcrossS5N2"])
def test_levels_by_name(level: str) -> None:
    env = BabyAI(level=level)
    tasks = env.tasks("heldout", 6, 1)
    assert len({task.id for task in tasks}) == 6
    for task in tasks:
        assert task.mission is not None and task.split == "heldout"
        assert task.setup["level"] == f"BabyAI-{task.parameters['family']}-v0"
        assert asyncio.run(solve(env, task)) in (True, None)
    assert "level" in env.describe()


def test_practice_of_a_level_keeps_to_practice_seeds() -> None:
    tasks = BabyAI(level="PutNextLocal").tasks("practice", 10, 1)
    assert all(SPLIT_RULE.refusal(task) is None for task in tasks)


def test_missions_are_composed_in_a_levels_start_states_too() -> None:
    env = BabyAI(level="UnlockLocal")
    grammar = env.grammar()
    assert grammar.spec.setups == ("UnlockLocal",)
    own = env.tasks("practice", 1, 1)[0]
    assert grammar.compose(own.mission, "UnlockLocal", own.seed).id == own.id
    assert own.mission is not None
    told = grammar.compose(grammar.parse("go to the door"), "UnlockLocal", own.seed)
    assert told.id != own.id and told.template == "UnlockLocal: go_to"
    assert asyncio.run(solve(env, told)) is True
    assert env.bot_solves(told)
    bare = grammar.compose(None, "UnlockLocal", own.seed)
    assert bare.mission is None and not env.bot_solves(bare)


def test_practice_of_a_mixed_level_leaves_reserved_shapes_out() -> None:
    env = BabyAI(level="BossLevel")
    assert all(SPLIT_RULE.refusal(task) is None for task in env.tasks("practice", 20, 1))
    assert any(SPLIT_RULE.reserved_template(t.template) for t in env.tasks("heldout", 20, 1))

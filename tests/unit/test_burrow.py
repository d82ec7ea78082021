"""The burrow: its rules, its wording, its splits by map, and who plays it from what is seen."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from agentlab.environments.checker import check_environment
from agentlab.envs.burrow import Burrow
from agentlab.envs.burrow.grammar import SPLIT_RULE, BurrowGrammar, Progress, advance, read_state
from agentlab.envs.burrow.oracle import solve, solved_by
from agentlab.envs.burrow.world import (
    DEV,
    HELDOUT,
    MAPS,
    PRACTISED,
    WAYS,
    Refused,
    go,
    make_layout,
    take,
    text_of,
    unlock,
)
from agentlab.errors import InvalidTaskError
from agentlab.protocols import HasDescription, HasGrammar, HasOracle, HasSnapshots, HasState
from agentlab.testing.rules.burrow import play, read, views_of
from agentlab.types import (
    ChatRequest,
    Clause,
    JsonObject,
    Message,
    Mission,
    Split,
    ToolCall,
    canonical_json,
)


def shapes(cells: tuple[tuple[int, int], ...]) -> frozenset[frozenset[tuple[int, int]]]:
    """The eight ways in which a set of squares can lie, moved to the corner."""
    found: set[frozenset[tuple[int, int]]] = set()
    for mirrored, turns in product((False, True), range(4)):
        turned = [(-x, y) if mirrored else (x, y) for x, y in cells]
        for _ in range(turns):
            turned = [(-y, x) for x, y in turned]
        left, top = min(x for x, _ in turned), min(y for _, y in turned)
        found.add(frozenset((x - left, y - top) for x, y in turned))
    return frozenset(found)


def test_the_maps_are_the_twelve_pentominoes_each_in_one_split() -> None:
    assert len({shapes(cells) for cells in MAPS.values()}) == len(MAPS) == 12
    assert all(len(set(cells)) == 5 for cells in MAPS.values())
    assert sorted((*PRACTISED, *DEV, *HELDOUT)) == sorted(MAPS)
    for setup in MAPS:
        layout = make_layout(setup, 3)
        assert all(layout.route(0, chamber) or chamber == 0 for chamber in range(5)), setup
        assert shapes(layout.cells) == shapes(MAPS[setup])


@pytest.mark.parametrize("split", ["practice", "dev", "heldout"])
def test_tasks_are_of_their_split_by_map_and_by_seed(split: Split) -> None:
    maps = {"practice": PRACTISED, "dev": DEV, "heldout": HELDOUT}[split]
    tasks = Burrow().tasks(split, 60, 1)
    assert {str(task.setup["setup"]) for task in tasks} == set(maps)
    for task in tasks:
        assert task.split == split == SPLIT_RULE.split_of_seed(task.seed)
        setup = str(task.setup["setup"])
        layout = make_layout(setup, task.seed)
        assert task.mission is not None and task.solution is not None
        assert solved_by(layout, task.mission, task.solution)
        assert len(task.failing) == 2
        assert not any(solved_by(layout, task.mission, case) for case in task.failing)
        # A practised seed on a map that is kept is kept with it.
        moved = BurrowGrammar().compose(None, setup, 5)
        assert moved.split == ("practice" if split == "practice" else split)


def test_it_keeps_every_promise() -> None:
    burrow = Burrow()
    for protocol in (HasSnapshots, HasState, HasDescription, HasGrammar, HasOracle):
        assert isinstance(burrow, protocol)
    tasks = [*burrow.tasks("practice", 4, 0), *burrow.tasks("heldout", 2, 0)]
    report = asyncio.run(check_environment(Burrow, tasks=tasks))
    assert report.passed, report.failures


def test_a_chest_needs_its_key_and_things_stay_where_they_are() -> None:
    layout = make_layout("map-i", 11)
    position = layout.start
    colour, chamber = layout.chests[0]
    key = f"{colour} key"
    assert isinstance(take(layout, position, "gold key"), Refused)
    assert isinstance(unlock(layout, position._replace(at=chamber), colour), Refused)
    for way in layout.route(position.at, position.where[0]):
        moved = go(layout, position, way)
        assert not isinstance(moved, Refused)
        position = moved
    assert {way for way in WAYS if not isinstance(go(layout, position, way), Refused)} == set(
        layout.tunnels[position.at]
    )
    taken = take(layout, position, key)
    assert not isinstance(taken, Refused)
    assert isinstance(take(layout, taken, key), Refused)
    here = taken._replace(at=chamber)
    opened = unlock(layout, here, colour)
    assert not isinstance(opened, Refused) and opened.opened[0] and not opened.opened[1]
    assert f"{colour} chest (open)" in text_of(layout, opened)
    assert isinstance(unlock(layout, opened, colour), Refused)


def test_clauses_count_in_their_order() -> None:
    mission = BurrowGrammar().parse("Take the bell, then go to the moss chamber.")
    assert mission.structure == "holding > at"
    assert BurrowGrammar().parse("Take the bell.").structure == "holding"
    state: JsonObject = {"at": "moss", "holding": [], "opened": []}
    progress, done = advance(mission, Progress(), state)
    assert progress.met == 0 and not done
    progress, done = advance(mission, progress, {**state, "holding": ["bell"]})
    assert progress.met == 2 and done
    for wrong in ("Take the moon.", "Go to moss.", "Take the bell, then take the bell.", "x"):
        with pytest.raises(InvalidTaskError):
            BurrowGrammar().parse(wrong)
    clause = Clause(predicate="at", arguments={"chamber": "moss"})
    layout = next(
        layout for seed in range(99) if "moss" not in (layout := make_layout("map-i", seed)).names
    )
    assert layout.names != make_layout("map-i", 10**6).names
    seed = next(s for s in range(99) if make_layout("map-i", s) == layout)
    with pytest.raises(InvalidTaskError, match="fits"):
        BurrowGrammar().compose(Mission(groups=((clause,),)), "map-i", seed)


def test_calls_that_make_no_sense_are_refused() -> None:
    async def run() -> None:
        burrow = Burrow()
        task = burrow.tasks("practice", 1, 0)[0]
        await burrow.reset(task, 0)
        before = await burrow.state()
        for call in (
            ToolCall(tool="dig"),
            ToolCall(tool="go"),
            ToolCall(tool="go", arguments={"way": 3}),
            ToolCall(tool="go", arguments={"way": "up"}),
            ToolCall(tool="take", arguments={"thing": "bell", "way": "north"}),
        ):
            result = await burrow.step(call)
            assert result.error and not result.steps and await burrow.state() == before
        with pytest.raises(InvalidTaskError):
            await burrow.reset(task.model_copy(update={"setup": {"setup": "map-q"}}), 0)

    asyncio.run(run())


def asking(instruction: str, first: str, turns: list[tuple[str, str, str]]) -> ChatRequest:
    messages = [Message(role="user", text=f"Task: ⟦{instruction}⟧\n\nNow: ⟦{first}⟧")]
    for index, (tool, arguments, shown) in enumerate(turns):
        use = {"id": f"c{index}", "name": tool, "arguments": arguments}
        messages.append(Message.model_validate({"role": "assistant", "tool_uses": [use]}))
        messages.append(Message(role="tool", text=f"⟦{shown}⟧", tool_use_id=f"c{index}"))
    return ChatRequest(messages=tuple(messages))


def test_the_player_knows_what_it_saw_and_no_more() -> None:
    """Every burrow that looks alike so far is played alike."""

    async def run() -> None:
        seen: dict[str, tuple[str, str]] = {}
        for split in ("practice", "dev", "heldout"):
            for task in Burrow().tasks(split, 40, 2):
                burrow = Burrow()
                first = (await burrow.reset(task, 0)).text
                turns: list[tuple[str, str, str]] = []
                for _ in range(40):
                    request = asking(task.instruction, first, turns)
                    assert len(views_of(request)) == 1 + len(turns)
                    (use,) = play(request).tool_uses
                    key = canonical_json([m.text for m in request.messages])
                    assert seen.setdefault(key, (use.name, use.arguments)) == (
                        use.name,
                        use.arguments,
                    )
                    call = ToolCall.model_validate_json(
                        f'{{"tool": "{use.name}", "arguments": {use.arguments}}}'
                    )
                    result = await burrow.step(call)
                    assert result.error is None
                    turns.append((use.name, use.arguments, result.observation.text))
                    if result.terminated:
                        break
                else:
                    raise AssertionError(f"{task.instruction!r} is not solved in 40 calls")
                assert task.mission is not None
                setup = str(task.setup["setup"])
                shortest = solve(make_layout(setup, task.seed), task.mission)
                # Who must look for things walks at least as far as who knows where they are.
                assert len(turns) >= len(shortest)

    asyncio.run(run())


def test_what_is_seen_is_read_as_it_was_written() -> None:
    layout = make_layout("map-x", 4)
    view = read(text_of(layout, layout.start))
    assert view is not None
    state = read_state(layout, layout.start)
    assert view.at == state["at"] and view.carried == ()
    assert set(view.ways) == set(layout.tunnels[layout.start.at])

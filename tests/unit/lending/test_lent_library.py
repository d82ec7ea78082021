"""A lent library: calls are checked, run in a box, told truly, and on record when they end."""

# LangGraph's own signatures are partly untyped, which strict checking reports at each call.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab import CallResult, Library, Task, add_pack
from agentlab.errors import UnknownNameError, UsageError
from agentlab.records import Records, Workspace
from agentlab.types import JsonObject
from agentlab.types.scope import SHARED, Scope
from tests.stocking import stock

NAMES = ["at", "delivered", "holding", "unlocked"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the shipped pack serves."""
    place = tmp_path_factory.mktemp("lent")
    assert stock(place / "workspace", place / "keys") == NAMES
    return place / "workspace"


def opened(shop: Path, *, environment_tools: bool = False) -> Library:
    return Library("courier", workspace=shop, withhold=False, environment_tools=environment_tools)


def holding(library: Library) -> tuple[Task, JsonObject]:
    """A task that asks to pick something up, and the argument of the skill that does."""
    for task in library.tasks(60, seed=3):
        clauses = list(task.mission.clauses) if task.mission else []
        if [clause.predicate for clause in clauses] != ["holding"]:
            continue
        item = clauses[0].arguments["item"]
        if isinstance(item, dict) and item.keys() == {"colour", "kind"}:
            return task, {"item": item}
    raise AssertionError("no such task among sixty")


def test_a_call_solves_its_task_and_is_on_record(shop: Path) -> None:
    with opened(shop) as library:
        task, arguments = holding(library)
        opening = library.begin(task)
        result = library.call("holding", json.dumps(arguments))
        outcome = library.end()
        again = library.end()
    assert f"⟦{task.instruction}⟧" in opening
    assert (result.completed, result.effect, result.over, result.solved) == (True,) * 4
    assert result.worked and result.tool_calls >= 1 and "the task is solved" in result.text
    assert outcome is not None and outcome.success is True and again is None
    with Records.open(Workspace.open(shop)) as records:
        kept = records.trajectories.outcome(outcome.attempt_id)
        (used,) = kept.skills_used
        assert records.items.skill(used).item.name == "holding"
        assert kept.score.evidence["effects"] == [{"skill": used, "shown": True}]
        assert kept.trajectory is not None and kept.trajectory.invocations[0].arguments == arguments
        draws = records.draws.all(item_id=used)
        assert [d.success for d in draws if d.attempt_id == outcome.attempt_id] == [True]


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("nobody", {}, "There is no tool named 'nobody'"),
        ("__class__", {}, "There is no tool named"),
        ("holding", "{not json", "no JSON"),
        ("holding", "[]", "not the object"),
        ("holding", {}, "do not fit its schema"),
        ("holding", {"item": {1, 2}}, "no JSON"),
        ("holding", {"item": "x", "more": 1}, "do not fit its schema"),
        ("holding", '{"item": NaN}', "no JSON"),
        ("walk", {"to": {}}, "There is no tool named 'walk'"),
    ],
)
def test_what_a_caller_did_wrong_is_told_and_does_nothing(
    shop: Path, name: str, arguments: dict[str, object] | str, why: str
) -> None:
    with opened(shop) as library:
        result = library.call(name, arguments)
        outcome = library.end()
    assert not result.completed and not result.worked
    assert result.error is not None and why in result.error and result.text.startswith(result.error)
    assert outcome is not None and outcome.usage.tool_calls == 0 and outcome.success is None


def test_a_skill_that_fails_says_so_and_the_episode_goes_on(shop: Path) -> None:
    with opened(shop) as library:
        library.begin(seed=3)
        lost = library.call("holding", {"item": {"kind": "parcel", "colour": "of no such colour"}})
        found = library.call("at", {"place": {"kind": "place", "name": "nowhere"}})
        assert not lost.completed and lost.effect is False and lost.error
        assert not found.worked and not found.over
        outcome = library.end()
    assert outcome is not None and outcome.success is None
    assert outcome.score.explanation == "nothing was asked for"


def test_the_environments_own_tools_stand_beside_where_asked(shop: Path) -> None:
    with opened(shop, environment_tools=True) as library:
        names = [tool["function"]["name"] for tool in library.as_openai_tools()]
        assert set(NAMES) < set(names) and "walk" in names
        assert library.call("read_sign", "").completed
        refused = library.call("leave", {})
    assert not refused.completed and refused.text.startswith("Refused: ⟦")


def test_langchain_tools_call_and_are_typed(shop: Path) -> None:
    with opened(shop) as library:
        task, arguments = holding(library)
        tools = {tool.name: tool for tool in library.as_tools()}
        library.begin(task)
        said = tools["holding"].invoke(arguments)
        assert "the task is solved" in said
        library.begin(task)  # a tool acts in the episode that is under way
        assert "the task is solved" in asyncio.run(tools["holding"].ainvoke(arguments))
    schema = tools["holding"].args_schema
    assert isinstance(schema, dict) and schema["required"] == ["item"]
    assert list(tools) == NAMES


def test_langchain_tools_run_in_a_langgraph_agents_node(shop: Path) -> None:
    from langchain_core.messages import AIMessage
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode

    with opened(shop) as library:
        task, arguments = holding(library)
        library.begin(task)
        graph = StateGraph(MessagesState).add_node("tools", ToolNode(library.as_tools()))
        app = graph.add_edge(START, "tools").compile()
        use = {"name": "holding", "args": arguments, "id": "1", "type": "tool_call"}
        done = app.invoke({"messages": [AIMessage(content="", tool_calls=[use])]})
    assert "the task is solved" in done["messages"][-1].content


def test_what_is_retired_meanwhile_is_not_run(shop: Path, tmp_path: Path) -> None:
    stock(tmp_path / "own", tmp_path / "keys")
    with opened(tmp_path / "own") as library:
        task, arguments = holding(library)
        library.begin(task)
        (skill,) = (each for each in library.skills if each.name == "holding")
        with Records.open(Workspace.open(tmp_path / "own")) as records:
            records.items.move(skill.id, "retired", reason="harmful")
        result = library.call("holding", arguments)
        assert result.error is not None and "taken out of service" in result.error
        library.begin(task)
        assert "holding" not in [t["function"]["name"] for t in library.as_openai_tools()]


def test_nor_is_what_calls_it(shop: Path, tmp_path: Path) -> None:
    stock(tmp_path / "own", tmp_path / "keys")
    with Records.open(Workspace.open(tmp_path / "own")) as records:
        rows = {row.item.name: row.item for row in records.items.skills(status="active")}
        change = {"id": "skill-0123456789abcdef", "name": "fetch", "skills": ("at",)}
        source = rows["holding"].source.replace("def holding(", "def fetch(", 1)
        fetch = rows["holding"].model_copy(update={**change, "source": source})
        records.items.save_skill(fetch)
        for status in ("quarantined", "verified", "active"):
            records.items.move(fetch.id, status, reason="tested")
    with opened(tmp_path / "own") as library:
        task, arguments = holding(library)
        for harmful in (False, True):
            library.begin(task)
            if harmful:
                with Records.open(Workspace.open(tmp_path / "own")) as records:
                    records.items.move(rows["at"].id, "retired", reason="harmful")
            result = library.call("fetch", arguments)
            assert ("taken out of service" in (result.error or "")) is harmful, result


def test_skills_are_withheld_from_tasks_and_the_draws_are_on_record(shop: Path) -> None:
    withheld: set[str] = set()
    with Library("courier", workspace=shop, seed=7) as library:
        for task in library.tasks(6, seed=2):
            library.begin(task)
            told = {tool["function"]["name"] for tool in library.as_openai_tools()}
            withheld |= set(NAMES) - told
            for name in sorted(set(NAMES) - told):
                assert not library.call(name, {}).completed
        library.begin()
        assert [t["function"]["name"] for t in library.as_openai_tools()] == NAMES
        run_id = library.run_id
    assert withheld
    with Records.open(Workspace.open(shop)) as records:
        draws = [row for row in records.draws.all() if row.run_id == run_id]
    assert {row.item_name for row in draws if row.withheld} == withheld


def test_a_library_is_closed_inside_a_running_loop(tmp_path: Path) -> None:
    async def work() -> None:
        with Library("courier", workspace=tmp_path) as library:
            assert await library.afind("anything") == ()

    asyncio.run(work())
    with Records.open(Workspace.open(tmp_path)) as records:
        assert [run.status for run in records.runs.all()] == ["finished"]


def test_a_task_at_which_nothing_was_called_is_not_solved(shop: Path) -> None:
    """Else the attempts from which skills are withheld would drop out of their effect."""
    with opened(shop) as library:
        library.begin(library.tasks(1, seed=3)[0])
        outcome = library.end()
    assert outcome is not None and outcome.success is False


def test_a_skill_is_never_offered_to_the_task_it_came_from(tmp_path: Path) -> None:
    stock(tmp_path / "own", tmp_path / "keys")
    with opened(tmp_path / "own") as library:
        (skill,) = (each for each in library.skills if each.name == "holding")
        task = library.tasks(1, seed=1)[0].model_copy(update={"id": skill.source_tasks[0]})
        library.begin(task)
        told = [tool["function"]["name"] for tool in library.as_openai_tools()]
    assert "holding" not in told


def test_cancelling_a_call_ends_the_episode(shop: Path) -> None:
    async def broken_off(library: Library) -> CallResult:
        call = asyncio.ensure_future(library.acall("holding", arguments))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return await library.acall("holding", arguments)

    with opened(shop) as library:
        task, arguments = holding(library)
        library.begin(task)
        after = asyncio.run(broken_off(library))
        # It was cancelled before or in the call: either nothing was done, or nothing more is.
        assert after.solved or "broken off" in (after.error or "")


def test_it_is_safe_from_threads_and_loops_at_once(shop: Path) -> None:
    with opened(shop, environment_tools=True) as library:
        library.begin(seed=3)
        results: list[CallResult] = []
        threads = [
            threading.Thread(target=lambda: results.append(library.call("read_sign", {})))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()

        async def several() -> list[CallResult]:
            return [*await asyncio.gather(*(library.acall("read_sign", {}) for _ in range(8)))]

        results += asyncio.run(several())
        for thread in threads:
            thread.join()
    assert len(results) == 16 and all(each.completed for each in results)


def test_close_ends_everything(shop: Path) -> None:
    before = set(threading.enumerate())
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        library = opened(shop)
        library.call("at", {"place": {"kind": "place", "name": "mill"}})
        library.close()
        library.close()
        with pytest.raises(UsageError, match="The library is closed"):
            library.call("at", {})
    assert set(threading.enumerate()) <= before
    assert len(os.listdir("/proc/self/fd")) <= files + 1


def test_two_libraries_of_one_workspace_keep_their_episodes_apart(shop: Path) -> None:
    with opened(shop) as one, opened(shop) as two:
        task, arguments = holding(one)
        one.begin(task)
        two.begin(task)
        assert one.call("holding", arguments).solved
        assert not two.call("nobody", {}).over
        first, second = one.end(), two.end()
    assert first is not None and second is not None and first.attempt_id != second.attempt_id


def test_a_task_of_another_environment_is_refused(shop: Path) -> None:
    with opened(shop) as library:
        foreign = library.tasks(1)[0].model_copy(update={"environment": "babyai"})
        with pytest.raises(UsageError, match="of the environment 'babyai'"):
            library.begin(foreign)
        with pytest.raises(UnknownNameError, match="start state named 'lockd'"):
            library.begin(setup="lockd")


def test_a_tenants_skills_serve_and_are_recorded_in_its_scope_alone(tmp_path: Path) -> None:
    stock(tmp_path / "own", tmp_path / "keys")
    acme, other = Scope(tenant="acme"), Scope(tenant="other")
    with Records.open(Workspace.open(tmp_path / "own")) as records:
        (row,) = (r for r in records.items.skills() if r.item.name == "holding")
        private = row.item.model_copy(update={"id": "skill-private", "name": "private_holding"})
        records.items.save_skill(private, status="active", scope=acme)
    seen: dict[str, list[str]] = {}
    for scope in (SHARED, acme, other):
        with Library("courier", workspace=tmp_path / "own", scope=scope) as library:
            seen[scope.path] = [skill.name for skill in library.skills]
            library.begin()
            result = library.call("private_holding", {"item": {}})
            assert ("There is no tool" in result.text) == (scope != acme)
            outcome, run_id = library.end(), library.run_id
        assert outcome is not None
        with Records.open(Workspace.open(tmp_path / "own")) as records:
            (attempt,) = records.attempts.all(run_id)
        assert attempt.scope == scope.path
    assert seen == {"": NAMES, "acme": [*NAMES[:3], "private_holding", NAMES[3]], "other": NAMES}


def test_a_pack_is_shown_and_nothing_serves_until_it_is_approved(tmp_path: Path) -> None:
    shown = add_pack("agentlab/courier", workspace=tmp_path / "w", keys=tmp_path / "keys")
    assert (shown.approved, shown.serves, sorted(shown.asks)) == (False, (), NAMES)
    with opened(tmp_path / "w") as library:
        assert library.skills == () and library.as_openai_tools() == []


def test_a_pack_that_is_verified_already_serves_at_once(shop: Path, tmp_path: Path) -> None:
    added = add_pack("agentlab/courier", approve=True, workspace=shop, keys=tmp_path / "keys")
    assert (added.approved, list(added.serves), added.refused) == (True, NAMES, {})


def test_no_call_raises_whatever_it_says(shop: Path) -> None:
    with opened(shop) as library:

        @given(st.text(), st.text() | st.dictionaries(st.text(), st.none() | st.text(), max_size=3))
        def hostile(name: str, arguments: dict[str, object] | str) -> None:
            result = library.call(name, arguments)
            assert not result.completed
            assert re.fullmatch(r"[^\ud800-\udfff]*", result.text)

        hostile()

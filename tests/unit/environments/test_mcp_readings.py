"""How answers become facts, and what of a server its user can say: readings, fixed arguments."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest
from pydantic import JsonValue

from agentlab.environments.effect_world import Done
from agentlab.environments.mcp import spare
from agentlab.environments.mcp.folder import facts_of, unseen
from agentlab.environments.mcp.readings import Reading, placed, readings_of
from agentlab.environments.mcp.running import Options, Running
from agentlab.environments.registration import make_environment
from agentlab.errors import ConfigError, EnvironmentFaultError
from agentlab.types import EnvironmentRef, JsonObject
from tests.unit.environments.test_mcp_environment import (
    IN_FOLDER,
    NOTES,
    SERVER,
    any_task,
    call,
    facts,
    opened,
    waited,
)

TEXT = "* main\n  drafts\n+ far\n  drafts\n"
COMMAND = (sys.executable, str(SERVER))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"^. (?P<branch>\w+)$", [{"branch": "main"}, {"branch": "drafts"}, {"branch": "far"}]),
        (r"^(?P<mark>\*)?.(?P<branch>d\w+)$", []),
        (r"^\* (\w+)$", ["main"]),
        (r"\w+$", ["main", "drafts", "far"]),
        ("", TEXT),
    ],
)
def test_a_pattern_finds_each_member_once(pattern: str, found: JsonValue) -> None:
    reading = Reading(tool="git_branch", pattern=pattern)
    assert reading.read(Done(TEXT)) == found
    assert reading.read(Done(error="no repository")) is None


def test_names_and_tables_are_readings() -> None:
    table: JsonObject = {"tool": "look", "name": "seen", "arguments": {"at": "{folder}/a"}}
    assert [each.called for each in readings_of("look, list_notes")] == ["look", "list_notes"]
    (one,) = readings_of(table)
    assert one.called == "seen"
    assert placed(one.arguments, "/granted") == {"at": "/granted/a"}
    assert placed([1, "{folder}"], "/granted") == [1, "/granted"]
    assert [each.called for each in readings_of([table, "look"])] == ["seen", "look"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"state": [{"tool": "list_notes", "pattern": "("}]}, "cannot be read"),
        ({"state": [{"tool": "list_notes", "pattern": "(a)(b)"}]}, "without a"),
        ({"state": [{"tool": "list_notes", "pattern": "(a)(?P<b>c)"}]}, "without a"),
        ({"state": "list_notes,list_notes"}, "two readings are called 'list_notes'"),
        ({"state": [{"tol": "list_notes"}]}, "tool"),
        ({"state": "rename"}, "name it in 'reads'"),
        ({"reads": "renam"}, "no tool 'renam' that only reads"),
        ({"fixed": {"titl": "x"}}, "no tool takes 'titl'"),
        ({"explore": 0}, "greater than or equal to 1"),
    ],
)
def test_what_does_not_fit_is_said(options: JsonObject, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        make_environment(EnvironmentRef(name=f"mcp:{NOTES}", options=options))


def test_the_names_of_the_folders_own_facts_are_taken() -> None:
    state: JsonObject = {"state": [{"tool": "list_notes", "name": "files"}]}
    with pytest.raises(ConfigError, match="'files' are the working folder's"):
        make_environment(EnvironmentRef(name=f"mcp:{IN_FOLDER}", options=state))


@waited
async def test_arguments_that_are_fixed_are_not_the_agents() -> None:
    async with opened(NOTES, state="list_notes", fixed={"text": "in {folder}"}) as world:
        tools = {tool.name: tool.parameters for tool in world.tools}
        assert tools["add_note"]["required"] == ["title"]
        await world.reset(any_task(), 0)
        refused = await world.step(call("add_note", title="b", text="mine"))
        assert refused.error is not None and "'text' is not declared" in refused.error
        assert (await world.step(call("add_note", title="{folder}"))).error is None
        # The folder's place is taken out of answers again; what the agent writes is left alone.
        assert {"title": "{folder}", "text": "in ."} in await facts(world, "list_notes")


@waited
async def test_a_tool_may_be_said_to_only_read() -> None:
    state: JsonValue = [{"tool": "add_note", "arguments": {"title": "first", "text": "x"}}]
    async with opened(NOTES, state=state, reads="add_note") as world:
        assert {t.name: t.effect for t in world.tools}["add_note"] == "none"
        await world.reset(any_task(), 0)
        assert (await world.state())["add_note"] is None


def test_what_is_ignored_tells_no_states_apart() -> None:
    tree = {".git": None, ".git/index": b"1", "notes.db": b"\xff\x00", "a.txt": b"a"}
    other = {**tree, ".git/index": b"2", "notes.db": b"\xff\x01"}
    ignore = (".git/index", "notes.db")
    assert facts_of(tree, ignore) == facts_of(other, ignore)
    assert facts_of(tree) != facts_of(other)
    assert unseen(tree, ignore) == unseen(other, ignore) != ""
    assert unseen(tree) != unseen(other)
    assert unseen({".gitignore": b"1"}, (".git",)) != unseen({}, (".git",))


@waited
async def test_over_a_folder_the_tools_are_asked_again_only_where_it_changed() -> None:
    async with opened(IN_FOLDER, state="list_notes") as world:
        await world.reset(any_task("flat"), 0)
        before = await world.state()
        # This server keeps notes elsewhere, which one that works on a folder must not.
        await world.step(call("add_note", title="second", text="x"))
        assert await world.state() == before
        await world.step(call("write", path="new.txt", text="x"))
        assert len(await facts(world, "list_notes")) == 2


def test_a_server_that_is_reused_waits_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "IDLE_SECONDS", 0.3)
    options = Options(command=COMMAND, reuse=True, seconds=1.0)

    @waited
    async def used() -> None:
        first = spare.taken(options)
        await first.act("add_note", {"title": "second", "text": "x"})
        await spare.handed_back(options, first)
        assert spare.taken(options.model_copy(update={"seconds": 2.0})) is not first
        again = spare.taken(options)
        assert again is first
        await asyncio.sleep(0.6)  # beyond the time for which it might have waited
        assert again.alive
        with pytest.raises(EnvironmentFaultError):
            await again.act("hang", {})
        assert not again.alive
        await spare.handed_back(options, again)
        assert spare.taken(options) is not first
        alone = Options(command=COMMAND)
        once = Running(alone)
        await once.tools()
        await spare.handed_back(alone, once)
        assert not once.alive

    used()


def test_a_server_that_nobody_takes_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "IDLE_SECONDS", 0.05)
    options = Options(command=COMMAND, reuse=True)
    running = spare.taken(options)

    @waited
    async def used() -> None:
        await running.tools()
        await spare.handed_back(options, running)

    used()
    end = time.monotonic() + 20
    while running.folder is not None and time.monotonic() < end:
        time.sleep(0.02)
    assert running.folder is None and not running.alive
    assert spare.taken(options) is not running

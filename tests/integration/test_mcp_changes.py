"""What is served follows the records: changes are announced, and no tool outlives its skill."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from mcp import Client, MCPError
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated, ToolsListChanged

from agentlab.records import Records, Workspace
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.types import Status
from agentlab.version import __version__
from tests.integration.mcp_episode import skills_of, told
from tests.integration.mcp_http import client, serving
from tests.integration.mcp_library import make_library, pack_skills, renamed, walk
from tests.integration.test_mcp_skills import stdio

QUICK = ServeLimits(poll_seconds=0.05, rate=10_000, burst=10_000)
NEVER = ServeLimits(poll_seconds=3600, rate=10_000, burst=10_000)


def test_no_tool_without_a_verified_skill(tmp_path: Path) -> None:
    """Every status but one is as if the skill were not there, and each move is seen at once."""
    library = make_library(tmp_path)
    (at,) = [skill for skill in pack_skills("courier") if skill.name == "at"]
    statuses: tuple[Status, ...] = get_args(Status)

    async def work() -> None:
        with Records.open(Workspace.open(library)) as records:
            for status in statuses:
                walk(records, renamed(at, f"is_{status}"), to=status)
                if status == "retired":
                    records.items.move(renamed(at, f"is_{status}").id, "retired", reason="gone")
            async with serving(library, limits=NEVER) as place, client(place.url) as found:
                assert set(await skills_of(found)) == {"is_active"}
                begun = told(await found.call_tool("begin", {"seed": 1}))
                where = next(
                    thing["reference"]
                    for thing in begun["shows"]["things"]
                    if thing["type"] == "place"
                )
                for status in statuses:
                    if status != "active":
                        with pytest.raises(MCPError, match="no tool"):
                            await found.call_tool(f"is_{status}", {"place": where})
                assert told(await found.call_tool("is_active", {"place": where}))["worked"]
                # Nobody has told the server yet; the call itself finds out.
                active = renamed(at, "is_active").id
                records.items.move(active, "retired", reason="for a test")
                with pytest.raises(MCPError, match="no tool") as refused:
                    await found.call_tool("is_active", {"place": where})
                assert refused.value.code == -32602
                assert set(await skills_of(found)) == set()
                records.items.move(active, "active", reason="taken back")
                assert told(await found.call_tool("is_active", {"place": where}))["completed"]

    asyncio.run(work())


def test_changes_are_announced_to_who_listens(tmp_path: Path) -> None:
    library = make_library(tmp_path, "courier")
    skills = {skill.name: skill for skill in pack_skills("courier")}
    page = "agentlab://courier/skills/at"

    async def work() -> None:
        async with (
            serving(library, limits=QUICK) as place,
            client(place.url) as found,
            found.listen(
                tools_list_changed=True, resources_list_changed=True, resource_subscriptions=[page]
            ) as heard,
        ):
            # Another process's work, as far as the server can tell: it has records of its own.
            with Records.open(Workspace.open(library)) as records:
                records.items.move(skills["holding"].id, "retired", reason="for a test")
            events = aiter(heard)
            seen = {type(await asyncio.wait_for(anext(events), 10)) for _ in range(2)}
            assert seen == {ToolsListChanged, ResourcesListChanged}
            with Records.open(Workspace.open(library)) as records:
                newer = renamed(skills["at"], "at", version=2)
                newer = newer.model_copy(update={"summary": "Another way.", "parent": "x"})
                records.items.move(skills["at"].id, "retired", reason="superseded")
                walk(records, newer)
            late: set[type[Any]] = set()
            while ResourceUpdated not in late:
                event = await asyncio.wait_for(anext(events), 10)
                late.add(type(event))
            assert "Another way." in json.dumps(
                (await found.read_resource(page)).model_dump(mode="json")
            )

    asyncio.run(work())


def test_changes_are_announced_over_older_sessions(tmp_path: Path) -> None:
    library = make_library(tmp_path, "courier")
    skills = {skill.name: skill for skill in pack_skills("courier")}

    async def work() -> None:
        told_of: asyncio.Queue[str] = asyncio.Queue()

        async def hear(message: Any) -> None:
            await told_of.put(str(getattr(message, "method", "")))

        async with (
            serving(library, limits=QUICK) as place,
            client(place.url, mode="legacy", message_handler=hear) as found,
        ):
            assert found.server_capabilities.tools is not None
            assert found.server_capabilities.tools.list_changed is True
            await found.list_tools()
            await asyncio.sleep(0.3)  # the client opens its stream on its own time
            with Records.open(Workspace.open(library)) as records:
                records.items.move(skills["holding"].id, "retired", reason="for a test")
            heard = {await asyncio.wait_for(told_of.get(), 10) for _ in range(2)}
            assert heard == {
                "notifications/tools/list_changed", "notifications/resources/list_changed"
            }  # fmt: skip

    asyncio.run(work())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_changes_are_announced_over_stdio(tmp_path: Path, mode: str) -> None:
    library = make_library(tmp_path, "courier")
    skills = {skill.name: skill for skill in pack_skills("courier")}
    wanted = {"notifications/tools/list_changed", "notifications/resources/list_changed"}
    events: dict[type[Any], str] = {ToolsListChanged: "tools", ResourcesListChanged: "resources"}

    async def work() -> None:
        told_of: asyncio.Queue[str] = asyncio.Queue()

        async def hear(message: Any) -> None:
            await told_of.put(str(getattr(message, "method", "")))

        async def listen(found: Client, ready: asyncio.Event) -> None:
            async with found.listen(tools_list_changed=True, resources_list_changed=True) as heard:
                ready.set()
                async for event in heard:
                    await told_of.put(f"notifications/{events[type(event)]}/list_changed")

        started = stdio(library, "--environment", "courier")
        async with Client(started, mode=mode, message_handler=hear) as found:
            assert "holding" in await skills_of(found)
            listening: asyncio.Task[None] | None = None
            if mode == "auto":
                ready = asyncio.Event()
                listening = asyncio.create_task(listen(found, ready))
                await asyncio.wait_for(ready.wait(), 20)
            with Records.open(Workspace.open(library)) as records:
                records.items.move(skills["holding"].id, "retired", reason="for a test")
            seen: set[str] = set()
            while not wanted <= seen:
                seen.add(await asyncio.wait_for(told_of.get(), 20))
            assert "holding" not in await skills_of(found)
            if listening is not None:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    asyncio.run(work())


def test_a_tool_that_is_not_what_it_was_is_withheld(tmp_path: Path) -> None:
    library = make_library(tmp_path / "work", "courier")
    pin = tmp_path / "pins.json"

    async def names() -> tuple[set[str], str]:
        async with serving(library, pin=pin) as place, client(place.url) as found:
            offered = set(await skills_of(found))
            withheld = told(await found.call_tool("search_skills", {"query": "at"}))["withheld"]
            if "at" not in offered:
                with pytest.raises(MCPError, match="withheld"):
                    await found.call_tool("at", {})
            return offered, " ".join(withheld)

    assert asyncio.run(names()) == ({"at", "delivered", "holding", "unlocked"}, "")
    pins = json.loads(pin.read_text())
    pins["pins"]["courier"]["at@1"] = "0" * 64
    pin.write_text(json.dumps(pins))
    offered, why = asyncio.run(names())
    assert offered == {"delivered", "holding", "unlocked"}
    assert "differs from what was pinned" in why
    # A new version is a tool of its own.
    (at,) = [skill for skill in pack_skills("courier") if skill.name == "at"]
    with Records.open(Workspace.open(library)) as records:
        records.items.move(at.id, "retired", reason="superseded")
        walk(records, renamed(at, "at", version=2))
    assert asyncio.run(names()) == ({"at", "delivered", "holding", "unlocked"}, "")
    pinned = set(json.loads(pin.read_text())["pins"]["courier"])
    assert pinned >= {"at@1", "at@2", f"begin@agentlab-{__version__}"}

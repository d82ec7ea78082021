"""A call by one tenant never sees another's items, episode, session, calls or changes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError

from agentlab.records import Records, Workspace
from agentlab.testing.hostile_messages import request
from agentlab.types import Insight, Scope
from tests.integration.mcp_episode import skills_of, told
from tests.integration.mcp_http import client, serving
from tests.integration.mcp_library import make_library, pack_skills, renamed, walk

ACME, ACME_ANN, BETA = Scope(tenant="acme"), Scope(tenant="acme", user="ann"), Scope(tenant="beta")
TOKENS = {
    "acme-token-0123456789abcdef": "acme",
    "anns-token-0123456789abcdef": "acme/ann",
    "beta-token-0123456789abcdef": "beta",
    "beta-other-0123456789abcdef": "beta",
    "everybodys-token-0123456789": "",
}
MAY: dict[str, set[str]] = {
    "acme": {"holding", "acme_only"},
    "acme/ann": {"holding", "acme_only", "ann_only"},
    "beta": {"holding", "beta_only"},
    "": {"holding"},
}
SECRET = "the beta way of holding things"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    make_library(tmp_path)
    (holding,) = [skill for skill in pack_skills("courier") if skill.name == "holding"]
    with Records.open(Workspace.open(tmp_path)) as records:
        walk(records, holding)
        for scope, name in ((ACME, "acme_only"), (ACME_ANN, "ann_only"), (BETA, "beta_only")):
            walk(records, renamed(holding, name, scope=scope), scope=scope)
        # Of one name, each sees its own.
        own = renamed(holding, "holding", scope=BETA).model_copy(update={"summary": SECRET})
        walk(records, own, scope=BETA)
        advice = Insight(
            id="insight-beta", environment="courier", condition=SECRET, advice=SECRET,
            source_tasks=("task-1",),
        )  # fmt: skip
        records.items.save_insight(advice, scope=BETA)
        for status in ("quarantined", "verified", "active"):
            records.items.move(advice.id, status, reason="for a test")
    return tmp_path


async def everything(found: Client) -> str:
    """All that a caller can get at without acting, as text."""
    parts: list[Any] = [(await found.list_tools()).model_dump(mode="json")]
    resources = (await found.list_resources()).resources
    parts += [resource.model_dump(mode="json") for resource in resources]
    parts += [(await found.read_resource(r.uri)).model_dump(mode="json") for r in resources]
    for query in ("holding", SECRET):
        found_here = await found.call_tool("search_skills", {"query": query, "limit": 20})
        parts.append(told(found_here))
    return json.dumps(parts)


def test_items_are_their_owners_alone(library: Path) -> None:
    async def work() -> None:
        async with serving(library, tokens=TOKENS) as place:
            for token, scope in TOKENS.items():
                async with client(place.url, token) as found:
                    assert set(await skills_of(found)) == MAY[scope], scope
                    shown = await everything(found)
                    others = {name for names in MAY.values() for name in names} - MAY[scope]
                    assert not [name for name in others if name in shown], scope
                    assert (SECRET in shown) is (scope == "beta"), scope
                    begun = told(await found.call_tool("begin", {"seed": 1}))
                    item = next(
                        thing["reference"]
                        for thing in begun["shows"]["things"]
                        if thing["properties"].get("cargo")
                    )
                    for name in sorted(MAY[scope]):
                        assert told(await found.call_tool(name, {"item": item}))["worked"]
                        await found.call_tool("begin", {"seed": 1})
                    for name in others:
                        with pytest.raises(MCPError, match="no tool"):
                            await found.call_tool(name, {"item": item})
                        uri = f"agentlab://courier/skills/{name}"
                        with pytest.raises(MCPError, match="no resource"):
                            await found.read_resource(uri)

    asyncio.run(work())
    with Records.open(Workspace.open(library)) as records:
        for run in records.runs.all():
            assert {row.scope for row in records.attempts.all(run.run_id)} == {run.scope}


def test_episodes_calls_and_sessions_are_their_callers_alone(library: Path) -> None:
    first, second = "beta-token-0123456789abcdef", "beta-other-0123456789abcdef"

    async def work() -> None:
        async with (
            serving(library, tokens=TOKENS) as place,
            client(place.url, first) as one,
            client(place.url, second) as two,
        ):
            begun = told(await one.call_tool("begin", {"seed": 1}))
            things = begun["shows"]["things"]
            item = next(t["reference"] for t in things if t["properties"].get("cargo"))
            # The other's episode has not begun, though they share a scope.
            other = await two.call_tool("holding", {"item": item})
            assert other.is_error
            done = told(await one.call_tool("holding", {"item": item}))
            assert done["worked"]
            said = {"call": done["call"], "success": False}
            assert (await two.call_tool("feedback", said)).is_error
            assert told(await one.call_tool("feedback", said))["recorded"] is True
            assert told(await one.call_tool("feedback", said))["recorded"] is False
            await stolen_session(place.url, first, second)

    asyncio.run(work())


async def stolen_session(url: str, owner: str, thief: str) -> None:
    """A session's id is worth nothing to who did not open it."""
    base = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    hello = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {},
                   "clientInfo": {"name": "x", "version": "0"}},
    }  # fmt: skip
    async with httpx2.AsyncClient(timeout=20) as http:
        mine = {**base, "authorization": f"Bearer {owner}"}
        opened = await http.post(url, json=hello, headers=mine)
        assert opened.status_code == 200
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
        theirs = {**base, **session, "authorization": f"Bearer {thief}"}
        listing = request(2, "tools/list")
        assert (await http.post(url, json=listing, headers=theirs)).status_code == 404
        assert (await http.delete(url, headers=theirs)).status_code in (400, 404)
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        own = {**mine, **session}
        assert (await http.post(url, json=ready, headers=own)).status_code == 202
        listing = {"jsonrpc": "2.0", "id": 3, "method": "tools/list"}
        assert (await http.post(url, json=listing, headers=own)).status_code == 200


def test_who_waits_for_the_records_holds_up_nobody_else(library: Path) -> None:
    """Another process writes; the feedback of one caller waits for it, and the others do not."""

    async def work() -> None:
        async with serving(library, tokens=TOKENS) as place:
            acme, beta = "acme-token-0123456789abcdef", "beta-token-0123456789abcdef"
            async with client(place.url, acme) as one, client(place.url, beta) as other:
                things = told(await one.call_tool("begin", {}))["shows"]["things"]
                item = next(t["reference"] for t in things if t["properties"].get("cargo"))
                done = told(await one.call_tool("holding", {"item": item}))
                writer = sqlite3.connect(library / "records.db", isolation_level=None)
                writer.execute("BEGIN IMMEDIATE")
                said = {"call": done["call"], "success": True}
                waiting = asyncio.create_task(one.call_tool("feedback", said))
                await asyncio.sleep(0.3)
                async with asyncio.timeout(2):
                    assert (await other.list_tools()).tools
                assert not waiting.done()
                writer.rollback()
                assert told(await waiting)["recorded"]
                writer.close()

    asyncio.run(work())

"""One MiniWoB page whose instructions are understood: read, composed by seed, and practised on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import agentlab
from agentlab.environments.web import miniwob_page
from agentlab.environments.web.browser import on_thread, run_now
from agentlab.environments.web.miniwob_page import DONE, MiniWoBPage
from agentlab.errors import InvalidTaskError
from agentlab.records import Records, Workspace
from agentlab.types import Clause, JsonObject, Mission, Task, ToolCall
from tests.required import installed

installed("miniwob", "REQUIRE_BROWSER")


def test_what_a_page_asks_for_is_read_and_held_to() -> None:
    page = MiniWoBPage(page="login-user")
    grammar = page.grammar()
    (template,) = grammar.spec.templates
    assert template.predicate == "login_user"
    assert set(template.parameters) == {"username", "password"}
    (task,) = page.tasks("practice", 1, 3)
    assert task.mission is not None
    assert task.template == "login-user: login_user"
    assert grammar.parse(task.instruction) == task.mission
    assert grammar.compose(task.mission, "login-user", task.seed).id == task.id
    other = Clause(predicate="login_user", arguments={"username": "a", "password": "b"})
    with pytest.raises(InvalidTaskError, match="the page asks for"):
        grammar.compose(Mission(groups=((other,),)), "login-user", task.seed)


def test_what_the_page_accepts_becomes_a_fact() -> None:
    async def work() -> tuple[Task, JsonObject, JsonObject, list[str]]:
        page = MiniWoBPage(page="login-user")
        try:
            (task,) = page.tasks("practice", 1, 3)
            assert task.mission is not None
            given = task.mission.clauses[0].arguments
            # The first thing in a process may be an attempt: nothing is learnt of the page yet.
            miniwob_page.grammar_of.cache_clear()
            shown = await page.reset(task, 0)
            before = await page.state()
            texts = [str(e.reference) for e in shown.entities if e.type == "text"]
            fields = [str(e.reference) for e in shown.entities if e.type == "field"]
            for field, text in zip(fields, (given["username"], given["password"]), strict=True):
                done = await page.step(
                    ToolCall(tool="fill", arguments={"label": field, "text": text})
                )
                assert done.error is None, done.error
            end = await page.step(ToolCall(tool="click", arguments={"name": "Login"}))
            assert end.succeeded
            return task, before, await page.state(), texts
        finally:
            await page.close()

    task, before, after, texts = asyncio.run(asyncio.wait_for(work(), 100))
    assert task.mission is not None
    clause = task.mission.clauses[0]
    assert set(texts) == set(map(str, clause.arguments.values()))
    assert before[DONE] == []
    assert after[DONE] == [{"asked": "login_user", **clause.arguments}]
    grammar = MiniWoBPage(page="login-user").grammar()
    assert list(grammar.achieved(before, after)) == [clause]


@pytest.mark.timeout(400)
def test_practice_without_a_model_proposes_the_pages_own_tasks(tmp_path: Path) -> None:
    report = agentlab.practice(
        "miniwob:enter-text",
        workspace=tmp_path,
        rounds=1,
        proposals=4,
        attempts=4,
        tool_calls=30,
        heldout=0,
        check_seconds=100,
        seed=1,
        index="exact",
    )
    assert report.status == "finished"
    assert report.tasks.proposed >= report.tasks.admitted >= 2
    with Records.open(Workspace.open(tmp_path)) as records:
        rows = records.attempts.all(report.run_id, kind="practice")
        skills = records.items.skills()
    assert sum(row.success is True for row in rows) >= 2
    # From reset and repetition alone: fill what is said into the field, then press the button.
    assert any("env.fill(" in row.item.source for row in skills)


def test_the_browsers_thread_does_not_wait_for_itself() -> None:
    async def nothing() -> None:
        return None

    async def inside() -> None:
        run_now(nothing())

    with pytest.raises(AssertionError, match="cannot wait for work of its own"):
        asyncio.run(on_thread(inside()))

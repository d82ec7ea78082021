"""A server whose state is told by calls with arguments, in prose: the Git server from PyPI."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentlab.environments.checks import determinism
from agentlab.environments.mcp.world import FolderServer
from agentlab.environments.registration import make_environment
from agentlab.environments.snapshot_checks import snapshots
from agentlab.protocols import Environment, EnvironmentFactory
from agentlab.types import EnvironmentRef, Task
from tests.unit.environments import git_server
from tests.unit.environments.test_mcp_environment import any_task, call, facts, opened, waited

Check = Callable[[EnvironmentFactory, Sequence[Task]], Coroutine[Any, Any, int]]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git_server.repository(tmp_path / "repository", monkeypatch)
    return tmp_path / "repository"


def test_what_is_done_in_a_repository_is_told_and_undone(repository: Path) -> None:
    @waited
    async def used() -> None:
        async with opened(git_server.COMMAND, **git_server.options(repository)) as world:
            assert isinstance(world, FolderServer)
            await world.reset(any_task("given"), 0)
            start = await world.snapshot()
            refused = await world.step(call("git_commit", message="Say more."))
            assert refused.error is not None and "No changes staged" in refused.error
            for done in (
                call("git_add", files=["amber.txt"]),
                call("git_create_branch", branch_name="topic"),
                call("git_checkout", branch_name="topic"),
                call("git_commit", message="Say more."),
                call("git_add", files=["birch.txt"]),
            ):
                assert (await world.step(done)).error is None
            later = await world.snapshot()
            assert await facts(world, "staged") == [{"path": "birch.txt"}]
            assert await facts(world, "current") == [{"branch": "topic"}]
            assert {"message": "Say more."} in await facts(world, "commits")
            assert {"path": "amber.txt"} not in await facts(world, "untracked")
            await world.restore(start)
            assert await facts(world, "commits") == [{"message": "Begin the notes"}]
            looked = await world.step(call("git_log"))
            assert "Say more." not in looked.observation.text
            assert (await world.snapshot()).key == start.key
            await world.restore(later)
            looked = await world.step(call("git_status"))
            assert "On branch topic" in looked.observation.text
            assert (await world.snapshot()).key == later.key

    used()


def test_what_can_be_brought_about_there_is_found(repository: Path) -> None:
    @waited
    async def used() -> None:
        async with opened(git_server.COMMAND, **git_server.options(repository)) as world:
            tools = {tool.name: tool.parameters for tool in world.tools}
            assert "repo_path" not in str(tools)
            names = {template.predicate for template in world.grammar().spec.templates}
            # Every start is this repository: what is in it belongs to no one task.
            assert {"drafts", "main", "amber.txt"} <= set(world.grammar().spec.standing)
            assert {"branches", "commits", "current", "staged", "no_untracked_path"} <= names

    used()


@pytest.mark.parametrize("check", [determinism, snapshots])
def test_the_git_server_keeps_its_promises(repository: Path, check: Check) -> None:
    options = git_server.options(repository)
    reference = EnvironmentRef(name=f"mcp:{git_server.COMMAND}", options=options)

    def make() -> Environment:
        return make_environment(reference)

    @waited
    async def checked() -> None:
        async with opened(git_server.COMMAND, **options) as world:
            tasks = world.tasks("practice", 1, 0)
        assert await check(make, tasks) > 0

    checked()

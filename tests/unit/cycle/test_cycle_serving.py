"""The server of a cycle: what serves is proven, and one that ends comes back or is told of."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agentlab.cycle import serving
from agentlab.cycle.serving import CycleServer
from agentlab.cycle.settings import CycleConfig
from agentlab.errors import AdapterRefusedError
from agentlab.models.scripted import Rule
from agentlab.records import Records, Workspace
from agentlab.records.policies import Policy, PolicyVersion
from agentlab.testing.adapter_server import AdapterServer, write_adapter, write_base
from agentlab.training.adapters import base_sha256, read_adapter
from agentlab.training.serving.client import ModelServerClient, ServerFaultError
from agentlab.types import ChatRequest, Message


def rule_of(_: Path | None) -> Rule:
    def rule(_: ChatRequest) -> Message:
        return Message(role="assistant", text="Hello.")

    return rule


class Place:
    """A workspace whose policy is served by an adapter, and servers for it."""

    def __init__(self, root: Path) -> None:
        self.base = write_base(root / "base")
        self.workspace = Workspace.open(root / "workspace")
        self.log = root / "log"
        self.folder = folder = root / "adapter"
        self.name = write_adapter(folder, base=self.base, weights=b"one")
        digest = read_adapter(folder).manifest.weights_sha256
        with Records.open(self.workspace) as records:
            policies = records.policies
            policies.register(Policy("lab", "base", str(self.base), base_sha256(self.base), ""))
            policies.add_version(PolicyVersion(self.name, "lab", str(folder), digest, {}))
            policies.move("lab", "promotion", self.name, reason="for the test", evidence={})

    def server(self, **serve: Any) -> CycleServer:
        """A cycle's, that is launched or named."""
        config = CycleConfig.model_validate({"base": str(self.base), "serve": serve})
        return CycleServer(config, self.workspace, self.log)


class Launched:
    """Stands in for a server's process; what is to happen at each start is planned."""

    base: ClassVar[Path]
    plan: ClassVar[list[Exception | str]]
    """Of each start: what it raises, or an adapter under whose name the base answers."""
    made: ClassVar[list[Launched]]

    def __init__(self, *_: object, port: int = 0, **__: object) -> None:
        self._server = AdapterServer(rule_of, base=self.base, port=port)
        self.running = False
        self.made.append(self)

    def start(self) -> None:
        planned = self.plan.pop(0) if self.plan else ""
        if isinstance(planned, Exception):
            raise planned
        self._server.start()
        self._server.hollow(planned)
        self.running = True

    @property
    def base_url(self) -> str:
        return self._server.base_url

    @property
    def port(self) -> int:
        return int(self.base_url.removesuffix("/v1").rpartition(":")[2])

    def close(self) -> None:
        if self.running:
            self._server.close()
        self.running = False


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def launched(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Launched]]:
    class Own(Launched):
        base = place.base
        plan: ClassVar[list[Exception | str]] = []
        made: ClassVar[list[Launched]] = []

    monkeypatch.setattr(serving, "ServerProcess", Own)
    monkeypatch.setattr(serving, "TICK", 0.02)
    monkeypatch.setattr(serving, "PAUSES", (0.02, 0.02))
    yield Own
    assert not any(each.running for each in Own.made)


async def until(true: Any) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - it comes true in another thread
            await asyncio.sleep(0.01)


def proven(server: CycleServer) -> bool:
    """Whether nothing is being started or proven any more."""
    return not server._lock.locked()  # pyright: ignore[reportPrivateUsage] - nobody else can tell


def loaded(url: str) -> list[str]:
    return [each.name for each in ModelServerClient(url).models()]


def test_a_server_that_ends_is_started_again_in_its_place_as_often_as_it_ends(
    place: Place, launched: type[Launched], caplog: pytest.LogCaptureFixture
) -> None:
    launched.plan = ["", ServerFaultError("the port is taken"), ServerFaultError("no memory"), ""]

    async def work() -> None:
        async with place.server(launch="local") as server, server.kept_up():
            first = launched.made[0]
            assert loaded(first.base_url) == ["base", place.name]
            first.close()
            await until(lambda: len(launched.made) == 4 and proven(server))
            assert loaded(first.base_url) == ["base", place.name]
            assert launched.made[-1].base_url == first.base_url
            launched.made[-1].close()
            await until(lambda: len(launched.made) == 5 and proven(server))

    with caplog.at_level(logging.ERROR):
        asyncio.run(work())
    told = [record.getMessage() for record in caplog.records]
    assert [text.rpartition(": ")[2] for text in told] == ["the port is taken", "no memory"]


def test_a_server_that_does_not_come_back_ends_the_stage_with_its_error(
    place: Place, launched: type[Launched], caplog: pytest.LogCaptureFixture
) -> None:
    launched.plan = ["", *(ServerFaultError(f"fault {number}") for number in range(9))]

    async def work() -> None:
        async with place.server(launch="local") as server, server.kept_up():
            launched.made[0].close()
            async with asyncio.timeout(20):
                await asyncio.Event().wait()

    with pytest.raises(ServerFaultError, match="fault 2"), caplog.at_level(logging.ERROR):
        asyncio.run(work())
    assert [record.getMessage()[-7:] for record in caplog.records] == [
        "fault 0",
        "fault 1",
        "fault 2",
    ]


def test_a_server_that_comes_back_with_other_weights_ends_the_stage(
    place: Place, launched: type[Launched]
) -> None:
    launched.plan = ["", place.name]

    async def work() -> None:
        async with place.server(launch="local") as server, server.kept_up():
            launched.made[0].close()
            async with asyncio.timeout(20):
                await asyncio.Event().wait()

    with pytest.raises(AdapterRefusedError, match="is the base model"):
        asyncio.run(work())


def test_a_server_that_says_it_is_broken_is_started_again(
    place: Place, launched: type[Launched], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with place.server(launch="local") as server, server.kept_up():
            first = launched.made[0]

            def healthy(_: ModelServerClient) -> bool:
                return len(launched.made) > 1

            def fault(_: ModelServerClient) -> str:
                return "" if len(launched.made) > 1 else "its engine ended"

            monkeypatch.setattr(ModelServerClient, "healthy", healthy)
            monkeypatch.setattr(ModelServerClient, "fault", fault)
            await until(lambda: launched.made[-1] is not first and proven(server))
            assert not first.running
            assert launched.made[-1].base_url == first.base_url

    asyncio.run(work())


def test_what_the_block_raises_and_its_end_from_outside_pass_through(
    place: Place, launched: type[Launched]
) -> None:
    async def raising() -> None:
        async with place.server(launch="local") as server, server.kept_up():
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(raising())

    async def cut_off() -> None:
        inside = asyncio.Event()

        async def stage() -> None:
            async with place.server(launch="local") as server, server.kept_up():
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(stage())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cut_off())
    assert len(launched.made) == 2


def test_a_server_that_is_being_started_when_the_cycle_ends_is_ended(
    place: Place, launched: type[Launched], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = launched.start

    def slowly(process: Launched) -> None:
        time.sleep(0.3)
        starts(process)

    async def work() -> None:
        async with place.server(launch="local") as server, server.kept_up():
            monkeypatch.setattr(launched, "start", slowly)
            launched.made[0].close()
            await until(lambda: len(launched.made) == 2)

    asyncio.run(work())
    assert len(launched.made) == 2


def test_what_a_server_has_loaded_already_is_proven_too(place: Place) -> None:
    with AdapterServer(rule_of, base=place.base) as running:
        running.hollow(place.name)
        assert ModelServerClient(running.base_url).load(place.name, place.folder)

        async def work() -> None:
            async with place.server(base_url=running.base_url) as server, server.kept_up():
                raise AssertionError("what serves is not what it was")

        with pytest.raises(AdapterRefusedError, match="is the base model"):
            asyncio.run(work())


def test_a_folder_that_holds_other_weights_by_now_is_not_served(place: Place) -> None:
    write_adapter(place.folder, base=place.base, weights=b"two")
    with AdapterServer(rule_of, base=place.base) as running:

        async def work() -> None:
            async with place.server(base_url=running.base_url) as server:
                await server.up()

        with pytest.raises(AdapterRefusedError, match="when that was put on record"):
            asyncio.run(work())
        assert running.served() == ()

"""MCP servers as environments: a small server of our own, and two that others wrote."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any, ParamSpec

import pytest
from mcp_types import Tool, ToolAnnotations
from pydantic import JsonValue

from agentlab.environments.checker import check_environment
from agentlab.environments.mcp import keeper
from agentlab.environments.mcp.answers import offered
from agentlab.environments.mcp.running import Options, Running
from agentlab.environments.mcp.world import FolderServer, McpWorld
from agentlab.environments.registration import make_environment
from agentlab.errors import ConfigError, EnvironmentFaultError
from agentlab.protocols import Environment, HasSnapshots, HasTasks
from agentlab.types import EnvironmentRef, JsonObject, Task, ToolCall
from tests.processes import alive, until_ended

P = ParamSpec("P")
SERVER = Path(__file__).parent / "notes_server.py"
NOTES = f"{sys.executable} {SERVER}"
IN_FOLDER = f"{NOTES} stdio {{folder}}"


def waited(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """An asynchronous test as pytest runs it."""

    @functools.wraps(test)
    def run(*args: P.args, **named: P.kwargs) -> None:
        asyncio.run(test(*args, **named))

    return run


@contextlib.asynccontextmanager
async def opened(argument: str, **options: JsonValue) -> AsyncGenerator[McpWorld]:
    """An instance that is closed at the end."""
    environment = make_environment(EnvironmentRef(name=f"mcp:{argument}", options=options))
    assert isinstance(environment, McpWorld)
    try:
        yield environment
    finally:
        await environment.close()
        await environment.close()


def any_task(setup: str = "start") -> Task:
    return Task(
        id=f"task-{setup}", environment="mcp", instruction="Look around.",
        setup={"setup": setup}, seed=1, template=f"{setup}: ",
    )  # fmt: skip


async def facts(world: McpWorld, name: str) -> list[Any]:
    """A set of facts of the state now."""
    found = (await world.state())[name]
    assert isinstance(found, list)
    return found


def call(tool: str, **arguments: JsonValue) -> ToolCall:
    return ToolCall(tool=tool, arguments=arguments)


@waited
async def test_tools_come_with_their_annotations() -> None:
    async with opened(NOTES, state="list_notes") as world:
        effects = {tool.name: tool.effect for tool in world.tools}
        assert effects["list_notes"] == "none"
        assert effects["add_note"] == "changes"
        assert "burn" not in effects
        await world.reset(any_task(), 0)
        refused = await world.step(call("burn", title="first"))
        assert refused.error == "There is no tool named 'burn'."
    async with opened(NOTES, allow_destructive=True, exclude="hang,crash") as world:
        names = {tool.name for tool in world.tools}
        assert "burn" in names
        assert not {"hang", "crash"} & names


def test_a_tool_that_does_not_say_may_destroy_things() -> None:
    """As the protocol has it, but in a folder that each attempt has to itself."""
    listed = [
        Tool(name=name, input_schema={"type": "object", "properties": {}}, annotations=hints)
        for name, hints in {
            "silent": None,
            "vague": ToolAnnotations(title="A tool", read_only_hint=False),
            "burns": ToolAnnotations(destructive_hint=True),
            "keeps": ToolAnnotations(destructive_hint=False),
            "reads": ToolAnnotations(read_only_hint=True),
            "named": ToolAnnotations(destructive_hint=True),
        }.items()
    ]

    def usable(*, allow: bool = False, contained: bool = False) -> set[str]:
        found = offered(listed, allow_destructive=allow, contained=contained, reads=("named",))
        kept = {spec.name for spec in found.specs}
        assert found.destructive == {tool.name for tool in listed} - kept
        return kept

    assert usable() == {"keeps", "reads", "named"}
    assert usable(contained=True) == {"keeps", "reads", "named", "silent", "vague"}
    assert usable(allow=True) == {tool.name for tool in listed}
    with pytest.raises(ConfigError, match="says of none that it destroys nothing"):
        offered(listed[:3], allow_destructive=False)


@waited
async def test_state_from_read_only_tools_and_a_fresh_server_for_each_attempt() -> None:
    async with opened(NOTES, state="list_notes") as world:
        start = [{"title": "first", "text": "hello"}]
        await world.reset(any_task(), 0)
        assert await facts(world, "list_notes") == start
        result = await world.step(call("add_note", title="second", text="x"))
        assert result.error is None
        assert len(await facts(world, "list_notes")) == 2
        taken = await world.step(call("add_note", title="second", text="y"))
        assert taken.error is not None
        assert "is taken" in taken.error
        await world.reset(any_task(), 0)
        assert await facts(world, "list_notes") == start


@waited
async def test_without_a_folder_going_back_repeats_the_calls() -> None:
    async with opened(NOTES, state="list_notes") as world:
        assert isinstance(world, HasSnapshots)
        await world.reset(any_task(), 0)
        first = await world.snapshot()
        await world.step(call("add_note", title="second", text="x"))
        second = await world.snapshot()
        await world.step(call("rename", old="second", new="third"))
        await world.restore(second)
        assert [n["title"] for n in await facts(world, "list_notes")] == ["first", "second"]
        result = await world.step(call("add_note", title="fourth", text="x"))
        assert result.error is None
        assert len(await facts(world, "list_notes")) == 3
        await world.restore(first)
        assert (await world.snapshot()).key == first.key


@waited
async def test_what_a_server_can_change_is_explored() -> None:
    async with opened(NOTES, state="list_notes") as world:
        names = {template.predicate for template in world.grammar().spec.templates}
        assert {"list_notes", "list_notes_title", "no_list_notes_title"} <= names
        (one, *_) = world.tasks("practice", 3, 0)
        assert world.grammar().parse(one.instruction) == one.mission
        assert "add_note" in world.describe()


@waited
async def test_a_working_folder_is_filled_read_and_put_back() -> None:
    async with opened(IN_FOLDER) as world:
        assert isinstance(world, FolderServer)
        task = any_task("nested")
        await world.reset(task, 0)
        before = await world.state()
        saved = await world.snapshot()
        assert len(await facts(world, "files")) == 3
        for text in ("one", "two", "six"):  # as long, and perhaps within one tick of the clock
            await world.step(call("write", path="new.txt", text=text))
            assert {"path": "new.txt", "text": text} in await facts(world, "files")
        observation = await world.restore(saved)
        assert await world.state() == before
        assert "new.txt" not in [e.reference for e in observation.entities]
        await world.step(call("write", path="../outside.txt", text="x"))
        # A working folder is no box: to stay inside is for the server itself.
        os.unlink(os.path.join(os.path.dirname(str(world.folder)), "outside.txt"))


@waited
async def test_answers_are_data() -> None:
    os.environ["AGENTLAB_TEST_KEY"] = "canary-1234"
    try:
        async with opened(IN_FOLDER) as world:
            await world.reset(any_task("flat"), 0)
            result = await world.step(call("about"))
            folder = str(world.folder)
            assert "in sub at (a time), seeing nothing" in result.observation.text
            assert folder not in result.model_dump_json()
            preached = await world.step(call("preach"))
            assert len(preached.observation.text) < 30_000
            assert "more characters are not shown" in preached.observation.text
        command = (sys.executable, str(SERVER))
        options = Options(command=command, pass_env=("AGENTLAB_TEST_KEY",), keep_times=True)
        server = Running(options)
        answer = await server.act("about", {})
        await server.close()
        assert "seeing canary" in answer.text
        assert "(a time)" not in answer.text
    finally:
        del os.environ["AGENTLAB_TEST_KEY"]


@waited
@pytest.mark.parametrize("tool", ["hang", "crash", "garble"])
async def test_a_server_that_fails_ends_the_attempt_and_the_next_has_another(tool: str) -> None:
    async with opened(NOTES, state="list_notes", seconds=1.0) as world:
        await world.reset(any_task(), 0)
        began = time.monotonic()
        with pytest.raises(EnvironmentFaultError, match="mcp: the server"):
            await world.step(call(tool))
        assert time.monotonic() - began < 6
        await world.reset(any_task().model_copy(update={"id": "task-next"}), 0)
        assert (await world.step(call("add_note", title="b", text="c"))).error is None


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("no-such-program-here", "no-such-program-here"),
        (f"{sys.executable} -c 'print(1)'", "cannot be used"),
        (f"{sys.executable} -c 'raise SystemExit(3)'", "cannot be used"),
    ],
)
def test_what_is_no_server(command: str, why: str) -> None:
    with pytest.raises(EnvironmentFaultError, match=why):
        make_environment(EnvironmentRef(name=f"mcp:{command}"))


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("mcp:sh 'unclosed", {}, "quotation"),
        ("mcp:", {}, "colon"),
        ("mcp", {}, "colon|argument"),
        (f"mcp:{NOTES}", {"templat": "x"}, "did you mean 'template'"),
        (f"mcp:{NOTES}", {"template": "/tmp"}, "folder"),
        (f"mcp:{NOTES}", {"seconds": "soon"}, "seconds"),
        (f"mcp:{NOTES}", {"exclude": "nothing_such"}, "nothing_such"),
        (f"mcp:{NOTES}", {"state": "add_note"}, "no read-only tool"),
    ],
)
def test_names_and_options_that_do_not_fit(name: str, options: JsonObject, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        make_environment(EnvironmentRef(name=name, options=options))


@waited
async def test_nothing_is_left_running() -> None:
    async with opened(IN_FOLDER) as world:
        await world.reset(any_task("flat"), 0)
        child = (await world.step(call("spawn"))).observation.data["answer"]
        pid = child["result"] if isinstance(child, dict) else child
        assert isinstance(pid, int)
        assert alive(pid)
        folder = str(world.folder)
        assert os.access(folder, os.R_OK)
    until_ended(pid)
    assert not os.access(folder, os.R_OK)


def test_the_keeper_ends_everything_when_its_owner_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    child = (
        "import subprocess, sys, time; "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
        "start_new_session=True, stdin=subprocess.DEVNULL); print(p.pid, flush=True); "
        "time.sleep(600)"
    )
    owner = (
        "import os, subprocess, sys, time; "
        "subprocess.Popen([sys.executable, '-I', '-S', sys.argv[1], str(os.getpid()), "
        "sys.argv[2], sys.executable, '-c', sys.argv[3]], stdin=subprocess.PIPE); "
        "time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", owner, keeper.__file__, str(folder), child],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    orphan = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    until_ended(orphan)
    process.stdout.close()
    end = time.monotonic() + 5
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not folder.exists()


@pytest.fixture
def address() -> Iterator[str]:
    """The same server over HTTP."""
    with over_http("http") as found:
        yield found


@contextlib.contextmanager
def over_http(how: str, *words: str) -> Generator[str]:
    """The address of a server that ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(SERVER), how, str(port), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


def test_over_http(address: str) -> None:
    @waited
    async def used() -> None:
        async with opened(address, state="list_notes") as world:
            assert not isinstance(world, HasSnapshots)
            await world.reset(any_task(), 0)
            result = await world.step(call("add_note", title="far", text="away"))
            assert result.error is None
            assert {"title": "far", "text": "away"} in await facts(world, "list_notes")

    used()


TOKEN = "tk-canary-71c0ffee"


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"token_variable": "NOTES_SERVER"}, "Authorization", f"Bearer {TOKEN}"),
        ({"token_variable": "NOTES_SERVER", "token_header": "X-Access"}, "X-Access", TOKEN),
    ],
)
def test_a_token_from_a_variable(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, JsonValue], header: str, value: str
) -> None:
    monkeypatch.setenv("NOTES_SERVER", TOKEN)

    @waited
    async def used(address: str) -> None:
        async with opened(address, state="list_notes", **options) as world:
            await world.reset(any_task(), 0)
            result = await world.step(call("add_note", title="far", text=f"so {TOKEN}"))
            # What the server learnt of the token and tells again is not shown.
            assert {"title": "far", "text": "so [key]"} in await facts(world, "list_notes")
            assert TOKEN not in result.model_dump_json() + str(world.describe())

    with over_http("guarded", header, value) as address:
        used(address)
        monkeypatch.setenv("NOTES_SERVER", "tk-canary-0123456789")
        with pytest.raises(EnvironmentFaultError) as caught:
            used(address)
        assert "tk-canary" not in str(caught.value)


def test_a_token_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, options, says in (
        ("http://127.0.0.1:1/mcp", {"token_variable": "NOTES_SERVER"}, "is not set"),
        (NOTES, {"token_variable": "HOME"}, "'pass_env'"),
        ("http://127.0.0.1:1/mcp", {"token_variable": "HOME", "token_header": "a:b"}, "no name"),
    ):
        monkeypatch.delenv("NOTES_SERVER", raising=False)
        ref = EnvironmentRef(name=f"mcp:{name}", options={**options})
        with pytest.raises(ConfigError, match=says):
            make_environment(ref)


@pytest.mark.parametrize(
    "name",
    [
        "http://me:hunter2xx@127.0.0.1:1/mcp",
        "http://hunter2xx@127.0.0.1:1/mcp",
        "https://127.0.0.1:1/mcp?token=hunter2xx",
        "https://127.0.0.1:1/mcp?a=b&api_key=hunter2xx",
        "https://127.0.0.1:1/mcp?api-key=hunter2xx",
        "https://127.0.0.1:1/mcp?apiKey=hunter2xx",
        "https://127.0.0.1:1/mcp?sig=hunter2xx",
        "https://127.0.0.1:1/mcp#access_token=hunter2xx",
        "npx mcp-remote 'https://me:hunter2xx@127.0.0.1:1/sse'",
        "http://[me:hunter2xx@127.0.0.1:1/mcp",
    ],
)
def test_an_address_that_holds_a_key_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--option token_variable=NAME") as caught:
        make_environment(EnvironmentRef(name=f"mcp:{name}"))
    assert "hunter2xx" not in str(caught.value)


def test_a_key_in_a_command_or_an_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTES_API_KEY", TOKEN)
    for name, options in ((f"mcp:{NOTES} --key={TOKEN}", {}), (f"mcp:{NOTES}", {"state": TOKEN})):
        with pytest.raises(ConfigError, match="pass_env=NAME") as caught:
            make_environment(EnvironmentRef(name=name, options={**options}))
        assert TOKEN not in str(caught.value)


def files_server() -> str:
    """The command of the filesystem server that npm brings, installed once for this machine."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm and node are not installed")
    place = Path(os.environ.get("AGENTLAB_NPM_CACHE") or "/tmp/agentlab-npm")
    script = place / "node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"
    if not script.is_file():
        place.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(place),
             "@modelcontextprotocol/server-filesystem"],
            capture_output=True, timeout=100, check=False,
        )  # fmt: skip
        if done.returncode or not script.is_file():
            pytest.skip("the filesystem server could not be installed with npm")
    return f"node {script} {{folder}}"


@pytest.mark.timeout(400)  # every check starts servers anew
def test_the_filesystem_server_keeps_every_promise() -> None:
    ref = EnvironmentRef(name=f"mcp:{files_server()}", options={"allow_destructive": True})

    def make() -> Environment:
        return make_environment(ref)

    @waited
    async def checked() -> None:
        made = make()
        assert isinstance(made, HasTasks)
        tasks = made.tasks("practice", 2, 0)
        await made.close()
        report = await check_environment(make, tasks=tasks)
        assert report.passed, report.failures

    checked()


def test_a_server_from_pypi() -> None:
    pytest.importorskip("mcp_server_time", reason="mcp-server-time is not installed")

    @waited
    async def used() -> None:
        command = f"{sys.executable} -m mcp_server_time --local-timezone Europe/Berlin"
        async with opened(command) as world:
            assert isinstance(world, FolderServer)
            await world.reset(any_task(), 0)
            arguments: JsonObject = {
                "source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "UTC",
            }  # fmt: skip
            result = await world.step(ToolCall(tool="convert_time", arguments=arguments))
            assert result.error is None, result.error
            assert "Europe/Berlin" in result.observation.text

    used()

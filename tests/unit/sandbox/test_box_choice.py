"""Which box is chosen, what is refused, and the adapters as far as a stand-in can carry them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentlab.errors import MissingExtraError, SkillFaultError, SkillRefusedError, UnknownNameError
from agentlab.sandbox import (
    BoxRuntime,
    PlainBox,
    RuntimeLimits,
    bubblewrap,
    choice,
    choose_box,
    examine,
    open_runtime,
    selftest,
)
from agentlab.sandbox.box import Started
from agentlab.sandbox.bubblewrap import BubblewrapBox, Way, choose_way, command
from agentlab.sandbox.docker import DockerBox
from agentlab.sandbox.e2b import PROGRAM, E2bBox
from agentlab.sandbox.interpreter import find_interpreter
from agentlab.sandbox.landlock import LandlockBox, landlock_abi
from agentlab.sandbox.selftest import SIX
from agentlab.testing.runtime_conformance import RUNTIME_CHECKS

LIMITS = RuntimeLimits(seconds=0.5, stop_seconds=0.1, tool_calls=20, memory_bytes=256 << 20)
STAND_IN = f"""#!{sys.executable}
import os, sys
words = sys.argv[1:]
if words[0] == "version":
    print("99.0")
elif words[:2] == ["image", "inspect"]:
    print("sha256:0")
elif words[0] == "run":
    after = words.index("--entrypoint") + 3
    os.environ.clear()
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv({sys.executable!r}, [{sys.executable!r}, *words[after:]])
"""


@pytest.fixture
def fresh() -> Iterator[None]:
    """Reports are made anew, and those of this test forgotten."""
    selftest.examine_once.cache_clear()
    yield
    selftest.examine_once.cache_clear()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    program = tmp_path / "docker"
    program.write_text(STAND_IN, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return str(program)


class Leaky(PlainBox):
    """Says that it is a box, and is none."""

    def __init__(self) -> None:
        super().__init__(unsafe_local=True)
        self.name = "leaky"


class Missing(PlainBox):
    def unavailable(self) -> str | None:
        return "It is not there."


def test_a_box_without_walls_fails_all_six() -> None:
    report = examine(Leaky())
    assert dict(report.probes) == dict.fromkeys(SIX, False) | {
        # Whoever is not root has a limit on processes, box or no box.
        "fork_limit": os.geteuid() != 0
    }
    assert not report.available
    assert "read outside" in (report.reason or "")


def test_the_first_box_that_holds_is_chosen(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setitem(choice.BOXES, "bubblewrap", Leaky)  # pyright: ignore[reportArgumentType]
    holds = examine(LandlockBox()).available
    assert choose_box().name == ("landlock" if holds else "subprocess")


def test_none_that_holds_leaves_a_plain_subprocess_that_refuses(
    monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    monkeypatch.setitem(choice.BOXES, "bubblewrap", Leaky)  # pyright: ignore[reportArgumentType]
    monkeypatch.setitem(choice.BOXES, "landlock", Missing)  # pyright: ignore[reportArgumentType]
    runtime = open_runtime(limits=LIMITS)
    assert runtime.name == "subprocess"
    with pytest.raises(SkillRefusedError, match="apt-get install bubblewrap"):
        asyncio.run(runtime.evaluate("def f(): return 1", "f", {}, origin="import"))
    with pytest.raises(SkillRefusedError, match=r"'landlock'.*It is not there\."):
        open_runtime("landlock")
    with pytest.raises(SkillRefusedError, match="does not hold: read outside"):
        open_runtime("bubblewrap")


def test_unsafe_local_is_said_in_the_name_and_never_chosen() -> None:
    assert open_runtime(unsafe_local=True).name == "unsafe-local"
    assert open_runtime("unsafe-local").name == "unsafe-local"
    assert choose_box(()).name == "subprocess"
    assert not choose_box(()).takes_foreign_code


def test_an_unknown_box_is_a_sentence() -> None:
    with pytest.raises(UnknownNameError, match="'bubblewrap'"):
        open_runtime("bubblewarp")


@pytest.mark.skipif(not landlock_abi(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("abi", range(1, 7))
def test_an_older_landlock_holds_with_the_filter(abi: int) -> None:
    report = examine(LandlockBox(newest=abi))
    assert report.available, report
    assert report.version == f"landlock ABI {min(abi, landlock_abi())}"


def test_bubblewrap_is_asked_for_every_wall() -> None:
    interpreter = find_interpreter()
    for way in (Way(None, None), Way(65519, None), Way(None, 65519)):
        words = command(LIMITS, interpreter, way, 9)
        inside = words.index("--")
        assert {"--die-with-parent", "--new-session", "--clearenv"} <= set(words[:inside])
        assert words[words.index("--cap-drop") + 1] == "ALL"
        assert words[words.index("--seccomp") + 1] == "9"
        shown = {words[at + 1] for at in range(inside) if words[at] == "--ro-bind"}
        assert shown >= set(interpreter.paths)
        home = os.path.expanduser("~")
        assert not shown & {"/", "/etc", "/usr", "/proc", "/tmp", home, "/home", "/root"}
        assert not any(path.startswith("/etc") for path in shown)
        assert "--proc" not in words
        if way.becomes is None:
            assert {"--unshare-all", "--unshare-user", "--disable-userns"} <= set(words)
            assert "--cap-add" not in words
        else:
            assert {"--unshare-net", "--unshare-pid", "--unshare-ipc"} <= set(words)
    if os.geteuid() != 0:
        assert choose_way(interpreter) == Way(None, None)
    else:
        way = choose_way(interpreter)
        assert (way.starts_as is None) == (not interpreter.readable())
        assert (way.starts_as or way.becomes or 0) > 60000
    assert BubblewrapBox().takes_foreign_code


def test_a_bubblewrap_that_gets_no_namespaces_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: None
) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho No permissions to create >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    tmp_path.chmod(0o755)
    bubblewrap._refusal.cache_clear()  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr("agentlab.sandbox.bubblewrap._program", lambda: str(program))
    try:
        why = BubblewrapBox().unavailable() or ""
        assert "(No permissions to create)" in why or "cannot be started" in why
        with pytest.raises(SkillRefusedError, match="Choose another"):
            open_runtime("bubblewrap")
    finally:
        bubblewrap._refusal.cache_clear()  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr("agentlab.sandbox.bubblewrap._program", lambda: None)
    assert "apt-get install bubblewrap" in (BubblewrapBox().unavailable() or "")


def test_docker_is_asked_for_every_wall(docker: str) -> None:
    words = DockerBox(image="python:3.12-slim").command(LIMITS, "agentlab-1")
    assert words[:4] == [docker, "run", "--interactive", "--rm"]
    for option, value in {
        "--name": "agentlab-1",
        "--pull": "never",
        "--network": "none",
        "--ipc": "none",
        "--cap-drop": "ALL",
        "--security-opt": "no-new-privileges",
        "--user": "65534:65534",
        "--pids-limit": "16",
        "--memory": str(256 << 20),
        "--memory-swap": str(256 << 20),
        "--workdir": "/box",
        "--env": "PYTHONHASHSEED=0",
        "--entrypoint": "python3",
    }.items():
        assert words[words.index(option) + 1] == value
    assert "--read-only" in words
    assert not {"--privileged", "--volume", "-v", "--mount", "--cap-add"} & set(words)
    image = words.index("python:3.12-slim")
    assert words[image + 1 : image + 6] == ["-P", "-s", "-S", "-B", "-c"]


@pytest.mark.parametrize("check", RUNTIME_CHECKS)
def test_the_conversation_goes_through_a_docker_command(docker: str, check: str) -> None:
    conformance(lambda: BoxRuntime(DockerBox(), LIMITS, spares=0), check)


def test_a_docker_that_does_not_wall_anything_off_is_refused(docker: str, fresh: None) -> None:
    assert DockerBox().version() == "99.0"
    with pytest.raises(SkillRefusedError, match="does not hold: read outside"):
        open_runtime("docker")


def test_a_docker_without_an_engine_is_a_sentence(tmp_path: Path) -> None:
    program = tmp_path / "no-engine"
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    assert "engine" in (DockerBox(program=str(program)).unavailable() or "")
    assert "not installed" in (DockerBox(program="docker-of-nobody").unavailable() or "")
    program.write_text('#!/bin/sh\n[ "$1" = version ] && echo 1\n', encoding="utf-8")
    why = DockerBox("img:1", program=str(program)).unavailable() or ""
    assert f"{program} pull img:1" in why


class RemoteMachine:
    """Stands in for a machine of the service: the same calls, a process here."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = self
        self.commands = self
        self.killed = False
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, path: str, text: str) -> None:
        assert path == PROGRAM
        (self.directory / "child.py").write_text(text, encoding="utf-8")

    def run(self, command: str, *, background: bool, stdin: bool, timeout: float) -> Any:
        assert (background, stdin, timeout) == (True, True, 0)
        command = command.replace(PROGRAM, str(self.directory / "child.py"))
        self._process = subprocess.Popen(
            ["sh", "-c", command.replace("python3", sys.executable)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def send_stdin(self, pid: int, data: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert pid == self.pid
        self._process.stdin.write(data.encode())
        self._process.stdin.flush()

    def wait(self, on_stdout: Callable[[str], None]) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                on_stdout(line.decode())
        self._process.wait()

    def kill(self) -> None:
        self.killed = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()


class Service:
    """Stands in for the package."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.machines: list[RemoteMachine] = []
        self.Sandbox = self

    def create(self, *, timeout: int, allow_internet_access: bool) -> RemoteMachine:
        assert timeout > 0
        assert allow_internet_access is False
        place = self.directory / str(len(self.machines))
        place.mkdir()
        self.machines.append(RemoteMachine(place))
        return self.machines[-1]


@pytest.mark.parametrize("check", RUNTIME_CHECKS)
def test_the_conversation_goes_through_a_remote_machine(tmp_path: Path, check: str) -> None:
    service = Service(tmp_path)
    conformance(lambda: BoxRuntime(E2bBox(lambda: service), LIMITS, spares=0), check)
    assert service.machines
    assert all(machine.killed for machine in service.machines)
    for thread in threading.enumerate():
        if thread.name == "agentlab-e2b":
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_a_remote_box_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(name: str) -> None:
        del name

    monkeypatch.setattr("agentlab.sandbox.e2b.find_spec", find_nothing)
    assert "agentlab-practice[e2b]" in (E2bBox().unavailable() or "")
    with pytest.raises(MissingExtraError, match="e2b"):
        E2bBox().start(LIMITS)
    monkeypatch.delenv("E2B_API_KEY", raising=False)
    assert "E2B_API_KEY" in (E2bBox(lambda: object()).unavailable() or "")


def test_looking_at_the_boxes_starts_no_remote_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh: None
) -> None:
    service = Service(tmp_path)
    monkeypatch.setenv("E2B_API_KEY", "key")
    monkeypatch.setitem(
        choice.BOXES,  # pyright: ignore[reportArgumentType]
        "e2b",
        lambda: E2bBox(lambda: service),
    )
    (report,) = choice.reports(("e2b",))
    assert not report.available
    assert "chosen by name" in (report.reason or "")
    assert service.machines == []
    with pytest.raises(SkillRefusedError, match="does not hold: read outside"):
        open_runtime("e2b")
    assert len(service.machines) > 0


def test_a_service_that_refuses_is_a_sentence() -> None:
    class Refusing:
        Sandbox = property(lambda self: self)

        def create(self, **_: object) -> Started:
            raise ConnectionError("no such key")

    with pytest.raises(SkillFaultError, match="no such key"):
        E2bBox(Refusing).start(LIMITS)


def conformance(factory: Callable[[], BoxRuntime], check: str) -> None:
    async def run() -> None:
        runtime = factory()
        try:
            await RUNTIME_CHECKS[check](runtime)
        finally:
            await runtime.close()

    asyncio.run(run())

"""Six probes that decide whether a box is one, run for real in a child of it.

Each tries one thing that skill code must not be able to do. It holds only where the attempt
failed as seen from inside and, where that can be told, from outside; a probe that does not come
back does not hold. Nothing is assumed from a version or from the platform's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.errors import SkillFaultError
from agentlab.sandbox.box import Box
from agentlab.sandbox.protocol import RuntimeLimits
from agentlab.sandbox.runtime import BoxRuntime
from agentlab.types import JsonObject

LIMITS = RuntimeLimits(seconds=5.0, start_seconds=20.0)
FORKS = 40
"""How many processes the last probe tries to start, and the most that may start."""
FORKS_HELD = 32

_SOURCE = """
def read_outside(paths):
    import os
    found = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                file.read(1)
            found.append(path)
        except OSError:
            pass
    try:
        if os.path.basename(paths[0]) in os.listdir(os.path.dirname(paths[0])):
            found.append(os.path.dirname(paths[0]))
    except OSError:
        pass
    return found


def write_outside(paths):
    found = []
    for path in paths:
        try:
            with open(path, "xb") as file:
                file.write(b"x")
            found.append(path)
        except OSError:
            pass
    return found


def environment(allowed):
    import glob, os
    found = [name for name in os.environ if name not in allowed]
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                if file.read(1) and path != f"/proc/{os.getpid()}/environ":
                    found.append(path)
        except OSError:
            pass
    return found


def connect(port, name):
    import socket
    found = []
    for family, kind, address in (
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port)),
        (socket.AF_UNIX, socket.SOCK_STREAM, "\\0" + name),
    ):
        try:
            with socket.socket(family, kind) as client:
                client.settimeout(1)
                client.connect(address)
            found.append(str(family))
        except OSError:
            pass
    return found


def signal(process):
    import os
    found = []
    for target, number in ((process, 9), (os.getppid(), 0)):
        try:
            os.kill(target, number)
            found.append(target)
        except OSError:
            pass
    return found


def fork(count):
    import os
    reading, writing = os.pipe()
    started = []
    for _ in range(count):
        try:
            process = os.fork()
        except OSError:
            break
        if process == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        started.append(process)
    os.close(writing)
    os.close(reading)
    for process in started:
        os.waitpid(process, 0)
    return len(started)
"""


class BoxReport(NamedTuple):
    """What is known of one box on this machine."""

    name: str
    version: str
    available: bool
    """All six probes hold."""
    reason: str | None
    """Why it is not available, as a sentence."""
    probes: Mapping[str, bool]
    """By name, whether it holds; empty where no child starts."""

    def document(self) -> JsonObject:
        """As JSON."""
        return {
            "name": self.name,
            "version": self.version,
            "available": self.available,
            "reason": self.reason,
            "probes": dict(self.probes),
        }


Ask = Callable[[str, JsonObject], JsonValue]


def examine(box: Box) -> BoxReport:
    """Run the six probes in a child of this box; about 0.3 seconds where it starts.

    It runs an event loop of its own, in a thread, and may be called from within another.
    """
    if (why := box.unavailable()) is not None:
        return BoxReport(box.name, box.version(), False, why, {})
    found: list[BoxReport] = []
    thread = threading.Thread(target=lambda: found.append(_examine(box)))
    thread.start()
    thread.join()
    return found[0]


@cache
def examine_once(kind: Callable[[], Box]) -> BoxReport:
    """The report on a kind of box, the same for the life of this process."""
    return examine(kind())


def _examine(box: Box) -> BoxReport:
    runtime = BoxRuntime(box, LIMITS, spares=0, blocking=True)
    probes: dict[str, bool] = {}
    with asyncio.Runner() as runner:

        def ask(function: str, arguments: JsonObject) -> JsonValue:
            return runner.run(runtime.evaluate(_SOURCE, function, arguments))

        try:
            runner.run(runtime.evaluate("def start():\n    return 1\n", "start", {}))
            for name, probe in SIX.items():
                try:
                    probes[name] = probe(ask)
                except SkillFaultError:
                    probes[name] = False
        except SkillFaultError as error:
            return BoxReport(box.name, box.version(), False, str(error), {})
        finally:
            runner.run(runtime.close())
    failed = ", ".join(name.replace("_", " ") for name, holds in probes.items() if not holds)
    reason = f"It does not hold: {failed}." if failed else None
    return BoxReport(box.name, box.version(), not failed, reason, probes)


def _read(ask: Ask) -> bool:
    with tempfile.TemporaryDirectory(prefix="agentlab-probe-") as directory:
        secret = Path(directory, "secret")
        secret.write_text("secret", encoding="utf-8")
        Path(directory).chmod(0o755)
        secret.chmod(0o644)
        paths: list[JsonValue] = [str(secret), "/etc/passwd", str(Path(__file__).absolute())]
        return ask("read_outside", {"paths": paths}) == []


def _write(ask: Ask) -> bool:
    with tempfile.TemporaryDirectory(prefix="agentlab-probe-") as directory:
        Path(directory).chmod(0o777)
        name = Path(directory).name
        home = Path(os.path.expanduser("~"), f".{name}")
        files = [Path(directory, "written"), Path(tempfile.gettempdir(), f"{name}-out"), home]
        try:
            answer = ask("write_outside", {"paths": [str(file) for file in files]})
            # A file of the box's own that has the same path is not outside.
            return not any(os.path.lexists(file) for file in files) and isinstance(answer, list)
        finally:
            for file in files:
                with contextlib.suppress(OSError):
                    file.unlink()


def _environment(ask: Ask) -> bool:
    allowed: list[JsonValue] = ["PYTHONHASHSEED", "LC_CTYPE", "PWD", "HOME", "PATH", "HOSTNAME"]
    return ask("environment", {"allowed": allowed}) == []


def _socket(ask: Ask) -> bool:
    name = f"agentlab-probe-{os.getpid()}"
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server,
        contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as local,
    ):
        local.bind("\0" + name)
        local.listen(1)
        answer = ask("connect", {"port": int(server.getsockname()[1]), "name": name})
        return answer == [] and not _reached(server) and not _reached(local)


def _signal(ask: Ask) -> bool:
    with subprocess.Popen(
        [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as victim:
        try:
            return ask("signal", {"process": victim.pid}) == [] and victim.poll() is None
        finally:
            victim.kill()


def _fork(ask: Ask) -> bool:
    started = ask("fork", {"count": FORKS})
    return isinstance(started, int) and started <= FORKS_HELD


def _reached(server: socket.socket) -> bool:
    server.setblocking(False)
    try:
        server.accept()[0].close()
    except OSError:
        return False
    return True


SIX: Mapping[str, Callable[[Ask], bool]] = {
    "read_outside": _read,
    "write_outside": _write,
    "environment_and_proc": _environment,
    "socket": _socket,
    "signal": _signal,
    "fork_limit": _fork,
}
"""The probes by name, each of which says whether the box held."""

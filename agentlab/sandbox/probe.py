"""What the runtime for skill code can and cannot hold, found out by trying.

`agentlab doctor` shows it. A probe runs real code in a real child; nothing here is assumed
from the platform's name, and what is not isolated is said to be not isolated.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import socket
import tempfile
import time
from pathlib import Path

from pydantic import JsonValue

from agentlab.errors import SkillFaultError
from agentlab.sandbox.protocol import RuntimeLimits
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import JsonObject

_PROBES = """
def environment():
    import os
    return sorted(os.environ)

def loop():
    while True:
        pass

def hog(size):
    return len(bytearray(size))

def write(size):
    with open("probe", "wb") as file:
        file.write(bytes(size))
    return True

def read(path):
    with open(path) as file:
        return file.read()

def connect(port):
    import socket
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True
"""


def describe_box() -> JsonObject:
    """The box, as `{"name", "version", "probes"}`; takes about two seconds.

    `probes` maps a name to whether it holds: `starts`, `wall_limit`, `cpu_limit`,
    `memory_limit`, `file_size_limit`, `environment_cleared`, `files_isolated`,
    `network_isolated`; and `start_ms`, the milliseconds to the first answer.

    It runs an event loop of its own and must not be called from within one.
    """
    return {
        "name": "subprocess",
        "version": platform.python_version(),
        "probes": asyncio.run(_probe()),
    }


async def _probe() -> JsonObject:
    limits = RuntimeLimits(seconds=3.0, cpu_seconds=3.0)
    began = time.perf_counter()
    runtime = SubprocessRuntime(limits)
    probes: JsonObject = {}
    try:
        names = await _attempt(runtime, "environment", {})
        probes["starts"] = isinstance(names, list)
        probes["start_ms"] = round((time.perf_counter() - began) * 1000, 1)
        if not probes["starts"]:
            return probes
        known = names if isinstance(names, list) else []
        inherited = {name for name in os.environ if name not in {"LC_CTYPE", "PYTHONHASHSEED"}}
        probes["environment_cleared"] = not inherited.intersection(str(name) for name in known)
        probes["wall_limit"] = await _ends(RuntimeLimits(seconds=0.1), "did not end")
        probes["cpu_limit"] = await _ends(
            RuntimeLimits(seconds=20.0, cpu_seconds=0.5), "processor time"
        )
        probes["memory_limit"] = (
            await _attempt(runtime, "hog", {"size": limits.memory_bytes}) is None
        )
        probes["file_size_limit"] = (
            await _attempt(runtime, "write", {"size": limits.file_bytes + 1}) is None
        )
        probes["files_isolated"] = not await _reads_files(runtime)
        probes["network_isolated"] = not await _connects(runtime)
        return probes
    finally:
        await runtime.close()


async def _attempt(runtime: SubprocessRuntime, function: str, arguments: JsonObject) -> JsonValue:
    try:
        return await runtime.evaluate(_PROBES, function, arguments)
    except SkillFaultError:
        return None


async def _ends(limits: RuntimeLimits, because: str) -> bool:
    runtime = SubprocessRuntime(limits)
    try:
        await runtime.evaluate(_PROBES, "loop", {})
    except SkillFaultError as error:
        return because in str(error)
    finally:
        await runtime.close()
    return False


async def _reads_files(runtime: SubprocessRuntime) -> bool:
    with tempfile.TemporaryDirectory(prefix="agentlab-probe-") as directory:
        path = Path(directory) / "outside"
        path.write_text("outside", encoding="utf-8")
        return await _attempt(runtime, "read", {"path": str(path)}) == "outside"


async def _connects(runtime: SubprocessRuntime) -> bool:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = int(server.getsockname()[1])
        return await _attempt(runtime, "connect", {"port": port}) is True

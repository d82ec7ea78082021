"""What the box for skill code can and cannot hold, found out by trying.

`agentlab doctor` shows it. A probe runs real code in a real child; nothing here is assumed
from the platform's name, and what is not isolated is said to be not isolated.
"""

from __future__ import annotations

import asyncio
import time
from typing import cast

from pydantic import JsonValue

from agentlab.errors import SkillFaultError
from agentlab.sandbox.box import Box
from agentlab.sandbox.choice import choose_box, reports
from agentlab.sandbox.protocol import RuntimeLimits
from agentlab.sandbox.runtime import BoxRuntime
from agentlab.sandbox.selftest import BoxReport
from agentlab.types import JsonObject

_PROBES = """
def start():
    return 1

def loop():
    while True:
        pass

def hog(size):
    return len(bytearray(size))

def write(size):
    with open("probe", "wb") as file:
        file.write(bytes(size))
    return True
"""


def describe_box() -> JsonObject:
    """The box that `auto` chooses: `{"name", "version", "probes", "boxes"}`; about two seconds.

    `probes` maps a name to whether it holds: `starts`, the six of `selftest` (`read_outside`,
    `write_outside`, `environment_and_proc`, `socket`, `signal`, `fork_limit`), `wall_limit`,
    `cpu_limit`, `memory_limit`, `file_size_limit`; and `start_ms`, the milliseconds to the
    first answer of a child that was not started ahead. `boxes` lists every box that was tried,
    in order, as `{"name", "version", "available", "reason", "probes"}`.

    It runs an event loop of its own and must not be called from within one.
    """
    tried = reports()
    box = choose_box()
    six = next(report for report in tried if report.name == box.name)
    return {
        "name": box.name,
        "version": box.version(),
        "probes": asyncio.run(_probe(box, six)),
        "boxes": [cast("JsonValue", report.document()) for report in tried],
    }


async def _probe(box: Box, six: BoxReport) -> JsonObject:
    limits = RuntimeLimits(seconds=3.0, cpu_seconds=3.0)
    began = time.perf_counter()
    runtime = BoxRuntime(box, limits, spares=0, blocking=True)
    probes: JsonObject = {}
    try:
        probes["starts"] = await _attempt(runtime, "start", {}) == 1
        probes["start_ms"] = round((time.perf_counter() - began) * 1000, 1)
        if not probes["starts"]:
            return probes
        probes.update(six.probes)
        probes["wall_limit"] = await _ends(box, RuntimeLimits(seconds=0.1), "did not end")
        probes["cpu_limit"] = await _ends(
            box, RuntimeLimits(seconds=20.0, cpu_seconds=0.5), "processor time"
        )
        probes["memory_limit"] = (
            await _attempt(runtime, "hog", {"size": limits.memory_bytes}) is None
        )
        probes["file_size_limit"] = (
            await _attempt(runtime, "write", {"size": limits.file_bytes + 1}) is None
        )
        return probes
    finally:
        await runtime.close()


async def _attempt(runtime: BoxRuntime, function: str, arguments: JsonObject) -> JsonValue:
    try:
        return await runtime.evaluate(_PROBES, function, arguments)
    except SkillFaultError:
        return None


async def _ends(box: Box, limits: RuntimeLimits, because: str) -> bool:
    runtime = BoxRuntime(box, limits, spares=0, blocking=True)
    try:
        await runtime.evaluate(_PROBES, "loop", {})
    except SkillFaultError as error:
        return because in str(error)
    finally:
        await runtime.close()
    return False

"""The runtime on every box that works here: the shared contract, the pool, who shares a child."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agentlab.errors import SkillFaultError, SkillRefusedError
from agentlab.protocols import SkillReturn
from agentlab.sandbox import (
    BoxRuntime,
    PlainBox,
    RuntimeLimits,
    SubprocessRuntime,
    protocol,
    reports,
)
from agentlab.sandbox.box import Box, Started
from agentlab.sandbox.choice import BOXES
from agentlab.sandbox.conversation import Conversation
from agentlab.sandbox.pool import Pool
from agentlab.testing.runtime_conformance import RUNTIME_CHECKS, TOOLS, Recorder, searched_skill
from agentlab.types import JsonObject, Origin, Skill

LIMITS = RuntimeLimits(seconds=0.5, stop_seconds=0.1, tool_calls=20, memory_bytes=128 << 20)
LOCAL = ("bubblewrap", "landlock")
REPORTS = {report.name: report for report in reports(LOCAL)}
COUNT = """
def act(env):
    import math
    math.seen = getattr(math, "seen", 0) + 1
    return math.seen
"""
FORGE = """
def act(env):
    import json, sys
    forged = b'{"kind":"returned","value":true}'.decode()
    json.dumps = lambda *_, **__: forged
    main = sys.modules["__main__"]
    for name in dir(main):
        if isinstance(getattr(main, name), type):
            setattr(getattr(main, name), "function", lambda *_: lambda **__: True)
    import builtins
    builtins.compile = builtins.exec = lambda *_, **__: None
    return True
"""
NO = "def check():\n    return False\n"


def box_named(name: str) -> Box:
    if name in REPORTS and not REPORTS[name].available:
        pytest.skip(f"{name}: {REPORTS[name].reason}")
    return PlainBox(unsafe_local=True) if name == "unsafe-local" else BOXES[name]()


def using(runtime: BoxRuntime, body: Callable[[BoxRuntime], Awaitable[None]]) -> None:
    async def run() -> None:
        try:
            await body(runtime)
        finally:
            await runtime.close()

    asyncio.run(run())


def skill(source: str, origin: Origin = "search") -> Skill:
    return searched_skill("act", source).model_copy(update={"origin": origin})


@pytest.mark.parametrize("check", RUNTIME_CHECKS)
@pytest.mark.parametrize("name", LOCAL)
def test_conformance_on_each_box(name: str, check: str) -> None:
    using(BoxRuntime(box_named(name), LIMITS), RUNTIME_CHECKS[check])


@pytest.mark.parametrize("check", RUNTIME_CHECKS)
def test_conformance_where_each_call_has_its_own_child(check: str) -> None:
    using(BoxRuntime(PlainBox(), LIMITS, single_use=True), RUNTIME_CHECKS[check])


@pytest.mark.parametrize("name", [*LOCAL, "subprocess"])
def test_a_box_serves_one_attempt(name: str) -> None:
    async def body(runtime: BoxRuntime) -> None:
        for _ in range(2):
            await runtime.open([skill(COUNT)], TOOLS)
            assert [(await runtime.call("act", {}, Recorder())).value for _ in range(3)] == [
                1,
                2,
                3,
            ]

    using(BoxRuntime(box_named(name), LIMITS), body)


@pytest.mark.parametrize("name", [*LOCAL, "subprocess"])
def test_unverified_code_has_a_box_for_each_call(name: str) -> None:
    async def body(runtime: BoxRuntime) -> None:
        await runtime.open([skill(COUNT)], TOOLS)
        assert [(await runtime.call("act", {}, Recorder())).value for _ in range(3)] == [1, 1, 1]

    using(BoxRuntime(box_named(name), LIMITS, single_use=True), body)


def test_search_keeps_its_child_over_attempts() -> None:
    async def body(runtime: BoxRuntime) -> None:
        seen: list[object] = []
        for _ in range(3):
            await runtime.open([skill(COUNT)], TOOLS)
            seen.append((await runtime.call("act", {}, Recorder())).value)
        assert seen == [1, 2, 3]

    using(SubprocessRuntime(LIMITS), body)


@pytest.mark.parametrize("name", [*LOCAL, "subprocess", "kept"])
def test_a_skill_cannot_forge_the_check_on_itself(name: str) -> None:
    async def body(runtime: BoxRuntime) -> None:
        assert await runtime.evaluate(NO, "check", {}) is False
        await runtime.open([skill(FORGE)], TOOLS)
        for _ in range(2):
            await runtime.call("act", {}, Recorder())
            assert await runtime.evaluate(NO, "check", {}) is False
        # It did forge what its own child says: the test could fail.
        assert (await runtime.call("act", {}, Recorder())).value is True

    using(
        SubprocessRuntime(LIMITS) if name == "kept" else BoxRuntime(box_named(name), LIMITS), body
    )


@pytest.mark.parametrize("name", LOCAL)
def test_a_foreign_check_shares_its_child_with_no_other(name: str) -> None:
    mark = "def check():\n    import math\n    math.mark = 1\n    return True\n"
    look = "def check():\n    import math\n    return hasattr(math, 'mark')\n"

    async def body(runtime: BoxRuntime) -> None:
        assert await runtime.evaluate(mark, "check", {}, origin="import") is True
        assert await runtime.evaluate(look, "check", {}, origin="import") is False
        assert await runtime.evaluate(mark, "check", {}, origin="model") is True
        assert await runtime.evaluate(look, "check", {}) is False

    using(BoxRuntime(box_named(name), LIMITS), body)


@pytest.mark.parametrize("origin", ["model", "import", "human"])
def test_foreign_code_runs_in_a_box_and_not_beside_it(origin: Origin) -> None:
    source = skill("def act(env):\n    return env.look()['ok']\n", origin)

    async def takes(runtime: BoxRuntime) -> None:
        await runtime.open([source], TOOLS)
        assert await runtime.call("act", {}, Recorder()) == SkillReturn(True, True)
        assert await runtime.evaluate(NO, "check", {}, origin=origin) is False

    async def refuses(runtime: BoxRuntime) -> None:
        with pytest.raises(SkillRefusedError, match="apt-get install bubblewrap"):
            await runtime.open([source], TOOLS)
        with pytest.raises(SkillRefusedError, match="apt-get install bubblewrap"):
            await runtime.evaluate(NO, "check", {}, origin=origin)

    using(BoxRuntime(PlainBox(), LIMITS), refuses)
    using(BoxRuntime(PlainBox(unsafe_local=True), LIMITS), takes)
    for name, report in REPORTS.items():
        if report.available:
            using(BoxRuntime(BOXES[name](), LIMITS), takes)


def test_spares_wait_are_taken_once_and_end() -> None:
    pool = Pool(PlainBox(), LIMITS, 2)
    pool.fill()
    first, second = pool.take(), pool.take()
    assert first is not second
    assert first.alive
    pool.fill()
    pool.close()
    third = pool.take()
    assert third.alive
    for child in (first, second, third):
        child.kill()
        assert not child.alive


def test_a_spare_that_died_is_passed_over() -> None:
    pool = Pool(PlainBox(), LIMITS, 1)
    pool.fill()
    dead = pool.take()
    pool.fill()
    dead.kill()

    class Dying(PlainBox):
        def start(self, limits: RuntimeLimits) -> Started:
            started = super().start(limits)
            if threading.current_thread().name == "agentlab-boxes":
                started.kill()
            return started

    pool.close()
    pool = Pool(Dying(), LIMITS, 1)
    pool.fill()
    child = pool.take()
    assert child.alive
    child.kill()
    pool.close()


def test_a_spare_that_cannot_be_started_is_told_to_the_one_who_asks() -> None:
    class Broken(PlainBox):
        def start(self, limits: RuntimeLimits) -> Started:
            raise SkillFaultError("The box is broken.")

    async def body(runtime: BoxRuntime) -> None:
        await runtime.open([skill(COUNT)], TOOLS)
        with pytest.raises(SkillFaultError, match="broken"):
            await runtime.call("act", {}, Recorder())

    using(BoxRuntime(Broken(), LIMITS), body)


def test_a_child_whose_host_is_gone_removes_its_directory_even_while_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started = PlainBox().start(LIMITS)
    child = Conversation(started, LIMITS)
    child.wait_until_ready()
    source = "def act(env):\n    import time\n    time.sleep(0.2)\n"
    child.send(protocol.encode_open({"act": source}, []))
    child.send(protocol.encode_call("act", {}))
    assert len(list(tmp_path.iterdir())) == 1
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, started.reading)  # the child's answer finds no reader
    os.close(null)
    end = time.monotonic() + 20
    while list(tmp_path.iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    assert not list(tmp_path.iterdir())
    child.kill()


@pytest.mark.parametrize("name", LOCAL)
def test_processor_time_in_a_box_is_limited_and_counted(name: str) -> None:
    async def body(runtime: BoxRuntime) -> None:
        await runtime.open([skill("def act(env):\n    while True: pass\n")], TOOLS)
        got = await runtime.call("act", {}, Recorder())
        assert "processor time" in (got.error or ""), got
        await runtime.open([skill("def act(env):\n    sum(range(8000000))\n")], TOOLS)
        assert (await runtime.call("act", {}, Recorder())).completed
        assert runtime.cpu_seconds > 0.05

    limits = RuntimeLimits(seconds=20, cpu_seconds=0.9, memory_bytes=128 << 20)
    using(BoxRuntime(box_named(name), limits), body)


FRAMES = """
def check(initial, final):
    def g():
        yield it.gi_frame.f_back.f_back.f_locals["self"]
    it = g()
    for box in it:
        pass
    said = box.write
    box.write = lambda message: said({"kind": "returned", "value": True})
    return False
"""


@pytest.mark.parametrize("name", [*LOCAL, "subprocess", "kept"])
def test_a_check_cannot_forge_the_verdicts_of_others(name: str) -> None:
    async def body(runtime: BoxRuntime) -> None:
        state: JsonObject = {"initial": 0, "final": 1}
        assert await runtime.evaluate(FRAMES, "check", state) is True
        assert await runtime.evaluate(NO, "check", {}) is False
        verify = NO.replace("check", "verify")
        assert await runtime.evaluate(verify, "verify", {}) is False
        # It did forge what its own child says: the test could fail.
        assert await runtime.evaluate(FRAMES, "check", state) is True

    runtime = SubprocessRuntime(LIMITS) if name == "kept" else BoxRuntime(box_named(name), LIMITS)
    using(runtime, body)


@pytest.mark.parametrize("name", [*LOCAL, "unsafe-local"])
def test_each_question_to_a_foreign_check_has_a_child(name: str) -> None:
    source = COUNT.replace("act(env)", "check()")

    async def body(runtime: BoxRuntime) -> None:
        expected: dict[Origin, list[int]] = {"import": [1, 1, 1], "search": [1, 2, 3]}
        for origin, counts in expected.items():
            asked = [await runtime.evaluate(source, "check", {}, origin=origin) for _ in range(3)]
            assert asked == counts, origin

    using(BoxRuntime(box_named(name), LIMITS), body)


UNDECLARED = """
def act(env):
    import os
    os.write(4, b'{"kind":"act","tool":"look","arguments":{}}\\n')
    return os.read(3, 65536).decode()
"""


@pytest.mark.parametrize("name", [*LOCAL, "subprocess"])
def test_the_host_refuses_a_tool_that_the_skill_does_not_declare(name: str) -> None:
    async def body(runtime: BoxRuntime) -> None:
        recorder = Recorder()
        barred = skill(UNDECLARED).model_copy(update={"tools": ("go",)})
        await runtime.open([barred], TOOLS)
        told = (await runtime.call("act", {}, recorder)).value
        assert isinstance(told, str)
        assert "declares the tool 'look'" in told
        assert recorder.calls == []
        assert runtime.refused == 1
        await runtime.open([skill(UNDECLARED)], TOOLS)
        await runtime.call("act", {}, recorder)
        assert [call.tool for call in recorder.calls] == ["look"]
        assert runtime.refused == 1

    using(BoxRuntime(box_named(name), LIMITS), body)


BURN = """
def {name}(*_):
    import os, resource, time
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        pass
    while time.process_time() < 4:
        pass
    return True
"""


@pytest.mark.parametrize("name", LOCAL)
def test_a_child_cannot_give_itself_more_processor_time(name: str) -> None:
    limits = RuntimeLimits(seconds=20.0, cpu_seconds=1.0)

    async def body(runtime: BoxRuntime) -> None:
        await runtime.open([skill(BURN.format(name="act"))], TOOLS)
        got = await runtime.call("act", {}, Recorder())
        assert not got.completed
        assert "processor time" in (got.error or "")
        with pytest.raises(SkillFaultError, match=r"exit status|processor time"):
            await runtime.evaluate(BURN.format(name="f"), "f", {}, origin="import")

    using(BoxRuntime(box_named(name), limits), body)

"""The subprocess runtime: the shared contract, and the ways in which skill code goes wrong."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from agentlab.errors import SkillFaultError, SkillRefusedError
from agentlab.protocols import Perform, SkillReturn
from agentlab.sandbox import RuntimeLimits, SubprocessRuntime, describe_box, protocol
from agentlab.sandbox.subprocess import CHILD
from agentlab.testing.runtime_conformance import (
    RUNTIME_CHECKS,
    TOOLS,
    Recorder,
    check_runtime,
    searched_skill,
)
from agentlab.types import JsonObject, Observation, Origin, StepResult, ToolCall

LIMITS = RuntimeLimits(seconds=0.5, stop_seconds=0.1, tool_calls=20, memory_bytes=96 << 20)


def using(
    body: Callable[[SubprocessRuntime], Awaitable[None]], limits: RuntimeLimits = LIMITS
) -> None:
    async def run() -> None:
        runtime = SubprocessRuntime(limits)
        try:
            await body(runtime)
        finally:
            await runtime.close()

    asyncio.run(run())


async def act(runtime: SubprocessRuntime, body: str, **arguments: JsonValue) -> SkillReturn:
    names = "".join(f", {name}" for name in arguments)
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    source = f"def act(env{', *' + names if names else ''}):\n{lines}\n"
    await runtime.open([searched_skill("act", source)], TOOLS)
    return await runtime.call("act", dict(arguments), Recorder())


@pytest.mark.parametrize("name", RUNTIME_CHECKS)
def test_conformance(name: str) -> None:
    using(RUNTIME_CHECKS[name])


def test_conformance_report_names_what_a_runtime_breaks() -> None:
    class Forgetful(SubprocessRuntime):
        async def call(self, name: str, arguments: JsonObject, perform: Perform) -> SkillReturn:
            return SkillReturn(True, 7)

    report = asyncio.run(check_runtime(lambda: Forgetful(LIMITS)))
    assert not report.passed
    assert report.subject == "Forgetful"
    assert "performs_in_order" in {line.name for line in report.failures}
    assert report.line("close_twice").passed


@pytest.mark.parametrize("origin", ["model", "import", "human"])
def test_code_of_other_origins_is_refused(origin: Origin) -> None:
    async def body(runtime: SubprocessRuntime) -> None:
        skill = searched_skill("act", "def act(env): pass").model_copy(update={"origin": origin})
        with pytest.raises(SkillRefusedError, match=f"{origin}.*box"):
            await runtime.open([skill], TOOLS)

    using(body)


WRONG = {
    "memory": ("bytearray(1 << 30)", "memory"),
    "slow memory": ("x = []\nwhile True:\n    x.append(bytearray(1 << 22))", "memory"),
    "endless loop": ("while True:\n    pass", "did not end"),
    "endless loop that catches": (
        "while True:\n    try:\n        1 / 0\n    except BaseException:\n        pass",
        "did not end",
    ),
    "sleep": ("import time\ntime.sleep(60)", "did not end"),
    "huge result": ("return 'x' * (1 << 22)", "too long"),
    "huge call": ("env.go(to='x' * (1 << 22))", "too long"),
    "exit": ("import sys\nsys.exit(3)", "SystemExit"),
    "hard exit": ("import os\nos._exit(3)", "exit status 3"),
    "killed": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "exit status -9"),
    "segmentation": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "-11"),
    "raise": ("raise KeyError('x')", "KeyError"),
    "keyboard": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "bad text": (
        "class Bad(Exception):\n    def __str__(self): raise ValueError\nraise Bad",
        "Bad",
    ),
    "recursion": ("def f(): return f()\nreturn f()", "RecursionError"),
    "skill recursion": ("return env.skills.act()", "RecursionError"),
    "deep result": ("x = []\nfor i in range(100000):\n    x = [x]\nreturn x", ""),
    "surrogate": ("return '\\ud800'", "not JSON"),
    "surrogate argument": ("env.go(to='\\ud800')", "not JSON"),
    "positional": ("env.go('there')", "TypeError"),
    "argument that is no JSON": ("env.go(to=object())", "TypeError"),
    "too many calls": ("while True:\n    env.look()", "more than 20 tool calls"),
    "calls in a catch-all": (
        "while True:\n    try:\n        env.look()\n    except BaseException:\n        pass",
        "more than 20 tool calls",
    ),
    "big file": ("open('f', 'wb').write(bytes(1 << 22))", "OSError"),
    "many files": ("return [open('/dev/null') for i in range(99)] and 1", "OSError"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_skill_is_an_error_and_the_next_call_works(name: str) -> None:
    source, expected = WRONG[name]

    async def body(runtime: SubprocessRuntime) -> None:
        got = await act(runtime, source)
        assert not got.completed
        assert got.error is not None
        assert expected in got.error
        assert await act(runtime, "return env.look()['ok']") == SkillReturn(True, True)

    using(body)


FORGED = {
    "not JSON": ('b"nonsense\\n"', "not JSON"),
    "no object": ('b"[1]\\n"', "not an object"),
    "unknown kind": ('b\'{"kind": "shout"}\\n\'', "unknown kind"),
    "no tool": ('b\'{"kind": "act"}\\n\'', "without a name"),
    "bad text": ('b"\\xff\\n"', "not JSON"),
    "not a number": ('b\'{"kind": "returned", "value": NaN}\\n\'', "not JSON"),
    "unknown tool": (
        'b\'{"kind": "act", "tool": "fly", "arguments": {}}\\n\'',
        "did not end",
    ),
    "out of turn": ('b\'{"kind": "ready"}\\n\'', "out of turn"),
    "two at once": ('b\'{"kind": "returned", "value": 1}\\n\' * 2', "out of turn"),
    "endless line": ('b"x" * 100000', "did not end|bytes"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_skill_that_writes_to_the_pipe_itself_breaks_only_its_own_call(name: str) -> None:
    line, expected = FORGED[name]

    async def body(runtime: SubprocessRuntime) -> None:
        source = f"import os, time\nfor fd in (3, 4):\n    try: os.write(fd, {line})\n"
        got = await act(runtime, source + "    except OSError: pass\nwhile True: time.sleep(1)")
        assert not got.completed
        assert got.error is not None
        assert any(part in got.error for part in expected.split("|")), got.error
        assert await act(runtime, "return 1") == SkillReturn(True, 1)

    using(body)


def test_a_word_left_in_the_pipe_does_not_reach_the_next_call() -> None:
    async def body(runtime: SubprocessRuntime) -> None:
        await act(
            runtime,
            "import threading, os, time\n"
            "def late():\n"
            "    time.sleep(0.05)\n"
            '    os.write(4, b\'{"kind": "returned", "value": 666}\\n\')\n'
            "threading.Thread(target=late).start()",
        )
        await asyncio.sleep(0.15)
        assert await act(runtime, "return 1") == SkillReturn(True, 1)

    using(body)


def test_it_inherits_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    os.environ["AGENTLAB_SECRET_OF_TEST"] = "x"

    async def body(runtime: SubprocessRuntime) -> None:
        got = await act(runtime, "import os, sys\nreturn [dict(os.environ), os.getcwd(), sys.path]")
        environment, directory, path = cast("tuple[JsonObject, str, list[str]]", got.value)
        assert "AGENTLAB_SECRET_OF_TEST" not in environment
        assert set(environment) <= {"PYTHONHASHSEED", "LC_CTYPE"}
        assert not any("site-packages" in part for part in path)
        assert Path(directory).is_dir()  # noqa: ASYNC240 - one look
        await runtime.close()
        assert not Path(directory).exists()  # noqa: ASYNC240 - one look

    try:
        using(body)
    finally:
        del os.environ["AGENTLAB_SECRET_OF_TEST"]


def test_the_child_is_kept_between_opens_and_replaced_after_death() -> None:
    async def body(runtime: SubprocessRuntime) -> None:
        pid = "import os\nreturn os.getpid()"
        first = await act(runtime, pid)
        assert await act(runtime, pid) == first
        await act(runtime, "import os\nos._exit(1)")
        assert (await act(runtime, pid)).value != first.value

    using(body)


def test_iteration_over_a_set_is_the_same_in_every_child() -> None:
    seen: list[JsonValue] = []

    async def body(runtime: SubprocessRuntime) -> None:
        seen.append((await act(runtime, "return list({'red', 'green', 'blue', 'grey'})")).value)

    for _ in range(3):
        using(body)
    assert seen[0] == seen[1] == seen[2]


def test_processor_time_is_limited_for_each_call() -> None:
    async def body(runtime: SubprocessRuntime) -> None:
        spend = (
            "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
        )
        for _ in range(4):  # more in total than one call may take
            assert (await act(runtime, spend)).completed
        got = await act(runtime, "while True: pass")
        assert "processor time" in (got.error or "")

    using(body, RuntimeLimits(seconds=20, cpu_seconds=0.5))


def test_time_in_perform_is_not_counted() -> None:
    async def slow(call: ToolCall) -> StepResult:
        await asyncio.sleep(0.2)
        return StepResult(observation=Observation(text=call.tool))

    async def body(runtime: SubprocessRuntime) -> None:
        source = "def act(env):\n    for i in range(4):\n        env.look()\n    return 1\n"
        await runtime.open([searched_skill("act", source)], TOOLS)
        assert await runtime.call("act", {}, slow) == SkillReturn(True, 1)

    using(body)


def test_what_perform_raises_reaches_the_caller_and_the_runtime_goes_on() -> None:
    async def broken(call: ToolCall) -> StepResult:
        raise OSError(call.tool)

    async def body(runtime: SubprocessRuntime) -> None:
        source = "def act(env):\n    env.look()\n"
        await runtime.open([searched_skill("act", source)], TOOLS)
        with pytest.raises(OSError, match="look"):
            await runtime.call("act", {}, broken)
        assert (await runtime.call("act", {}, Recorder())).completed

    using(body)


def test_one_call_at_a_time() -> None:
    async def body(runtime: SubprocessRuntime) -> None:
        async def nested(call: ToolCall) -> StepResult:
            await runtime.evaluate("def f():\n    return 1", "f", {})
            raise AssertionError(call)

        await runtime.open([searched_skill("act", "def act(env):\n    env.look()\n")], TOOLS)
        got = await runtime.call("act", {}, nested)
        assert "under way" in (got.error or "")
        assert await act(runtime, "return 1") == SkillReturn(True, 1)

    using(body)


def test_unknown_skill_and_arguments_that_are_no_json() -> None:
    async def body(runtime: SubprocessRuntime) -> None:
        await runtime.open([searched_skill("act", "def act(env, *, x): return x")], TOOLS)
        assert "named 'other'" in ((await runtime.call("other", {}, Recorder())).error or "")
        bad = cast("JsonObject", {"x": object()})
        assert "plain JSON" in ((await runtime.call("act", bad, Recorder())).error or "")
        assert "TypeError" in ((await runtime.call("act", {"y": 1}, Recorder())).error or "")
        long = "x" * (LIMITS.message_bytes + 1)
        assert "over the limit" in (
            (await runtime.call("act", {"x": long}, Recorder())).error or ""
        )
        assert await runtime.call("act", {"x": 1}, Recorder()) == SkillReturn(True, 1)

    using(body)


def test_evaluate_has_no_tools_and_says_what_went_wrong() -> None:
    async def body(runtime: SubprocessRuntime) -> None:
        with pytest.raises(SkillFaultError, match="ZeroDivisionError"):
            await runtime.evaluate("def f():\n    return 1 / 0", "f", {})
        with pytest.raises(SkillFaultError, match="no function 'g'"):
            await runtime.evaluate("def f(): pass", "g", {})
        with pytest.raises(SkillFaultError, match="did not end"):
            await runtime.evaluate("while True: pass", "f", {})
        with pytest.raises(SkillFaultError, match="NameError"):
            await runtime.evaluate("def f():\n    env.look()", "f", {})
        words: list[JsonValue] = ["word " * 10] * 5000
        big: JsonObject = {"x": words}
        assert await runtime.evaluate("def f(x):\n    return len(x)", "f", big) == 5000

    using(body)


def test_a_child_that_cannot_start_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(runtime: SubprocessRuntime) -> None:
        monkeypatch.setattr("sys.executable", "/nonexistent/python")
        with pytest.raises(SkillFaultError, match="cannot be started"):
            await runtime.evaluate("def f(): pass", "f", {})
        monkeypatch.undo()
        assert await runtime.evaluate("def f(): return 1", "f", {}) == 1

    using(body)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abé\n"), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_any_json_goes_through_unchanged() -> None:
    runtime = SubprocessRuntime(RuntimeLimits())
    source = "def act(env, *, x):\n    env.go(to=x)\n    return x\n"

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(json_values)
    def check(value: JsonValue) -> None:
        async def once() -> None:
            recorder = Recorder()
            await runtime.open([searched_skill("act", source)], TOOLS)
            got = await runtime.call("act", {"x": value}, recorder)
            if value == "nowhere":
                return
            assert got == SkillReturn(True, value)
            assert recorder.calls == [ToolCall(tool="go", arguments={"to": value})]

        asyncio.run(once())

    try:
        check()
    finally:
        asyncio.run(runtime.close())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary() | json_values.map(lambda value: protocol.encode({"kind": value})))
def test_decode_gives_a_message_or_a_sentence(line: bytes) -> None:
    try:
        protocol.decode(line)
    except SkillFaultError as error:
        assert "line protocol" in str(error)


def test_the_child_is_a_program_of_its_own() -> None:
    assert "import agentlab" not in CHILD.read_text(encoding="utf-8")
    assert "from agentlab" not in CHILD.read_text(encoding="utf-8")


def test_a_call_is_cheap() -> None:
    """Generous bounds: they catch a pause or a respawn for each call, not a slow machine."""

    async def body(runtime: SubprocessRuntime) -> None:
        source = "def act(env):\n    env.look()\n    env.look()\n    env.look()\n"
        await runtime.open([searched_skill("act", source)], TOOLS)
        await runtime.call("act", {}, Recorder())
        began = time.perf_counter()
        for _ in range(50):
            await runtime.call("act", {}, Recorder())
        assert (time.perf_counter() - began) / 50 < 0.02

    using(body)


def test_describe_box_probes_what_holds() -> None:
    box = describe_box()
    assert box.keys() == {"name", "version", "probes", "boxes"}
    probes = cast("JsonObject", box["probes"])
    assert probes["starts"] is True
    for name in ("wall_limit", "cpu_limit", "memory_limit", "file_size_limit"):
        assert probes[name] is True, probes
    tried = {cast("str", row["name"]): row for row in cast("list[JsonObject]", box["boxes"])}
    assert list(tried) == ["bubblewrap", "landlock", "docker", "e2b", "subprocess"]
    for row in tried.values():
        assert row.keys() == {"name", "version", "available", "reason", "probes"}
        assert (row["reason"] is None) == (row["available"] is True)
    assert tried["subprocess"]["available"] is False
    assert cast("JsonObject", tried["subprocess"]["probes"])["read_outside"] is False
    chosen = tried[cast("str", box["name"])]
    if chosen["available"]:
        assert all(cast("JsonObject", chosen["probes"]).values())
        assert set(cast("JsonObject", chosen["probes"])) <= set(probes)
    else:
        assert box["name"] == "subprocess"

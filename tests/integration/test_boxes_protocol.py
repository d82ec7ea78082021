"""Attacks on the line protocol: what a child says is never performed unless it was granted.

Ten thousand messages go through the host's real conversation over real pipes; then real skills
in every box speak past their `env`, on the pipe itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agentlab.protocols import SkillReturn
from agentlab.sandbox import BoxRuntime, PlainBox, RuntimeLimits, reports
from agentlab.sandbox.choice import BOXES
from agentlab.testing.runtime_conformance import TOOLS, Recorder, searched_skill
from agentlab.types import ToolCall

MESSAGES = 10_000
GRANTED = {tool.name for tool in TOOLS}
LIMITS = RuntimeLimits(
    seconds=2.0, stop_seconds=0.1, tool_calls=3, message_bytes=1 << 14, memory_bytes=256 << 20
)
AVAILABLE = {report.name: report for report in reports(("bubblewrap", "landlock"))}

NAMES = (
    "fly", "Go", "go ", "g\u043e", "go\x00", "look\n", "__class__", "go.__init__", "", "open",
    "skills", "../go", "lo\u200bok", "\uff27\uff2f", "perform", "x" * 500,
)  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, -1, 10**400, 1.5, "", "go", [], {}, [[]], {"kind": "act"}, {"tool": "go"},
    "\ud800", {"": {"": {}}}, ["go"] * 50,
]  # fmt: skip


def message(draw: random.Random) -> bytes:
    """Anything from a faultless call of a granted tool to rubbish."""
    fields: dict[str, object] = {
        "kind": draw.choice(
            ["act", "act", "act", "returned", "returned", "raised", "ready", "open"]
        ),
        "tool": draw.choice([*GRANTED, *NAMES]),
        "arguments": draw.choice([{}, {"to": "there"}, {"to": draw.choice(VALUES)}]),
    }
    if draw.random() < 0.5:
        fields["value"] = draw.choice(VALUES)
    for _ in range(draw.randrange(3)):
        what = draw.randrange(4)
        name = draw.choice([*fields, "value", "error", "last", "perform", "name"])
        if what == 0:
            fields[name] = draw.choice(VALUES)
        elif what == 1:
            fields.pop(name, None)
        elif what == 2:
            fields[name + draw.choice([" ", "\u0000", "s"])] = fields.pop(name, None)
        else:
            fields[name] = draw.choice(NAMES)
    line = json.dumps(fields).encode()
    for _ in range(draw.choice([0, 0, 0, 1, 3])):
        at = draw.randrange(len(line))
        line = draw.choice(
            [
                line[:at] + bytes([draw.randrange(256)]) + line[at + 1 :],
                line[:at],
                line + line[at:],
                line[:at] + draw.randbytes(4) + line[at:],
                b"[" * draw.choice([10, 5000]) + line,
                line.replace(b"null", b"NaN"),
                line[:-1] + b',"kind":"act","tool":"go","arguments":{}}',
            ]
        )
        line = line or b"{}"
    return line + draw.choice([b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b""])


class Speaker:
    """A child that is ready, says one thing, and is gone; implements `box.Started`."""

    cpu_seconds = 0.0

    def __init__(self, line: bytes) -> None:
        self._line = line
        self.reading, self._outward = os.pipe()
        self._inward, self.writing = os.pipe()
        os.set_blocking(self.writing, False)
        os.write(self._outward, b'{"kind":"ready"}\n')
        self._open = {self.reading, self._outward, self._inward, self.writing}

    def attach(self) -> None:
        os.write(self._outward, self._line)
        self._open.discard(self._outward)
        os.close(self._outward)

    def exit_status(self) -> int | None:
        return None

    def stop(self) -> None:
        """There is no process to end."""

    def kill(self) -> None:
        while self._open:
            os.close(self._open.pop())


class Speaking(PlainBox):
    """Starts children that say the next line."""

    def __init__(self) -> None:
        super().__init__(unsafe_local=True)
        self.line = b""

    def start(self, limits: RuntimeLimits) -> Speaker:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Speaker(self.line)


def test_ten_thousand_messages_perform_nothing_that_was_not_granted() -> None:
    draw = random.Random(20260101)
    ends: Counter[str] = Counter()

    async def run() -> None:
        box = Speaking()
        runtime = BoxRuntime(box, LIMITS, spares=0, single_use=True)
        await runtime.open([searched_skill("act", "def act(env): pass\n")], TOOLS)
        for _ in range(MESSAGES):
            box.line = message(draw)
            recorder = Recorder()
            got = await runtime.call("act", {}, recorder)
            assert {call.tool for call in recorder.calls} <= GRANTED, box.line
            for call in recorder.calls:
                said = json.loads(box.line)
                assert (said["kind"], said["tool"]) == ("act", call.tool), box.line
                assert said["arguments"] == call.arguments, box.line
            assert len(recorder.calls) <= 1
            if got.completed:
                assert json.loads(box.line)["kind"] == "returned", box.line
                json.dumps(got.value, ensure_ascii=False).encode()
            ends["performed" if recorder.calls else "completed" if got.completed else "told"] += 1
        await runtime.close()

    asyncio.run(run())
    # All three ways were met, so the messages do reach what they are to try.
    assert min(ends["performed"], ends["completed"], ends["told"]) > 100, ends
    assert ends.total() == MESSAGES


SPEAK = """
def act(env):
    import json, os
    def say(line):
        view = memoryview(line)
        while view: view = view[os.write(4, view):]
    def hear():
        line = b""
        while not line.endswith(b"\\n"): line += os.read(3, 65536)
        return json.loads(line)
"""
ATTACKS: dict[str, tuple[str, str]] = {
    "a tool that was not opened": (
        "for name in ('fly', '__class__', 'go ', 'GO', 'g\\u043e', ''):\n"
        "    say(json.dumps({'kind': 'act', 'tool': name, 'arguments': {}}).encode() + b'\\n')\n"
        "    if hear()['ok']: return 'performed'\n"
        "return 'refused'",
        "more than 3 tool calls",
    ),
    "two calls at once": (
        "line = json.dumps({'kind': 'act', 'tool': 'go', 'arguments': {}}).encode() + b'\\n'\n"
        "say(line * 2)\n"
        "hear()",
        "out of turn",
    ),
    "a call that names the host's own words": (
        "say(b'{\"kind\":\"did\",\"ok\":true,\"text\":\"\"}\\n')\nhear()",
        "unknown kind",
    ),
    "an answer before the question": (
        "say(b'{\"kind\":\"returned\",\"value\":1}\\n{\"kind\":\"returned\",\"value\":2}\\n')\n"
        "while True: pass",
        "out of turn",
    ),
    "a second start": ("say(b'{\"kind\":\"ready\"}\\n')\nwhile True: pass", "out of turn"),
    "a line without an end": ("say(b'x' * (1 << 15))\nwhile True: pass", "more than 16384 bytes"),
    "nesting": ("say(b'[' * 9000 + b'\\n')\nwhile True: pass", "not JSON"),
    "bytes that are no text": ("say(b'\\xff\\xfe\\n')\nwhile True: pass", "not JSON"),
    "arguments that are no object": (
        "say(b'{\"kind\":\"act\",\"tool\":\"go\",\"arguments\":[1]}\\n')\nwhile True: pass",
        "without a name or arguments",
    ),
    "a closed pipe": ("os.close(4)\nos.close(3)\nwhile True: pass", "exit status None|did not end"),
    "a flood of calls": (
        "while True:\n"
        "    try: env.look()\n"
        "    except BaseException: pass",
        "more than 3 tool calls",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", ["bubblewrap", "landlock", "subprocess"])
def test_a_skill_that_speaks_on_the_pipe_gets_nothing_more(name: str, attack: str) -> None:
    if name in AVAILABLE and not AVAILABLE[name].available:
        pytest.skip(f"{name}: {AVAILABLE[name].reason}")
    body, expected = ATTACKS[attack]
    source = SPEAK + "".join(f"    {line}\n" for line in body.splitlines())

    async def check(runtime: BoxRuntime) -> None:
        await runtime.open([searched_skill("act", source)], TOOLS)
        recorder = Recorder()
        got = await runtime.call("act", {}, recorder)
        assert not got.completed
        assert any(part in (got.error or "") for part in expected.split("|")), got
        assert all(call in (ToolCall(tool="look"), ToolCall(tool="go")) for call in recorder.calls)
        assert len(recorder.calls) <= LIMITS.tool_calls
        well = "def act(env):\n    return env.look()['ok']\n"
        await runtime.open([searched_skill("act", well)], TOOLS)
        assert await runtime.call("act", {}, Recorder()) == SkillReturn(True, True)

    using(BoxRuntime(BOXES[name](), LIMITS, spares=0), check)


def using(runtime: BoxRuntime, body: Callable[[BoxRuntime], Awaitable[None]]) -> None:
    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(runtime.close)
            await body(runtime)

    asyncio.run(run())

"""What every `SkillRuntime` must do, as checks that anyone who writes one can run.

    report = await check_runtime(MyRuntime)
    assert report.passed, report.failures

or, one test each, over `RUNTIME_CHECKS`. Each check gets a fresh runtime, closes it, and
raises `AssertionError` where the runtime breaks the contract. The skills are made by search
(`Skill.origin`), which every runtime must take.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agentlab.environments.report import CheckLine, CheckReport
from agentlab.errors import SkillFaultError
from agentlab.protocols import EpisodeOver, SkillReturn, SkillRuntime
from agentlab.types import JsonObject, Observation, Skill, StepResult, ToolCall, ToolSpec, skill_id

RuntimeFactory = Callable[[], SkillRuntime]
RuntimeCheck = Callable[[SkillRuntime], Awaitable[None]]

TOOLS = (
    ToolSpec(name="go", description="Go there.", parameters={"type": "object"}),
    ToolSpec(name="look", description="Look.", parameters={"type": "object"}, effect="none"),
)


def searched_skill(
    name: str, source: str, *, tools: Sequence[str] = ("go", "look"), skills: Sequence[str] = ()
) -> Skill:
    """A skill that a runtime must take, with this source, which declares these tools."""
    return Skill(
        id=skill_id("conformance", name, 1, source),
        name=name,
        environment="conformance",
        source=source,
        parameters=(),
        summary=name,
        effect_source="def check(initial, final):\n    return True\n",
        tools=tuple(tools),
        skills=tuple(skills),
    )


@dataclass
class Recorder:
    """A `perform` that records: refuses `go` to `"nowhere"`, and ends after `last` calls."""

    last: int | None = None
    calls: list[ToolCall] = field(default_factory=list[ToolCall])

    async def __call__(self, call: ToolCall) -> StepResult:
        """Perform a call."""
        if self.last is not None and len(self.calls) >= self.last:
            raise EpisodeOver
        self.calls.append(call)
        refused = call.arguments.get("to") == "nowhere"
        return StepResult(
            observation=Observation(text=f"seen {len(self.calls)}"),
            error="there is no such place" if refused else None,
        )


async def _run(
    runtime: SkillRuntime, body: str, recorder: Recorder | None = None, **arguments: str
) -> SkillReturn:
    """Open one skill `act(env, *, …)` with this body and call it."""
    parameters = "".join(f", {name}" for name in arguments)
    star = f", *{parameters}" if parameters else ""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    await runtime.open([searched_skill("act", f"def act(env{star}):\n{lines}\n")], TOOLS)
    return await runtime.call("act", dict(arguments), recorder or Recorder())


async def returns_values(runtime: SkillRuntime) -> None:
    """The value of a call is the function's result, as JSON."""
    got = await _run(runtime, "return {'a': [1, 2.5, None, True, word]}", word="é\n")
    assert got == SkillReturn(True, {"a": [1, 2.5, None, True, "é\n"]}), got


async def performs_in_order(runtime: SkillRuntime) -> None:
    """Tool calls reach `perform` one at a time, in order, with their arguments."""
    recorder = Recorder()
    got = await _run(
        runtime, "a = env.go(to=x)\nb = env.look()\nreturn [a, b]", recorder, x="there"
    )
    assert recorder.calls == [
        ToolCall(tool="go", arguments={"to": "there"}),
        ToolCall(tool="look"),
    ], recorder.calls
    assert got.completed, got
    assert got.value == [{"text": "seen 1", "ok": True}, {"text": "seen 2", "ok": True}], got


async def refusal_raises(runtime: SkillRuntime) -> None:
    """A refused call raises in the skill, which may catch it."""
    got = await _run(runtime, "env.go(to='nowhere')\nenv.look()")
    assert not got.completed, got
    assert "no such place" in (got.error or ""), got
    caught = "try:\n    env.go(to='nowhere')\nexcept ToolRefused as error:\n    return str(error)"
    got = await _run(runtime, caught)
    assert got == SkillReturn(True, "there is no such place"), got


async def unknown_tool(runtime: SkillRuntime) -> None:
    """A tool that was not opened cannot be called, and `perform` never sees it."""
    recorder = Recorder()
    got = await _run(runtime, "env.fly(to='there')", recorder)
    assert not got.completed, got
    assert recorder.calls == [], recorder.calls


async def undeclared_tool(runtime: SkillRuntime) -> None:
    """A skill has the tools that it declares and those of the skills below it, and no others."""
    look = "def {}(env):\n    env.look()\n"
    through = "def {}(env):\n    env.skills.inner()\n    env.look()\n    env.go(to='there')\n"
    await runtime.open(
        [
            searched_skill("inner", look.format("inner"), tools=["look"]),
            searched_skill("barred", look.format("barred"), tools=["go"]),
            searched_skill("outer", through.format("outer"), tools=[], skills=["inner"]),
        ],
        TOOLS,
    )
    recorder = Recorder()
    got = await runtime.call("inner", {}, recorder)
    assert got.completed, got
    got = await runtime.call("barred", {}, recorder)
    assert not got.completed, got
    assert "look" in (got.error or ""), got
    got = await runtime.call("outer", {}, recorder)
    assert not got.completed, got
    assert "go" in (got.error or ""), got
    assert [call.tool for call in recorder.calls] == ["look"] * 3, recorder.calls


async def exceptions_are_told(runtime: SkillRuntime) -> None:
    """An exception ends the call with its name; `SystemExit` is one of them."""
    got = await _run(runtime, "raise ValueError('no good')")
    assert not got.completed, got
    assert "ValueError" in (got.error or ""), got
    got = await _run(runtime, "import sys\nsys.exit(0)")
    assert not got.completed, got
    got = await _run(runtime, "return 7")
    assert got == SkillReturn(True, 7), got


async def not_json(runtime: SkillRuntime) -> None:
    """A result that is not JSON is an error."""
    for body in ("return object()", "return float('nan')", "return {1, 2}"):
        got = await _run(runtime, body)
        assert not got.completed, (body, got)


async def fresh_namespace(runtime: SkillRuntime) -> None:
    """Nothing that a call left in its globals is there in the next."""
    marks = "seen.append(1)\n    env.marked = True\n    return len(seen)"
    source = f"seen = []\n\ndef act(env):\n    {marks}\n"
    await runtime.open([searched_skill("act", source)], TOOLS)
    for _ in range(3):
        got = await runtime.call("act", {}, Recorder())
        assert got.value in (1, None), got


async def skills_call_skills(runtime: SkillRuntime) -> None:
    """`env.skills.<other>` runs the other opened skill against the same tools."""
    inner = searched_skill("inner", "def inner(env, *, x):\n    env.go(to=x)\n    return x + '!'\n")
    outer = searched_skill(
        "outer",
        "def outer(env, *, x):\n    env.look()\n    return env.skills.inner(x=x)\n",
        skills=["inner"],
    )
    recorder = Recorder()
    await runtime.open([inner, outer], TOOLS)
    got = await runtime.call("outer", {"x": "a"}, recorder)
    assert got == SkillReturn(True, "a!"), got
    assert [call.tool for call in recorder.calls] == ["look", "go"], recorder.calls
    await runtime.open([outer], TOOLS)
    got = await runtime.call("outer", {"x": "a"}, Recorder())
    assert not got.completed, "a skill of an earlier open could still be called"


async def episode_over(runtime: SkillRuntime) -> None:
    """When `perform` raises `EpisodeOver` the skill is stopped, and the runtime goes on."""
    for body in (
        "for i in range(9):\n    env.look()",
        "for i in range(9):\n    try:\n        env.look()\n    except BaseException:\n        pass",
    ):
        recorder = Recorder(last=2)
        got = await _run(runtime, body, recorder)
        assert not got.completed, got
        assert len(recorder.calls) == 2, recorder.calls
    got = await _run(runtime, "return 1")
    assert got == SkillReturn(True, 1), got


async def endless_loop(runtime: SkillRuntime) -> None:
    """Code that does not end is stopped, and the next call works."""
    got = await _run(runtime, "while True:\n    pass")
    assert not got.completed, got
    got = await _run(runtime, "return 1")
    assert got == SkillReturn(True, 1), got


async def printing_is_harmless(runtime: SkillRuntime) -> None:
    """What a skill prints is no part of the protocol."""
    body = 'print(\'{"kind": "returned", "value": 666}\', flush=True)\nenv.look()\nreturn 1'
    got = await _run(runtime, body)
    assert got == SkillReturn(True, 1), got


async def evaluates(runtime: SkillRuntime) -> None:
    """A pure function is called by keyword; what it raises is a `SkillFaultError`."""
    source = "def check(initial, final, *, x):\n    return final[x] == initial[x] + 1\n"
    arguments: JsonObject = {"initial": {"n": 1}, "final": {"n": 2}, "x": "n"}
    await runtime.open([], TOOLS)
    assert await runtime.evaluate(source, "check", arguments) is True
    for body in ("raise ValueError", "while True: pass", "return object()", "exit()"):
        try:
            value = await runtime.evaluate(f"def f():\n    {body}\n", "f", {})
        except SkillFaultError:
            continue
        raise AssertionError(f"{body!r} gave {value!r}")
    try:
        await runtime.evaluate("this is no Python", "f", {})
    except SkillFaultError:
        return
    raise AssertionError("a source that does not compile gave a value")


async def checks_cannot_be_forged(runtime: SkillRuntime) -> None:
    """A check is run by a process in which no skill has run, before it or since."""
    forge = (
        "import builtins, json, sys\n"
        'json.dumps = lambda *_, **__: \'{"kind":"returned","value":true}\'\n'
        "builtins.compile = builtins.exec = lambda *_, **__: None\n"
        "return True"
    )
    source = "def check():\n    return False\n"
    for _ in range(2):
        await _run(runtime, forge)
        got = await runtime.evaluate(source, "check", {})
        assert got is False, got


async def checks_are_apart(runtime: SkillRuntime) -> None:
    """What one check does to its process, another check and a verifier never see."""
    forge = (
        "def check():\n"
        "    import json\n"
        '    json.dumps = lambda *_, **__: \'{"kind":"returned","value":true}\'\n'
        "    return False\n"
    )
    for source, function in (
        ("def check():\n    return False\n", "check"),
        ("def verify():\n    return False\n", "verify"),
        (f"{forge}\ndef verify():\n    return False\n", "verify"),
    ):
        await runtime.evaluate(forge, "check", {})
        assert await runtime.evaluate(source, function, {}) is False, source


async def checks_have_no_tools(runtime: SkillRuntime) -> None:
    """A check is not given what a refused call raises: it has no calls, and could write on it."""
    for _ in range(2):
        try:
            value = await runtime.evaluate(
                "def check():\n    return str(ToolRefused)\n", "check", {}
            )
        except SkillFaultError:
            continue
        raise AssertionError(f"a check could name ToolRefused: {value!r}")
    seen = "getattr(ToolRefused, 'seen', 0)"
    mark = f"ToolRefused.seen = {seen} + 1\nreturn ToolRefused.seen"
    for _ in range(2):
        got = await _run(runtime, mark)
        assert got == SkillReturn(True, 1), got


async def close_twice(runtime: SkillRuntime) -> None:
    """Closing twice, or without having called anything, is fine."""
    await _run(runtime, "return 1")
    await runtime.close()
    await runtime.close()


RUNTIME_CHECKS: Mapping[str, RuntimeCheck] = {
    check.__name__: check
    for check in (
        returns_values,
        performs_in_order,
        refusal_raises,
        unknown_tool,
        undeclared_tool,
        exceptions_are_told,
        not_json,
        fresh_namespace,
        skills_call_skills,
        episode_over,
        endless_loop,
        printing_is_harmless,
        evaluates,
        checks_cannot_be_forged,
        checks_are_apart,
        checks_have_no_tools,
        close_twice,
    )
}
"""By name. Give the runtime short time limits: some checks wait for them."""


async def check_runtime(factory: RuntimeFactory) -> CheckReport:
    """Run every check, each on a runtime of its own.

    Args:
        factory: makes a runtime; it is closed afterwards.

    Returns:
        One line for each check. Whatever a runtime raises is told there.

    Example:
        >>> from agentlab.sandbox import SubprocessRuntime
        >>> report = asyncio.run(check_runtime(SubprocessRuntime))  # doctest: +SKIP
        >>> report.passed, report.failures  # doctest: +SKIP
        (True, ())
    """
    lines: list[CheckLine] = []
    subject = ""
    for name, check in RUNTIME_CHECKS.items():
        runtime = factory()
        subject = type(runtime).__name__
        try:
            await check(runtime)
        except Exception as error:  # a runtime may fail in any way; the report says which
            detail = f"{type(error).__name__}: {error}"
            lines.append(CheckLine(name=name, passed=False, detail=detail, n=1))
        else:
            detail = (check.__doc__ or name).splitlines()[0]
            lines.append(CheckLine(name=name, passed=True, detail=detail, n=1))
        finally:
            await runtime.close()
    return CheckReport(subject=subject, lines=tuple(lines))

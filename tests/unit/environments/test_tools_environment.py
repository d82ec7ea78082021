"""Typed Python functions as an environment: schemas, state, going back, errors, what is refused."""

from __future__ import annotations

import asyncio
import functools
import textwrap
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec

import pytest

from agentlab.environments.checker import check_environment
from agentlab.environments.registration import make_environment
from agentlab.environments.tools import ToolsWorld
from agentlab.errors import ConfigError, EnvironmentFaultError, InvalidTaskError
from agentlab.protocols import Environment, HasGrammar, HasSnapshots, HasState, HasTasks
from agentlab.types import EnvironmentRef, JsonObject, Task, ToolCall

P = ParamSpec("P")


def waited(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """An asynchronous test as pytest runs it."""

    @functools.wraps(test)
    def run(*args: P.args, **named: P.kwargs) -> None:
        asyncio.run(test(*args, **named))

    return run


TODO = Path(__file__).parents[3] / "examples" / "tools_todo.py"

COUNTER = '''
from __future__ import annotations
from dataclasses import dataclass
from typing import Literal

SETUPS = ("low", "high")
READS = ["peek"]
count = 0
names: list[str] = []

@dataclass
class Size:
    wide: int

def bump(by: int, way: Literal["up", "down"] = "up", *, twice: bool = False) -> int:
    """Change the counter."""
    global count
    count += (1 if way == "up" else -1) * by * (2 if twice else 1)
    return count

async def note(name: str) -> None:
    """Write a name down."""
    if name == "half":
        names.append("broken")
        raise RuntimeError("stopped half way")
    names.append(name)

def measure(size: Size) -> str:
    """Take a structured argument."""
    return f"{size.wide} wide"

def peek() -> dict[str, int]:
    """Look."""
    return {"count": count}

def fail() -> None:
    """Always fails."""
    raise KeyError("no luck")

def facts():
    return {"count": count, "names": [{"name": n} for n in names]}

def reset(seed: int, setup: str) -> None:
    global count
    count = seed % 5 + (100 if setup == "high" else 0)
    names.clear()
'''


def module(tmp_path: Path, text: str, name: str = "mine") -> str:
    path = tmp_path / f"{name}.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return str(path)


def counter(tmp_path: Path) -> ToolsWorld:
    return ToolsWorld(module(tmp_path, COUNTER), state="facts")


def task(world: ToolsWorld, setup: str = "low", seed: int = 0) -> Task:
    return world.grammar().compose(None, setup, seed)


@waited
async def test_the_example_keeps_every_promise() -> None:
    ref = EnvironmentRef(name=f"tools:{TODO}")

    def make() -> Environment:
        return make_environment(ref)

    made = make()
    assert isinstance(made, HasTasks)
    tasks = made.tasks("practice", 3, 0)
    report = await check_environment(make, tasks=tasks)
    assert report.passed, report.failures


def test_the_example_is_short() -> None:
    code = [line for line in TODO.read_text().splitlines() if line.strip()]
    assert len(code) < 50
    body = TODO.read_text().split('"""', 2)[2]
    assert len([line for line in body.splitlines() if line.strip()]) < 40


def test_signatures_become_schemas(tmp_path: Path) -> None:
    world = counter(tmp_path)
    specs = {spec.name: spec for spec in world.tools}
    assert set(specs) == {"bump", "note", "measure", "peek", "fail"}
    assert specs["bump"].parameters == {
        "type": "object",
        "properties": {
            "by": {"type": "integer", "x-entity": "*"},
            "way": {"type": "string", "enum": ["up", "down"], "default": "up"},
            "twice": {"type": "boolean", "default": False},
        },
        "required": ["by"],
        "additionalProperties": False,
    }
    assert specs["bump"].description == "Change the counter."
    assert specs["peek"].effect == "none"
    assert specs["note"].effect == "changes"
    for each in (HasGrammar, HasSnapshots, HasState, HasTasks):
        assert isinstance(world, each)


@waited
async def test_calls_results_and_errors(tmp_path: Path) -> None:
    world = counter(tmp_path)
    await world.reset(task(world), 0)
    result = await world.step(ToolCall(tool="bump", arguments={"by": 3, "twice": True}))
    assert result.error is None
    assert result.observation.data == {"answer": 6}
    assert (await world.state())["count"] == 6
    result = await world.step(ToolCall(tool="measure", arguments={"size": {"wide": 4}}))
    assert "4 wide" in result.observation.text
    result = await world.step(ToolCall(tool="peek"))
    assert result.steps == 0
    assert result.observation.data == {"answer": {"count": 6}}
    for call, said in (
        (ToolCall(tool="fail"), "no luck"),
        (ToolCall(tool="bump", arguments={"by": "three"}), "by"),
        (ToolCall(tool="bump", arguments={"by": 1, "way": "sideways"}), "sideways"),
        (ToolCall(tool="bump"), "by"),
        (ToolCall(tool="measure", arguments={"size": {"wide": "x"}}), "wide"),
        (ToolCall(tool="reset", arguments={"seed": 1}), "no tool"),
        (ToolCall(tool="facts"), "no tool"),
    ):
        result = await world.step(call)
        assert result.error is not None
        assert said in result.error
        assert result.steps == 0
    assert (await world.state())["count"] == 6


@waited
async def test_a_failure_half_way_is_no_refusal(tmp_path: Path) -> None:
    world = counter(tmp_path)
    await world.reset(task(world), 0)
    result = await world.step(ToolCall(tool="note", arguments={"name": "half"}))
    assert result.error is None
    assert "failed half way" in result.observation.text
    assert (await world.state())["names"] == [{"name": "broken"}]


@waited
async def test_going_back_without_a_snapshot_repeats_the_calls(tmp_path: Path) -> None:
    world = counter(tmp_path)
    await world.reset(task(world, seed=3), 0)
    saved = [await world.snapshot()]
    for by in (1, 2, 3):
        await world.step(ToolCall(tool="bump", arguments={"by": by}))
        saved.append(await world.snapshot())
    for index, count in ((1, 4), (3, 9), (0, 3), (2, 6)):
        await world.restore(saved[index])
        assert (await world.state())["count"] == count
        assert (await world.snapshot()).key == saved[index].key
        await world.step(ToolCall(tool="bump", arguments={"by": 50}))
    assert (await world.state())["count"] == 56


@waited
async def test_instances_share_nothing_and_reset_is_real(tmp_path: Path) -> None:
    text = "seen: list[str] = []\n\n\ndef see(what: str) -> None:\n    seen.append(what)\n\n\n"
    text += "def state():\n    return {'seen': list(seen)}\n"
    one, two = (ToolsWorld(module(tmp_path, text)) for _ in range(2))
    free = one.grammar().compose(None, "start", 0)
    await one.reset(free, 0)
    await two.reset(free, 0)
    await one.step(ToolCall(tool="see", arguments={"what": "x"}))
    assert (await one.state())["seen"] == ["x"]
    assert (await two.state())["seen"] == []
    await one.reset(free, 0)
    assert (await one.state())["seen"] == []


@waited
async def test_the_step_that_meets_all_ends_the_episode(tmp_path: Path) -> None:
    world = ToolsWorld(str(TODO))
    free = world.grammar().compose(None, "start", 1)
    await world.reset(free, 0)
    asked = world.grammar().parse(
        'Bring it about that there is an entry in projects with project "cellar".'
    )
    stated = world.grammar().compose(asked, "start", 1)
    observation = await world.reset(stated, 0)
    assert "cellar" in [entity.reference for entity in observation.entities]
    result = await world.step(ToolCall(tool="start_project", arguments={"project": "shed"}))
    assert not result.terminated
    result = await world.step(ToolCall(tool="start_project", arguments={"project": "cellar"}))
    assert result.succeeded
    after = await world.step(ToolCall(tool="start_project", arguments={"project": "attic"}))
    assert after.error == "The episode is over."


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def act(x: int) -> None: ...\n", "has no function 'state'"),
        ("def state(): return {}\n", "no functions to use"),
        ("def state(): return {}\ndef act(x): ...\n", "has no type"),
        ("def state(): return {}\ndef act(*x: int): ...\n", "no name"),
        ("def state(): return {}\ndef act(x: 'Nowhere'): ...\n", "cannot be read"),
        ("import socket\ndef state(): return {}\ndef act(x: socket.socket): ...\n", "as JSON"),
        ("def state(: broken\n", "cannot be imported"),
        ("raise SystemExit(3)\n", "cannot be imported"),
        ("READS = ['gone']\ndef state(): return {}\ndef act(): ...\n", "is no tool"),
        ("VALUES = 3\ndef state(): return {}\ndef act(): ...\n", "VALUES"),
    ],
)
def test_modules_that_cannot_be_used(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        make_environment(EnvironmentRef(name=f"tools:{module(tmp_path, text)}"))


def test_names_and_options_that_do_not_fit(tmp_path: Path) -> None:
    for name in ("tools:/no/such/file.py", "tools:no.such.module", "tools:", "tools"):
        with pytest.raises(ConfigError):
            make_environment(EnvironmentRef(name=name))
    options: JsonObject = {"sate": "facts"}
    with pytest.raises(ConfigError, match="did you mean 'state'"):
        make_environment(EnvironmentRef(name=f"tools:{TODO}", options=options))


@pytest.mark.parametrize(
    ("body", "why"),
    [("return [1]", "must give an object"), ("return {'x': {1, 2} and object}", "no JSON"),
     ("raise ValueError('gone')", "raised ValueError: gone"),],
)  # fmt: skip
@waited
async def test_a_state_that_is_none(tmp_path: Path, body: str, why: str) -> None:
    text = f"ok = True\n\n\ndef act() -> None:\n    pass\n\n\ndef state():\n    {body}\n"
    world = ToolsWorld(module(tmp_path, text))
    with pytest.raises(EnvironmentFaultError, match=why):
        world.grammar()


def test_nothing_to_practise(tmp_path: Path) -> None:
    text = "def look() -> None: ...\n\n\ndef state():\n    return {'x': 1}\n"
    world = ToolsWorld(module(tmp_path, text))
    with pytest.raises(ConfigError, match="nothing to practise"):
        world.tasks("practice", 2, 0)
    assert "look" in world.describe()


@waited
async def test_a_task_of_another_environment_is_refused(tmp_path: Path) -> None:
    world = counter(tmp_path)
    with pytest.raises(InvalidTaskError):
        await world.reset(task(world).model_copy(update={"setup": {"setup": "sky"}}), 0)


def test_what_a_tool_brings_about_is_what_is_asked_for(tmp_path: Path) -> None:
    world = counter(tmp_path)
    names = {template.predicate for template in world.grammar().spec.templates}
    assert names == {"count"}  # asynchronous functions are not explored
    assert world.grammar().spec.setups == ("low", "high")
    assert all(one.environment == "tools-mine" for one in world.tasks("practice", 4, 0))

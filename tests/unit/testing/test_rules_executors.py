"""The rules that play executors: what they work out, what they forget, what helps them."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from agentlab.envs.courier.environment import TOOLS, Courier
from agentlab.errors import ConfigError, UnknownNameError
from agentlab.models.scripted import Rule
from agentlab.testing.rules import RULES, courier, files, load_rule
from agentlab.types import ChatRequest, JsonObject, Message, Split, Task, ToolCall, ToolSpec
from tests.unit.testing.acting_by_rule import Played, play

LOCKS = "[i1] When: a container is locked | Advice: take the token of its metal and unlock it."
FOLDERS = "[i2] When: a folder may be missing | Advice: create the folder first."
SKILL = ToolSpec(
    name="delivered_past_lock",
    description="A skill learnt earlier. What is known of it: ⟦Deliver, unlocking first.⟧",
    parameters={
        "type": "object",
        "properties": {
            "item": {"type": "object", "x-entity": "item"},
            "container": {"type": "object", "x-entity": "container"},
        },
        "required": ["item", "container"],
    },
)


def tasks(split: Split, setup: str, count: int) -> list[Task]:
    return [t for t in Courier().tasks(split, 3 * count, 5) if t.setup["setup"] == setup][:count]


def delivery(item: JsonValue, box: JsonValue) -> list[ToolCall]:
    """What the skill does."""
    assert isinstance(box, dict)
    token: JsonObject = {"kind": "token", "metal": box["metal"]}
    return [
        ToolCall(tool=tool, arguments={parameter: value})
        for tool, parameter, value in (
            *(("walk", "to", token), ("take", "item", token)),
            *(("walk", "to", box), ("unlock", "container", box)),
            *(("walk", "to", item), ("take", "item", item)),
            *(("walk", "to", box), ("put_in", "container", box)),
        )
    ]


def deliver(
    task: Task,
    *,
    tools: tuple[ToolSpec, ...] = TOOLS,
    interface: str = "a",
    advice: str = "none",
    seed: int | None = None,
    parallel: bool = True,
) -> Played:
    world = Courier(interface=interface)
    loop = asyncio.new_event_loop()

    def perform(tool: str, arguments: JsonObject) -> tuple[str, str | None, bool]:
        calls = [ToolCall(tool=tool, arguments=arguments)]
        if tool == SKILL.name:
            calls = delivery(arguments["item"], arguments["container"])
        results = [loop.run_until_complete(world.step(call)) for call in calls]
        return results[-1].observation.text, results[-1].error, results[-1].terminated

    try:
        seen = loop.run_until_complete(world.reset(task, task.seed))
        return play(
            courier.play,
            task.instruction,
            seen.text,
            tools,
            perform,
            advice=advice,
            seed=seed,
            parallel=parallel,
        )
    finally:
        loop.close()


@pytest.mark.parametrize("split", ["practice", "heldout"])
@pytest.mark.parametrize("interface", ["a", "b"])
def test_without_locks_the_courier_does_what_is_asked(split: Split, interface: str) -> None:
    played = [deliver(task, interface=interface) for task in tasks(split, "open", 30)]
    assert sum(each.done for each in played) >= 29


def test_it_forgets_the_lock_until_something_speaks_of_it() -> None:
    asked = tasks("practice", "locked", 40)
    alone = [deliver(task) for task in asked]
    advised = [deliver(task, advice=LOCKS) for task in asked]
    for task, played, helped in zip(asked, alone, advised, strict=True):
        delivers = "eliver" in task.instruction
        opens = task.instruction.lower().startswith("unlock")
        assert helped.done, task.instruction
        assert played.done is not delivers or opens, task.instruction
    assert 10 <= sum(each.done for each in alone) <= 30


def test_a_skill_helps_and_is_called_with_what_is_asked() -> None:
    one = [t for t in tasks("practice", "locked", 40) if t.template == "locked: delivered"]
    assert one
    for task in one:
        assert not deliver(task).done
        played = deliver(task, tools=(*TOOLS, SKILL))
        assert played.done and [name for name, _ in played.calls] == [SKILL.name]


def test_some_seeds_think_of_the_lock_by_themselves() -> None:
    task = next(t for t in tasks("practice", "locked", 40) if t.template == "locked: delivered")
    done = [deliver(task, seed=seed).done for seed in range(40)]
    assert 4 <= sum(done) <= 24
    assert done == [deliver(task, seed=seed).done for seed in range(40)]


def test_calls_come_one_at_a_time_where_that_is_asked() -> None:
    task = next(t for t in tasks("practice", "open", 40) if t.template == "open: delivered")
    several, single = deliver(task), deliver(task, parallel=False)
    assert several.calls == single.calls
    assert len(several.requests) < len(single.requests)


def test_words_that_are_no_task_get_words() -> None:
    for text in ("⟦Sing a song.⟧", "", "⟦Go to the mill.⟧ but nothing is seen"):
        said = courier.play(ChatRequest(messages=(Message(role="user", text=text),)))
        assert not said.tool_uses and said.text


@settings(max_examples=60)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=4))
def test_no_text_makes_a_rule_raise(texts: list[str]) -> None:
    request = ChatRequest(
        messages=tuple(Message(role="user", text=f"Task: ⟦{text}⟧ {text}") for text in texts),
        tools=TOOLS,
    )
    for name in RULES:
        assert load_rule(name)(request)


# --- files ----------------------------------------------------------------------------------


def _tool(name: str, *parameters: str) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=f"{name} it",
        parameters={
            "type": "object",
            "properties": {each: {"type": "string"} for each in parameters},
            "required": list(parameters),
        },
    )


SERVER = (
    _tool("read_text_file", "path"),
    _tool("write_file", "path", "content"),
    _tool("move_file", "source", "destination"),
    _tool("create_directory", "path"),
    _tool("list_directory", "path"),
)
OWN = (
    _tool("read_note", "name"),
    _tool("write_note", "name", "text"),
    _tool("rename", "old", "new"),
    _tool("mkdir", "folder"),
    _tool("ls", "folder"),
)


def keep(folder: Path, task: str, tools: tuple[ToolSpec, ...] = SERVER, advice: str = "") -> Played:
    def perform(tool: str, arguments: JsonObject) -> tuple[str, str | None, bool]:
        values = [str(value) for value in arguments.values()]
        place = folder / values[0]
        try:
            if tool.startswith("read"):
                return place.read_text(encoding="utf-8"), None, False
            if tool.startswith("write"):
                place.write_text(values[1], encoding="utf-8")
            elif tool in ("move_file", "rename"):
                place.rename(folder / values[1])
            elif tool in ("create_directory", "mkdir"):
                place.mkdir()
            else:
                return "\n".join(sorted(p.name for p in place.iterdir())), None, False
        except OSError as error:
            return "", f"ENOENT: {error.strerror}", False
        return "ok", None, False

    return play(files.play, task, "An empty desk.", tools, perform, advice=advice)


@pytest.mark.parametrize("tools", [SERVER, OWN])
def test_files_are_written_moved_copied_and_read(
    tmp_path: Path, tools: tuple[ToolSpec, ...]
) -> None:
    (tmp_path / "old.txt").write_text("the old text", encoding="utf-8")
    task = (
        "Write 'buy milk' to list.txt, then copy old.txt to new.txt and move list.txt to done.txt, "
        "then create the folder sub and list ."
    )
    played = keep(tmp_path, task.replace(" and list .", ", then list sub"), tools)
    assert played.last_words.startswith("Done.")
    found = {p.name: p.read_text(encoding="utf-8") for p in tmp_path.iterdir() if p.is_file()}
    assert found == {"old.txt": "the old text", "new.txt": "the old text", "done.txt": "buy milk"}
    assert (tmp_path / "sub").is_dir()
    assert "the old text" in keep(tmp_path, "Read the file new.txt.", tools).last_words


def test_it_forgets_the_folder_until_something_speaks_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    task = "Move a.txt to archive/a.txt."
    alone = keep(tmp_path, task)
    assert "could not" in alone.last_words and (tmp_path / "a.txt").exists()
    helped = keep(tmp_path, task, advice=FOLDERS)
    assert [name for name, _ in helped.calls] == ["create_directory", "move_file"]
    assert (tmp_path / "archive" / "a.txt").read_text(encoding="utf-8") == "a"


@pytest.mark.parametrize("tells", [True, False])
def test_a_server_that_keeps_to_a_folder_gets_whole_paths(tells: bool) -> None:
    def perform(tool: str, arguments: JsonObject) -> tuple[str, str | None, bool]:
        if tool == "list_allowed_directories":
            return "Allowed directories:\n/srv/desk", None, False
        path = str(arguments["path"])
        if not path.startswith("/srv/desk/"):
            where = f" - path outside allowed directories: /{path} not in /srv/desk, /srv/x"
            return "", f"Access denied{where if tells else ''}", False
        return "ok", None, True

    tools = (*SERVER, _tool("list_allowed_directories"))
    played = play(files.play, "Write 'a' to b.txt.", "A desk.", tools, perform)
    assert played.done
    assert played.calls[-1] == ("write_file", {"path": "/srv/desk/b.txt", "content": "a"})


@pytest.mark.parametrize(
    ("said", "verbs"),
    [
        ("Create a file called a.txt with the text 'x and y'.", ["write"]),
        ("append 'more' to log.txt", ["append"]),
        ("Rename a.txt to b.txt, and then read b.txt", ["move", "read"]),
        ("List the files in the folder docs", ["list"]),
        ("Dance.", []),
    ],
)
def test_words_for_files(said: str, verbs: list[str]) -> None:
    assert [clause.verb for clause in files.parse(said)] == verbs


def test_sets_of_rules_are_found_by_name() -> None:
    assert load_rule("agentlab.testing.rules.courier:play") is courier.play
    with pytest.raises(UnknownNameError, match="courier"):
        load_rule("currier")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_rule("agentlab.testing.rules.courier:nothing")
    with pytest.raises(ConfigError, match="no function"):
        load_rule("agentlab.testing.rules.courier:MOST_TURNS")


def test_a_rule_is_a_function_of_the_request() -> None:
    rules: list[Rule] = [load_rule(name) for name in RULES]
    played = deliver(tasks("practice", "locked", 3)[-1], advice=LOCKS)
    counted = Counter(
        rule(request) == rule(request.model_copy(deep=True))
        for request in played.requests
        for rule in rules
    )
    assert set(counted) == {True}

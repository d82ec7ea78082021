"""The derived grammar: predicates, words that read back, achievements, schemas, names."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from agentlab.environments import schemas
from agentlab.environments.effects import EffectGrammar
from agentlab.environments.naming import library_name
from agentlab.environments.probing import schema_fault
from agentlab.environments.registration import base_name
from agentlab.environments.shapes import learn, reachable, widened
from agentlab.errors import InvalidTaskError
from agentlab.types import Clause, JsonObject, Mission

START: JsonObject = {
    "files": [{"path": "a.txt", "text": "hello"}],
    "todos": [{"title": "milk", "done": False}],
    "tags": ["red"],
    "balance": 10,
    "locked": True,
    "position": {"x": 1, "y": 2},
    "odd": [1, {"a": 2}],
    "nothing": None,
}
PREDICATES = learn([START])


def grammar(start: JsonObject = START) -> EffectGrammar:
    return EffectGrammar("here", PREDICATES, ("plain",), lambda setup, seed: start)


def clause(predicate: str, **arguments: JsonValue) -> Clause:
    return Clause(predicate=predicate, arguments=arguments)


def mission(*clauses: Clause) -> Mission:
    return Mission(groups=(clauses,))


def test_predicates_are_the_state_s_shape() -> None:
    assert {p.name for p in PREDICATES} == {
        "files", "files_path", "no_files_path",
        "todos", "todos_done", "todos_not_done", "no_todos_title",
        "tags", "no_tags", "balance", "locked", "not_locked", "position",
    }  # fmt: skip


def test_achieved_is_what_is_new() -> None:
    after: JsonObject = {
        **START,
        "files": [{"path": "b.txt", "text": "hello"}],
        "todos": [{"title": "milk", "done": True}],
        "tags": ["red", "blue"],
        "balance": 12,
        "locked": False,
    }
    found = grammar().achieved(START, after)
    assert {(c.predicate, json.dumps(c.arguments)) for c in found} == {
        ("files", '{"path": "b.txt", "text": "hello"}'),
        ("files_path", '{"path": "b.txt"}'),
        ("no_files_path", '{"path": "a.txt"}'),
        ("todos_done", '{"title": "milk"}'),
        ("tags", '{"tags": "blue"}'),
        ("balance", '{"balance": 12}'),
        ("not_locked", "{}"),
    }
    assert not grammar().achieved(after, after)


def test_a_set_of_records_lists_the_names_of_its_members() -> None:
    wide = widened(START, PREDICATES)
    assert wide["files_path"] == ["a.txt"]
    assert "files_text" not in wide
    assert {key: wide[key] for key in START} == START


def test_nothing_that_holds_from_the_start_is_asked_for() -> None:
    with pytest.raises(InvalidTaskError, match="holds from the start"):
        grammar().compose(mission(clause("files_path", path="a.txt")), "plain", 0)
    with pytest.raises(InvalidTaskError, match="holds from the start"):
        grammar().compose(mission(clause("no_tags", tags="green")), "plain", 0)
    task = grammar().compose(mission(clause("no_tags", tags={"value": "red"})), "plain", 0)
    assert task.instruction == 'Bring it about that there is no entry in tags that is "red".'
    assert task.mission == mission(clause("no_tags", tags="red"))


@pytest.mark.parametrize(
    "clauses",
    [
        (clause("balance", balance=3), clause("balance", balance=4)),
        (clause("tags", tags="x"), clause("no_tags", tags="x")),
        (clause("tags", tags="x"), clause("tags", tags="x")),
        (clause("nowhere", x=1),),
        (clause("tags", colour="x"),),
        (clause("tags", tags=["x"]),),
        (),
        tuple(clause("tags", tags=f"{n}") for n in range(4)),
    ],
)
def test_missions_that_make_no_sense(clauses: tuple[Clause, ...]) -> None:
    with pytest.raises(InvalidTaskError):
        grammar().compose(mission(*clauses), "plain", 0)


WORDS = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() or "\n" in text)


@given(path=WORDS, text=WORDS, number=st.integers(-(10**9), 10**9), part=st.floats(1e-5, 1e9))
def test_words_read_back(path: str, text: str, number: int, part: float) -> None:
    asked = mission(
        clause("files", path=path, text=text),
        clause("position", x=number, y=part),
        clause("todos_done", title=text),
    )
    try:
        task = grammar().compose(asked, "plain", 3)
    except InvalidTaskError as error:
        assert "from the start" in str(error)
        return
    assert grammar().parse(task.instruction) == asked == task.mission


@pytest.mark.parametrize(
    "text",
    ["", "Look around.", "Bring it about that ", 'Bring it about that x is "1".',
     'Bring it about that there is an entry in tags that is "a", and that .',
     'Bring it about that there is an entry in tags that is "a". Ignore all else.'],
)  # fmt: skip
def test_other_words_are_not_read(text: str) -> None:
    with pytest.raises(InvalidTaskError):
        grammar().parse(text)


def test_what_no_tool_can_change_is_not_asked_for() -> None:
    after: JsonObject = {**START, "tags": ["red", "blue"]}
    assert [p.name for p in reachable(PREDICATES, [[START, START, after]])] == ["tags"]


def test_splits_keep_triples_and_some_pairs() -> None:
    rule = grammar().split_rule
    assert rule.split_of_template("plain: a & b & c") == "heldout"
    assert rule.split_of_template("plain: tags") == "practice"
    assert rule.dev_templates
    assert grammar().split_rule == rule


def test_foreign_schemas_are_brought_down() -> None:
    reduced = schemas.reduced(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {"Level": {"enum": ["low", "high"], "type": "string"}},
            "properties": {
                "level": {"$ref": "#/$defs/Level"},
                "name": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
                "tags": {"type": "array", "items": {"type": "string", "format": "uri"}},
                "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
                "odd": {"type": "file", "properties": 3, "enum": []},
            },
            "required": ["level", "ghost"],
        }
    )
    assert schema_fault(reduced, "tool") is None
    properties = reduced["properties"]
    assert isinstance(properties, dict)
    assert properties["level"] == {"enum": ["low", "high"], "type": "string"}
    assert properties["name"] == {"type": ["string", "null"], "default": None, "x-entity": "*"}
    assert properties["either"] == {"type": ["string", "integer"], "x-entity": "*"}
    assert reduced["required"] == ["level"]


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "properties", "items", "anyOf", "$ref", "enum", "required", "x"]),
        inner, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_any_schema_becomes_a_usable_one(given_schema: object) -> None:
    schema: dict[str, Any] = {"properties": {"p": given_schema}}
    if isinstance(given_schema, dict):
        schema = cast("dict[str, Any]", given_schema)
    assert schema_fault(schemas.reduced(schema), "tool") is None


def test_tool_names_can_be_called_from_code() -> None:
    assert schemas.tool_name("read-file") == "read_file"
    assert schemas.tool_name("2nd") == "tool_2nd"
    assert schemas.tool_name("class") == "tool_class"
    assert schemas.tool_name("a.b", ["a_b"]) == "a_b_2"


def test_library_names_are_plain_and_the_same_elsewhere() -> None:
    one = library_name("mcp", "npx -y @modelcontextprotocol/server-filesystem {folder}")
    assert one.startswith("mcp-server-filesystem-")
    assert library_name("mcp", "/usr/bin/node /a/dist/index.js {folder}") == library_name(
        "mcp", "node /opt/mine/dist/index.js {folder}"
    )
    assert base_name("tools:examples/tools_todo.py") == "tools-tools-todo"
    assert base_name("mcp:https://example.org/x/mcp?key=secret").startswith("mcp-example-org-x-mcp")
    assert base_name("babyai:GoToLocal") == "babyai"
    assert base_name("courier") == "courier"
    odd = base_name("mcp:../../etc/passwd; rm -rf $(x) 'unclosed")
    assert set(odd) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")

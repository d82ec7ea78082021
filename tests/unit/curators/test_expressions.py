"""Anti-unification: an explanation gives back what it explains, and Python says the same."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import JsonValue

from agentlab.curators.expressions import (
    Column,
    Constant,
    Expression,
    FieldOf,
    Items,
    Record,
    Reference,
    Text,
    composed,
    evaluate,
    explain,
    free_choices,
    python_literal,
    render,
)
from agentlab.types import canonical_json

TEXT = st.text(max_size=4)
SCALARS: st.SearchStrategy[JsonValue] = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(-2, 2), TEXT
)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
FIELDS = ("kind", "hue", "odd 'n\" end")


def _with_fields(values: Sequence[JsonValue]) -> JsonValue:
    return dict(zip(FIELDS, values, strict=True))


OBJECTS = st.lists(SCALARS, min_size=3, max_size=3).map(_with_fields)
PARAMETERS = ("x", "y")

EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    st.one_of(
        st.builds(Constant, VALUES),
        st.builds(Reference, st.sampled_from(PARAMETERS)),
        st.builds(
            FieldOf,
            st.sampled_from(PARAMETERS),
            st.sampled_from(FIELDS),
        ),
    ),
    lambda inner: (
        st.dictionaries(TEXT, inner, min_size=1, max_size=3).map(
            lambda fields: Record(tuple(fields.items()))
        )
        | st.lists(inner, max_size=3).map(lambda items: Items(tuple(items)))
    ),
    max_leaves=4,
)


def _rows(parameters: Mapping[str, Column], count: int) -> list[dict[str, JsonValue]]:
    return [{name: column[i] for name, column in parameters.items()} for i in range(count)]


def _run(expression: Expression, arguments: dict[str, JsonValue]) -> object:
    """What the rendered source gives; `eval` of our own text, as a skill would run it."""
    tree = ast.parse(render(expression), mode="eval")
    return eval(
        compile(tree, "<expression>", "eval"), {"__builtins__": {"str": str}}, dict(arguments)
    )


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, Column], list[dict[str, JsonValue]]]:
    count = draw(st.integers(1, 4))
    parameters: dict[str, Column] = {
        name: draw(st.lists(OBJECTS, min_size=count, max_size=count)) for name in PARAMETERS
    }
    return parameters, _rows(parameters, count)


@given(EXPRESSIONS, tables())
def test_what_an_expression_made_is_explained(
    expression: Expression, table: tuple[dict[str, Column], list[dict[str, JsonValue]]]
) -> None:
    parameters, rows = table
    column = [evaluate(expression, row) for row in rows]
    found = explain(column, parameters)
    assert found is not None
    assert _same([evaluate(found, row) for row in rows], column)
    assert _same([_run(found, row) for row in rows], column)


def _same(left: list[object] | list[JsonValue], right: list[JsonValue]) -> bool:
    return [canonical_json(v) for v in left] == [canonical_json(v) for v in right]


@given(st.lists(VALUES, min_size=2, max_size=4), tables())
def test_whatever_is_explained_is_explained_rightly(
    column: list[JsonValue], table: tuple[dict[str, Column], list[dict[str, JsonValue]]]
) -> None:
    parameters, rows = table
    assume(len(rows) == len(column))
    found = explain(column, parameters)
    if found is not None:
        assert _same([evaluate(found, row) for row in rows], column)


@given(VALUES)
def test_literals_are_python(value: JsonValue) -> None:
    assert canonical_json(ast.literal_eval(python_literal(value))) == canonical_json(value)


def test_literals_beyond_the_basic_plane() -> None:
    for text in ("\N{GRINNING FACE}", "é", "\u2028", "\x00", "\x7f", 'a"b', "a'b", "a\\b", "\n"):
        assert ast.literal_eval(python_literal(text)) == text
        assert ast.literal_eval(python_literal({text: [text]})) == {text: [text]}


def test_the_least_general_is_taken() -> None:
    x: Column = [{"kind": "door", "hue": "red"}, {"kind": "door", "hue": "blue"}]
    parameters = {"x": x}
    assert explain(x, parameters) == Reference("x")
    assert explain(["a", "a"], parameters) == Constant("a")
    assert explain(["red", "blue"], parameters) == FieldOf("x", "hue")
    key: Column = [{"kind": "key", "hue": "red"}, {"kind": "key", "hue": "blue"}]
    assert explain(key, parameters) == Record(
        (("kind", Constant("key")), ("hue", FieldOf("x", "hue")))
    )
    assert explain(["red", "green"], parameters) is None
    assert explain([{"kind": "key"}, {"hue": "key"}], parameters) is None
    assert explain([{"kind": "key"}, 3], parameters) is None


def test_the_field_of_the_same_name_is_preferred() -> None:
    x: Column = [{"a": 1, "b": 1}, {"a": 2, "b": 2}]
    assert explain([{"b": 1}, {"b": 2}], {"x": x}) == Record((("b", FieldOf("x", "b")),))


def test_a_list_is_explained_item_by_item() -> None:
    parameters: dict[str, Column] = {"path": ["a.txt", "b.txt"]}
    expression = Items((Reference("path"), Constant("all")))
    assert explain([["a.txt", "all"], ["b.txt", "all"]], parameters) == expression
    assert render(expression) == '[path, "all"]'
    assert evaluate(expression, {"path": "c.txt"}) == ["c.txt", "all"]
    assert explain([["a.txt"], ["b.txt", "b.txt"]], parameters) is None
    assert explain([["a.txt"], ["c.txt"]], parameters) is None


NAMES = st.text(st.characters(codec="ascii", categories=["L", "P", "Zs"]), min_size=1, max_size=6)


@given(st.lists(NAMES, min_size=2, max_size=4), st.integers(0, 99), NAMES, NAMES)
def test_a_text_put_together_is_taken_apart(
    names: list[str], number: int, before: str, after: str
) -> None:
    things: Column = [{"name": name, "count": number + i} for i, name in enumerate(names)]
    column: list[JsonValue] = [f"{before}{name}{after}{number + i}" for i, name in enumerate(names)]
    found = explain(column, {"thing": things})
    rows = _rows({"thing": things}, len(names))
    if found is not None:  # a part may stand in the words by chance, and be taken for them
        assert _same([evaluate(found, row) for row in rows], column)
        assert _same([_run(found, row) for row in rows], column)


def test_a_name_is_put_together_from_what_a_parameter_says() -> None:
    thing: Column = [{"name": "Oak Chair", "count": 2}, {"name": "Ash Stool", "count": 3}]
    found = Text(("Add ", FieldOf("thing", "name"), " to cart"))
    assert explain(["Add Oak Chair to cart", "Add Ash Stool to cart"], {"thing": thing}) == found
    assert render(found) == '"Add " + str(thing["name"]) + " to cart"'
    same: Column = [{"label": "Office"}, {"label": "Office"}]
    prefer = explain(["Make Office the default"] * 2, {"place": same})
    assert prefer == Text(("Make ", FieldOf("place", "label"), " the default"))
    assert explain(["Offices"] * 2, {"place": same}) == Constant("Offices")
    assert explain(["Home"] * 2, {"place": same}) == Constant("Home")
    number = explain(["2", "3"], {"thing": thing})
    assert number == Text((FieldOf("thing", "count"),))
    twice: Column = [{"count": 2, "shown": True}, {"count": 2, "shown": True}]
    assert explain(["2", "2"], {"thing": twice}) == Text((FieldOf("thing", "count"),))
    assert explain(["2 pieces"] * 2, {"thing": twice}) == Constant("2 pieces")
    assert explain(["3", "3"], {"thing": twice}) == Constant("3")
    assert explain(["True"] * 2, {"thing": twice}) == Constant("True")
    assert composed(["Oak Chair 9", "Ash Stool 8"], {"thing": thing}) is None
    assert composed(["2", 3], {"thing": thing}) is None
    whole: Column = ["a.txt", "b.txt"]
    assert explain(["notes/a.txt", "notes/b.txt"], {"file": whole}) == Text(
        ("notes/", Reference("file"))
    )


def test_true_is_not_one() -> None:
    assert explain([True, 1], {"x": [{"a": 1}, {"a": 1}]}) is None
    assert explain([1, 1.0], {}) is None
    assert evaluate(Constant(True), {}) is True


def test_rendered_source() -> None:
    expression = Record((("kind", Constant("key")), ("hue", FieldOf("x", "hue"))))
    assert render(expression) == '{"kind": "key", "hue": x["hue"]}'
    assert render(Constant([None, True, "a"])) == '[None, True, "a"]'


def test_a_missing_field_is_none() -> None:
    assert evaluate(FieldOf("x", "hue"), {"x": {}}) is None
    assert evaluate(FieldOf("x", "hue"), {"x": "red"}) is None


def test_free_choices() -> None:
    x: Column = [{"hue": "red"}, {"hue": "blue"}]
    other: Column = [{"hue": "grey", "kind": "box"}, {"hue": "pink", "kind": "box"}]
    hue_of_other: Column = ["grey", "pink"]
    third: Column = ["p", "q"]
    assert free_choices([x, ["red", "blue"]], {"x": x}) == [()]
    assert free_choices([], {"x": x}) == [()]
    assert free_choices([other, other, x], {"x": x}) == [(other,)]
    assert free_choices([other, hue_of_other], {"x": x}) == [(other,), (hue_of_other,)]
    assert free_choices([other, third], {"x": x}) == []

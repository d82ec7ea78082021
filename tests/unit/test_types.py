"""Ids and draws that never change, what fits a description, and what is reserved."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from agentlab.types import (
    Clause,
    Entity,
    JsonObject,
    Mission,
    SplitRule,
    Task,
    Usage,
    allows,
    attempt_id,
    canonical_json,
    derive_id,
    derive_seed,
    derive_uniform,
    digest,
    narrowing,
    satisfies,
    skill_id,
    task_id,
)

VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


def test_derived_values_are_for_ever() -> None:
    """Records hold them: a change of these is a change of every run."""
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"é","b":[1,2.5,null]}'
    assert digest("a", 1) == ("135f17a475a61afdeeaf3759ad2e45ad1c7abb192395abe47e41fc8e395dc1a9")
    assert derive_id("attempt", "run-1", 0, 3) == "attempt-0a9d7311b625849b"
    assert derive_seed(7, "slot", 3) == 1216930293080658330
    assert derive_uniform(7, "slot", 3) == 0.41367745074908635
    assert attempt_id("run-1", 0, 3) == "attempt-91672c55e374ba99"
    assert attempt_id("run-1", 0, 3, "shadow") != attempt_id("run-1", 0, 3)
    assert task_id("town", "go", {"a": 1}, 3) == "task-c8fc49311c898865"
    assert skill_id("town", "go", 1, "pass") == "skill-09994ebf62787043"


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
def test_derived_values_depend_on_the_parts_alone(a: list[JsonValue], b: list[JsonValue]) -> None:
    same = canonical_json(a) == canonical_json(b)
    assert (digest(*a) == digest(*b)) == same
    assert (derive_seed(*a) == derive_seed(*b)) == same
    assert 0 <= derive_seed(*a) < 2**63
    assert 0.0 <= derive_uniform(*a) < 1.0
    assert derive_id("kind", *a).startswith("kind-")
    assert len(derive_id("kind", *a)) == len("kind-") + 16


def test_parts_do_not_run_together() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("1") != digest(1)
    assert digest() != digest(None)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_uniform_draws_are_uniform() -> None:
    draws = [derive_uniform("draw", n) for n in range(4000)]
    assert abs(sum(draws) / len(draws) - 0.5) < 0.02
    assert abs(sum(d < 0.1 for d in draws) / len(draws) - 0.1) < 0.02


def test_what_is_not_json_has_no_spelling() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            canonical_json(value)
    with pytest.raises(TypeError):
        canonical_json({1, 2})


@given(OBJECTS)
def test_everything_satisfies_what_it_is(properties: JsonObject) -> None:
    entity = Entity(type="thing", reference="ref", properties=properties)
    assert satisfies(entity, properties)
    assert satisfies(entity, {})
    assert satisfies(entity, "ref")
    for name, value in properties.items():
        assert satisfies(entity, {name: value})
        if isinstance(value, list):
            assert all(satisfies(entity, {name: item}) for item in value)


@given(OBJECTS, OBJECTS)
def test_a_longer_description_fits_no_more(properties: JsonObject, more: JsonObject) -> None:
    entity = Entity(type="thing", reference="ref", properties=properties)
    longer = {**properties, **more}
    if satisfies(entity, longer):
        assert satisfies(entity, more)


def test_satisfies() -> None:
    entity = Entity(
        type="thing",
        reference={"kind": "ball"},
        properties={"kind": "ball", "near": ["left", "front"], "heavy": False},
    )
    assert satisfies(entity, {"near": "left"})
    assert satisfies(entity, {"near": ["left", "front"]})
    assert not satisfies(entity, {"near": "right"})
    assert not satisfies(entity, {"colour": None}), "what is not said does not hold"
    assert satisfies(entity, {"heavy": False})
    assert not satisfies(entity, "ball")
    assert not satisfies(entity, None)


@given(OBJECTS, VALUES)
def test_allows_reads_only_what_narrowing_keeps(schema: JsonObject, value: JsonValue) -> None:
    assert allows(schema, value) == allows(narrowing(schema), value)


def _with_parts(inner: st.SearchStrategy[JsonObject]) -> st.SearchStrategy[JsonObject]:
    parts = st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    return parts.map(lambda found: {"properties": dict(found)})


def _narrowed(enum: list[int] | None, const: int | None) -> JsonObject:
    schema: JsonObject = {"type": "string"}
    if enum is not None:
        schema["enum"] = list(enum)
    if const is not None:
        schema["const"] = const
    return schema


SCHEMAS: st.SearchStrategy[JsonObject] = st.recursive(
    st.builds(
        _narrowed,
        st.none() | st.lists(st.integers(0, 3), min_size=1, max_size=3),
        st.none() | st.integers(0, 3),
    ),
    _with_parts,
    max_leaves=3,
)
ARGUMENTS = st.integers(0, 3) | st.dictionaries(
    st.sampled_from("abc"),
    st.integers(0, 3) | st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)),
)


@given(SCHEMAS, ARGUMENTS)
def test_narrowing_keeps_the_verdict(schema: JsonObject, value: JsonValue) -> None:
    kept = narrowing(schema)
    assert allows(kept, value) == allows(schema, value)
    assert narrowing(kept) == kept
    assert "type" not in kept


def test_allows() -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {"kind": {"enum": ["ball", "key"]}, "hue": {"type": "string"}},
    }
    assert allows(schema, {"kind": "key", "hue": 3})
    assert not allows(schema, {"kind": "door"})
    assert allows(schema, {}), "what is required is not asked here"
    assert narrowing(schema) == {"properties": {"kind": {"enum": ["ball", "key"]}}}
    assert narrowing({"type": "string"}) == {}
    assert not allows({"const": 1}, 2)
    assert allows(True, 2)


def _task(seed: int, template: str, split: str = "practice") -> Task:
    return Task.model_validate(
        {
            "id": "t",
            "environment": "town",
            "instruction": "go",
            "setup": {},
            "seed": seed,
            "template": template,
            "split": split,
        }
    )


RESIDUES = st.frozensets(st.integers(0, 9), max_size=4)


@given(st.integers(0, 10**12), RESIDUES, RESIDUES)
def test_every_seed_has_one_split(seed: int, dev: frozenset[int], heldout: frozenset[int]) -> None:
    rule = SplitRule(dev=dev, heldout=heldout)
    split = rule.split_of_seed(seed)
    assert (split == "heldout") == (seed % 10 in heldout)
    assert (split == "dev") == (seed % 10 in dev - heldout)
    assert rule.split_of_seed(seed + 10) == split
    assert (rule.refusal(_task(seed, "easy: go")) is None) == (split == "practice")


def test_refusals_say_why() -> None:
    rule = SplitRule(heldout_templates=(r"[&>].*[&>]", "^across"))
    assert rule.refusal(_task(10, "easy: go & open")) is None
    assert rule.refusal(_task(18, "easy: go")) == "reserved seed: 18 belongs to dev"
    assert rule.refusal(_task(19, "easy: go")) == "reserved seed: 19 belongs to heldout"
    for template in ("easy: go & open > go", "across: go"):
        refusal = rule.refusal(_task(10, template))
        assert refusal == f"reserved template: {template!r} is kept for heldout"
    assert rule.refusal(_task(10, "easy: go", "heldout")) == "reserved split: heldout"


def test_dev_keeps_templates_of_its_own() -> None:
    rule = SplitRule(dev_templates=("b",), heldout_templates=("c",))
    refusal = rule.refusal(_task(10, "easy: b"))
    assert refusal == "reserved template: 'easy: b' is kept for dev"
    found = [rule.split_of_template(f"easy: {shape}") for shape in ("go", "b", "c", "bc")]
    assert found == ["practice", "dev", "heldout", "heldout"], "they are disjoint"
    assert rule.split_of(19, "easy: b") == "heldout"
    assert [rule.split_of(seed, "easy: go") for seed in (10, 18, 19)] == [
        "practice",
        "dev",
        "heldout",
    ]


def test_missions() -> None:
    go, open_ = (Clause(predicate=p, arguments={}) for p in ("go", "open"))
    mission = Mission(groups=((open_, go), (go,)))
    assert mission.structure == "go & open > go"
    assert mission.clauses == (open_, go, go)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_usage_adds_up(a: int, b: int, c: int) -> None:
    x, y, z = (Usage(attempts=1, tool_calls=n, steps=2 * n, tokens=n) for n in (a, b, c))
    assert x + Usage() == x
    assert (x + y) + z == x + (y + z)
    assert (x + y + z).tool_calls == a + b + c
    assert (x + y).attempts == 2


def test_frozen_values_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError):
        Usage(unknown=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Usage().steps = 3  # type: ignore[misc]

"""What search may try in a state, how it binds skills, and what each try costs."""

from __future__ import annotations

import itertools
import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.executors import actions
from agentlab.executors.actions import (
    MOST_CALLS,
    Action,
    ActionSpace,
    Costs,
    tool_calls,
)
from agentlab.executors.fitting import bindings, holds, unfit
from agentlab.types import (
    Clause,
    Entity,
    JsonObject,
    Mission,
    Parameter,
    Skill,
    ToolCall,
    ToolSpec,
)
from tests.unit.executors.warehouse import a_skill, box, mission, pointing

BOXES = (box("a", hue="red"), box("b", hue="blue"), box("c", hue="red"))


def _tool(name: str, properties: JsonObject, required: list[str]) -> ToolSpec:
    return ToolSpec.model_validate(
        {
            "name": name,
            "description": name,
            "parameters": {"type": "object", "properties": properties, "required": required},
        }
    )


def test_a_parameter_follows_the_entity_that_another_is_given() -> None:
    properties: JsonObject = {
        "hue": {"type": "string", "x-property-of": "x"},
        "x": {"type": "string", "x-entity": "box"},
    }
    plain = Entity(type="box", reference="d", properties={})
    paint = _tool("paint", properties, ["hue", "x"])
    assert tool_calls((paint,), (*BOXES, plain)) == [
        ToolCall(tool="paint", arguments={"x": name, "hue": hue})
        for name, hue in (("a", "red"), ("b", "blue"), ("c", "red"))
    ]
    choosy = _tool("paint", properties, ["x"])
    assert ToolCall(tool="paint", arguments={"x": "d"}) in tool_calls((choosy,), (*BOXES, plain))


def test_only_tools_that_change_something_and_can_be_enumerated() -> None:
    tools = (
        pointing("look", effect="none"),
        pointing("scout", effect="explores"),
        _tool("say", {"text": {"type": "string"}}, ["text"]),
        _tool("wait", {"note": {"type": "string"}}, []),
        _tool("turn", {"way": {"enum": ["left", "right"]}, "fast": {"type": "boolean"}}, ["way"]),
    )
    assert tool_calls(tools, BOXES) == [
        ToolCall(tool="wait"),
        *(
            ToolCall(tool="turn", arguments={"way": way, "fast": fast})
            for way in ("left", "right")
            for fast in (False, True)
        ),
    ]


def test_entity_parameters_take_their_type_and_what_the_schema_allows() -> None:
    crate = Entity(type="crate", reference="z", properties={})
    assert [c.arguments["x"] for c in tool_calls([pointing("push")], (*BOXES, crate))] == [
        "a",
        "b",
        "c",
        "z",
    ]
    by_type = tool_calls([pointing("push", kind="crate")], (*BOXES, crate))
    assert [c.arguments["x"] for c in by_type] == ["z"]
    narrow = _tool("push", {"x": {"x-entity": "box", "enum": ["b", "z"]}}, ["x"])
    assert [c.arguments["x"] for c in tool_calls([narrow], (*BOXES, crate))] == ["b"]


def test_a_list_of_entities_is_tried_with_one_at_a_time() -> None:
    add = _tool("add", {"xs": {"type": "array", "items": {"x-entity": "box"}}}, ["xs"])
    assert [c.arguments["xs"] for c in tool_calls([add], BOXES)] == [["a"], ["b"], ["c"]]
    space = ActionSpace([add], mission("b"), (), costs=Costs())
    cheapest, *others = space.actions(BOXES, None, frozenset())
    assert cheapest.action.arguments == {"xs": ["b"]}
    assert all(other.cost > cheapest.cost for other in others)


def test_two_parameters_give_every_pair() -> None:
    both = _tool("join", {"x": {"x-entity": "*"}, "y": {"x-entity": "*"}}, ["x", "y"])
    assert len(tool_calls([both], BOXES)) == 9
    assert tool_calls([both], ()) == []


def _dial(name: str, *sizes: int) -> ToolSpec:
    """A tool with an `enum` of that many values for each parameter."""
    properties: JsonObject = {
        f"p{index}": {"enum": [f"v{value}" for value in range(size)]}
        for index, size in enumerate(sizes)
    }
    return _tool(name, properties, [])


def test_schemas_that_allow_more_calls_than_could_be_tried() -> None:
    dial = _dial("dial", 1000, 1000, 1000, 1000)
    calls = tool_calls([dial], ())
    assert len(calls) == MOST_CALLS
    assert calls == tool_calls([dial], ())
    assert len({tuple(call.arguments.values()) for call in calls}) == MOST_CALLS


def test_what_is_named_comes_first_where_not_all_calls_fit() -> None:
    named = ['"v998"', '"v999"']
    calls = tool_calls([_dial("dial", 1000, 1000, 1000)], (), named)
    last = ("v998", "v999")
    assert [tuple(call.arguments.values()) for call in calls[:8]] == [
        *itertools.product(last, last, last)
    ]
    assert len(calls) == MOST_CALLS
    assert all(set(call.arguments.values()) & set(last) for call in calls)


def test_tools_with_few_calls_keep_them_beside_one_with_many() -> None:
    tools = (_dial("dial", 1000, 1000), _dial("knob", 5, 5), pointing("push"), _dial("wheel", 3000))
    counts = {
        name: sum(call.tool == name for call in tool_calls(tools, BOXES))
        for name in ("dial", "knob", "push", "wheel")
    }
    assert counts == {"dial": 986, "knob": 25, "push": 3, "wheel": 986}
    only = tuple(tool_calls((tools[1], tools[2]), BOXES))
    assert len(only) == 28, "nothing is left out where all fit"


def test_calls_that_just_fit_keep_their_order() -> None:
    calls = tool_calls([_dial("dial", 40, 50)], (), ['"v39"'])
    assert len(calls) == MOST_CALLS
    assert calls[0].arguments == {"p0": "v0", "p1": "v0"}


def test_a_parameter_without_any_value_leaves_its_tool_out() -> None:
    assert tool_calls([_dial("dial", 5000, 0), _dial("knob", 2)], ()) == [
        ToolCall(tool="knob", arguments={"p0": "v0"}),
        ToolCall(tool="knob", arguments={"p0": "v1"}),
    ]


def test_what_was_left_out_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "_told", set[str]())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            tool_calls([_dial("dial", 1000, 1000), _dial("knob", 3)], ())
    (record,) = caplog.records
    assert "The tool 'dial' allows 1000000 calls in one state, of which search lists 1997" in (
        record.getMessage()
    )


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=4).map(tuple), min_size=1, max_size=4),
    st.integers(0, 60),
)
def test_no_more_calls_than_the_limit_and_none_twice(
    sizes: list[tuple[int, ...]], most: int
) -> None:
    tools = [_dial(f"t{number}", *size) for number, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actions, "MOST_CALLS", most)
        calls = tool_calls(tools, (), ['"v0"', '"v3"'])
    there = sum(math.prod(size) for size in sizes)
    assert len(calls) == min(most, there)
    assert len({call.model_dump_json() for call in calls}) == len(calls)


def test_an_expansion_never_leaves_out_what_the_mission_names() -> None:
    crowd = [box(f"n{number}") for number in range(200)]
    join = _tool("join", {name: {"x-entity": "*"} for name in "xyz"}, ["x", "y", "z"])
    paint = _tool(
        "paint",
        {"x": {"x-entity": "*"}, "hue": {"enum": [f"h{number}" for number in range(100)]}},
        ["x", "hue"],
    )
    thing: JsonObject = {"name": "n199", "hue": "h99"}
    crowd[199] = box("n199", hue="h99")
    wanted = Mission(groups=((Clause(predicate="painted", arguments={"thing": thing}),),))
    space = ActionSpace((join, paint), wanted, (), costs=Costs())
    found = space.actions(crowd, None, frozenset())
    assert len(found) == MOST_CALLS
    cheapest = min(weighted.cost for weighted in found)
    first = [action.arguments for cost, action in found if cost == cheapest]
    assert {"x": "n199", "hue": "h99"} in first
    assert {"x": "n199", "y": "n199", "z": "n199"} in first


def test_holds() -> None:
    assert holds({}, None)
    assert not holds({"carrying": None}, None)
    assert holds({"carrying": None}, {})
    assert holds({"at": 3}, {"at": 3, "more": 1})
    assert not holds({"at": 3}, {"at": 4})
    assert holds({"carrying": {"present": True}}, {"carrying": {"kind": "key"}})
    assert not holds({"carrying": {"present": True}}, {"carrying": None})
    assert holds({"carrying": {"present": False}}, {"carrying": None})
    assert not holds({"carrying": {"present": False}}, {"carrying": 0})
    assert not holds({"a": 1, "b": 2}, {"a": 1, "b": 3})


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.none() | st.text(max_size=3)))
def test_every_state_holds_itself(state: dict[str, int | str | None]) -> None:
    assert holds(dict(state), dict(state))
    assert holds({name: {"present": v is not None} for name, v in state.items()}, dict(state))


def _skill(*parameters: Parameter, achieves: Clause | None = None) -> Skill:
    return a_skill("pass", *(p.name for p in parameters)).model_copy(
        update={"parameters": parameters, "achieves": achieves}
    )


def test_bindings_take_no_entity_twice() -> None:
    skill = _skill(Parameter(name="x", type="box"), Parameter(name="y", type="*"))
    found = list(bindings(skill, None, BOXES))
    assert len(found) == 6
    assert all(arguments["x"] != arguments["y"] for arguments in found)


def test_bindings_hold_to_what_things_have_in_common_with_another_argument() -> None:
    names = [Entity(type="text", reference=name, properties={}) for name in ("Ann", "Bo")]
    bins = [
        Entity(type="bin", reference=f"bin #{n}", properties={"beside": [name, "letters"]})
        for n, name in enumerate(("Bo", "Cy", "Ann"))
    ]
    skill = _skill(
        Parameter(name="who", type="text"),
        Parameter(name="other", type="bin", requires={"beside": {"same": "who"}}),
    )
    found = list(
        bindings(skill, None, [*names, *bins, Entity(type="bin", reference="plain", properties={})])
    )
    assert found == [{"who": "Ann", "other": "bin #2"}, {"who": "Bo", "other": "bin #0"}]


def test_bindings_respect_type_requirements_and_schemas() -> None:
    red = Parameter(name="x", type="box", requires={"hue": "red"})
    assert [b["x"] for b in bindings(_skill(red), None, BOXES)] == ["a", "c"]
    narrow = Parameter(name="x", type="box", accepts=({"enum": ["a", "b"]}, {"enum": ["b", "c"]}))
    assert [b["x"] for b in bindings(_skill(narrow), None, BOXES)] == ["b"]
    other = Parameter(name="x", type="crate")
    assert list(bindings(_skill(other), None, BOXES)) == []


def test_why_a_skill_cannot_run_here() -> None:
    red = Parameter(name="x", type="box", requires={"hue": "red"})
    skill = _skill(red).model_copy(update={"precondition": {"carrying": {"present": False}}})
    free: JsonObject = {"carrying": None}
    assert unfit(skill, {"x": "a"}, free, BOXES) is None
    said = unfit(skill, {"x": "a"}, {"carrying": "b"}, BOXES)
    assert said == 'its precondition {"carrying": {"present": false}} fails here'
    assert unfit(skill, {"x": "b"}, free, BOXES) == '\'x\' must be a thing that has {"hue": "red"}'
    # What is no thing in sight may still be there, and whoever is asked for nothing is not told.
    assert unfit(skill, {"x": "elsewhere"}, free, BOXES) is None
    assert unfit(skill, {}, free, BOXES) is None
    assert unfit(_skill(red), {"x": "a"}, None, BOXES) is None
    for arguments in bindings(skill, None, BOXES):
        assert unfit(skill, arguments, free, BOXES) is None


def test_bindings_to_a_clause() -> None:
    achieves = Clause(predicate="moved", arguments={"thing": "x"})
    free = Parameter(name="tool", type="box", from_clause=False)
    skill = _skill(Parameter(name="x", type="box"), free, achieves=achieves)
    clause = Clause(predicate="moved", arguments={"thing": {"hue": "red"}})
    assert list(bindings(skill, clause, BOXES)) == [
        {"x": "a", "tool": "b"},
        {"x": "a", "tool": "c"},
        {"x": "c", "tool": "a"},
        {"x": "c", "tool": "b"},
    ]
    nothing = Clause(predicate="moved", arguments={"thing": {"hue": "green"}})
    assert list(bindings(skill, nothing, BOXES)) == []


def test_a_skill_without_parameters_has_one_binding() -> None:
    assert list(bindings(_skill(), None, ())) == [{}]


def _space(
    wanted: Mission | None, *skills: Skill, costs: Costs | None = None, named_first: bool = True
) -> ActionSpace:
    return ActionSpace(
        (pointing("push"),), wanted, skills, costs=costs or Costs(), named_first=named_first
    )


def _costs(space: ActionSpace, done: frozenset[int] = frozenset()) -> dict[str, float]:
    return {
        f"{action.name} {action.arguments.get('x')} {action.clause}": cost
        for cost, action in space.actions(BOXES, {}, done)
    }


def test_tool_calls_are_a_distribution() -> None:
    for space in (_space(None), _space(mission("a")), _space(mission("a", "b", "c"))):
        total = sum(math.exp(-cost) for cost, _ in space.actions(BOXES, None, frozenset()))
        assert math.isclose(total, 1.0)


def test_named_things_come_first_unless_the_search_is_flat() -> None:
    found = _costs(_space(mission("b")))
    assert math.isclose(found["push a None"] - found["push b None"], Costs().unnamed)
    assert len(set(_costs(_space(mission("b"), named_first=False)).values())) == 1
    assert len(set(_costs(_space(None)).values())) == 1


def test_skills_change_nothing_about_tool_calls() -> None:
    plain = _space(mission("b")).actions(BOXES, {}, frozenset())
    skill = a_skill("pass", "x", achieves="pushed")
    both = _space(mission("b"), skill).actions(BOXES, {}, frozenset())
    assert [w for w in both if w.action.skill is None] == plain


def test_bound_and_loose_skills() -> None:
    costs = Costs()
    skill = a_skill("pass", "x", achieves="pushed")
    found = _costs(_space(mission("b"), skill))
    assert math.isclose(found["do b 0"], costs.bound)
    assert math.isclose(found["do a None"], costs.loose + math.log(2))
    assert "do b None" not in found, "what is bound is not tried loosely as well"


def test_a_skill_for_another_clause_is_only_loose() -> None:
    found = _costs(_space(mission("b"), a_skill("pass", "x", achieves="wrecked")))
    assert math.isclose(found["do b None"], Costs().loose + math.log(3))
    assert "do b 0" not in found


def test_bindings_share_what_a_clause_costs() -> None:
    first = a_skill("pass", "x", name="one", achieves="pushed")
    second = a_skill("pass", "x", name="two", achieves="pushed")
    found = _costs(_space(mission("b"), first, second))
    assert math.isclose(found["one b 0"], Costs().bound + math.log(2))
    assert math.isclose(found["two b 0"], Costs().bound + math.log(2))


def test_clauses_whose_turn_it_is_not() -> None:
    costs = Costs()
    a, b = mission("a").clauses[0], mission("b").clauses[0]
    space = _space(
        Mission(groups=((a,), (b,))), a_skill("pass", "x", achieves="pushed"), costs=costs
    )
    first = _costs(space)
    assert math.isclose(first["do a 0"], costs.bound)
    assert math.isclose(first["do b 1"], costs.bound + costs.later)
    later = _costs(space, frozenset({0}))
    assert math.isclose(later["do a 0"], costs.bound + costs.done)
    assert math.isclose(later["do b 1"], costs.bound)


def test_clauses_of_one_group_wait_for_none_of_it() -> None:
    space = _space(mission("a", "b"), a_skill("pass", "x", achieves="pushed"))
    found = _costs(space)
    assert math.isclose(found["do a 0"], found["do b 1"])


def test_preconditions_need_the_state() -> None:
    skill = a_skill("pass", "x", precondition={"last": "a"})
    space = _space(None, skill)
    assert space.needs_state
    assert not _space(None, a_skill("pass", "x")).needs_state

    def skills(state: JsonObject | None) -> list[Action]:
        return [w.action for w in space.actions(BOXES, state, frozenset()) if w.action.skill]

    assert skills({"last": "b"}) == []
    assert skills(None) == []
    assert len(skills({"last": "a"})) == 3


def test_all_described() -> None:
    space = _space(mission("a", "d"))
    assert not space.all_described(BOXES)
    assert space.all_described((*BOXES, box("d")))
    assert _space(None).all_described(())


def test_nothing_to_try() -> None:
    assert _space(mission("a")).actions((), None, frozenset()) == []

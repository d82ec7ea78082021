"""Solutions of one shape become one function, and what must not become one does not."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Sequence

import pytest
from pydantic import JsonValue

from agentlab.curators.drafting import related_properties, shared_properties
from agentlab.curators.examples import Example
from agentlab.curators.generalise import GeneralisingCurator, identity
from agentlab.envs.courier.environment import Courier
from agentlab.library.admission import static_check
from agentlab.protocols import CurationContext
from agentlab.types import Clause, Entity, JsonObject, Parameter, PastAttempt, Skill
from tests.unit.curators.lessons import (
    TOOLS,
    Done,
    call,
    courier_attempts,
    courier_context,
    held,
    lesson,
    on,
    thing,
    word_context,
    word_tool,
)

HUES = ("red", "blue", "green", "grey", "pink", "white")


def _curate(context: CurationContext, **options: int) -> list[Skill]:
    return list(asyncio.run(GeneralisingCurator(**options).curate(context)))


def _one(context: CurationContext) -> Skill:
    (skill,) = _curate(context)
    assert static_check(skill, {t.name for t in context.tools}, set(skill.skills)) is None
    return skill


def _body(skill: Skill) -> list[str]:
    (function,) = ast.parse(skill.source).body
    assert isinstance(function, ast.FunctionDef)
    return [ast.unparse(statement) for statement in function.body[1:]]


def test_two_solutions_of_one_shape_are_one_skill() -> None:
    attempts = courier_attempts("delivered", "open", 2)
    skill = _one(courier_context(attempts))
    assert skill.name == "delivered"
    assert skill.signature == "delivered(item: item, container: container)"
    assert _body(skill) == [
        "env.walk(to=item)",
        "env.take(item=item)",
        "env.walk(to=container)",
        "env.put_in(container=container)",
    ]
    assert "def delivered(env, *, item: dict, container: dict):" in skill.source
    assert skill.achieves == Clause(
        predicate="delivered", arguments={"item": "item", "container": "container"}
    )
    assert skill.tools == ("put_in", "take", "walk")
    assert skill.skills == ()
    assert skill.origin == "search"
    assert skill.source_tasks == tuple(sorted(past.task.id for past in attempts))
    assert skill.source_attempts == tuple(sorted(past.attempt_id for past in attempts))
    assert sorted(str(test["task"]) for test in skill.tests) == sorted(skill.source_tasks)


def test_effects_are_what_all_have_in_common() -> None:
    skill = _one(courier_context(courier_attempts("delivered", "open", 4)))
    assert '{"container": container, "item": item} in final["delivered"]' in skill.effect
    check = ast.parse(skill.effect_source).body[0]
    assert isinstance(check, ast.FunctionDef)
    assert check.name == "check"
    assert "Effect:" in skill.source
    assert "Precondition:" in skill.source


def test_one_solution_is_not_enough() -> None:
    assert _curate(courier_context(courier_attempts("delivered", "open", 1))) == []
    (past,) = courier_attempts("delivered", "open", 1)
    again = past._replace(attempt_id="another")
    assert _curate(courier_context([past, again])) == [], "two attempts at one task are one"


def test_a_field_that_follows_a_parameter() -> None:
    skill = _one(courier_context(courier_attempts("unlocked", "locked", 5)))
    assert _body(skill) == [
        "env.walk(to={'kind': 'token', 'metal': container['metal']})",
        "env.take(item={'kind': 'token', 'metal': container['metal']})",
        "env.walk(to=container)",
        "env.unlock(container=container)",
    ]
    (parameter,) = skill.parameters
    assert parameter.requires["container"] is True


def test_what_never_varies_in_two_examples_may_be_chance() -> None:
    """With few values of a property, agreement is no requirement; with many it is."""
    attempts = [_pressed(n, thing(f"b{n}", hue="red"), (thing("x", hue="blue"),)) for n in range(3)]
    (parameter,) = _one(word_context(attempts)).parameters
    assert "hue" not in parameter.requires
    attempts = [_pressed(n, thing(f"b{n}", hue="red"), _rainbow()) for n in range(3)]
    (parameter,) = _one(word_context(attempts)).parameters
    assert parameter.requires == {"hue": "red"}


def _rainbow() -> tuple[Entity, ...]:
    return tuple(thing(f"other {hue}", hue=hue) for hue in HUES)


def _pressed(number: int, target: Entity, others: Sequence[Entity] = ()) -> PastAttempt:
    return lesson(
        number,
        [on(target)],
        [target, *others],
        {"on": [], "held": None},
        [Done(call("press", x=target.reference), {"on": [target.reference], "held": None})],
    )


def test_which_thing_it_was_is_not_what_it_must_be_like() -> None:
    """Examples that all handled one thing do not make that thing a requirement."""
    thing = Entity(type="branch", reference="larch", properties={"value": "larch", "new": True})
    example = Example("made", {}, (), (thing,), {}, {}, "task", "attempt", "start")
    rows, values = [example] * 6, {"value": 20, "new": 2}
    assert shared_properties(rows, ["larch"] * 6, values) == {"new": True}


def test_a_thing_is_told_by_what_it_has_in_common_with_what_is_asked_for() -> None:
    """Which bin is emptied varies; that it stands beside the name that is asked for does not."""

    def emptied(place: int, who: str) -> Example:
        texts: list[JsonValue] = [who, "letters"]
        bins = (
            Entity(type="shape", reference=f"bin #{place}", properties={"beside": texts, "n": who}),
            Entity(type="shape", reference="bin #9", properties={"beside": ["Zoe"], "n": "Zoe"}),
        )
        return Example("gone", {"who": who}, (), bins, {}, {}, "task", "attempt", "start")

    rows = [emptied(3, "Ann"), emptied(1, "Bo"), emptied(2, "Cy")]
    column: list[JsonValue] = ["bin #3", "bin #1", "bin #2"]
    same: JsonObject = {"same": "who"}
    assert related_properties(rows, column, {"who": ["Ann", "Bo", "Cy"]}) == {
        "beside": same,
        "n": same,
    }
    # One name over again may be chance, and one that stands elsewhere is none.
    assert related_properties(rows[:1] * 3, ["bin #3"] * 3, {"who": ["Ann"] * 3}) == {}
    assert related_properties(rows, column, {"who": ["Ann", "Bo", "Di"]}) == {}


def test_names_say_what_is_special() -> None:
    attempts = [_pressed(n, thing(f"b{n}", hue="red"), _rainbow()) for n in range(3)]
    context = word_context(attempts)
    skill = _one(context)
    assert skill.name == "on_red"
    assert "Precondition: x is hue red." in skill.source
    other = [_pressed(n, thing(f"b{n}", hue=HUES[n]), _rainbow()) for n in range(4)]
    assert _one(word_context(other)).name == "on"


def test_names_that_are_taken_get_a_number() -> None:
    skill = _one(word_context([_pressed(n, thing(f"b{n}"), ()) for n in range(2)]))
    assert skill.name == "on"
    stranger = skill.model_copy(update={"id": "other", "source": "def on(env):\n    pass\n"})
    context = word_context([_pressed(n, thing(f"b{n}"), ()) for n in range(2)], library=[stranger])
    assert _one(context).name == "on_2"


def _swapped(number: int, *, hand: Entity | None) -> PastAttempt:
    """Grab a thing; what is in the hand is dropped first."""
    target = thing(f"t{number}", hue=HUES[number % 6])
    others = (hand,) if hand else ()
    done = [Done(call("grab", x=target.reference), {"on": [], "held": target.reference})]
    if hand is not None:
        done.insert(0, Done(call("drop"), {"on": [], "held": None}))
    before: JsonObject = {"on": [], "held": hand.reference if hand else None}
    return lesson(number, [held(target)], [target, *others], before, done)


def test_what_tells_two_ways_apart_is_the_precondition() -> None:
    empty = [_swapped(n, hand=None) for n in range(5)]
    full = [_swapped(n + 5, hand=thing(f"h{n}")) for n in range(5)]
    short, long = _curate(word_context([*empty, *full]))
    assert _body(short) == ["env.grab(x=x)"]
    assert short.precondition == {"held": {"present": False}}
    assert "state has no held" in short.source
    assert short.name == "held"
    assert _body(long) == ["env.drop()", "env.grab(x=x)"]
    assert long.precondition == {"held": {"present": True}}
    assert long.name == "held_while_held"
    assert short.effect == long.effect == ('final["held"] == x',)


def test_few_examples_tell_nothing_apart() -> None:
    empty = [_swapped(n, hand=None) for n in range(5)]
    full = [_swapped(n + 5, hand=thing(f"h{n}")) for n in range(4)]
    for skill in _curate(word_context([*empty, *full])):
        assert skill.precondition == {}


def _with_tool(number: int, *, kind: str = "lever") -> PastAttempt:
    """Press a lever that nothing in the mission tells of, then the target."""
    target = thing(f"t{number}", hue=HUES[number % 6])
    lever = thing(f"l{number}", kind=kind, hue=HUES[(number * 5 + 1) % 6], type="lever")
    decoys = [thing(f"d{k}", kind=f"k{k}") for k in range(4)]
    return lesson(
        number,
        [on(target)],
        [target, lever, *decoys],
        {"on": []},
        [
            Done(call("press", x=lever.reference), {"on": []}),
            Done(call("press", x=target.reference), {"on": [target.reference]}),
        ],
    )


def test_a_free_parameter() -> None:
    skill = _one(word_context([_with_tool(n) for n in range(4)]))
    assert [p.name for p in skill.parameters] == ["x", "lever"]
    free = skill.parameters[1]
    assert not free.from_clause
    assert free.type == "lever"
    assert free.requires == {"kind": "lever"}
    assert _body(skill) == ["env.press(x=lever)", "env.press(x=x)"]
    assert skill.name == "on_ball_past_lever"
    assert skill.achieves is not None
    assert skill.achieves.arguments == {"x": "x"}


def test_a_free_parameter_asks_for_more_examples() -> None:
    assert _curate(word_context([_with_tool(n) for n in range(3)])) == []


def test_two_free_parameters_are_too_many() -> None:
    def twice(number: int) -> PastAttempt:
        target = thing(f"t{number}")
        levers = [thing(f"l{number}{k}", kind=f"lever{k}") for k in range(2)]
        done = [Done(call("press", x=lever.reference), {"on": []}) for lever in levers]
        done.append(Done(call("press", x=target.reference), {"on": [target.reference]}))
        return lesson(number, [on(target)], [target, *levers], {"on": []}, done)

    assert _curate(word_context([twice(n) for n in range(8)])) == []


@pytest.mark.parametrize("word", ["class", "env", "final", "3d", "***", "naïve"])
def test_a_free_parameter_has_a_name_that_python_takes(word: str) -> None:
    skill = _one(word_context([_with_tool(n, kind=word) for n in range(4)]))
    assert skill.parameters[1].name.isidentifier()
    assert skill.parameters[1].name not in ("class", "env", "final", "x")


def test_one_lucky_example_spoils_nothing() -> None:
    regular = [_pressed(n, thing(f"b{n}", hue=HUES[n]), _rainbow()) for n in range(4)]
    target, other = thing("lucky"), thing("other")
    lucky = lesson(
        9,
        [on(target)],
        [target, other],
        {"on": [], "held": None},
        [Done(call("press", x=other.reference), {"on": [target.reference], "held": None})],
    )
    skill = _one(word_context([*regular, lucky]))
    assert _body(skill) == ["env.press(x=x)"]
    assert "task-9" not in skill.source_tasks


def test_moves_beyond_the_longest_are_left_to_composition() -> None:
    attempts = courier_attempts("delivered", "open", 2)
    assert _curate(courier_context(attempts), longest=3) == []
    assert len(_curate(courier_context(attempts), longest=4)) == 1
    assert _curate(courier_context(attempts), support=3) == []


PRESS = Skill(
    id="skill-press",
    name="press_it",
    environment="words",
    toolset="all",
    source="def press_it(env, *, x: dict):\n    env.press(x=x)\n",
    parameters=(Parameter(name="x", type="thing", accepts=({"enum": ["p", "q"]},)),),
    achieves=Clause(predicate="on", arguments={"x": "x"}),
    summary="",
    effect_source="",
    tools=("press",),
)


def _composed(number: int, *, wrapper: bool) -> PastAttempt:
    """Through a skill: the target is grabbed first, or the skill does everything."""
    target = thing(f"t{number}", hue=HUES[number % 6])
    after: JsonObject = {"on": [target.reference], "held": None}
    done = [
        Done(
            call("press", x=target.reference),
            after,
            skill=PRESS,
            arguments={"x": target.reference},
        )
    ]
    if not wrapper:
        done.insert(0, Done(call("grab", x=target.reference), {"on": [], "held": target.reference}))
    return lesson(number, [on(target)], [target], {"on": [], "held": None}, done)


def test_skills_call_skills() -> None:
    attempts = [_composed(n, wrapper=False) for n in range(2)]
    skill = _one(word_context(attempts, library=[PRESS]))
    assert _body(skill) == ["env.grab(x=x)", "env.skills.press_it(x=x)"]
    assert skill.skills == ("press_it",)
    assert skill.tools == ("grab",)
    assert skill.parameters[0].accepts == ({"enum": ["p", "q"]},)


def test_composition_can_be_left_out() -> None:
    attempts = [_composed(n, wrapper=False) for n in range(2)]
    skill = _one(word_context(attempts, library=[PRESS], compose=False))
    assert _body(skill) == ["env.grab(x=x)", "env.press(x=x)"]
    assert skill.skills == ()


def test_no_wrapper_around_one_skill() -> None:
    attempts = [_composed(n, wrapper=True) for n in range(6)]
    assert _curate(word_context(attempts, library=[PRESS])) == []


def test_what_is_known_is_not_proposed_again() -> None:
    attempts = [_pressed(n, thing(f"b{n}"), ()) for n in range(2)]
    skill = _one(word_context(attempts))
    for more in (2, 8):
        again = [_pressed(n, thing(f"b{n}"), ()) for n in range(more)]
        assert _curate(word_context(again, library=[skill])) == []


def test_what_was_refused_comes_back_with_twice_the_support() -> None:
    skill = _one(word_context([_pressed(n, thing(f"b{n}"), ()) for n in range(2)]))
    three = [_pressed(n, thing(f"b{n}"), ()) for n in range(3)]
    assert _curate(word_context(three, library=[skill], refused=[skill])) == []
    four = [_pressed(n, thing(f"b{n}"), ()) for n in range(4)]
    (again,) = _curate(word_context(four, library=[skill], refused=[skill]))
    assert (again.name, again.version, again.parent) == (skill.name, 2, skill.id)
    assert again.id != skill.id
    assert identity(again) == identity(skill)
    assert static_check(again, {"press"}, ()) is None
    seven = [_pressed(n, thing(f"b{n}"), ()) for n in range(7)]
    both = [skill, again]
    assert _curate(word_context(seven, library=both, refused=both)) == []
    eight = [_pressed(n, thing(f"b{n}"), ()) for n in range(8)]
    (third,) = _curate(word_context(eight, library=both, refused=both))
    assert third.version == 3


def test_what_the_tools_accept_is_kept() -> None:
    tools = (*TOOLS[:2], word_tool("press", "x", x={"properties": {"hue": {"enum": ["red"]}}}))
    attempts = [_pressed(n, thing(f"b{n}"), ()) for n in range(2)]
    (skill,) = _curate(word_context(attempts, tools=tools))
    assert skill.parameters[0].accepts == ({"properties": {"hue": {"enum": ["red"]}}},)


def test_what_has_no_effect_that_can_be_checked_is_no_skill() -> None:
    def hidden(number: int) -> PastAttempt:
        target = thing(f"t{number}")
        return lesson(
            number,
            [on(target)],
            [target],
            {"on": []},
            [Done(call("press", x=target.reference), {"on": [{**_ref(target), "n": number}]})],
        )

    attempts = [hidden(n) for n in range(3)]
    assert _curate(word_context(attempts)) == []


def _ref(entity: Entity) -> JsonObject:
    assert isinstance(entity.reference, dict)
    return entity.reference


@pytest.mark.parametrize(
    "hue", ['"""\nimport os\n"""', "\\", 'a"', "'", "\N{GRINNING FACE}", "\n\n    x", '\\"""']
)
def test_words_of_the_world_are_never_code(hue: str) -> None:
    """A property's value may come from a page; it is quoted wherever it ends up."""
    attempts = [_pressed(n, thing(f"b{n}", hue=hue), _rainbow()) for n in range(3)]
    skill = _one(word_context(attempts))
    assert skill.parameters[0].requires == {"hue": hue}
    assert _body(skill) == ["env.press(x=x)"]


def test_the_same_attempts_give_the_same_skills() -> None:
    attempts = [
        *courier_attempts("delivered", "open", 3),
        *courier_attempts("holding", "open", 3),
        *courier_attempts("unlocked", "locked", 3),
    ]
    first = _curate(courier_context(attempts))
    assert len(first) >= 3
    assert first == _curate(courier_context(attempts))
    assert len({skill.id for skill in first}) == len({skill.name for skill in first}) == len(first)
    tools = {tool.name for tool in Courier().tools}
    assert all(static_check(skill, tools, ()) is None for skill in first)

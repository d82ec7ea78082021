"""Constants of one task are found in code; what tools and grammar enumerate is vocabulary."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from agentlab.library.constants import Particulars, particulars, task_constant
from agentlab.types import (
    Clause,
    ClauseTemplate,
    Entity,
    GrammarSpec,
    JsonObject,
    Mission,
    Parameter,
    Skill,
    Task,
    ToolSpec,
)

TOOL = ToolSpec(
    name="press",
    description="",
    parameters={
        "type": "object",
        "properties": {
            "x": {
                "x-entity": "*",
                "properties": {"kind": {"enum": ["ball", "box"]}, "color": {"const": "red"}},
            }
        },
    },
)
SPEC = GrammarSpec(
    templates=(ClauseTemplate(predicate="on", parameters={"x": {"shape": "round"}}),),
    setups=("easy",),
)
ENTITIES = (
    Entity(
        type="thing",
        reference={"kind": "ball", "color": "red", "number": 7},
        properties={"kind": "ball", "hidden": "no"},
    ),
    Entity(type="person", reference="Ann-42", properties={}),
)
TASK = Task(
    id="t",
    environment="e",
    instruction="Give Ann 12 euros.",
    setup={},
    seed=1,
    template="easy: on",
    mission=Mission(
        groups=((Clause(predicate="on", arguments={"x": {"label": "urgent", "kind": "ball"}}),),)
    ),
    parameters={"amount": 12, "to": "Ann"},
)
STATE: JsonObject = {"on": [], "held": None}


def _found() -> Particulars:
    return particulars([TASK], [ENTITIES], [STATE], tools=[TOOL], spec=SPEC)


def _skill(body: str, check: str = "x in final['on']") -> Skill:
    return Skill(
        id="s",
        name="s",
        environment="e",
        source=f'def s(env, *, x: dict):\n    """Give Ann-42 urgent things."""\n    {body}\n',
        parameters=(),
        summary="",
        effect_source=f"def check(initial, final, *, x: dict):\n    return {check}\n",
    )


@pytest.mark.parametrize(
    ("body", "literal"),
    [
        ("env.press(x='Ann-42')", "'Ann-42'"),
        ("env.press(x='Ann')", "'Ann'"),
        ("env.press(x='a letter to Ann, quickly')", "'a letter to Ann, quickly'"),
        ("env.press(x={'kind': 'ball', 'label': 'urgent'})", "'urgent'"),
        ("env.press(x=12)", "12"),
        ("env.press(x={'kind': 'ball', 'color': x['color'], 'number': 7})", "7"),
        (
            "env.press(x={'number': 7, 'kind': 'ball', 'color': 'red'})",
            "{'number': 7, 'kind': 'ball', 'color': 'red'}",
        ),
        ("env.press(x=x or ['Ann-42'])", "'Ann-42'"),
    ],
)
def test_what_belongs_to_one_task(body: str, literal: str) -> None:
    assert task_constant(_skill(body), _found()) == literal


@pytest.mark.parametrize(
    "body",
    [
        "env.press(x=x)",
        "env.press(x={'kind': 'ball', 'color': 'red'})",
        "env.press(x={'kind': x['kind'], 'color': 'red'})",
        "env.press(x='box')",
        "env.press(x='round')",
        "env.press(x='Annex', y=1, z=-1, w=True, v=None, u='')",
        "env.press(x=13)",
    ],
)
def test_what_may_be_said(body: str) -> None:
    assert task_constant(_skill(body), _found()) is None


def test_the_effect_check_is_read_too() -> None:
    assert task_constant(_skill("env.press(x=x)", "'Ann' in final['on']"), _found()) == "'Ann'"


def test_what_a_parameter_requires_is_read_too() -> None:
    named = Entity(type="person", reference="Bea", properties={"value": "Bea", "free": True})
    other = Entity(type="person", reference="Cy", properties={"value": "Cy", "free": False})
    found = particulars([TASK], [[named, other]], [STATE], tools=[TOOL], spec=SPEC)

    def requiring(**requires: JsonValue) -> str | None:
        skill = _skill("env.press(x=x)")
        parameter = Parameter(name="x", type="person", requires=requires)
        told = {"parameters": (parameter,), "origin": "model"}
        return task_constant(skill.model_copy(update=told), found)

    assert requiring(value="Bea") == "'Bea', which 'x' requires as 'value'"
    # Whoever was seen later is one thing as well: the property says which thing it is.
    assert requiring(value="Dan") == "'Dan', which 'x' requires as 'value'"
    assert requiring(label="a friend of Ann's") is not None
    assert requiring(free=True) is None
    assert requiring(label="plain", kind="ball") is None


def test_a_whole_reference_is_particular_though_its_parts_are_not() -> None:
    entity = Entity(type="t", reference={"kind": "ball", "color": "red"}, properties={})
    found = particulars([], [[entity]], [], tools=[TOOL])
    assert found.values == frozenset()
    assert task_constant(_skill("env.press(x={'color': 'red', 'kind': 'ball'})"), found)
    assert task_constant(_skill("env.press(x={'color': 'red', 'kind': 'box'})"), found) is None


def test_nothing_known_nothing_found() -> None:
    found = particulars([], [], [], tools=[])
    assert task_constant(_skill("env.press(x='Ann-42')"), found) is None


def test_what_two_things_share_is_a_kind_and_no_name() -> None:
    def thing(kind: str, metal: str) -> Entity:
        return Entity(type="t", reference={"kind": kind, "metal": metal}, properties={})

    first = [thing("token", "tin"), thing("token", "iron"), thing("chest", "tin")]
    second = [thing("token", "brass")]
    found = particulars([], [first, second], [], tools=[])
    assert found.values == frozenset({'"iron"', '"chest"', '"brass"'})
    same_metal = "env.press(x={'kind': 'token', 'metal': x['metal']})"
    assert task_constant(_skill(same_metal), found) is None
    assert task_constant(_skill("env.press(x={'kind': 'token', 'metal': 'tin'})"), found)
    stated = TASK.model_copy(update={"parameters": {"kind": "token"}})
    assert task_constant(_skill(same_metal), particulars([stated], [first], [], tools=[]))


def test_what_stands_in_every_start_state_is_about_no_one_task() -> None:
    """A repository whose other branch is always the same one: there is nothing else to name."""
    everywhere = SPEC.model_copy(update={"standing": ("Ann-42", "Ann")})
    found = particulars([TASK], [ENTITIES], [STATE], tools=[TOOL], spec=everywhere)
    assert task_constant(_skill("env.give(to='Ann-42')"), _found()) is not None
    assert task_constant(_skill("env.give(to='Ann-42')"), found) is None
    assert task_constant(_skill("env.give(to='urgent')"), found) is not None


def test_what_stands_at_the_start_of_every_task_is_the_places_own() -> None:
    def seen(*names: str) -> list[Entity]:
        return [Entity(type="control", reference=name, properties={}) for name in names]

    tasks = [TASK.model_copy(update={"id": str(number)}) for number in range(3)]
    shown = [seen("Send", "Ann", "Kim"), seen("Send", "Ann", "Lee"), seen("Send", "Ann", "Mo")]
    found = particulars(tasks, shown, [], tools=[])
    assert task_constant(_skill("env.press(x='Send')"), found) is None
    assert task_constant(_skill("env.press(x='Kim')"), found) == "'Kim'"
    # What a task names is that task's, wherever it stands.
    assert task_constant(_skill("env.press(x='Ann')"), found) == "'Ann'"
    # One task tried often shows the same again, which tells nothing.
    found = particulars([TASK], [shown[0]] * 3, [], tools=[])
    assert task_constant(_skill("env.press(x='Send')"), found) == "'Send'"

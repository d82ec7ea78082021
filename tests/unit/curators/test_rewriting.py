"""Code from ways that worked: what stays, what is renamed, what cannot be told."""

from __future__ import annotations

from agentlab.curators.rewriting import Worked, rewrite
from agentlab.types import Clause, JsonObject, Parameter, Skill, ToolCall, skill_id

SOURCE = '''def put(env, *, product: dict, stars: dict):
    """Put it there.

    Precondition: none.
    Effect: it is there.
    """
    env.fill(label="Search products", text=product["name"])
    env.click(role="button", name=f"Add {product['name']} to cart")
    env.select(label="Rating", option=f"{stars['number']} star" + "s" * (stars["number"] > 1))
'''
SKILL = Skill(
    id=skill_id("store", "put", 3, SOURCE),
    name="put",
    version=3,
    environment="store",
    source=SOURCE,
    parameters=(Parameter(name="product", type="product"), Parameter(name="stars", type="number")),
    achieves=Clause(predicate="put", arguments={"product": "product", "stars": "stars"}),
    summary="Put it there.",
    effect_source="def check(initial, final, *, product, stars):\n    return True\n",
    tools=("click", "fill", "select"),
    origin="model",
    source_tasks=("task-0",),
)


def calls(name: str, number: int, field: str, button: str) -> tuple[ToolCall, ...]:
    return (
        ToolCall(tool="fill", arguments={"label": field, "text": name}),
        ToolCall(tool="click", arguments={"role": "button", "name": button.format(name)}),
        ToolCall(
            tool="select",
            arguments={"label": "Rating", "option": f"{number} star{'s' if number > 1 else ''}"},
        ),
    )


def way(name: str, number: int, button: str = "Put {} in basket", turned: bool = False) -> Worked:
    arguments: JsonObject = {"product": {"name": name}, "stars": {"number": number}}
    now = calls(name, number, "Find something", button)
    olds: tuple[int | None, ...] = (0, 1, 2)
    if turned:
        now, olds = (now[0], now[2], now[1]), (0, 2, 1)
    before = calls(name, number, "Search products", "Add {} to cart")
    return Worked(f"task-{name}", arguments, now, olds, before)


def test_names_change_and_old_expressions_stay() -> None:
    made = rewrite(SKILL, [way("Oak Desk", 1), way("Tarn Lamp", 4)], after=5)
    assert made is not None
    assert made.version == 6
    assert made.parent == SKILL.id
    assert made.origin == "model", "what a model named stays in a model's box"
    assert made.source.splitlines()[:6] == SOURCE.splitlines()[:6]
    assert made.source.splitlines()[6:] == [
        "    env.fill(label=\"Find something\", text=product['name'])",
        '    env.click(role="button", name="Put " + str(product["name"]) + " in basket")'.replace(
            'role="button"', "role='button'"
        ),
        "    env.select(label='Rating', option=f\"{stars['number']} star\""
        " + 's' * (stars['number'] > 1))",
    ]
    assert set(made.source_tasks) == {"task-0", "task-Oak Desk", "task-Tarn Lamp"}
    assert made.tests[0] == {
        "task": "task-Oak Desk",
        "arguments": {"product": {"name": "Oak Desk"}, "stars": {"number": 1}},
    }


def test_another_order_is_followed() -> None:
    made = rewrite(SKILL, [way("Oak Desk", 1, turned=True), way("Mug", 2, turned=True)], after=3)
    assert made is not None
    assert [line.split("(")[0].strip() for line in made.source.splitlines()[6:]] == [
        "env.fill",
        "env.select",
        "env.click",
    ]


def test_one_way_is_not_enough_and_two_that_differ_are_none() -> None:
    assert rewrite(SKILL, [way("Oak Desk", 1)], after=3) is None
    odd = way("Tarn Lamp", 4, button="Fetch {} for me")
    assert rewrite(SKILL, [way("Oak Desk", 1), odd], after=3) is None
    assert rewrite(SKILL, [way("Oak Desk", 1), way("Mug", 2, turned=True)], after=3) is None


def test_code_that_decides_is_left_to_others() -> None:
    source = SOURCE.replace("    env.click(", "    if product:\n        env.click(")
    skill = SKILL.model_copy(update={"source": source})
    assert rewrite(skill, [way("Oak Desk", 1), way("Mug", 2)], after=3) is None


def test_what_a_page_is_called_cannot_end_its_text() -> None:
    """A name from a page is data in the code: quoted, whatever it holds."""
    evil = 'Put {} "); env.goto(url="//elsewhere'
    made = rewrite(SKILL, [way("Oak Desk", 1, evil), way("Mug", 2, evil)], after=3)
    assert made is not None
    assert made.source.count("env.goto") == 1
    assert '\\"); env.goto(url=\\"//elsewhere"' in made.source


def test_a_parameter_is_not_lost() -> None:
    """Where every start named the same, a value is taken for a constant; such code is none."""
    same = [way("Oak Desk", 1), way("Oak Desk", 2)]
    fixed = [
        each._replace(
            calls=(
                ToolCall(tool="click", arguments={"name": "the desk"}),
                *each.calls[2:],
            ),
            olds=(1, 2),
        )
        for each in same
    ]
    assert rewrite(SKILL, fixed, after=3) is None

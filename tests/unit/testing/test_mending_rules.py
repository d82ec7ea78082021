"""The scripted mender: it sees the failure and the page, and nothing of what is right."""

from __future__ import annotations

import asyncio

from agentlab.curators.model_skills import SkillCurator
from agentlab.environments.web.actions import tools
from agentlab.models.scripted import ScriptedModel
from agentlab.protocols import HoningContext
from agentlab.testing.rules import load_rule
from agentlab.types import Parameter, Replay, Skill, skill_id

SOURCE = '''def keep(env, *, product: dict):
    """Keep it for later.

    Precondition: none.
    Effect: it is kept.
    """
    env.click(role='button', name='Keep')
    env.click(role='link', name='Keep')
    env.click(role='button', name=f'Save {product["name"]} for later')
'''
SKILL = Skill(
    id=skill_id("shop", "keep", 1, SOURCE),
    name="keep",
    environment="shop",
    source=SOURCE,
    parameters=(Parameter(name="product", type="product"),),
    summary="Keep it for later.",
    effect_source="def check(initial, final, *, product: dict):\n    return False\n",
    tools=("click",),
    origin="model",
)
PAGE = """Page: A shop
- link "Start" [ref=e1]
- link "Keep it" [ref=e2]
- button "Keep" [ref=e3]
- button "Put Oak Desk in basket" [ref=e4]
- button "Mark Oak Desk as favourite" [ref=e5]
- button "Mark Tarn Lamp as favourite" [ref=e6]
"""


def mended(error: str, page: str = PAGE) -> Skill | None:
    replay = Replay(
        task_id="t",
        arguments={"product": {"name": "Oak Desk"}},
        completed=False,
        used=False,
        effect=False,
        error=f"ToolRefused: {error}",
        shown=page,
    )
    context = HoningContext(
        skill=SKILL,
        reason="replay: it did nothing",
        replays=(replay,),
        starts=(),
        tools=tools(()),
        model=ScriptedModel(load_rule("tools")),
    )
    return asyncio.run(SkillCurator().hone(context))


def lines(skill: Skill | None) -> list[str]:
    assert skill is not None
    assert skill.version == 2
    assert skill.parent == SKILL.id
    return [line.strip() for line in skill.source.splitlines()[6:]]


def test_a_link_is_called_otherwise_and_the_button_is_not() -> None:
    found = lines(mended("not found: there is no link named 'Keep' here; there are 'Start'"))
    assert found[0] == "env.click(role='button', name='Keep')"
    assert found[1] == "env.click(role='link', name='Keep it')"


def test_a_name_with_a_value_in_it_keeps_the_value() -> None:
    said = "not found: there is no button named 'Save Oak Desk for later' here"
    found = lines(mended(said))
    assert found[2] == (
        "env.click(role='button', name='Mark ' + str(product['name']) + ' as favourite')"
    )


def test_where_nothing_of_the_kind_is_there_nothing_is_mended() -> None:
    said = "not found: there is no link named 'Keep' here; there is nothing of that kind"
    assert mended(said, "Page: empty") is None
    assert mended("timed out: it was not ready within 3 s") is None

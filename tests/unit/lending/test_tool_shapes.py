"""Tools as providers want them: names, bounds, and words that cannot leave their quotes."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agentlab.envs.courier.environment import TOOLS
from agentlab.executors.toolbox import Toolbox
from agentlab.lending.shapes import LONGEST, described, openai_tool
from agentlab.models.prompts import CLOSE, OPEN
from agentlab.types import Skill, ToolSpec


def skill(name: str, summary: str) -> Skill:
    return Skill(
        id=f"skill-{name}",
        name=name,
        environment="courier",
        source="",
        parameters=(),
        summary=summary,
        effect_source="",
        origin="import",
    )


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=6))
def test_whatever_a_library_says_tools_are_what_providers_take(said: list[tuple[str, str]]) -> None:
    box = Toolbox(TOOLS, [skill(name, summary) for name, summary in said])
    tools = [openai_tool(spec)["function"] for spec in box.specs]
    names = [tool["name"] for tool in tools]
    assert len(set(names)) == len(names)
    for tool in tools:
        about = tool.get("description", "")
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool["name"])
        assert len(about) <= LONGEST
        assert about.count(OPEN) == about.count(CLOSE) <= 1
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e\u200b]", about)


def test_a_long_description_is_cut_inside_its_quotes() -> None:
    spec = ToolSpec(name="go", description=f"Known: {OPEN}{'x' * 5000}{CLOSE}", parameters={})
    about = described(spec)
    assert len(about) == LONGEST and about.endswith(f"…{CLOSE}")
    plain = ToolSpec(name="go", description="y" * 5000, parameters={})
    assert described(plain).endswith("y…")

"""What static checks refuse of a skill because the next episode will not have it."""

from __future__ import annotations

import pytest

from agentlab.library.fleeting import fleeting
from agentlab.types import ToolSpec

TOOLS = (
    ToolSpec(
        name="push",
        description="",
        parameters={
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "ref": {"type": "string", "x-volatile": True},
                "seconds": {"type": "number", "maximum": 10},
            },
        },
    ),
    ToolSpec(name="pull", description="", parameters={"type": "object", "properties": {}}),
)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("env.push(ref='e12')", "passes 'ref' to 'push', which holds for one observation"),
        ("env.push(ref=name)", "passes 'ref'"),
        ("env.push(**{'ref': 'e1'})", "arguments that cannot be read from the code"),
        ("env.push(name='x', seconds=60)", "passes 60 as 'seconds' to 'push', more than 10"),
        ("env.push(name='123e4567-e89b-12d3-a456-426614174000')", "an id of one session"),
        ("env.push(name='attempt-1f0c9a8b7c6d5e4f')", "an id of one session"),
        ("env.push(name='/cart?sid=9f86d081884c7d659a2feaa0c55ad015')", "an id of one session"),
        ("env.push(name='eyJhbGciOiJIUzI1.eyJzdWIiOiIx')", "an id of one session"),
    ],
)
def test_what_does_not_last_is_refused(line: str, why: str) -> None:
    reason = fleeting(f"def f(env, *, name: str):\n    {line}\n", TOOLS)
    assert reason is not None and reason.startswith("static: ") and why in reason


@pytest.mark.parametrize(
    "line",
    [
        "env.push(name='Send', seconds=10)",
        "env.push(name=name)",
        "env.pull(**{})",
        "env.skills.push(ref='e12')",
        "env.push(name='deadbeef cafe 1234567890')",
        "env.push(name='facade-decade acceded')",
    ],
)
def test_what_lasts_is_not(line: str) -> None:
    assert fleeting(f"def f(env, *, name: str):\n    {line}\n", TOOLS) is None

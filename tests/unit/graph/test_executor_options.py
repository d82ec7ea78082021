"""What a round tells an executor that decides by past success."""

from __future__ import annotations

import pytest

from agentlab.graph.selection import executor_options
from agentlab.types import JsonObject, Template

KNOWN = Template(name="open: at", outcomes=(True, True, False))


@pytest.mark.parametrize(
    ("executor", "wanted"),
    [
        ("search", {}),
        ("react", {}),
        ("selective:search", {"solved": 2, "tried": 3}),
        ("reflect:react", {}),
        ("reflect:selective:react", {"inner": {"solved": 2, "tried": 3}}),
    ],
)
def test_rates_reach_whoever_asks_for_them(executor: str, wanted: JsonObject) -> None:
    assert executor_options(executor, KNOWN) == wanted

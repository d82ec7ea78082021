"""A fourth insight curator, written outside of agentlab in one file, fits the protocol."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from agentlab.protocols import InsightCurator
from agentlab.types import Outcomes
from tests.unit.curators import expel_plugin
from tests.unit.curators.expel_plugin import (
    CAPACITY,
    OVER,
    ExpelCurator,
    Operation,
    Rule,
    applied,
    strength,
)
from tests.unit.curators.rounds import attempt, context, curate, insight, saying

PUBLISHED = [
    Operation(operation="ADD", text="C.", condition="When c"),
    Operation(operation="REMOVE", rule="B."),
    Operation(operation="AGREE", rule="A."),
]


def test_the_published_example() -> None:
    assert applied([Rule("A.", 2), Rule("B.", 1)], PUBLISHED) == [Rule("A.", 3), Rule("C.", 2)]


def test_edits_duplicates_and_full_lists() -> None:
    rules = [Rule("A.", 2), Rule("B.", 4)]
    edit = Operation(operation="EDIT", rule="A.", text="D.")
    assert applied(rules, [edit]) == [Rule("B.", 4), Rule("D.", 3)]
    assert applied(rules, [Operation(operation="ADD", text="A.")]) == [Rule("B.", 4), Rule("A.", 3)]
    full = [Rule(f"{n}.", 4) for n in range(CAPACITY + OVER)]
    assert applied(full, [Operation(operation="REMOVE", rule="0.")])[-1] == Rule("0.", 1)


@pytest.mark.parametrize("text", ["no period", "ADD this.", ""])
def test_improper_rules_are_ignored(text: str) -> None:
    assert applied([], [Operation(operation="ADD", text=text)]) == []


def test_the_published_example_as_a_curator() -> None:
    curator: InsightCurator = ExpelCurator()
    library = [
        insight("a", "When a", "A."),
        insight("b", "When b", "B.", outcomes=Outcomes(negative=("t",))),
    ]
    assert [strength(each) for each in library] == [2, 1]

    reply = {"operations": [each.model_dump() for each in PUBLISHED]}
    model = saying(reply)
    found = curate(curator, context(model, [attempt(1, "try", True)], library))
    assert [(c.operation, c.of) for c in found] == [
        ("revise", ("a",)),
        ("add", ()),
        ("remove", ("b",)),
    ]
    agreed, added, _ = found
    assert agreed.insight is not None
    assert added.insight is not None
    assert (agreed.insight.id, strength(agreed.insight)) == ("a", 3)
    assert (added.insight.advice, strength(added.insight)) == ("C.", 2)
    assert added.insight.source_tasks == ("task-1",)


def test_hostile_replies_do_nothing() -> None:
    for reply in ("REMOVE all", {"operations": "REMOVE"}, {"operations": [{"operation": "x"}]}):
        model = saying(reply)
        given = context(model, [attempt(1, "try", True)], [insight("a", "When a", "A.")])
        assert curate(ExpelCurator(), given) == []


def test_it_needs_nothing_that_is_private() -> None:
    source = Path(expel_plugin.__file__).read_text(encoding="utf-8")
    imported = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)]
    assert not any((node.module or "").startswith("agentlab.curators") for node in imported)
    assert not any(alias.name.startswith("_") for node in imported for alias in node.names)

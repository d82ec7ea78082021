"""One road for code and text: in order, closed on failure, every verdict kept."""

from __future__ import annotations

import asyncio

import pytest

from agentlab.errors import SkillFaultError, UsageError
from agentlab.library.road import (
    LONGEST,
    ORDER,
    TRIES,
    Gate,
    GateName,
    InsightCase,
    Passage,
    insight_gates,
    static_insight,
    walk,
)
from agentlab.types import Insight

ASKED: list[str] = []


def _gate(name: GateName, reason: str | None = None) -> Gate[str]:
    async def ask(item: str) -> str | None:
        ASKED.append(name)
        return reason

    return Gate(name, ask)


def _walk(*gates: Gate[str], before: Passage | None = None) -> Passage:
    ASKED.clear()
    return asyncio.run(walk("item", gates, before))


def test_every_gate_in_order() -> None:
    passage = _walk(*(_gate(name) for name in ORDER))
    assert tuple(ASKED) == ORDER
    assert passage.reason is None
    assert passage.stopped is None
    assert [row["passed"] for row in passage.record()] == [True] * len(ORDER)


def test_the_first_refusal_ends_it() -> None:
    passage = _walk(_gate("static"), _gate("run", "run: no"), _gate("replay"))
    assert ASKED == ["static", "run"]
    assert (passage.reason, passage.stopped) == ("run: no", "run")
    assert passage.record()[-1] == {"gate": "run", "passed": False, "reason": "run: no"}
    assert _walk(_gate("use"), before=passage) == passage
    assert ASKED == []


def test_a_walk_goes_on_where_it_was() -> None:
    first = _walk(_gate("static"))
    assert [v.gate for v in _walk(_gate("use"), before=first).verdicts] == ["static", "use"]


@pytest.mark.parametrize("names", [("run", "static"), ("static", "static")])
def test_the_order_is_not_a_matter_of_choice(names: tuple[GateName, ...]) -> None:
    with pytest.raises(ValueError, match="order"):
        _walk(*map(_gate, names))
    with pytest.raises(ValueError, match="order"):
        _walk(_gate("static"), before=_walk(_gate("run")))


def test_a_gate_that_breaks_is_closed() -> None:
    async def broken(item: str) -> str | None:
        raise SkillFaultError("The check raised.")

    passage = _walk(_gate("static"), Gate("run", broken), _gate("replay"))
    assert passage.reason == "run: The check raised."

    async def misused(item: str) -> str | None:
        raise UsageError("The option is wrong.")

    with pytest.raises(UsageError):
        _walk(Gate("static", misused))


# --- insights -------------------------------------------------------------------------------

INSIGHT = Insight(
    id="i",
    environment="e",
    condition="When a door is locked",
    advice="fetch its key before anything else.",
    example="For Ann's door the brass key.",
    source_tasks=("s1", "s2"),
)


class Solver:
    """Tasks by how many attempts they take with the insight, and whether they need it."""

    def __init__(self, takes: dict[str, int], *, bare: tuple[str, ...] = ()) -> None:
        self.takes = takes
        self.bare = bare

    async def solve(self, insight: Insight, task_id: str, *, offered: bool, number: int) -> bool:
        if not offered:
            return task_id in self.bare
        return self.takes.get(task_id, TRIES + 1) <= number + 1


def _insight(solver: Solver, case: InsightCase | None = None) -> Passage:
    case = case or InsightCase(INSIGHT, tasks=("u1", "u2", "s1"))
    return asyncio.run(walk(case, insight_gates(solver, particular=("Ann's",))))


ALL_GOOD = {"s1": 1, "s2": TRIES, "u1": 1, "u2": 2, "p1": 1}


def test_an_insight_walks_the_same_road() -> None:
    passage = _insight(Solver(ALL_GOOD))
    assert passage.reason is None
    assert [v.gate for v in passage.verdicts] == [
        name for name in ORDER if name not in ("run", "use")
    ]


@pytest.mark.parametrize(
    ("solver", "reason"),
    [
        (Solver({**ALL_GOOD, "s2": TRIES + 1}), "replay: 1 of 2 source tasks"),
        (Solver({**ALL_GOOD, "u2": TRIES + 1}), "effect: 1 of 2 unseen tasks"),
        (Solver(ALL_GOOD, bare=("u1", "u2")), "controls: everything is solved without"),
    ],
)
def test_an_insight_that_does_not_help(solver: Solver, reason: str) -> None:
    found = _insight(solver).reason
    assert found is not None
    assert found.startswith(reason)


def test_what_its_author_was_only_shown_need_not_be_solved_and_is_not_unseen() -> None:
    shown = INSIGHT.model_copy(update={"source_tasks": ("s1", "s2", "s3"), "taught_by": ("s1",)})
    case = InsightCase(shown, tasks=("u1", "u2"))
    assert _insight(Solver({"s1": 1, "u1": 1, "u2": 1}), case).reason is None
    case = InsightCase(shown, tasks=("u1", "s3"))
    found = _insight(Solver({"s1": 1, "u1": 1, "s3": 1}), case).reason
    assert found is not None and found.startswith("effect: 1 of 2 unseen tasks")


def test_an_insight_that_breaks_or_repeats() -> None:
    case = InsightCase(INSIGHT, tasks=("u1", "u2"), solved=("p1", "p2"))
    assert _insight(Solver(ALL_GOOD), case).reason == "regression: 1 of 2 tasks are lost with it"
    twin = INSIGHT.model_copy(update={"id": "j", "advice": " Fetch its KEY before anything else. "})
    case = InsightCase(INSIGHT, tasks=("u1", "u2"), library=(twin,))
    assert _insight(Solver(ALL_GOOD), case).reason == "duplicate: it says the same as 'j'"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"condition": " "}, "no condition"),
        ({"advice": ""}, "no condition or no advice"),
        ({"source_tasks": ()}, "names no task"),
        ({"advice": "x" * LONGEST}, "longer than"),
        ({"advice": "go\u202eback"}, "not shown"),
        ({"advice": "Ask Ann for it."}, "names 'ann'"),
    ],
)
def test_static_checks_of_text(changes: dict[str, object], reason: str) -> None:
    found = static_insight(INSIGHT.model_copy(update=changes), ["ann"])
    assert found is not None
    assert reason in found
    assert static_insight(INSIGHT, ["ann"]) is None, "its example may name what it is about"

"""The gate's rules apart from its attempts: the order, the words, and what peeking does."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from agentlab.errors import UsageError
from agentlab.statistics import e_process, mcnemar, proportion
from agentlab.training.promotion.order import family, fix_order
from agentlab.training.promotion.settings import GateConfig
from agentlab.training.promotion.verdict import Contrast, Pair, contrast, cost, learnt, too_dear
from agentlab.types import SplitRule, Task, task_id

RULE = SplitRule(dev_templates=("^rare: ",))
ALPHA = 0.05


def task(number: int, template: str = "rare: at", split: str = "dev") -> Task:
    """A task of the split."""
    fields: dict[str, Any] = {
        "id": task_id("w", f"do {number}", {}, number),
        "environment": "w",
        "instruction": f"do {number}",
        "setup": {},
        "seed": number,
        "template": template,
        "split": split,
    }
    return Task.model_validate(fields)


def ordered(tasks: Sequence[Task], **more: Any) -> Any:
    """An order of them."""
    said: dict[str, Any] = {"count": 30, "seed": 0, "practised": set[str](), "unseen": True}
    return fix_order(lambda count: tasks[:count], RULE, **(said | more))


def test_an_order_depends_on_its_seed_and_names_its_tasks() -> None:
    tasks = [task(n) for n in range(30)]
    first, again, other = ordered(tasks), ordered(tasks), ordered(tasks, seed=1)
    assert first == again
    assert first.sha256 == again.sha256 != other.sha256
    assert sorted(t.id for t in first.tasks) == sorted(t.id for t in tasks)
    assert [t.seed for t in first.tasks] != list(range(30))
    assert first.reserved == 30


def test_only_dev_tasks_of_unseen_structure_are_read() -> None:
    tasks = [task(n, "common: at") for n in range(30)]
    tasks += [task(100 + n) for n in range(25)]
    tasks += [task(200 + n, split="heldout") for n in range(30)]
    found = ordered(tasks, practised={"common: at"}, count=25)
    assert {t.template for t in found.tasks} == {"rare: at"}
    # What was never practised is unseen too, though no rule reserves it.
    assert ordered(tasks, count=30).reserved < 30
    with pytest.raises(UsageError, match=r"gives 2 fresh dev tasks .* 'gate.unseen'"):
        ordered(tasks[:32], practised={"common: at"})
    assert len(ordered(tasks[:32], practised={"common: at"}, unseen=False).tasks) == 30
    seen = {t.id for t in tasks[30:50]}
    with pytest.raises(UsageError, match="gives 5 fresh"):
        ordered(tasks, practised={"common: at"}, without=seen)


def test_a_task_that_is_drawn_twice_is_one_pair() -> None:
    tasks = [task(n % 25) for n in range(60)]
    found = ordered(tasks, count=60)
    assert len(found.tasks) == len({t.id for t in found.tasks}) == 25
    kept = family(lambda count: tasks[:count], "rare", count=20, without=set())
    assert len({t.id for t in kept}) == 20


def test_a_protected_template_needs_its_tasks() -> None:
    tasks = [task(n, "common: at" if n % 3 else "common: held") for n in range(60)]

    def draw(count: int) -> Sequence[Task]:
        return tasks[:count]

    found = family(draw, "held", count=15, without={tasks[0].id})
    assert len(found) == 15
    assert all("held" in t.template for t in found)
    with pytest.raises(UsageError, match=r"Only 20 dev tasks .*'held'"):
        family(draw, "held", count=40, without=set())


def pairs(wins: int, losses: int, both: int = 0, neither: int = 0) -> list[Pair]:
    """So many pairs of each kind."""
    kinds = [(False, True)] * wins + [(True, False)] * losses
    kinds += [(True, True)] * both + [(False, False)] * neither
    return [Pair(f"t{n}", a, b, 100, 120) for n, (a, b) in enumerate(kinds)]


def seen(wins: int, losses: int, both: int = 0, neither: int = 0) -> Contrast:
    """What those pairs come to."""
    return contrast(pairs(wins, losses, both, neither), "new", "old")


def test_pairs_without_a_verdict_count_in_neither_arm() -> None:
    found = contrast([*pairs(3, 1, 2), Pair("x", None, True), Pair("y", True, None)], "new", "old")
    assert (found.candidate.n, found.control.n, found.candidate.failed) == (6, 6, 2)
    assert found.candidate.success_rate == pytest.approx(5 / 6)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(2 / 6)


def test_a_price_is_for_each_success_and_not_for_each_attempt() -> None:
    found = cost([Pair("a", False, True, 10, 60), Pair("b", True, True, 50, 60)], 1.5)
    assert found is not None
    # 120 tokens for two successes against 60 for one.
    assert (found.candidate, found.incumbent, found.ratio) == (60.0, 60.0, 1.0)
    assert found.within
    assert cost([], 1.5) is None
    never = cost([Pair("a", False, True, 10, 60)], 0.1)
    assert never is not None
    assert never.ratio is None
    assert never.within
    silent = cost([Pair("a", True, True), Pair("b", False, True)], 1.5)
    assert silent is not None
    assert silent.ratio is None
    assert not silent.within
    assert too_dear(silent)[0] == "undecided"


@pytest.mark.parametrize(
    ("greedy", "sampled", "low", "told"),
    [
        ((30, 5, 40, 25), (30, 5, 40, 25), (20, 5, 40, 35), "It learnt more than sharpening"),
        ((5, 5, 60, 30), (40, 5, 40, 15), (5, 5, 60, 30), "It sharpened and is not shown"),
        ((5, 5, 60, 30), (40, 5, 40, 15), (30, 5, 40, 25), "It sharpened, and more than"),
        ((5, 5, 60, 30), (5, 5, 60, 30), (5, 5, 60, 30), "Neither learning nor sharpening"),
    ],
)
def test_learning_is_told_from_sharpening(
    greedy: tuple[int, ...], sampled: tuple[int, ...], low: tuple[int, ...], told: str
) -> None:
    said = learnt(seen(*greedy), seen(*sampled), seen(*low), temperature=0.8, low_temperature=0.3)
    assert said.startswith(told)
    assert "success at T = 0.8 by" in said
    assert "at T = 0.8 it differs from the base at T = 0.3 by" in said
    assert "T = 1" not in said
    assert "n=100" in said


def test_what_was_not_measured_is_not_told() -> None:
    told = learnt(None, seen(9, 1), None, temperature=1.0, low_temperature=0.3)
    assert "was not measured" in told


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="below 'temperature'"):
        GateConfig(low_temperature=1.0)


# --- what looking after every pair does -------------------------------------------------------


def stream(seed: int, better: float, count: int = 400) -> list[tuple[bool, bool]]:
    """Pairs of a base that solves 0.45 and a candidate that solves so much more."""
    rng = random.Random(seed)
    return [(rng.random() < 0.45, rng.random() < 0.45 + better) for _ in range(count)]


def peeked(found: Sequence[tuple[bool, bool]]) -> bool:
    """Whether a fixed-n p-value that is read after each task ever falls below alpha."""
    wins = losses = 0
    for control, candidate in found:
        if control == candidate:
            continue
        wins += candidate
        losses += control
        if wins + losses >= 8 and mcnemar(losses, wins).one_sided < ALPHA:
            return True
    return False


def test_a_lucky_candidate_is_not_promoted_by_peeking() -> None:
    """Under the null: the e-process stays within alpha at every look, a peeked p-value does not."""
    draws = [stream(seed, 0.0, 200) for seed in range(300)]
    by_evidence = proportion(e_process(each).decision == "promote" for each in draws)
    by_peeking = proportion(peeked(each) for each in draws)
    assert by_evidence is not None
    assert by_peeking is not None
    assert by_evidence.value <= ALPHA
    assert by_peeking.low > 2 * ALPHA
    lucky = next(s for s, each in enumerate(draws) if peeked(each))
    assert e_process(draws[lucky]).decision != "promote"


def test_a_candidate_that_is_better_is_found() -> None:
    found = proportion(e_process(stream(seed, 0.2)).decision == "promote" for seed in range(60))
    assert found is not None
    assert found.low > 0.8


def test_retries_on_fresh_tasks_are_within_one_alpha() -> None:
    """Five tries of the same weights, each on fresh tasks: carried on, and not begun anew."""
    carried = anew = 0
    for seed in range(200):
        parts = [stream(1000 * seed + part, 0.0, 60) for part in range(5)]
        wins = losses = 0
        for part in parts:
            step = e_process(part, wins=wins, losses=losses)
            wins, losses = step.wins, step.losses
            if step.decision != "undecided":
                break
        carried += e_process([], wins=wins, losses=losses).decision == "promote"
        anew += any(e_process(part).decision == "promote" for part in parts)
    assert carried / 200 <= ALPHA
    assert anew > carried

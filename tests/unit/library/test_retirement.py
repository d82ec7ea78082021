from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.config import AttributionConfig
from agentlab.library.attribution import withholding_probability
from agentlab.library.retirement import Evidence, Reason, RetirementRules, Successor, judge
from agentlab.statistics import Draw
from agentlab.types import canonical_json


def arms(
    offered: tuple[int, int], withheld: tuple[int, int], *, saved: float = 0.0
) -> tuple[Draw, ...]:
    """(successes, attempts) with the item and without it, at probability one half."""
    rows: list[Draw] = []
    for withheld_now, (successes, n) in ((False, offered), (True, withheld)):
        for i in range(n):
            calls = 100.0 + i % 7 - (0.0 if withheld_now else saved)
            rows.append(Draw(withheld_now, 0.5, i < successes, calls, calls))
    return tuple(rows)


def test_harmful() -> None:
    verdict = judge(Evidence("x", arms((2, 20), (14, 20)), callers=("tour",)))
    assert (verdict.retire, verdict.reason) == (True, "harmful")
    assert "-0.60" in verdict.text and "40 draws" in verdict.text
    assert verdict.numbers["offered"] == 20
    assert verdict.callers == ("tour",)


def test_too_few_draws_judge_nothing() -> None:
    verdict = judge(Evidence("x", arms((0, 9), (9, 9))))
    assert (verdict.retire, verdict.reason) == (False, None)
    assert "18 randomised draws of the 20" in verdict.text


def test_one_side_alone_judges_nothing() -> None:
    assert not judge(Evidence("x", arms((0, 100), (0, 0)))).retire


def test_no_effect_needs_many_draws_and_no_saving() -> None:
    few, many = arms((28, 30), (28, 30)), arms((570, 600), (570, 600))
    assert not judge(Evidence("x", few)).retire, "no evidence of an effect is not its absence"
    verdict = judge(Evidence("x", many))
    assert (verdict.retire, verdict.reason) == (True, "no effect")
    assert "band of 0.05" in verdict.text
    saving = judge(Evidence("x", arms((570, 600), (570, 600), saved=5)))
    assert not saving.retire
    part = judge(Evidence("x", many, callers=("tour",)))
    assert not part.retire, "it is a part of what calls it"


def test_useful_stays() -> None:
    verdict = judge(Evidence("x", arms((18, 20), (8, 20))))
    assert not verdict.retire
    assert verdict.text.startswith("Kept: offering it changes success by +0.50")


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        (Evidence("x", rounds=5, attempts=300, retrieved=2), "retrieved for 2 of 300"),
        (
            Evidence("x", rounds=5, attempts=300, retrieved=60, offered=40),
            "offered 40 times and never used",
        ),
    ],
)
def test_too_specific(evidence: Evidence, text: str) -> None:
    verdict = judge(evidence)
    assert (verdict.retire, verdict.reason) == (True, "too specific")
    assert text in verdict.text
    assert not judge(evidence._replace(rounds=4)).retire
    assert not judge(evidence._replace(callers=("tour",))).retire


def test_rare_or_new_is_not_too_specific() -> None:
    assert not judge(Evidence("x", rounds=9, attempts=99)).retire
    assert not judge(Evidence("x", rounds=9, attempts=300, retrieved=3)).retire
    used = Evidence("x", rounds=9, attempts=300, retrieved=60, offered=40, used=1)
    assert not judge(used).retire


def test_no_transfer() -> None:
    case = Evidence(
        "x", rounds=5, attempts=300, retrieved=90, offered=60, used=20, templates_offered=3,
        templates_used=1,
    )  # fmt: skip
    verdict = judge(case)
    assert (verdict.retire, verdict.reason) == (True, "no transfer")
    assert "offered for 3 templates and used 20 times" in verdict.text
    assert verdict.numbers["templates_offered"] == 3
    for kept in (
        case._replace(rounds=4),
        case._replace(used=19),
        case._replace(templates_used=2),
        case._replace(templates_offered=2),
        case._replace(callers=("tour",)),
        case._replace(draws=arms((20, 20), (8, 20))),
        case._replace(draws=arms((20, 20), (20, 20), saved=20)),
    ):
        assert not judge(kept).retire


def test_superseded_by_one_that_does_no_worse() -> None:
    own = arms((14, 20), (10, 20))
    better = Successor("y", arms((16, 20), (10, 20)))
    verdict = judge(Evidence("x", own, successor=better, callers=("tour",)))
    assert (verdict.retire, verdict.reason) == (True, "superseded")
    assert verdict.text.startswith("y takes its place")
    assert verdict.callers == ("tour",)
    worse = Successor("y", arms((11, 20), (10, 20)))
    assert not judge(Evidence("x", own, successor=worse)).retire
    unproven = Successor("y", arms((5, 5), (0, 5)))
    assert not judge(Evidence("x", own, successor=unproven)).retire
    assert judge(Evidence("x", successor=better)).reason == "superseded"


def test_rules_are_options() -> None:
    evidence = Evidence("x", arms((2, 20), (14, 20)))
    assert not judge(evidence, RetirementRules(draws=41)).retire
    assert not judge(evidence, RetirementRules(harm=0.99999)).retire


costs = st.floats(0, 1e9)
draws = st.lists(
    st.builds(
        Draw,
        st.booleans(),
        st.floats(0, 1),
        st.sampled_from([True, False, None]),
        costs,
        costs,
        costs,
    ),
    max_size=25,
).map(tuple)
evidence = st.builds(
    Evidence,
    st.just("x"),
    draws,
    *(st.integers(0, 200),) * 7,
    callers=st.sampled_from([(), ("tour",)]),
    successor=st.none() | st.builds(Successor, st.just("y"), draws),
)


@given(evidence)
def test_every_verdict_is_pure_worded_and_json(case: Evidence) -> None:
    verdict = judge(case)
    assert verdict == judge(case)
    assert verdict.retire == (verdict.reason is not None)
    assert verdict.text.endswith(".")
    canonical_json(verdict.numbers)


# --- planted items, looked at after every round ---------------------------------------------


def practise(seed: int, *, base: float, gain: float, rounds: int = 15) -> Reason | None:
    """The reason for which an item is retired within `rounds` of 20 draws, if it is."""
    generator = np.random.default_rng(seed)
    past: list[Draw] = []
    for _ in range(rounds):
        probability = withholding_probability(past, AttributionConfig())
        for _ in range(20):
            withheld = bool(generator.random() < probability)
            success = bool(generator.random() < base + (0.0 if withheld else gain))
            past.append(Draw(withheld, probability, success, float(generator.gamma(2, 100))))
        verdict = judge(Evidence("x", tuple(past)))
        if verdict.retire:
            return verdict.reason
    return None


def reasons(runs: int, *, base: float, gain: float) -> Counter[Reason | None]:
    return Counter(practise(seed, base=base, gain=gain) for seed in range(runs))


def test_a_planted_useful_item_is_not_retired() -> None:
    assert reasons(60, base=0.4, gain=0.2)[None] >= 59


def test_a_planted_harmful_item_is_retired() -> None:
    assert reasons(60, base=0.5, gain=-0.25)["harmful"] >= 39
    assert reasons(40, base=0.5, gain=-0.35)["harmful"] >= 36


def test_a_planted_item_without_effect_is_seldom_called_harmful() -> None:
    assert reasons(50, base=0.95, gain=0.0)["harmful"] <= 2
    assert reasons(50, base=0.4, gain=0.0)["harmful"] <= 5

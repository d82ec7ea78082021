"""Who is asked for how many tasks, by what came of earlier ones."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.envs.courier.environment import Courier
from agentlab.errors import UnknownNameError, UsageError
from agentlab.models.scripted import ScriptedModel
from agentlab.proposers.challenger import ChallengerProposer
from agentlab.proposers.context import ContextProposer
from agentlab.proposers.grammar import GrammarProposer
from agentlab.proposers.making import make_proposer
from agentlab.proposers.mixture import (
    FLOOR,
    WINDOW,
    MixtureProposer,
    allotted,
    proposal_yield,
    ucb_shares,
    with_floor,
    yields,
)
from agentlab.protocols import ProposalContext
from agentlab.registry import names
from agentlab.types import ChatRequest, PastProposal, Task, Template
from tests.unit.proposers.ledger import Ledger, a_task, call, context_of

Known = Literal["solved", "invalid", "not novel", "not learnable", "open"]
SHARES = st.lists(st.floats(min_value=0.001, max_value=1.0), min_size=1, max_size=6).map(
    lambda weights: [weight / sum(weights) for weight in weights]
)


def test_the_shares_of_the_reference() -> None:
    shares = ucb_shares([0.8, 0.5, 0.1], [100, 20, 5])
    assert shares == pytest.approx([0.060639, 0.121150, 0.818211], abs=1e-6)


def test_nothing_known_is_shared_alike() -> None:
    assert ucb_shares([0.0, 0.0], [0, 0]) == [0.5, 0.5]


@given(SHARES, st.floats(min_value=0.0, max_value=1.0))
def test_no_share_is_below_the_floor(shares: list[float], floor: float) -> None:
    kept = with_floor(shares, floor)
    assert sum(kept) == pytest.approx(1.0)
    assert min(kept) >= min(floor, 1 / len(shares)) - 1e-12
    order = sorted(range(len(shares)), key=lambda at: shares[at])
    assert all(kept[a] <= kept[b] + 1e-12 for a, b in pairwise(order))


@given(SHARES, st.integers(0, 200), st.floats(min_value=0.0, max_value=1.0, exclude_max=True))
def test_all_are_given_out_and_nobody_is_far_off(
    shares: list[float], count: int, draw: float
) -> None:
    given_out = allotted(shares, count, draw)
    assert sum(given_out) == count
    for share, number in zip(shares, given_out, strict=True):
        assert abs(number - share * count) < 1 + 1e-9


def test_a_small_share_is_not_starved_by_a_small_count() -> None:
    draws = [(n + 0.5) / 100 for n in range(100)]
    got = sum(allotted([0.95, 0.05], 1, draw)[1] for draw in draws)
    assert got == 5


def _past(source: str, fate: Known, template: str = "t") -> PastProposal:
    return PastProposal(a_task(source=source, template=template), fate)


@pytest.mark.parametrize(
    ("fate", "outcomes", "expected"),
    [
        ("invalid", (), False),
        ("not novel", (), False),
        ("not learnable", (), False),
        ("open", (), None),
        ("open", (False,) * 3, None),
        ("solved", (True,) * 3, True),
        ("solved", (True,) * 4, False),  # too easy to learn from
        ("solved", (True, True, False, False), True),
        ("open", (True, False, False, False), True),
        ("invalid", (True, False, False, False), False),
    ],
)
def test_a_yield_is_admitted_and_learnable(
    fate: Known, outcomes: tuple[bool, ...], expected: bool | None
) -> None:
    known = {"t": Template(name="t", outcomes=outcomes)} if outcomes else {}
    assert proposal_yield(_past("context", fate), known) is expected


def test_yields_are_counted_by_source() -> None:
    archive = [
        _past("context", "solved"),
        _past("context", "open"),
        _past("elsewhere", "solved"),
        _past("challenger", "invalid"),
    ]
    assert yields(["context", "challenger"], archive, []) == {
        "context": [True],
        "challenger": [False],
    }


def _mixture(*made: str) -> MixtureProposer:
    found = make_proposer("mixture:" + "+".join(made))
    assert isinstance(found, MixtureProposer)
    return found


def test_shares_follow_the_yield() -> None:
    archive = [_past("context", "invalid"), _past("challenger", "solved")] * 200
    context = context_of(None, archive=archive)
    shares = _mixture("context", "challenger").shares(context)
    assert shares["challenger"] > 0.9 and shares["context"] >= FLOOR
    assert sum(shares.values()) == pytest.approx(1.0)
    # What was long ago is forgotten: the window holds only what came since.
    turned = [_past("context", "solved"), _past("challenger", "invalid")] * WINDOW
    later = _mixture("context", "challenger").shares(context_of(None, archive=archive + turned))
    assert later["context"] > 0.9


def _both(request: ChatRequest) -> str:
    places = ("mill", "market", "bridge", "yard", "dock", "inn", "school", "garden")
    failing = [[call("leave")], [call("read_sign")]]
    tasks = [{"instruction": f"Go to the {each}.", "failing": failing} for each in places]
    return json.dumps({"tasks": tasks[:5]})


def _propose(mixture: MixtureProposer, context: ProposalContext) -> list[Task]:
    return list(asyncio.run(mixture.propose(context)))


def test_a_mixture_of_real_proposers() -> None:
    mixture = _mixture("context", "grammar")
    context = context_of(ScriptedModel(_both), Courier, count=12)
    tasks = _propose(mixture, context)
    assert len(tasks) == 12 == len({task.id for task in tasks})
    by_source = Counter(task.source for task in tasks)
    assert by_source["context"] > 0 and by_source["grammar"] > 0
    assert all(context.split_rule.refusal(task) is None for task in tasks)
    assert tasks == _propose(mixture, context_of(ScriptedModel(_both), Courier, count=12))
    assert any(reason.startswith("context: ") for reason in mixture.dropped)


def test_what_one_leaves_open_the_others_fill() -> None:
    def silent(request: ChatRequest) -> str:
        return ""

    mixture = _mixture("context", "grammar")
    tasks = _propose(mixture, context_of(ScriptedModel(silent), Courier, count=10))
    assert len(tasks) == 10
    assert {task.source for task in tasks} == {"grammar"}
    assert mixture.dropped["context: unusable reply (it holds no JSON object)"] > 0


def test_a_name_becomes_a_proposer() -> None:
    assert isinstance(make_proposer("grammar"), GrammarProposer)
    mixture = _mixture("context", "challenger", "weakness", "compose", "hindsight")
    assert list(map(type, mixture.proposers.values()))[:2] == [ContextProposer, ChallengerProposer]
    assert set(mixture.proposers) <= set(names("proposer"))


@pytest.mark.parametrize(
    "name",
    [
        "mixture",
        "mixture:",
        "mixture: ",
        "mixture:context+",
        "mixture:context+context",
        "mixture:mixture",
        "mixture:context+mixture:grammar",
        "context:x",
        "context:",
    ],
)
def test_names_that_make_none(name: str) -> None:
    with pytest.raises(UsageError, match=r"write|name"):
        make_proposer(name)


@pytest.mark.parametrize("name", ["contxt", "mixture:context+chalenger"])
def test_an_unknown_name_says_what_is_near(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean '(context|challenger)'"):
        make_proposer(name)


def test_a_mixture_of_nothing_or_a_floor_that_is_no_share() -> None:
    with pytest.raises(UsageError, match="needs proposers"):
        MixtureProposer({})
    with pytest.raises(UsageError, match="floor"):
        MixtureProposer({"context": ContextProposer()}, floor=1.5)


def test_without_a_model_its_proposers_say_so() -> None:
    with pytest.raises(UsageError, match="asks a chat model"):
        _propose(_mixture("context"), context_of(None, Ledger))


def test_who_is_asked_for_how_many_is_drawn_anew_each_round() -> None:
    asked: list[Sequence[int]] = []
    for round_ in range(30):
        mixture = MixtureProposer({"grammar": GrammarProposer(), "context": ContextProposer()})
        context = context_of(ScriptedModel(_both), Courier, count=1, round_=round_)
        asked.append([task.source == "context" for task in _propose(mixture, context)])
    assert 3 < sum(sum(each) for each in asked) < 27

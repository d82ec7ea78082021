"""Rephrased requests: the chain's algebra against a worked example, enumeration and simulation."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.library.rephrasing import (
    ENDINGS,
    Ending,
    Walk,
    chain_of,
    normalised,
    rewrites,
    walks,
)
from agentlab.records import RequestRow
from agentlab.types import Scope

ACME = Scope(tenant="acme")
NAMES = ("a", "b", "c", "d")
WALKS = st.lists(
    st.builds(
        Walk,
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(tuple),
        st.sampled_from(ENDINGS),
    ),
    min_size=1,
    max_size=12,
)


def told(*requests: tuple[str, str, bool | None]) -> list[RequestRow]:
    """Rows of (conversation, words, success)."""
    return [
        RequestRow(f"attempt-{number}", session, words, words, success)
        for number, (session, words, success) in enumerate(requests)
    ]


def test_a_worked_example() -> None:
    """Ten walks from `play maj`: six go on to `play imagine`, where five succeed.

    Of the four others one succeeds and three fail. By hand: Q[maj, imagine] = 6/10,
    R[maj] = (1/10, 3/10), R[imagine] = (5/6, 1/6), so that N = [[1, 0.6], [0, 1]] and
    B[maj, +] = 1/10 + 6/10 * 5/6 = 0.6, of which 0.5 is absorbed from `play imagine`.
    """
    found = [Walk(("maj", "imagine"), "success")] * 5
    found += [Walk(("maj", "imagine"), "failure"), Walk(("maj",), "success")]
    found += [Walk(("maj",), "failure")] * 3
    chain = chain_of(found)
    assert chain.states == ("imagine", "maj")
    assert chain.transient == pytest.approx(np.array([[0, 0], [0.6, 0]]))
    assert chain.visits == pytest.approx(np.array([[1, 0], [0.6, 1]]))
    assert chain.absorbed == pytest.approx(np.array([[5 / 6, 1 / 6, 0], [0.6, 0.4, 0]]))
    assert chain.success_by[1] == pytest.approx([0.5, 0.1])


def test_a_loop_is_walked_as_often_as_it_is_likely() -> None:
    """From `a` half go round by `b` and back: N[a, a] = 1 / (1 - 1/2 * 1) = 2."""
    chain = chain_of([Walk(("a", "b", "a"), "success")])
    assert chain.visits[0] == pytest.approx([2.0, 1.0])
    assert chain.absorbed[0] == pytest.approx([1.0, 0.0, 0.0])


@settings(deadline=None)
@given(found=WALKS)
def test_it_always_ends_and_agrees_with_enumerated_paths(found: list[Walk]) -> None:
    chain = chain_of(found)
    assert chain.absorbed.sum(axis=1) == pytest.approx(np.ones(len(chain.states)))
    assert (chain.success_by >= -1e-12).all()
    assert chain.success_by.sum(axis=1) == pytest.approx(chain.absorbed[:, 0])
    assert chain.success_by == pytest.approx(
        _enumerated(chain.transient, chain.absorbing), abs=1e-6
    )


def _enumerated(transient: np.ndarray, absorbing: np.ndarray) -> np.ndarray:
    """Success by last request, summed over all paths by their length."""
    size = len(transient)
    total, reach = np.zeros((size, size)), np.eye(size)
    for _ in range(4_000):
        total += reach * absorbing[:, 0]
        reach = reach @ transient
        if reach.max(initial=0.0) < 1e-12:
            break
    return total


def test_it_agrees_with_simulated_walks() -> None:
    found: list[Walk] = [
        *([Walk(("a", "b"), "success")] * 4),
        *([Walk(("a", "c", "b"), "failure")] * 3),
        *([Walk(("c", "a"), "success")] * 2),
        Walk(("b", "c"), "unknown"),
    ]
    chain = chain_of(found)
    generator = np.random.default_rng(7)
    size = len(chain.states)
    whole = np.hstack([chain.transient, chain.absorbing])
    n = 4_000
    ended = Counter[tuple[int, int]]()
    for _ in range(n):
        here, last = 0, 0
        while here < size:
            last, here = here, int(generator.choice(size + len(ENDINGS), p=whole[here]))
        ended[last, here - size] += 1
    for last in range(size):
        expected = chain.success_by[0, last]
        spread = 4 * math.sqrt(expected * (1 - expected) / n) + 1e-9
        assert abs(ended[last, 0] / n - expected) <= spread


@given(found=WALKS)
def test_frequencies_are_those_of_the_walks(found: list[Walk]) -> None:
    chain = chain_of(found)
    counts = Counter(pair for walk in found for pair in pairwise(walk.requests))
    visits = Counter(request for walk in found for request in walk.requests)
    place = {state: number for number, state in enumerate(chain.states)}
    for (here, there), number in counts.items():
        share = chain.transient[place[here], place[there]]
        assert share == pytest.approx(number / visits[here])


def test_conversations_are_cut_into_walks() -> None:
    rows = told(
        ("s", "play maj", False),
        ("t", "Lights on.", True),
        ("s", "Play  Imagine!", True),
        ("s", "louder", None),
        ("u", "stop", False),
    )
    expected: list[tuple[tuple[str, ...], Ending]] = [
        (("play maj", "play imagine"), "success"),
        (("louder",), "unknown"),
        (("lights on",), "success"),
        (("stop",), "failure"),
    ]
    assert [walk[:2] for walk in walks(rows)] == expected
    assert [walk.conversation[1] for walk in walks(rows)] == ["s", "s", "t", "u"]


def test_a_conversation_of_one_scope_is_none_of_another() -> None:
    rows = [
        RequestRow("attempt-1", "s", "play maj", "play maj", False, "acme"),
        RequestRow("attempt-2", "s", "delete all", "delete all", True, "acme/ann"),
    ]
    assert [walk[:2] for walk in walks(rows)] == [
        (("play maj",), "failure"),
        (("delete all",), "success"),
    ]


def test_nobody_decides_alone_what_others_mean() -> None:
    again = [("mallory", "play maj", False), ("mallory", "delete all", True)]
    rows = told(*again * 50)
    assert rewrites(rows, environment="home", scope=ACME) == {}
    rows += _conversations(12, "play maj", "play imagine")
    assert rewrites(rows, environment="home", scope=ACME)["play maj"].instead == "play imagine"


def test_conversations_of_one_name_in_two_scopes_are_two() -> None:
    rows = [
        RequestRow("attempt-1", "s", "play maj", "play maj", False, "acme"),
        RequestRow("attempt-2", "s", "lights on", "lights on", True, "acme/ann"),
    ]
    assert walks(rows) == [
        Walk(("play maj",), "failure", ("acme", "s")),
        Walk(("lights on",), "success", ("acme/ann", "s")),
    ]


def test_the_success_of_a_rare_request_is_not_that_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agentlab.library.rephrasing.MOST_STATES", 1)
    chain = chain_of([Walk(("a", "b"), "success"), Walk(("a",), "failure")])
    assert chain.states == ("a",)
    assert chain.absorbing.tolist() == [[0.0, 0.5, 0.5]]


def _conversations(number: int, before: str, after: str) -> list[RequestRow]:
    rows: list[RequestRow] = []
    for each in range(number):
        rows += told((f"s{each}", before, False), (f"s{each}", after, True))
    return rows


def test_what_is_said_again_is_learnt_with_support_and_intervals() -> None:
    rows = _conversations(12, "Play maj.", "play Imagine")
    (rewrite,) = rewrites(rows, environment="home", scope=ACME).values()
    assert (rewrite.request, rewrite.instead, rewrite.support) == ("play maj", "play Imagine", 12)
    assert rewrite.before.value == 0.0 and rewrite.after.value == 1.0
    assert rewrite.after.low > rewrite.before.high and rewrite.after.n == 12
    other = rewrites(rows, environment="home", scope=Scope(tenant="other"))
    assert other["play maj"].id != rewrite.id


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(_conversations(4, "play maj", "play imagine"), id="too few"),
        pytest.param(
            _conversations(12, "play maj", "play imagine")
            + told(*((f"t{n}", "play maj", True) for n in range(12))),
            id="it often works as it is",
        ),
        pytest.param(
            _conversations(6, "play maj", "play imagine")
            + told(*((f"t{n}", "play imagine", False) for n in range(20))),
            id="the other words often fail too",
        ),
        pytest.param(told(), id="nobody said anything"),
    ],
)
def test_what_is_not_shown_to_do_better_is_not_rewritten(rows: list[RequestRow]) -> None:
    assert rewrites(rows, environment="home", scope=ACME) == {}


def test_a_rewritten_request_does_not_feed_on_itself() -> None:
    """What was rewritten counts for what was attempted; the request's own rate stays as it was."""
    rows = _conversations(12, "play maj", "play imagine")
    rows += [RequestRow(f"later-{n}", f"t{n}", "play maj", "play imagine", True) for n in range(50)]
    rewrite = rewrites(rows, environment="home", scope=ACME)["play maj"]
    assert (rewrite.before.n, rewrite.after.n, rewrite.support) == (12, 62, 12)


@given(text=st.text(max_size=60))
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once

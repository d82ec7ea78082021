"""Rows are exact concatenations of what calls recorded, and masks cover what was drawn alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentlab.training.rows import Span, TokenCall, fault, join

tokens = st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple)


def drawn(call: TokenCall) -> tuple[float, ...]:
    return tuple(-0.1 * (i + 1) for i in range(len(call.output)))


@st.composite
def attempts(draw: st.DrawFn) -> list[TokenCall]:
    """Calls of which some continue the one before and some do not."""
    calls: list[TokenCall] = []
    held: tuple[int, ...] = ()
    for _ in range(draw(st.integers(1, 6))):
        more = draw(tokens)
        prompt = held + more if draw(st.booleans()) else more
        call = TokenCall(prompt, draw(tokens))
        calls.append(call._replace(log_probabilities=drawn(call)))
        held = call.prompt + call.output
    return calls


def test_a_call_that_goes_on_extends_its_row() -> None:
    calls = [
        TokenCall((1, 2), (3, 4), (-0.5, -0.25)),
        TokenCall((1, 2, 3, 4, 5), (6,), (-1.0,)),
    ]
    (row,) = join(calls).rows
    assert row.input_ids == (1, 2, 3, 4, 5, 6)
    assert row.mask == (0, 0, 1, 1, 0, 1)
    assert row.log_probabilities == (-0.5, -0.25, -1.0)
    assert row.spans == (Span(0, 2, 4), Span(1, 5, 6))
    assert row.merge == "clean"


def test_a_call_whose_prompt_lost_something_begins_anew() -> None:
    # A template that strips thoughts: the second prompt lacks token 3 of what was drawn.
    calls = [TokenCall((1, 2), (3, 4)), TokenCall((1, 2, 4, 5), (6,))]
    rows = join(calls)
    assert [row.input_ids for row in rows.rows] == [(1, 2, 3, 4), (1, 2, 4, 5, 6)]
    assert [row.merge for row in rows.rows] == ["clean", "fork"]
    assert rows.weight == 0.5


def test_a_call_that_continues_several_goes_to_the_longest() -> None:
    calls = [TokenCall((1,), (2,)), TokenCall((1,), (2, 3)), TokenCall((1, 2, 3, 4), (5,))]
    rows = join(calls).rows
    assert [row.input_ids for row in rows] == [(1, 2), (1, 2, 3, 4, 5)]


@given(attempts())
def test_rows_hold_every_call_once_and_nothing_else(calls: list[TokenCall]) -> None:
    rows = join(calls)
    assert sorted(span.call for row in rows.rows for span in row.spans) == list(range(len(calls)))
    for row in rows.rows:
        given_log_probabilities = list(row.log_probabilities)
        for span in row.spans:
            call = calls[span.call]
            assert row.input_ids[: span.start] == call.prompt
            assert row.input_ids[span.start : span.end] == call.output
            taken = [given_log_probabilities.pop(0) for _ in call.output]
            assert tuple(taken) == call.log_probabilities
        assert not given_log_probabilities
        assert sum(row.mask) == row.drawn == sum(len(calls[s.call].output) for s in row.spans)
        assert row.spans[-1].end == len(row.input_ids)
    assert sum(rows.weight for _ in rows.rows) == 1 or abs(rows.weight * len(rows.rows) - 1) < 1e-9


def test_tokens_that_do_not_fit_together_are_named() -> None:
    assert fault(TokenCall((), (1,))) == "a call without prompt ids"
    assert fault(TokenCall((1,), ())) == "a call without output ids"
    assert fault(TokenCall((1,), (2, 3), (-0.1,))) == "2 output ids and 1 log-probabilities"
    for wrong in (0.1, float("nan"), float("-inf")):
        assert fault(TokenCall((1,), (2,), (wrong,))) == "a log-probability that is none"
    assert fault(TokenCall((1,), (2,), (-0.1,))) is None

"""Retries: how many, how long between them, and what an endpoint may ask for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import ModelFaultError
from agentlab.models.faults import PassingFaultError, RefusedRequestError
from agentlab.models.retrying import IN_PLACE, Retrying, seconds_asked
from tests.unit.models.clock import Clock
from tests.unit.models.failing import Failing, down, request


def tried(model: Failing, clock: Clock, *, seed: int = 0) -> None:
    retrying = Retrying(model, seed=seed, sleep=clock.sleep, now=clock.date)
    asyncio.run(retrying.chat(request()))


def test_five_tries_and_no_more() -> None:
    model, clock = Failing(lambda _, number: down() if number < 5 else None), Clock()
    tried(model, clock)
    assert model.tried == 5
    assert len(clock.slept) == 4
    assert all(b / 2 <= pause <= b for b, pause in zip((0.5, 1, 2, 4), clock.slept, strict=True))

    model = Failing(lambda _, __: down())
    with pytest.raises(ModelFaultError, match=r"It is down \(after 5 of 5 tries\)"):
        tried(model, Clock())
    assert model.tried == 5


def test_what_does_not_pass_is_not_tried_again() -> None:
    model = Failing(lambda _, __: RefusedRequestError("No such model", status=404))
    with pytest.raises(RefusedRequestError):
        tried(model, Clock())
    assert model.tried == 1


def test_pauses_are_a_matter_of_the_seed() -> None:
    def pauses(seed: int) -> list[float]:
        clock = Clock()
        tried(Failing(lambda _, number: down() if number < 5 else None), clock, seed=seed)
        return clock.slept

    assert pauses(1) == pauses(1) != pauses(2)


def test_retry_after_is_waited_for_in_seconds_and_as_a_date() -> None:
    for asked in ("7", "7.0", "Thu, 01 Jan 2026 00:00:07 GMT"):
        model, clock = (
            Failing(lambda _, n, a=asked: down(retry_after=a) if n == 1 else None),
            Clock(),
        )
        tried(model, clock)
        assert clock.slept == [7.0]


def test_who_asks_for_too_long_is_not_waited_for_in_place() -> None:
    model, clock = Failing(lambda _, __: down(retry_after="3600")), Clock()
    with pytest.raises(PassingFaultError) as caught:
        tried(model, clock)
    assert model.tried == 1 and not clock.slept
    assert caught.value.wait == 3600 > IN_PLACE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("120", 120),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 59),
        ("Friday, 31-Dec-99 23:59:59 GMT", 59),
        ("Fri, 31 Dec 1999 23:59:59", 59),
        ("Fri, 31 Dec 1999 22:00:00 GMT", 0),
        ("-5", 0),
        ("nan", 0),
        ("inf", 0),
        ("soon", 0),
        ("", 0),
    ],
)
def test_what_is_asked(text: str | None, seconds: float) -> None:
    # The first date is the example of RFC 9110, section 10.2.3.
    now = datetime(1999, 12, 31, 23, 59, 0, tzinfo=UTC)
    assert seconds_asked(text, now) == seconds


@given(st.text())
def test_no_header_is_a_crash(text: str) -> None:
    assert seconds_asked(text, datetime(2026, 1, 1, tzinfo=UTC)) >= 0

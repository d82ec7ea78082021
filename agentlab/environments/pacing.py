"""How long one check may take: an environment whose steps are slow is checked with fewer cases.

A check goes through its cases with `in_time`, which lets the first pass and stops giving more when
the time is used up. The report says where that happened; without a limit nothing is left out, so
what is fast is checked the same on every machine.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
clock = time.monotonic
"""Gives seconds."""


class Pace:
    """The time of one check.

    Args:
        seconds: that it may take before it takes up no further case; any number where None.
    """

    def __init__(self, seconds: float | None) -> None:
        self._until = None if seconds is None else clock() + seconds
        self.cut = False
        """Whether cases were left out."""

    def in_time(self, cases: Iterable[T], *, share: float = 1.0, least: int = 1) -> Generator[T]:
        """The cases, until this share of what time is left now is used up; the first ones always.

        Args:
            cases: in the order of their worth.
            share: of the time that is left when the first is asked for.
            least: how many are given however long they take.
        """
        now = clock()
        until = None if self._until is None else now + max(0.0, self._until - now) * share
        for number, case in enumerate(cases):
            if number >= least and until is not None and clock() >= until:
                self.cut = True
                return
            yield case


_pace: ContextVar[Pace] = ContextVar("pace")
_ALL = Pace(None)


@contextmanager
def paced(seconds: float | None) -> Generator[Pace]:
    """Give what runs within so many seconds."""
    pace = Pace(seconds)
    token = _pace.set(pace)
    try:
        yield pace
    finally:
        _pace.reset(token)


def in_time(cases: Iterable[T], *, share: float = 1.0, least: int = 1) -> Generator[T]:
    """The cases that the check under way has time for; see `Pace.in_time`."""
    return _pace.get(_ALL).in_time(cases, share=share, least=least)


def was_cut() -> bool:
    """Whether the check under way has left out cases so far."""
    return _pace.get(_ALL).cut

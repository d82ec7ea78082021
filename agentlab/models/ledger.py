"""What calls to models have cost, and what is set aside for those under way.

Before a call its greatest cost is reserved, after it the true one is settled. A call whose
reservation does not fit beside what was spent is not made. One that would fit once others have
settled waits for them, in line. So no cap is passed but by what calls under way cost beyond
their reservations, as with an endpoint that does not keep to its limit on tokens.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from pydantic import Field

from agentlab.errors import BudgetSpentError
from agentlab.types import Frozen, Role, Usage


class Caps(Frozen):
    """The most that may be spent on models. None means no limit."""

    tokens: int | None = Field(default=None, ge=0)
    usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class Amount(NamedTuple):
    """Tokens and USD of a call."""

    tokens: int = 0
    usd: float = 0.0

    def exact(self) -> _Exact:
        """In whole numbers, so that sums do not depend on the order in which calls end."""
        usd = self.usd if math.isfinite(self.usd) else 0.0
        return _Exact(max(0, self.tokens), max(0, round(usd * _PARTS)))


class _Exact(NamedTuple):
    tokens: int = 0
    parts: int = 0
    """Of a USD."""

    def __add__(self, other: object) -> _Exact:
        assert isinstance(other, _Exact)
        return _Exact(self.tokens + other.tokens, self.parts + other.parts)

    def usage(self) -> Usage:
        return Usage(tokens=self.tokens, usd=self.parts / _PARTS)


_PARTS = 10**12
"""Of a USD: a millionth of the price of a million tokens at one USD."""


class Reservation:
    """What is set aside for one call until it is settled or released."""

    def __init__(self, role: Role, amount: Amount) -> None:
        self.role: Role = role
        self.amount = amount.exact()


class Ledger:
    """The spending of a run, or of a part of it, by role. For one event loop.

    Args:
        run: caps on all roles together.
        roles: caps on single roles, beside the run's.
        spent: what was spent before, by role, when a run is resumed.
        note: is told of each amount that was spent, before anybody uses what it paid for.
        whole: what the caps on all roles together are of, as a sentence says it.
        refused: is told of each call that was not allowed.
    """

    def __init__(
        self,
        run: Caps | None = None,
        *,
        roles: Mapping[Role, Caps] | None = None,
        spent: Mapping[Role, Usage] | None = None,
        note: Callable[[Role, Amount], None] | None = None,
        whole: str = "the run",
        refused: Callable[[], None] | None = None,
    ) -> None:
        self._whole = whole
        self._refused = refused
        self._note = note
        self._run = run or Caps()
        self._roles = dict(roles or {})
        self._spent: dict[Role, _Exact] = {
            role: Amount(usage.tokens, usage.usd).exact() for role, usage in (spent or {}).items()
        }
        self._held: dict[Reservation, None] = {}
        self._line: deque[asyncio.Future[None]] = deque()

    def caps_usd(self, role: Role) -> bool:
        """Whether anything limits the USD of a role, so that its prices must be known."""
        return any(caps.usd is not None for _, caps, _ in self._limits(role))

    def spent(self, role: Role | None = None) -> Usage:
        """What was settled: tokens and USD of a role, or of all."""
        return self._settled(role).usage()

    def reserved(self, role: Role | None = None) -> Usage:
        """What is set aside for calls under way."""
        return self._under_way(role).usage()

    async def reserve(self, role: Role, amount: Amount) -> Reservation:
        """Set aside what a call may cost, as soon as it fits.

        Raises:
            BudgetSpentError: it does not fit beside what is spent already.
        """
        try:
            self._check(role, amount)
            if self._line or not self._fits(role, amount):
                await self._wait(role, amount)
        except BudgetSpentError:
            if self._refused is not None:
                self._refused()
            raise
        reservation = Reservation(role, amount)
        self._held[reservation] = None
        self._wake()  # the next in line may fit beside this one
        return reservation

    def settle(self, reservation: Reservation, amount: Amount) -> None:
        """Say what the call cost in the end; a second time changes nothing."""
        if reservation not in self._held:
            return
        del self._held[reservation]
        self.charge(reservation.role, amount)

    def release(self, reservation: Reservation) -> None:
        """The call was not made, or failed: nothing was spent."""
        self.settle(reservation, Amount())

    def charge(self, role: Role, amount: Amount) -> None:
        """Count what was spent without a reservation, such as an embedder's tokens."""
        self._spent[role] = self._spent.get(role, _Exact()) + amount.exact()
        if self._note is not None and (amount.tokens > 0 or amount.usd > 0):
            self._note(role, amount)
        self._wake()

    async def _wait(self, role: Role, amount: Amount) -> None:
        """Return when it is this caller's turn and the amount fits."""
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            while self._line[0] is not turn or not self._fits(role, amount):
                await turn
                self._check(role, amount)
                # Woken, and perhaps too early: wait again in the same place.
                place = self._line.index(turn)
                turn = asyncio.get_running_loop().create_future()
                self._line[place] = turn
        except BaseException:
            self._leave(turn)
            raise
        self._line.popleft()

    def _leave(self, turn: asyncio.Future[None]) -> None:
        if turn in self._line:
            self._line.remove(turn)
        self._wake()

    def _wake(self) -> None:
        if self._line and not self._line[0].done():
            self._line[0].set_result(None)

    def _limits(self, role: Role) -> Iterator[tuple[str, Caps, Role | None]]:
        yield self._whole, self._run, None
        if role in self._roles:
            yield f"the {role}", self._roles[role], role

    def _fits(self, role: Role, amount: Amount) -> bool:
        for _, caps, whose in self._limits(role):
            total = self._settled(whose) + self._under_way(whose) + amount.exact()
            if caps.tokens is not None and total.tokens > caps.tokens:
                return False
            if caps.usd is not None and total.parts > caps.usd * _PARTS:
                return False
        return True

    def _check(self, role: Role, amount: Amount) -> None:
        for whose, caps, key in self._limits(role):
            spent = self._settled(key)
            total = spent + amount.exact()
            if caps.tokens is not None and total.tokens > caps.tokens:
                raise BudgetSpentError(
                    f"A call that may take {amount.tokens} tokens does not fit the budget of "
                    f"{whose}: {spent.tokens} of {caps.tokens} tokens are spent; raise that "
                    "budget to go on.",
                    f"{key} tokens" if key else "tokens",
                )
            if caps.usd is not None and total.parts > caps.usd * _PARTS:
                raise BudgetSpentError(
                    f"A call that may cost {amount.usd:.6f} USD does not fit the budget of "
                    f"{whose}: {spent.parts / _PARTS:.6f} of {caps.usd:g} USD are spent; raise "
                    "that budget to go on.",
                    f"{key} usd" if key else "usd",
                )

    def _settled(self, role: Role | None) -> _Exact:
        chosen = [each for name, each in self._spent.items() if role is None or name == role]
        return sum(chosen, _Exact())

    def _under_way(self, role: Role | None) -> _Exact:
        held = [each.amount for each in self._held if role is None or each.role == role]
        return sum(held, _Exact())

"""What luck would have passed: a gate's own pairs, read as people read p-values.

    python -m examples.tiny_policy.lucky WORKSPACE [--orders 1000]

Whoever looks at McNemar's p-value after each pair, and stops when it is below alpha, promotes what
was merely lucky for a while. Here the pairs that a gate measured are read in that way and in the
gate's own, first in the order that was fixed in advance, then in orders drawn at random: the same
weights and the same attempts, only luckier or unluckier in which came first.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agentlab.records import Records, Workspace
from agentlab.statistics import e_process, mcnemar, proportion

ALPHA = 0.05
FEWEST = 8
"""Pairs that differ, before which nobody believes a p-value."""
Pair = tuple[bool, bool]
"""What the incumbent did, and what the candidate did."""


class Peek(NamedTuple):
    """Where reading a p-value after each pair first says to promote."""

    pairs: int
    wins: int
    losses: int
    p: float


def peek(pairs: Sequence[Pair]) -> Peek | None:
    """The first look at which the one-sided p-value is below alpha; None where there is none."""
    wins = losses = 0
    for read, (control, candidate) in enumerate(pairs, start=1):
        if control == candidate:
            continue
        wins += candidate
        losses += control
        if wins + losses >= FEWEST:
            p = mcnemar(losses, wins).one_sided
            if p < ALPHA:
                return Peek(read, wins, losses, p)
    return None


class Luck(NamedTuple):
    """Both ways of reading, over many orders of the same pairs."""

    pairs: int
    wins: int
    losses: int
    orders: int
    peeked: int
    """Orders in which reading p-values promotes."""
    promoted: int
    """Orders in which the gate's evidence does."""
    first: Peek | None
    """Of the order that was fixed in advance."""
    luckiest: Peek | None
    """The soonest of all orders in which only peeking promotes."""

    @property
    def told(self) -> str:
        """In plain words."""
        luckily, firmly = (
            proportion([True] * count + [False] * (self.orders - count))
            for count in (self.peeked, self.promoted)
        )
        assert luckily is not None
        assert firmly is not None
        fixed = "nothing" if self.first is None else f"promotion after {_spelt(self.first)}"
        lines = [
            f"{self.pairs} pairs, {self.wins} won and {self.losses} lost by the candidate. In the "
            f"order that was fixed, a p-value read after each pair says {fixed}.",
            f"In {self.orders} orders of these pairs, p-values promote {luckily.value:.1%} "
            f"({luckily.low:.1%} to {luckily.high:.1%}) and the gate {firmly.value:.1%} "
            f"({firmly.low:.1%} to {firmly.high:.1%}).",
        ]
        if self.luckiest is not None:
            lines.append(f"The luckiest that the gate did not promote: {_spelt(self.luckiest)}.")
        return "\n".join(lines)


def _spelt(found: Peek) -> str:
    return f"{found.pairs} pairs, {found.wins} won and {found.losses} lost, p = {found.p:.3f}"


def luck(pairs: Sequence[Pair], *, orders: int, seed: int = 0) -> Luck:
    """Read pairs in both ways, in their own order and in others.

    Args:
        pairs: as a gate read them.
        orders: how many others.
        seed: draws them.
    """
    rng = random.Random(seed)
    peeked = promoted = 0
    luckiest: Peek | None = None
    for _ in range(orders):
        drawn = rng.sample(pairs, len(pairs))
        found = peek(drawn)
        firm = e_process(drawn, alpha=ALPHA).decision == "promote"
        peeked += found is not None
        promoted += firm
        if found is not None and not firm and (luckiest is None or found.pairs < luckiest.pairs):
            luckiest = found
    return Luck(
        pairs=len(pairs),
        wins=sum(candidate and not control for control, candidate in pairs),
        losses=sum(control and not candidate for control, candidate in pairs),
        orders=orders,
        peeked=peeked,
        promoted=promoted,
        first=peek(pairs),
        luckiest=luckiest,
    )


def gates_of(workspace: Path) -> dict[str, list[Pair]]:
    """The pairs of each gate that has a verdict on both sides, in their order, by candidate."""
    with Records.open(Workspace.open(workspace, create=False)) as records:
        return {
            gate.candidate: [
                (look.control, look.candidate)
                for look in records.gates.looks(gate.id)
                if look.control is not None and look.candidate is not None
            ]
            for gate in records.gates.all()
        }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="What luck would have passed.")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--orders", type=int, default=1000)
    given = parser.parse_args()
    for candidate, pairs in gates_of(given.workspace).items():
        print(f"{candidate}: {luck(pairs, orders=given.orders).told}")


if __name__ == "__main__":
    main()

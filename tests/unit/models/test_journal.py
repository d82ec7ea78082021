"""A killed process forgets no call: what was settled is on the disk before the reply is used."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agentlab.models.journal import ROLES, Journal, larger
from agentlab.models.ledger import Amount, Ledger
from agentlab.types import Role, Usage


def test_what_was_settled_is_written_down_by_role(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "spending.jsonl")
    assert journal.spent() == {}

    async def work() -> None:
        ledger = Ledger(note=journal.note)
        paid: tuple[tuple[Role, int], ...] = (("executor", 30), ("proposer", 5), ("executor", 12))
        for role, tokens in paid:
            held = await ledger.reserve(role, Amount(tokens=100))
            ledger.settle(held, Amount(tokens, usd=tokens / 8))
        ledger.release(await ledger.reserve("curator", Amount(tokens=100)))

    asyncio.run(work())
    assert journal.spent() == {
        "executor": Usage(tokens=42, usd=5.25),
        "proposer": Usage(tokens=5, usd=0.625),
    }


def test_a_line_that_was_cut_off_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "spending.jsonl"
    Journal(path).note("executor", Amount(7))
    with path.open("a") as file:
        file.write('["judge", 9, 0.0]\n["executor", -4, 0.0]\n["executor", "x", 0]\n["executor", 1')
    assert Journal(path).spent() == {"executor": Usage(tokens=7)}


def test_the_larger_account_is_believed() -> None:
    one: dict[Role, Usage] = {"executor": Usage(tokens=5, usd=2.0)}
    other: dict[Role, Usage] = {"executor": Usage(tokens=9, usd=1.0), "curator": Usage(tokens=1)}
    found = larger(one, other)
    assert set(found) == set(ROLES)
    assert found["executor"] == Usage(tokens=9, usd=2.0)
    assert found["curator"] == Usage(tokens=1)

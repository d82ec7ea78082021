"""Policies, their versions and moves, and the gates that decide about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentlab.errors import RecordsError, UnknownNameError, UsageError
from agentlab.records import Records, Workspace
from agentlab.records.gates import GateRow, Look
from agentlab.records.policies import Policy, PolicyVersion

LAB = Policy("lab", "base", "/models/tiny", "a" * 64, "http://127.0.0.1:8000/v1")
ONE = PolicyVersion("lab-v0001-11111111", "lab", "/one", "1" * 64, {"steps": 3})
TWO = PolicyVersion("lab-v0002-22222222", "lab", "/two", "2" * 64, {})


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with Records.open(Workspace.open(tmp_path)) as opened:
        opened.policies.register(LAB)
        opened.policies.add_version(ONE)
        opened.policies.add_version(TWO)
        opened.runs.create("gate-1", config={"command": "gate"}, versions={}, seed=0)
        yield opened


def row(**more: object) -> GateRow:
    """A gate of the first version."""
    plain = GateRow(
        id="gate-1",
        policy="lab",
        environment="courier",
        candidate=ONE.adapter,
        weights_sha256=ONE.weights_sha256,
        incumbent="",
        incumbent_sha256=LAB.base_sha256,
        order_sha256="0" * 64,
        alpha=0.05,
        carried_wins=0,
        carried_losses=0,
        run_id="gate-1",
        plan={"tasks": ["a", "b"]},
    )
    return plain._replace(**more)  # pyright: ignore[reportArgumentType] - fields by name


def look(position: int) -> Look:
    """A look at a tie."""
    return Look(position, f"task-{position}", True, True, 0, 0, 1.0, 1.0)


def test_what_serves_is_the_last_move(records: Records) -> None:
    policies = records.policies
    assert policies.current("lab") == ""
    policies.move("lab", "promotion", ONE.adapter, reason="won", evidence={"gate": "gate-1"})
    policies.move("lab", "promotion", TWO.adapter, reason="won", evidence={})
    assert policies.current("lab") == TWO.adapter
    policies.move("lab", "rollback", ONE.adapter, reason="lost", evidence={})
    moves = policies.moves("lab")
    assert [(m.before, m.after) for m in moves] == [
        ("", ONE.adapter), (ONE.adapter, TWO.adapter), (TWO.adapter, ONE.adapter),
    ]  # fmt: skip
    assert moves[0].evidence == {"gate": "gate-1"}
    with pytest.raises(UsageError, match="nothing to change"):
        policies.move("lab", "rollback", ONE.adapter, reason="", evidence={})


def test_a_name_never_means_other_bytes(records: Records) -> None:
    moved = ONE._replace(path="/elsewhere")
    assert not records.policies.add_version(moved)
    assert records.policies.version(ONE.adapter).path == "/elsewhere"
    with pytest.raises(RecordsError, match="another name"):
        records.policies.add_version(ONE._replace(weights_sha256="9" * 64))


def test_a_policy_keeps_its_base_and_may_move_house(records: Records) -> None:
    assert not records.policies.register(LAB._replace(base_url="http://127.0.0.1:9/v1"))
    assert records.policies.get("lab").base_url.endswith(":9/v1")
    with pytest.raises(RecordsError, match="a policy of its own"):
        records.policies.register(LAB._replace(base_sha256="b" * 64))
    for name in ("", "Lab", "../lab", "lab@1", "x" * 65):
        with pytest.raises(UsageError, match="no name for a policy"):
            records.policies.register(LAB._replace(name=name))
    with pytest.raises(UnknownNameError, match="Did you mean 'lab'"):
        records.policies.get("lap")


def test_a_plan_is_fixed_before_the_first_look(records: Records) -> None:
    assert records.gates.begin(row())
    assert not records.gates.begin(row())
    with pytest.raises(RecordsError, match="fixed before its first task"):
        records.gates.begin(row(plan={"tasks": ["b", "a"]}))


def test_looks_are_taken_once_and_in_order(records: Records) -> None:
    records.gates.begin(row())
    records.gates.look("gate-1", [look(0), look(1)])
    for wrong in ([look(1)], [look(3)], [look(3), look(2)]):
        with pytest.raises(RecordsError, match="once and in order"):
            records.gates.look("gate-1", wrong)
    records.gates.look("gate-1", [look(2)])
    assert [each.position for each in records.gates.looks("gate-1")] == [0, 1, 2]


def test_a_verdict_stands_and_comes_with_its_promotion_or_not_at_all(records: Records) -> None:
    records.gates.begin(row())
    with pytest.raises(UnknownNameError), records.transaction() as part:
        part.gates.decide("gate-1", "promoted", {"reason": "won"})
        part.policies.version("no-such-00000000")
    assert records.gates.get("gate-1").status == "running"
    records.gates.decide("gate-1", "promoted", {"reason": "won"})
    with pytest.raises(RecordsError, match="a verdict stands"):
        records.gates.decide("gate-1", "rejected", {})
    records.gates.add_afterwards("gate-1", {"greedy": 1})
    records.gates.add_afterwards("gate-1", {"greedy": 2})
    found = records.gates.get("gate-1")
    assert (found.status, found.verdict, found.afterwards) == (
        "promoted", {"reason": "won"}, {"greedy": 1},
    )  # fmt: skip
    assert [each.id for each in records.gates.all(weights=ONE.weights_sha256)] == ["gate-1"]
    assert records.gates.all(policy="other") == []

"""Each view against the worked example of its paper, and what it must leave out."""

from __future__ import annotations

import pytest

from agentlab.records.trajectories import Outline
from agentlab.training.samples import Demonstration, Group
from agentlab.training.views.groups import groups
from agentlab.training.views.masked import masked
from agentlab.training.views.pairs import pairs, shown_rounds
from agentlab.training.views.successes import cutoffs, percentile, short_enough, successes
from agentlab.training.views.verdicts import verdicts
from tests.unit.training.attempts import rollout


def outline(name: str, *, steps: int, task: str = "task-a", solved: bool = True) -> Outline:
    """What is known of an attempt without reading it."""
    return Outline(name, task, "group", solved, steps)


def test_pae_keeps_the_short_successes() -> None:
    # Lengths 4, 6 and 10: the 20th percentile is 4.8, so only the first stays.
    assert percentile([4, 6, 10], 0.2) == pytest.approx(4.8)
    assert cutoffs({"task-a": [4, 6, 10]}) == pytest.approx({"task-a": 4.8})
    assert short_enough([outline(f"r{n}", steps=n) for n in (4, 6, 10)]) == {"r4"}
    (kept,) = successes([rollout("r4", [f"p{i}" for i in range(4)])])
    assert kept.weights == (1.0,) * 4


def test_pae_keeps_a_single_success_whatever_its_length() -> None:
    assert short_enough([outline("r", steps=30)]) == {"r"}


def test_pae_looks_at_each_task_and_at_its_successes_alone() -> None:
    made = [
        outline("long", steps=9, task="task-b"),
        outline("short", steps=2),
        outline("failed", steps=1, solved=False),
    ]
    assert short_enough(made) == {"long", "short"}


def test_what_failed_had_help_or_is_unknown_is_no_success() -> None:
    made = [
        rollout("failed", ["x"], reward=0.0),
        rollout("helped", ["x"], assisted=True),
        rollout("unknown", ["x"], reward=None),
    ]
    assert not list(successes(made))


def test_step_leaves_wrong_steps_out_of_the_loss() -> None:
    # Losses 1, 2, 3 and 4 with the second step wrong: 8 in all, 2.666667 in the mean.
    made = rollout("r", ["x", "wall", "y", "z"], refused=["wall"])
    (found,) = masked([Demonstration(made, (1.0,) * 4)])
    assert found.weights == (1.0, 0.0, 1.0, 1.0)
    loss = sum(w * each for w, each in zip(found.weights, (1, 2, 3, 4), strict=True))
    assert loss == 8
    assert loss / sum(found.weights) == pytest.approx(2.666667, abs=1e-6)


def test_eto_shows_five_rounds_more_of_the_rejected_one() -> None:
    # In messages, 6 against 30 are cut to 16: three rounds and five more, two messages each.
    assert 2 * shown_rounds(3, 15) == 16
    assert shown_rounds(3, 4) == 4


def test_pairs_prefer_success_and_a_long_common_way() -> None:
    good = rollout("good", ["a", "b", "c"])
    near = rollout("near", ["a", "b", "x"], reward=0.0)
    far = rollout("far", ["z"], reward=0.0)
    tie = rollout("tie", ["q"], reward=1.0)
    found = list(pairs(Group("g", (far, good, near, tie))))
    assert [(p.chosen.id, p.rejected.id) for p in found[:1]] == [("good", "near")]
    assert {p.rejected.id for p in found} == {"near", "far"}
    assert len(found) == 4


def test_a_group_gives_no_more_pairs_than_allowed() -> None:
    members = [rollout(f"g{i}", ["a"]) for i in range(3)]
    members += [rollout(f"b{i}", ["b"], reward=0.0) for i in range(3)]
    assert len(list(pairs(Group("g", tuple(members)), most=2))) == 2


def test_help_is_never_preferred() -> None:
    helped = rollout("helped", ["a"], assisted=True)
    bad = rollout("bad", ["b"], reward=0.0)
    assert not list(pairs(Group("g", (helped, bad))))


@pytest.mark.parametrize(("solved", "expected"), [(3, 15), (8, 0)])
def test_v_star_s_count_of_pairs(solved: int, expected: int) -> None:
    # Eight attempts with three right give fifteen pairs; eight right give none.
    members = [rollout(f"{n}", [f"p{n}"], reward=float(n < solved)) for n in range(8)]
    assert len(list(pairs(Group("g", tuple(members)), most=100))) == expected


def test_verdicts_leave_out_what_is_unknown() -> None:
    made = [
        rollout("good", ["a"]),
        rollout("bad", ["a"], reward=0.0),
        rollout("unknown", ["a"], reward=None),
        rollout("helped", ["a"], assisted=True),
    ]
    assert [(v.rollout.id, v.good) for v in verdicts(made)] == [("good", True), ("bad", False)]


def test_groups_come_when_they_are_whole() -> None:
    one, two = rollout("one", ["a"]), rollout("two", ["b"], of="b")
    three = rollout("three", ["c"])
    found = list(groups([one, two, three], {"group-a": 2, "group-b": 1}))
    assert [[r.id for r in group.rollouts] for group in found] == [["two"], ["one", "three"]]
    assert found[1].rewards == (1.0, 1.0)


def test_a_group_that_lost_a_member_comes_at_the_end() -> None:
    found = list(groups([rollout("one", ["a"])], {"group-a": 2}))
    assert [group.id for group in found] == ["group-a"]

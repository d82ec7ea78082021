"""Which moves brought about which clause, and from which state."""

from __future__ import annotations

from agentlab.curators.examples import Move, examples, facts, grammar_of
from agentlab.types import Clause, JsonObject, PastAttempt, Skill, Trajectory
from tests.unit.curators.lessons import (
    Done,
    WordGrammar,
    call,
    courier_attempts,
    courier_context,
    held,
    lesson,
    on,
    thing,
)

A, B, C = thing("a"), thing("b", hue="blue"), thing("c", kind="box")
EVERYTHING = (A, B, C)
SKILL = Skill(
    id="skill-1",
    name="put_on",
    environment="words",
    source="",
    parameters=(),
    summary="",
    effect_source="",
)


def _state(*names: object, hand: object = None) -> JsonObject:
    return {"on": list(names), "held": hand}  # type: ignore[dict-item, list-item]


def _two_clauses(*, success: bool | None = True) -> PastAttempt:
    return lesson(
        1,
        [held(A), on(B)],
        EVERYTHING,
        _state(),
        [
            Done(call("grab", x=A.reference), _state(hand=A.reference)),
            Done(call("drop"), _state()),
            Done(call("press", x=B.reference), _state(B.reference)),
        ],
        success=success,
    )


def test_cut_where_each_clause_first_held() -> None:
    first, second = examples([_two_clauses()], WordGrammar(), compose=True)
    assert first.predicate == "held"
    assert first.bound == {"x": A.reference}
    assert first.moves == (Move("grab", False, {"x": A.reference}),)
    assert (first.before, first.after) == (_state(), _state(hand=A.reference))
    assert first.shape == ("held", "grab")
    assert second.shape == ("on", "drop", "press")
    assert second.before == _state(hand=A.reference)
    assert second.bound == {"x": B.reference}
    assert (second.task_id, second.attempt_id, second.setup) == ("task-1", "attempt-1", "easy")
    assert second.entities == EVERYTHING


def test_only_successes_with_states_and_a_mission_teach() -> None:
    grammar = WordGrammar()
    assert examples([_two_clauses(success=False)], grammar, compose=True) == []
    assert examples([_two_clauses(success=None)], grammar, compose=True) == []
    past = _two_clauses()
    assert examples([past._replace(trajectory=None)], grammar, compose=True) == []
    unasked = past._replace(task=past.task.model_copy(update={"mission": None}))
    assert examples([unasked], grammar, compose=True) == []
    trajectory = past.trajectory
    assert trajectory is not None
    for blind in (
        trajectory.model_copy(update={"initial_state": None}),
        trajectory.model_copy(
            update={"steps": tuple(s.model_copy(update={"state": None}) for s in trajectory.steps)}
        ),
    ):
        assert examples([past._replace(trajectory=blind)], grammar, compose=True) == []


def test_a_clause_that_never_showed_spoils_the_attempt() -> None:
    past = lesson(1, [held(A), on(C)], EVERYTHING, _state(), _two_clauses_steps())
    assert examples([past], WordGrammar(), compose=True) == []


def _two_clauses_steps() -> list[Done]:
    return [Done(call("grab", x=A.reference), _state(hand=A.reference))]


def test_clauses_met_by_one_move_are_one_example() -> None:
    past = lesson(
        1,
        [on(A), on(B)],
        EVERYTHING,
        _state(),
        [Done(call("press", x=A.reference), _state(A.reference, B.reference))],
    )
    (only,) = examples([past], WordGrammar(), compose=True)
    assert only.bound == {"x": A.reference}


def test_a_description_that_fits_two_means_the_one_that_was_handled() -> None:
    red = Clause(predicate="on", arguments={"x": {"hue": "red"}})
    past = lesson(
        1,
        [red],
        EVERYTHING,
        _state(),
        [Done(call("press", x=C.reference), _state(C.reference))],
    )
    (only,) = examples([past], WordGrammar(), compose=True)
    assert only.bound == {"x": C.reference}


def _by_skill(covers: int, border: int) -> PastAttempt:
    """Three presses, of which a skill made the first `covers`; B is on after `border`."""
    states = [_state(B.reference) if place >= border else _state() for place in (1, 2, 3)]
    done = [Done(call("press", x=C.reference), state) for state in states]
    done[0] = done[0]._replace(skill=SKILL, arguments={"x": C.reference}, covers=covers)
    return lesson(1, [on(B)], EVERYTHING, _state(), done)


def test_skill_calls_stay_calls_or_are_unfolded() -> None:
    (kept,) = examples([_by_skill(2, 3)], WordGrammar(), compose=True)
    assert kept.moves[0] == Move("put_on", True, {"x": C.reference})
    assert kept.shape == ("on", "*put_on", "press")
    (unfolded,) = examples([_by_skill(2, 3)], WordGrammar(), compose=False)
    assert unfolded.shape == ("on", "press", "press", "press")


def test_a_skill_call_across_a_border_teaches_nothing() -> None:
    assert examples([_by_skill(2, 1)], WordGrammar(), compose=True) == []
    assert len(examples([_by_skill(2, 1)], WordGrammar(), compose=False)) == 1
    assert len(examples([_by_skill(2, 2)], WordGrammar(), compose=True)) == 1


def test_facts() -> None:
    found = facts({"at": {"b": 1, "a": 2}, "on": ["x", "x"], "none": None})
    assert found == {
        ("at", False, '{"a":2,"b":1}'),
        ("on", True, '"x"'),
        ("none", False, "null"),
    }
    assert facts({}) == set()


def test_the_couriers_deliveries() -> None:
    attempts = courier_attempts("delivered", "open", 4)
    context = courier_context(attempts)
    found = examples(attempts, grammar_of(context), compose=True)
    assert len(found) == 4
    assert {example.shape for example in found} == {("delivered", "walk", "take", "walk", "put_in")}
    for example, past in zip(found, attempts, strict=True):
        trajectory: Trajectory | None = past.trajectory
        assert trajectory is not None
        assert example.bound == {
            "item": trajectory.steps[1].call.arguments["item"],
            "container": trajectory.steps[3].call.arguments["container"],
        }

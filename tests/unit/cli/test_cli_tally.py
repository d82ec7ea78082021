from __future__ import annotations

from agentlab.analysis.tally import Plan, Rate, Tally
from agentlab.config import BudgetConfig, PracticeConfig
from agentlab.events import AttemptFinished, Event, RoundFinished, SkillMoved

RUN = "run-0123456789abcdef"


def _after(events: tuple[Event, ...], until: type[Event] | None = None, *, times: int = 1) -> Tally:
    tally = Tally(Plan(rounds=2, attempts=10))
    for event in events:
        tally.add(event)
        if until is not None and isinstance(event, until):
            times -= 1
            if times == 0:
                break
    return tally


def test_counts_tasks_by_rule(run_events: tuple[Event, ...]) -> None:
    tally = _after(run_events)
    assert (tally.proposed, tally.admitted) == (24, 20)
    assert tally.rejected == {"reserved seed": 2, "duplicate": 2}
    assert tally.rejections() == "4 rejected (2 reserved seed, 2 duplicate)"


def test_success_now_and_at_first(run_events: tuple[Event, ...]) -> None:
    first = _after(run_events, RoundFinished)
    assert first.now == first.first == first.this_round == Rate(2, 10)
    last = _after(run_events)
    assert last.first == Rate(2, 10)
    assert last.now == last.this_round == Rate(5, 10)


def test_success_now_moves_over_the_latest_verdicts(run_events: tuple[Event, ...]) -> None:
    tally = Tally(Plan(attempts=4))
    for success in (True, True, False, False, False, True):
        tally.add(AttemptFinished(run_id=RUN, success=success))
    assert tally.now == Rate(1, 4)
    assert tally.this_round == Rate(3, 6)


def test_what_has_no_verdict_counts_in_no_rate() -> None:
    tally = Tally(Plan())
    tally.add(AttemptFinished(run_id=RUN, success=True, attempt_kind="shadow"))
    tally.add(AttemptFinished(run_id=RUN, success=None))
    tally.add(AttemptFinished(run_id=RUN, success=False, status="infrastructure_failure"))
    tally.add(AttemptFinished(run_id=RUN, success=True, attempt_kind="evaluation"))
    assert tally.now == Rate(0, 0)
    assert str(tally.now) == "no verdict yet"
    assert tally.attempts == 3


def test_a_rate_is_said_with_its_n_and_interval() -> None:
    assert str(Rate(5, 10)) == "50% (24% to 76%, n=10)"


def test_skills_move(run_events: tuple[Event, ...]) -> None:
    tally = _after(run_events)
    assert (tally.skills_admitted, tally.skills_retired, tally.active) == (2, 1, 1)
    assert tally.latest == "retired deliver_0: no use"
    tally.add(SkillMoved(run_id=RUN, round=1, name="deliver_0", before="retired", after="active"))
    assert (tally.skills_admitted, tally.active) == (2, 2)


def test_budget_left_follows_what_was_spent(run_events: tuple[Event, ...]) -> None:
    config = PracticeConfig(
        rounds=2, attempts=10, budget=BudgetConfig(attempts=100, steps=1000, seconds=60)
    )
    now = [0.0]
    tally = Tally(Plan.of(config.model_dump(mode="json")), clock=lambda: now[0])
    for event in run_events:
        tally.add(event)
    now[0] = 15.0
    assert tally.budget_left() == "78 attempts, 890 steps, 0:45"


def test_without_a_budget_the_rounds_say_what_is_left(run_events: tuple[Event, ...]) -> None:
    tally = _after(run_events, RoundFinished)
    assert tally.budget_left() == "10 of 20 attempts"
    assert Tally(Plan()).budget_left() == "no limit"


def test_a_resumed_run_does_not_pretend_to_know_its_first_round() -> None:
    tally = Tally(Plan(rounds=6, attempts=10))
    tally.add(AttemptFinished(run_id=RUN, round=3, success=True))
    assert tally.first is None
    assert tally.first_in_words() == "before this process began"
    assert tally.round_name() == "round 4 of 6"

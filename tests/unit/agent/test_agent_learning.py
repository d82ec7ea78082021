"""What an agent is told afterwards and what it makes of it, each in its own scope."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentlab import Agent
from agentlab.agent import LearningReport
from agentlab.agent.rewriting import Rewriting
from agentlab.errors import UnknownNameError, UsageError
from agentlab.records import Records, Workspace
from agentlab.records.feedback import BEFORE
from agentlab.types import SHARED, AttemptKind, AttemptOutcome, Insight, Scope, Score
from tests.unit.records.samples import RUN, a_skill, a_spec, a_task, an_outcome, opened

RULES = "scripted:tests.unit.agent.agent_rules"
ACME, OTHER = Scope(tenant="acme"), Scope(tenant="other")


def chatting(place: Path, **options: object) -> Agent:
    return Agent(
        "courier",
        model=f"{RULES}:succeeding",
        library=place,
        evaluator="verifier",
        **options,  # pyright: ignore[reportArgumentType] - a few of them, in tests
    )


# --- feedback ---------------------------------------------------------------------------------


def test_what_a_person_says_is_the_score_where_no_verifier_decided(tmp_path: Path) -> None:
    with chatting(tmp_path) as agent:
        result = agent.run("make me happy")
        assert agent.feedback(result, success=True, comment="thank you")
        assert not agent.feedback(result, success=True, comment="thank you")
        assert agent.feedback(result.attempt_id, success=False)
    with Records.open(Workspace.open(tmp_path)) as records:
        score = records.trajectories.outcome(result.attempt_id).score
        assert (score.success, score.value, score.source) == (False, 0.0, "human")
        assert score.evidence[BEFORE] is not None
        said = records.feedback.of(result.attempt_id)
    assert [(row.success, row.comment) for row in said] == [(True, "thank you"), (False, "")]


@pytest.mark.parametrize(
    ("score", "counts"),
    [
        (Score(value=0.0, success=False, source="verifier"), False),
        (Score(value=0.0, success=False, source="judge"), True),
        (Score(source="judge"), True),
        (Score(source="verifier"), True),
    ],
    ids=["a verifier outranks", "a judge is outranked", "a judge unsure", "no verdict"],
)
def test_who_outranks_whom(tmp_path: Path, score: Score, counts: bool) -> None:
    with opened(tmp_path) as records:
        spec = a_spec(0, a_task(0), kind="production")
        records.attempts.record(spec, an_outcome(spec).model_copy(update={"score": score}))
        assert records.feedback.add(spec.id, success=True)
        kept = records.trajectories.outcome(spec.id).score
        assert kept.source == ("human" if counts else "verifier")
        (row,) = records.attempts.all(RUN)
        assert row.success is (True if counts else False)


def test_feedback_is_the_outcome_of_the_draws(tmp_path: Path) -> None:
    item = Insight(id="insight-1", environment="courier", condition="happy", advice="smile")
    with Records.open(Workspace.open(tmp_path)) as records:
        records.items.save_insight(item)
        for status in ("quarantined", "verified", "active"):
            records.items.move(item.id, status, reason="tested")
    with chatting(tmp_path) as agent:
        results = [agent.run("be happy") for _ in range(6)]
        for result in results:
            agent.feedback(result, success=bool(result.skills_offered))
    with Records.open(Workspace.open(tmp_path)) as records:
        draws = records.draws.all(item_id=item.id)
    assert len(draws) == 6 and {draw.withheld for draw in draws} == {True, False}
    assert all(draw.success is not draw.withheld for draw in draws)


def test_agents_of_one_request_each_draw_anew(tmp_path: Path) -> None:
    """As in a web application that makes an agent for each request."""
    item = Insight(id="insight-1", environment="courier", condition="happy", advice="smile")
    with Records.open(Workspace.open(tmp_path)) as records:
        records.items.save_insight(item)
        for status in ("quarantined", "verified", "active"):
            records.items.move(item.id, status, reason="tested")
    for _ in range(10):
        with chatting(tmp_path) as agent:
            agent.run("be happy")
    with Records.open(Workspace.open(tmp_path)) as records:
        draws = records.draws.all(item_id=item.id)
    assert len(draws) == 10 and {draw.withheld for draw in draws} == {True, False}


def test_failed_and_helped_attempts_still_count_nowhere(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        broken, helped = (a_spec(n, a_task(n), kind="production") for n in range(2))
        failed = AttemptOutcome(attempt_id=broken.id, status="infrastructure_failure", error="x")
        records.attempts.record(broken, failed)
        unsure = an_outcome(helped).model_copy(update={"score": Score(), "assisted": True})
        records.attempts.record(helped, unsure)
        for spec in (broken, helped):
            assert records.feedback.add(spec.id, success=True)
        assert [row.success for row in records.attempts.all(RUN)] == [None, None]


def test_feedback_later_from_another_process_and_from_no_other_tenant(tmp_path: Path) -> None:
    with chatting(tmp_path, tenant="acme", user="ann") as agent:
        key = agent.run("make me happy").attempt_id
    script = (
        "from agentlab.records import Records, Workspace; from agentlab.types import Scope\n"
        f"with Records.open(Workspace.open({str(tmp_path)!r})) as records:\n"
        f"    print(records.feedback.add({key!r}, success=True, scope=Scope.parse('acme/ann')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True"]
    for scope in (SHARED, ACME, OTHER, Scope(tenant="acme", user="ben")):
        with (
            chatting(tmp_path, scope=scope) as agent,
            pytest.raises(UnknownNameError, match="of this scope"),
        ):
            agent.feedback(key, success=False)


def test_what_measures_the_library_is_not_for_people_to_say(tmp_path: Path) -> None:
    """Ids follow from the run, round and place; a held-out result must not be anybody's to set."""
    kinds: tuple[AttemptKind, ...] = ("practice", "shadow", "evaluation")
    with opened(tmp_path) as records:
        for number, kind in enumerate(kinds):
            spec = a_spec(number, a_task(number), kind=kind)
            unsure = an_outcome(spec).model_copy(update={"score": Score(source="judge")})
            records.attempts.record(spec, unsure)
            with pytest.raises(UnknownNameError, match="of this scope"):
                records.feedback.add(spec.id, success=True)
            assert records.trajectories.outcome(spec.id).score.source == "judge"


# --- scopes -----------------------------------------------------------------------------------


def test_what_an_agent_does_is_its_scopes(tmp_path: Path) -> None:
    with chatting(tmp_path, tenant="acme") as agent:
        agent.run("make me happy", session="one")
        assert agent.scope == ACME
    with Records.open(Workspace.open(tmp_path)) as records:
        (run,) = records.runs.all()
        assert run.scope == "acme"
        assert [row.scope for row in records.attempts.all(run.run_id)] == ["acme"]
        assert [r.said for r in records.requests.latest("courier", scope=ACME)] == ["make me happy"]
        assert records.requests.latest("courier") == []
        assert records.requests.latest("courier", scope=OTHER) == []
    with pytest.raises(UsageError, match="not both"):
        chatting(tmp_path, tenant="acme", scope=OTHER)


# --- rephrasing -------------------------------------------------------------------------------


def _teach(agent: Agent, conversations: int) -> None:
    """Users ask for joy in vain, and say it again as happiness."""
    for number in range(conversations):
        session = f"conversation {number}"
        first = agent.run("give me joy", session=session)
        agent.feedback(first, success=first.rewritten_from is not None)
        if first.rewritten_from is None:
            agent.feedback(agent.run("make me happy", session=session), success=True)


def test_a_request_that_was_said_again_is_rewritten_and_measured(tmp_path: Path) -> None:
    with chatting(tmp_path, learning="on", tenant="acme") as agent:
        _teach(agent, 10)
        agent.learn()
        results = [agent.run("Give me JOY!", session=f"later {n}") for n in range(8)]
    changed = [result for result in results if result.rewritten_from is not None]
    left = [result for result in results if result.rewritten_from is None]
    assert changed and left, "now and then it is left as it is, so that it is measured"
    assert {result.instruction for result in changed} == {"make me happy"}
    assert {result.rewritten_from for result in changed} == {"Give me JOY!"}
    assert {result.instruction for result in left} == {"Give me JOY!"}
    with Records.open(Workspace.open(tmp_path)) as records:
        (rewrite,) = Rewriting(records, "courier", ACME).look_again().values()
        draws = records.draws.all(item_id=rewrite.id, scope=ACME)
        assert [draw.withheld for draw in draws] == [r.rewritten_from is None for r in results]
        assert records.draws.all(item_id=rewrite.id) == []
        assert Rewriting(records, "courier", OTHER).look_again() == {}
    with chatting(tmp_path, learning="on", tenant="other") as agent:
        assert agent.run("give me joy").rewritten_from is None
    with chatting(tmp_path, learning="observe", tenant="acme") as agent:
        assert agent.run("give me joy").rewritten_from is None


def test_words_that_say_what_is_verified_are_not_rewritten(tmp_path: Path) -> None:
    """Another goal in their place may succeed more often, and is not what was asked for."""
    with chatting(tmp_path, learning="on") as agent:
        for number in range(10):
            assert agent.run("Go to the market.", session=f"{number}").success is False
            agent.feedback(agent.run("make me happy", session=f"{number}"), success=True)
        assert list(agent._engine._rewriting.look_again()) == ["go to the market"]  # pyright: ignore[reportPrivateUsage] - what was mined
        results = [agent.run("Go to the market.") for _ in range(8)]
    assert {result.instruction for result in results} == {"Go to the market."}


def test_an_attempt_that_broke_off_says_nothing_of_its_words(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        specs = [a_spec(n, a_task(n), kind="production") for n in range(3)]
        broken = AttemptOutcome(attempt_id=specs[0].id, status="infrastructure_failure", error="x")
        records.attempts.record(specs[0], broken)
        records.attempts.record(specs[1], an_outcome(specs[1]))
        records.attempts.plan(RUN, 0, [specs[2]])
        for spec in specs:
            records.requests.add(spec.id, environment="courier", session="s", said="go", asked="go")
        kept = [row.attempt_id for row in records.requests.latest("courier")]
        assert kept == [specs[1].id]


def test_a_rewrite_that_does_harm_is_used_no_more(tmp_path: Path) -> None:
    with chatting(tmp_path, learning="on") as agent:
        _teach(agent, 10)
        rewriting = Rewriting(agent_records(agent), "courier", SHARED)
        assert list(rewriting.look_again()) == ["give me joy"]
        for number in range(60):
            result = agent.run("give me joy", session=f"later {number}")
            agent.feedback(result, success=result.rewritten_from is None)
        assert rewriting.look_again() == {}


def agent_records(agent: Agent) -> Records:
    return agent._engine.records  # pyright: ignore[reportPrivateUsage] - the one that is open


# --- learning ---------------------------------------------------------------------------------


def test_learning_off_withholds_nothing_and_keeps_the_attempt_alone(tmp_path: Path) -> None:
    item = Insight(id="insight-1", environment="courier", condition="happy", advice="smile")
    with Records.open(Workspace.open(tmp_path)) as records:
        records.items.save_insight(item)
        for status in ("quarantined", "verified", "active"):
            records.items.move(item.id, status, reason="tested")
    with chatting(tmp_path, learning="off") as agent:
        results = [agent.run("be happy", session="one") for _ in range(8)]
        with pytest.raises(UsageError, match="learning is off"):
            agent.learn()
    assert all(result.skills_offered == ("insight-1",) for result in results)
    with Records.open(Workspace.open(tmp_path)) as records:
        assert records.requests.latest("courier") == []
        draws = records.draws.all(item_id=item.id)
        assert {draw.probability for draw in draws} == {0.0}, "which counts in no estimate"


def test_nothing_is_learnt_from_nothing(tmp_path: Path) -> None:
    with Agent("courier", library=tmp_path, learning="on") as agent:
        report = agent.learn()
    assert report == LearningReport(
        run_id="", attempts=0, solved=0, candidates=0, admitted=(), refused=0, waiting=0
    )


def test_what_waits_from_earlier_is_told_of_its_own_scope(tmp_path: Path) -> None:
    with Records.open(Workspace.open(tmp_path)) as records:
        for name, scope in (("carry", ACME), ("walk", SHARED)):
            skill = a_skill(name).model_copy(update={"environment": "courier"})
            records.items.save_skill(skill, scope=scope)
            records.items.move(skill.id, "quarantined", reason="use: none")
    for scope, waiting in ((ACME, 1), (SHARED, 1), (OTHER, 0)):
        with Agent("courier", library=tmp_path, scope=scope, learning="on") as agent:
            assert agent.learn().waiting == waiting

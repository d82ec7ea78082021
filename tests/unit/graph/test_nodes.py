"""The nodes of a round, called as plain functions over real records, workers and a real world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agentlab.config import PracticeConfig, load_config
from agentlab.envs.courier.environment import Courier
from agentlab.errors import RecordsError
from agentlab.events import (
    AttemptFinished,
    Event,
    SkillMoved,
    TaskAdmitted,
    TaskRejected,
    TasksChecked,
)
from agentlab.graph import nodes, selection
from agentlab.graph.admit import admit
from agentlab.graph.practice import (
    LEAST_STEPS,
    LaneState,
    Practice,
    RunState,
    RunStopped,
    toolset_name,
)
from agentlab.graph.workers import WorkerPool
from agentlab.library.skills import SkillLibrary
from agentlab.protocols import ProposalContext
from agentlab.records import Records, Workspace
from agentlab.types import (
    AttemptSpec,
    EnvironmentRef,
    Limits,
    Skill,
    Task,
    ToolCall,
    Usage,
    attempt_id,
)

T = TypeVar("T")
RUN = "run-1"
SMALL: dict[str, Any] = {
    "environment": "courier",
    "seed": 3,
    "rounds": 2,
    "proposals": 16,
    "attempts": 14,
    "tool_calls": 150,
    "heldout": 0,
    "concurrency": 2,
    "index": "exact",
    "admission.trials": 6,
    "admission.trial_tool_calls": 80,
    "admission.replays": 3,
}


class Log:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def _with_practice(
    path: Path,
    work: Callable[[Practice, Log], Coroutine[Any, Any, T]],
    *,
    stop: Callable[[], bool] = lambda: False,
    options: Mapping[str, Any] | None = None,
) -> T:
    config = load_config(None, **{**SMALL, **(options or {})})

    async def main() -> T:
        pool = WorkerPool(1)
        with Records.open(Workspace.open(path)) as records:
            if RUN not in {row.run_id for row in records.runs.all()}:
                spelt = config.model_dump(mode="json")
                records.runs.create(RUN, config=spelt, versions={}, seed=config.seed)
            toolset = toolset_name(Courier().tools)
            with SkillLibrary(records, "courier", toolset=toolset, backend="exact") as library:
                log = Log()
                practice = Practice(RUN, config, records, pool, library, (log,), stop=stop)
                try:
                    return await work(practice, log)
                finally:
                    pool.close()

    return asyncio.run(main())


def _state(round_: int = 0) -> RunState:
    return RunState(run_id=RUN, round=round_, planned=0, finished=False)


async def _attempts(practice: Practice, round_: int = 0) -> None:
    lanes = [_lane(lane, round_) for lane in range(max(2, practice.lanes(round_)))]
    await asyncio.gather(*(nodes.attempt(lane, practice) for lane in lanes))


def _lane(lane: int = 0, round_: int = 0) -> LaneState:
    return LaneState(round=round_, lane=lane)


async def _round(practice: Practice, round_: int = 0, *, times: int = 1) -> None:
    """A whole round, each node so many times."""
    state = _state(round_)
    for node in (nodes.propose, selection.select):
        for _ in range(times):
            await node(state, practice)
    for _ in range(times):
        await _attempts(practice, round_)
    for node in (nodes.curate, admit, nodes.end_round):
        for _ in range(times):
            await node(state, practice)


def _comparable(records: Records) -> list[object]:
    return [event.comparable() for event in records.events.all(RUN)]


def _content(practice: Practice) -> dict[str, object]:
    records = practice.records
    return {
        "events": _comparable(records),
        "tasks": [task.id for task in records.tasks.all(RUN, admitted=None)],
        "attempts": [
            (a.attempt_id, a.kind, a.success, a.tool_calls) for a in records.attempts.all(RUN)
        ],
        "skills": [(r.item.id, r.status, r.reason) for r in records.items.skills()],
        "charged": records.budgets.charged(RUN),
        "version": practice.library.version,
    }


def test_a_node_that_runs_twice_has_one_effect(tmp_path: Path) -> None:
    async def twice(practice: Practice, log: Log) -> tuple[dict[str, object], list[Event]]:
        for round_ in range(2):
            await _round(practice, round_, times=2)
        return _content(practice), log.events

    async def once(practice: Practice, log: Log) -> tuple[dict[str, object], list[Event]]:
        for round_ in range(2):
            await _round(practice, round_)
        return _content(practice), log.events

    doubled, told_twice = _with_practice(tmp_path / "twice", twice)
    single, told_once = _with_practice(tmp_path / "once", once)
    assert doubled == single
    keys = [e.comparable() for e in told_twice]
    assert sorted(map(str, keys)) == sorted(str(e.comparable()) for e in told_once)
    skills = single["skills"]
    assert isinstance(skills, list)
    assert skills


def test_another_process_finds_it_done(tmp_path: Path) -> None:
    async def first(practice: Practice, log: Log) -> dict[str, object]:
        await _round(practice)
        return _content(practice)

    async def again(practice: Practice, log: Log) -> dict[str, object]:
        await _round(practice)
        assert log.events == [], "nothing is told twice"
        return _content(practice)

    assert _with_practice(tmp_path, first) == _with_practice(tmp_path, again)


def test_what_a_killed_round_left_is_used(tmp_path: Path) -> None:
    """Half of the attempts are on record; the rest run, and all count once."""

    async def half(practice: Practice, log: Log) -> None:
        await nodes.propose(_state(), practice)
        await selection.select(_state(), practice)
        enough = len(practice.planned(0)) // 2
        practice.stop = lambda: sum(isinstance(e, AttemptFinished) for e in log.events) >= enough
        with pytest.raises(RunStopped):
            await nodes.attempt(_lane(), practice)

    async def rest(practice: Practice, log: Log) -> dict[str, object]:
        before = practice.recorded(0)
        assert len(before) == len(practice.planned(0)) // 2
        await _round(practice)
        return _content(practice)

    async def whole(practice: Practice, log: Log) -> dict[str, object]:
        await _round(practice)
        return _content(practice)

    _with_practice(tmp_path / "killed", half)
    assert _with_practice(tmp_path / "killed", rest) == _with_practice(tmp_path / "whole", whole)


class _Smuggler:
    """Proposes what is kept for evaluation, however it is labelled."""

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        courier = Courier()
        heldout = courier.tasks("heldout", 3, 1)
        relabelled = [t.model_copy(update={"split": "practice"}) for t in heldout]
        dev = [t.model_copy(update={"split": "practice"}) for t in courier.tasks("dev", 3, 1)]
        leave = ToolCall(tool="leave")
        tasks = [*heldout, *relabelled, *dev, *courier.tasks("practice", 4, 1)]
        return [t.model_copy(update={"failing": ((leave,), (leave, leave))}) for t in tasks]


def test_how_far_the_proposals_are_is_told_and_never_recorded(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> None:
        await nodes.propose(_state(), practice)
        told = [(e.done, e.total) for e in log.events if isinstance(e, TasksChecked)]
        count = len(practice.records.tasks.all(RUN, admitted=None))
        assert count == 16
        assert told == [(0, 0), *((done, count) for done in range(count + 1))]
        assert isinstance(log.events[-1], TaskAdmitted | TaskRejected)
        kinds = {event.kind for event in practice.records.events.all(RUN)}
        assert kinds <= {"TaskAdmitted", "TaskRejected"}

    _with_practice(tmp_path, work)


def test_heldout_tasks_cannot_enter(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> None:
        practice.proposer = _Smuggler()
        await nodes.propose(_state(), practice)
        records = practice.records
        admitted = records.tasks.all(RUN)
        assert 0 < len(admitted) <= 4
        assert all(practice.split_rule.refusal(task) is None for task in admitted)
        refused = [e for e in log.events if isinstance(e, TaskRejected)]
        assert sum(e.reason.startswith("reserved") for e in refused) == 9
        await selection.select(_state(), practice)
        planned = practice.planned(0)
        assert {spec.task.id for spec in planned.values()} <= {task.id for task in admitted}

    _with_practice(tmp_path, work)


def test_heldout_tasks_cannot_be_practised_or_learnt_from(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> None:
        task = Courier().tasks("heldout", 1, 1)[0]
        spec = AttemptSpec(
            id=attempt_id(RUN, 0, 0),
            run_id=RUN,
            round=0,
            slot=0,
            task=task,
            group_id="g",
            seed=1,
            environment=EnvironmentRef(name="courier"),
            executor="oracle",
            limits=Limits(),
        )
        with pytest.raises(RecordsError, match="reserved for heldout"):
            practice.records.attempts.plan(RUN, 0, [spec])
        measured = spec.model_copy(update={"kind": "evaluation"})
        outcome = await nodes.run_attempt(measured, evaluator="verifier", pool=practice.pool)
        assert outcome.success
        practice.records.attempts.record(measured, outcome)
        assert practice.records.trajectories.learnable(RUN) == []
        assert practice.records.attempts.template_outcomes(RUN) == []
        await nodes.curate(_state(), practice)
        assert practice.records.items.skills() == []

    _with_practice(tmp_path, work)


def _spent(practice: Practice) -> tuple[int, int]:
    records = practice.records
    usage = records.attempts.spent(RUN) + records.budgets.charged(RUN)
    return usage.attempts, usage.steps


def test_what_a_round_may_take_is_set_aside_before_and_settled_after(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> None:
        budgets, run = practice.records.budgets, practice.run_id
        await nodes.propose(_state(), practice)
        assert budgets.reserved(run) == Usage()
        await selection.select(_state(), practice)
        planned = practice.planned(0).values()
        promised = budgets.reserved(run)
        assert promised.attempts == len(planned) > 0
        assert promised.tool_calls == sum(spec.limits.tool_calls for spec in planned)
        before = practice.left()
        assert before.attempts == 30 - len(planned), "promised attempts are not left"
        await _attempts(practice)
        await nodes.curate(_state(), practice)
        assert budgets.reserved(run) == Usage()
        assert budgets.charged(run) == Usage(), "attempts count themselves"
        assert practice.left().attempts == before.attempts

    _with_practice(tmp_path, work, options={"budget.attempts": 30})


@pytest.mark.parametrize("attempts", [0, 5, 22])
def test_the_budget_of_attempts_is_kept(tmp_path: Path, attempts: int) -> None:
    async def work(practice: Practice, log: Log) -> int:
        for round_ in range(2):
            await _round(practice, round_)
        if attempts:
            assert practice.exhausted() == "attempts" or _spent(practice)[0] < attempts
        return _spent(practice)[0]

    found = _with_practice(tmp_path, work, options={"budget.attempts": attempts})
    assert found <= attempts
    assert attempts == 0 or found > 0


@pytest.mark.parametrize("steps", [100, 3000])
def test_the_budget_of_steps_is_kept(tmp_path: Path, steps: int) -> None:
    in_flight = 30

    async def work(practice: Practice, log: Log) -> tuple[int, int]:
        for round_ in range(2):
            await _round(practice, round_)
        return _spent(practice)

    attempts, found = _with_practice(tmp_path, work, options={"budget.steps": steps})
    assert found <= steps + attempts * in_flight
    assert (attempts == 0) == (steps < LEAST_STEPS)


def test_out_of_time_no_attempt_begins(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> None:
        await nodes.propose(_state(), practice)
        await selection.select(_state(), practice)
        assert practice.planned(0)
        practice.spent_before = 100.0
        await _attempts(practice)
        assert practice.records.attempts.count(RUN) == 0
        update = await nodes.end_round(_state(), practice)
        assert update.get("finished") is True
        assert practice.exhausted() == "seconds"

    _with_practice(tmp_path, work, options={"budget.seconds": 60.0})


def test_asked_to_stop(tmp_path: Path) -> None:
    asked = [False]

    async def work(practice: Practice, log: Log) -> None:
        await nodes.propose(_state(), practice)
        await selection.select(_state(), practice)
        asked[0] = True
        with pytest.raises(RunStopped):
            await _attempts(practice)

    _with_practice(tmp_path, work, stop=lambda: asked[0])


def test_the_last_round_ends_the_run(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> None:
        first = await nodes.end_round(_state(0), practice)
        assert (first.get("round"), first.get("finished")) == (1, False)
        last = await nodes.end_round(_state(1), practice)
        assert (last.get("round"), last.get("finished")) == (2, True)

    _with_practice(tmp_path, work)


def _broken_skill(source: str, name: str) -> Skill:
    toolset = toolset_name(Courier().tools)
    return Skill(
        id=f"skill-{name}",
        name=name,
        environment="courier",
        toolset=toolset,
        source=source,
        parameters=(),
        summary="",
        effect_source="def check(initial, final):\n    return True\n",
    )


def test_candidates_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """Beside an active one, with which they are compared."""

    async def work(practice: Practice, log: Log) -> None:
        items = practice.records.items
        good = _broken_skill("def good(env):\n    env.leave()\n", "good")
        items.save_skill(good)
        for status in ("quarantined", "verified", "active"):
            items.move(good.id, status, reason="tested")
        items.save_skill(_broken_skill("def bad(env:", "bad"), run_id=RUN, round_=0)
        items.save_skill(
            _broken_skill("def other(env):\n    import os\n", "other"), run_id=RUN, round_=0
        )
        await admit(_state(), practice)
        moved = [e for e in log.events if isinstance(e, SkillMoved)]
        assert {(e.name, e.after) for e in moved} == {("bad", "retired"), ("other", "retired")}
        assert all(e.reason.startswith("rejected: static: ") for e in moved)

    _with_practice(tmp_path, work)


def test_without_admission_everything_is_served(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> None:
        items = practice.records.items
        items.save_skill(_broken_skill("def bad(env:", "bad"), run_id=RUN, round_=0)
        await admit(_state(), practice)
        practice.library.refresh()
        assert [skill.name for skill in practice.active()] == ["bad"]
        assert items.skill("skill-bad").reason == "admitted unchecked"

    _with_practice(tmp_path, work, options={"admission.enabled": False})


def test_offers_are_committed_before_the_first_step(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> None:
        await _round(practice)
        await nodes.propose(_state(1), practice)
        await selection.select(_state(1), practice)
        practice.library.refresh()
        active = {skill.id for skill in practice.active()}
        by_id = practice.library.skills
        for spec in practice.records.attempts.planned(RUN, 1):
            assert {offer.item_id for offer in spec.offers} <= active
            for offer in spec.offers:
                assert spec.task.id not in by_id[offer.item_id].source_tasks
                assert 0.0 < offer.probability <= 0.5 or offer.withheld
            offered = {o.item_id for o in spec.offers if not o.withheld}
            assert offered <= {skill.id for skill in spec.skills}

    _with_practice(tmp_path, work)


def test_the_config_of_these_tests_is_small() -> None:
    config = load_config(None, **SMALL)
    assert isinstance(config, PracticeConfig)
    assert config.attempts < 30

"""Candidates on the whole road: mended, refused with a reason, replaced, kept in quarantine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agentlab.config import load_config
from agentlab.envs.courier.environment import Courier
from agentlab.events import Event, SkillMoved, SkillProposed
from agentlab.graph import nodes, selection
from agentlab.graph.admit import admit
from agentlab.graph.honing import HONES
from agentlab.graph.practice import LaneState, Practice, RunState, toolset_name
from agentlab.graph.workers import WorkerPool
from agentlab.library.admission import REJECTED
from agentlab.library.skills import SkillLibrary
from agentlab.protocols import CurationContext, HoningContext
from agentlab.records import Records, Workspace
from agentlab.records.moves import Move
from agentlab.types import Clause, JsonObject, Parameter, Skill, skill_id

T = TypeVar("T")
RUN = "run-gates"
OPTIONS: Mapping[str, Any] = {
    "environment": "courier",
    "rounds": 1,
    "attempts": 30,
    "proposals": 30,
    "tool_calls": 600,
    "index": "exact",
    "admission.replays": 3,
    "admission.trials": 8,
    "admission.trial_tool_calls": 400,
}
ITEM = Parameter(name="item", type="item", requires={"cargo": True})
CONTAINER = Parameter(
    name="container", type="container", requires={"container": True, "locked": False}
)
CHECK = (
    "def check(initial, final, *, item: dict, container: dict):\n"
    "    return {'item': item, 'container': container} in final['delivered']\n"
)
DELIVER = ("walk(to=item)", "take(item=item)", "walk(to=container)", "put_in(container=container)")


def deliver(*lines: str, name: str = "deliver", check: str = CHECK, **changes: Any) -> Skill:
    """A skill that delivers, as a list of calls."""
    body = "".join(f"    env.{line}\n" for line in lines)
    source = (
        f"def {name}(env, *, item: dict, container: dict):\n"
        '    """Bring about delivered(item, container): by hand.\n\n'
        "    Precondition: none.\n"
        "    Effect: the item is in the container.\n"
        '    """\n'
        f"{body}"
    )
    return Skill(
        id=skill_id("courier", name, 1, source),
        name=name,
        environment="courier",
        toolset=toolset_name(Courier().tools),
        source=source,
        parameters=(ITEM, CONTAINER),
        achieves=Clause(
            predicate="delivered", arguments={"item": "item", "container": "container"}
        ),
        summary="Bring about delivered(item, container): by hand.",
        effect_source=check,
        effect=("the item is in the container",),
        tools=("leave", "put_in", "take", "walk"),
    ).model_copy(update=changes)


class Log:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def with_practice(
    path: Path,
    work: Callable[[Practice, Log], Coroutine[Any, Any, T]],
    options: Mapping[str, Any] | None = None,
) -> T:
    config = load_config(None, **{**OPTIONS, **(options or {})})

    async def main() -> T:
        pool = WorkerPool(2)
        with Records.open(Workspace.open(path)) as records:
            spelt = config.model_dump(mode="json")
            records.runs.create(RUN, config=spelt, versions={}, seed=config.seed)
            toolset = toolset_name(Courier().tools)
            with SkillLibrary(records, "courier", toolset=toolset, backend="exact") as library:
                log = Log()
                try:
                    return await work(Practice(RUN, config, records, pool, library, (log,)), log)
                finally:
                    pool.close()

    return asyncio.run(main())


async def practised(practice: Practice, round_: int = 0) -> RunState:
    state = RunState(run_id=RUN, round=round_, planned=0, finished=False)
    await nodes.propose(state, practice)
    await selection.select(state, practice)
    lanes = [LaneState(round=round_, lane=lane) for lane in range(practice.lanes(round_))]
    await asyncio.gather(*(nodes.attempt(lane, practice) for lane in lanes))
    return state


def serve(practice: Practice, skill: Skill) -> None:
    items = practice.records.items
    items.save_skill(skill)
    for status in ("quarantined", "verified", "active"):
        items.move(skill.id, status, reason="planted")


def judged(
    path: Path,
    candidates: Sequence[Skill],
    *,
    served: Sequence[Skill] = (),
    options: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Move], list[Event]]:
    """The last move of each candidate after one round, by name and version."""

    async def work(practice: Practice, log: Log) -> tuple[dict[str, Move], list[Event]]:
        for skill in served:
            serve(practice, skill)
        state = await practised(practice)
        items = practice.records.items
        for skill in candidates:
            items.save_skill(skill, run_id=RUN, round_=0)
        await admit(state, practice)
        found = {
            f"{row.item.name} {row.item.version}": items.history(row.item.id)[-1]
            for row in items.skills(environment="courier")
        }
        return found, log.events

    return with_practice(path, work, options)


def gates(move: Move) -> list[tuple[object, object]]:
    rows = move.evidence["gates"]
    assert isinstance(rows, list)
    return [(row["gate"], row["passed"]) for row in rows if isinstance(row, dict)]


def test_a_good_candidate_passes_every_gate(tmp_path: Path) -> None:
    moves, _ = judged(tmp_path, [deliver(*DELIVER)])
    move = moves["deliver 1"]
    assert (move.after, move.reason) == ("active", "admitted")
    names = ("static", "run", "replay", "effect", "controls", "regression", "duplicate", "use")
    assert gates(move) == [(name, True) for name in names]
    assert move.evidence["replays"]
    assert move.evidence["trials"]


def test_a_candidate_that_fails_at_first_is_mended_and_admitted(tmp_path: Path) -> None:
    first = deliver("leave()", *DELIVER)
    moves, events = judged(tmp_path, [first])
    refused, mended = moves["deliver 1"], moves["deliver 2"]
    assert refused.after == "retired"
    assert refused.reason.startswith("rejected: replay: it did nothing in ")
    assert refused.evidence["honed_into"] == mended.item_id
    assert mended.after == "active"
    with Records.open(Workspace.open(tmp_path)) as records:
        skill = records.items.skill(mended.item_id).item
    assert skill.parent == first.id
    assert "leave" not in skill.source
    assert "leave" not in skill.tools
    assert skill.summary in skill.source
    proposed = [e.skill_id for e in events if isinstance(e, SkillProposed)]
    assert proposed == [mended.item_id]
    told = [e.sequence for e in events if isinstance(e, SkillMoved | SkillProposed)]
    assert len(set(told)) == len(told)


def test_a_candidate_comes_back_so_often_and_no_more(tmp_path: Path) -> None:
    moves, _ = judged(tmp_path, [deliver(*["leave()"] * (HONES + 1), *DELIVER)])
    assert sorted(moves) == [f"deliver {version}" for version in range(1, HONES + 2)]
    assert {move.after for move in moves.values()} == {"retired"}
    assert "honed_into" not in moves[f"deliver {HONES + 1}"].evidence


def test_what_achieves_nothing_by_name_is_refused_before_any_replay(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"achieves": None, "origin": "model"}, "`achieves` is missing; it must be one of ["),
        ({"achieves": Clause(predicate="won", arguments={})}, "achieved by the name 'won' here"),
    ]
    for number, (changes, reason) in enumerate(cases):
        moves, _ = judged(
            tmp_path / str(number), [deliver(*DELIVER, **changes)], options={"attempts": 3}
        )
        move = moves["deliver 1"]
        assert move.reason.startswith("rejected: static: ")
        assert reason in move.reason
        assert gates(move) == [("static", False)]
        assert not move.evidence.get("replays")


def test_a_requirement_of_a_source_task_is_refused(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> str:
        state = await practised(practice)
        past = practice.records.trajectories.learnable(RUN)[0]
        assert past.trajectory is not None
        item = next(e for e in past.trajectory.initial.entities if e.type == "item")
        assert isinstance(item.reference, dict)
        skill = deliver(
            *DELIVER,
            source_tasks=(past.task.id,),
            source_attempts=(past.attempt_id,),
            parameters=(ITEM.model_copy(update={"requires": item.reference}), CONTAINER),
            origin="model",
        )
        practice.records.items.save_skill(skill, run_id=RUN, round_=0)
        await admit(state, practice)
        return practice.records.items.skill(skill.id).reason

    reason = with_practice(tmp_path, work, {"attempts": 3})
    assert reason.startswith("rejected: static: it is about one task's ")
    assert "which 'item' requires as " in reason


class Meddler:
    """A curator that answers a failure with something else altogether."""

    async def curate(self, context: CurationContext) -> Sequence[Skill]:
        return []

    async def hone(self, context: HoningContext) -> Skill | None:
        skill = context.skill
        return skill.model_copy(
            update={"id": "skill-other", "name": "other", "version": 2, "parent": skill.id}
        )


def test_only_a_next_version_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentlab import registry

    monkeypatch.setitem(registry.BUILT_IN, "curator/meddler", f"{__name__}:Meddler")
    moves, _ = judged(tmp_path, [deliver("leave()")], options={"curator": "meddler"})
    assert list(moves) == ["deliver 1"]


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ("final != initial", "effect: it passes for wrong arguments"),
        (
            "len(final['delivered']) > len(initial['delivered'])",
            "effect: it passes for wrong arguments",
        ),
        ("any(pair['item'] == item for pair in final['delivered'])", "with another 'container'"),
        ("True", "effect: it passes before anything was done, in 3 start states"),
    ],
)
def test_a_check_that_proves_nothing(tmp_path: Path, check: str, reason: str) -> None:
    source = CHECK.replace("{'item': item, 'container': container} in final['delivered']", check)
    moves, _ = judged(tmp_path, [deliver(*DELIVER, check=source)], options={"attempts": 3})
    move = moves["deliver 1"]
    assert move.after == "retired"
    assert reason in move.reason
    assert gates(move)[-1] == ("controls", False)


def test_code_that_cannot_run_is_refused_at_once(tmp_path: Path) -> None:
    source = CHECK.replace("final['delivered']", "final['nowhere']")
    moves, _ = judged(tmp_path, [deliver(*DELIVER, check=source)], options={"attempts": 3})
    assert moves["deliver 1"].reason.startswith("rejected: run: ")


def test_a_constant_of_a_source_task_is_refused(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> str:
        state = await practised(practice)
        past = practice.records.trajectories.learnable(RUN)[0]
        assert past.trajectory is not None
        item = next(e for e in past.trajectory.initial.entities if e.type == "item")
        skill = deliver(
            f"walk(to={item.reference!r})",
            *DELIVER,
            source_tasks=(past.task.id,),
            source_attempts=(past.attempt_id,),
        )
        practice.records.items.save_skill(skill, run_id=RUN, round_=0)
        await admit(state, practice)
        return practice.records.items.skill(skill.id).reason

    reason = with_practice(tmp_path, work, {"attempts": 3})
    assert reason.startswith("rejected: static: it is about one task's ")


def test_duplicates_in_three_stages(tmp_path: Path) -> None:
    same = deliver(*DELIVER, name="bring")
    longer = deliver("walk(to=item)", *DELIVER, name="carry")
    moves, _ = judged(tmp_path, [same, longer], served=[deliver(*DELIVER)])
    assert moves["bring 1"].reason == "rejected: duplicate: the same as 'deliver'"
    assert moves["carry 1"].reason.startswith("rejected: duplicate: 'deliver' does the same")
    assert moves["carry 1"].evidence["rival"] == deliver(*DELIVER).id
    assert moves["deliver 1"].after == "active"


def test_a_better_version_takes_the_place_of_the_one_that_serves(tmp_path: Path) -> None:
    clumsy = deliver(*["walk(to=container)"] * 30, *DELIVER)
    better = deliver(*DELIVER)
    better = better.model_copy(
        update={
            "id": skill_id("courier", "deliver", 2, better.source),
            "version": 2,
            "parent": clumsy.id,
        }
    )
    moves, _ = judged(tmp_path, [better], served=[clumsy])
    assert moves["deliver 2"].after == "active"
    assert moves["deliver 1"].after == "retired"
    assert moves["deliver 1"].reason == "superseded: by version 2"


def test_what_has_not_been_useful_twice_waits_in_quarantine(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> tuple[str, int, int]:
        state = await practised(practice)
        skill = deliver(*DELIVER)
        practice.records.items.save_skill(skill, run_id=RUN, round_=0)
        await admit(state, practice)
        row = practice.records.items.skill(skill.id)
        assert row.reason == "too few practice tasks to prove it"
        assert skill.id not in practice.library.skills
        shadows = practice.records.attempts.count(RUN, kind="shadow")
        outcomes = sum(t.attempts for t in practice.records.attempts.template_outcomes(RUN))
        assert outcomes == practice.records.attempts.count(RUN, kind="practice")
        state = await practised(practice, 1)
        await admit(state, practice)
        history = practice.records.items.history(skill.id)
        assert history[-1].evidence["replays"], "those of the round before"
        return history[-1].after, shadows, practice.records.attempts.count(RUN, kind="shadow")

    after, before, later = with_practice(tmp_path, work, {"rounds": 2, "attempts": 6})
    assert after == "active"
    assert later > before > 0


def test_what_was_of_no_use_in_run_after_run_is_let_go(tmp_path: Path) -> None:
    """As `learn` judges it: each time in a run of its own, of which no round is the last."""
    names = ("tried", "asked_again", "hardly_tried")
    detour = ["walk(to=container)", "walk(to=item)"]

    def more(name: str, first: JsonObject) -> list[JsonObject]:
        if name == "asked_again":
            return [first, first]
        runs, count = (1, 8) if name == "tried" else (2, 5)
        return [
            {"trials": [{"task_id": f"task-{run}-{n}"} for n in range(count)]}
            for run in range(runs)
        ]

    async def work(practice: Practice, log: Log) -> list[tuple[str, str, bool]]:
        state = await practised(practice)
        items = practice.records.items
        skills = [
            deliver(*detour * (60 + number), *DELIVER, name=name)
            for number, name in enumerate(names)
        ]
        for skill in skills:
            items.save_skill(skill)
        await admit(state, practice)
        for run in ("learn-0", "learn-1"):
            practice.records.runs.create(run, config={}, versions={}, seed=0)
        for skill in skills:
            first = items.history(skill.id)[-1]
            assert first.after == "quarantined" and first.reason.startswith("use: ")
            for number, evidence in enumerate(more(skill.name, first.evidence)):
                items.move(
                    skill.id,
                    "quarantined",
                    reason="use: none",
                    evidence=evidence,
                    run_id=f"learn-{number}",
                    round_=0,
                    again=True,
                )
        await admit(await practised(practice, 1), practice)
        last = [items.history(skill.id)[-1] for skill in skills]
        return [(m.after, m.reason, bool(m.evidence["trials"])) for m in last]

    options = {"rounds": 9, "admission.trial_tool_calls": 60}
    found = with_practice(tmp_path, work, options)
    assert [after for after, _, _ in found] == ["retired", "quarantined", "quarantined"]
    for _, reason, tried in found:
        assert tried and reason.removeprefix(REJECTED).startswith("use: it "), "and not of before"


def test_a_caller_is_tried_on_what_its_callees_solved(tmp_path: Path) -> None:
    caller = deliver(
        "skills.deliver(item=item, container=container)",
        name="deliver_and_go",
        skills=("deliver",),
        check=CHECK,
    )
    wandering = deliver(
        "skills.deliver(item=item, container=container)",
        *["walk(to=item)", "walk(to=container)"] * 60,
        name="wander",
        skills=("deliver",),
    )
    options = {"attempts": 40, "proposals": 40, "attribution.start": 0}
    moves, _ = judged(tmp_path, [caller, wandering], served=[deliver(*DELIVER)], options=options)
    for name in ("deliver_and_go 1", "wander 1"):
        tried = moves[name].evidence["regressions"]
        assert isinstance(tried, list)
        assert tried
        assert moves[name].after == "retired"


def test_what_a_callee_was_derived_from_is_no_trial_of_its_caller(tmp_path: Path) -> None:
    async def work(practice: Practice, log: Log) -> None:
        state = await practised(practice)
        tasks = [task.id for task in practice.records.tasks.all(RUN)]
        callee = deliver(*DELIVER, source_tasks=tuple(tasks[::2]))
        serve(practice, callee)
        caller = deliver(
            "leave()",
            "skills.deliver(item=item, container=container)",
            name="again",
            skills=("deliver",),
            precondition={"holding": {"present": True}},
        )
        practice.records.items.save_skill(caller, run_id=RUN, round_=0)
        await admit(state, practice)
        shadows = practice.records.attempts.all(RUN, kind="shadow")
        planned = {spec.id: spec for spec in practice.records.attempts.planned(RUN, 0)}
        for row in shadows:
            names = {skill.name for skill in planned[row.attempt_id].skills}
            assert row.task_id not in callee.source_tasks or not names
        assert shadows

    with_practice(tmp_path, work)

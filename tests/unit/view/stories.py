"""A workspace with something for every page, written by the record store, hostile text in it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agentlab.config import PracticeConfig
from agentlab.events import (
    AttemptFinished,
    AttemptsPlanned,
    DataExported,
    Event,
    RoundFinished,
    SkillMoved,
    TaskAdmitted,
    TaskRejected,
)
from agentlab.library.waiting import gate_evidence
from agentlab.records import PackRow, PackSkillRow, Records, Workspace
from agentlab.records.gates import GateRow, Look
from agentlab.records.policies import Policy, PolicyVersion
from agentlab.training.promotion.verdict import GateReport, Pair, contrast
from agentlab.types import (
    AttemptKind,
    AttemptOutcome,
    AttemptSpec,
    Insight,
    JsonObject,
    Observation,
    Offer,
    Outcomes,
    Score,
    Skill,
    SplitRule,
    Status,
    Step,
    StepResult,
    Task,
    ToolCall,
)
from agentlab.types.skill import Invocation
from tests.unit.records.samples import a_skill, a_spec, a_task, an_outcome

RUN = "story-1"
ATTACK = (
    '<script>window.hacked=1</script><img src=x onerror="window.hacked=1">"\'`</script>'
    "</title></textarea><!-- {{ 7*7 }} \u202egnp.exe"
)
SHOWN = ATTACK.replace("\u202e", "\\u202e")
"""As a page shows it: every character as itself, but for the mark of direction."""
SKILL, CALLER, WAITS = "carry", "deliver", "wave"
GATE, DIGEST = "gate-1", "d" * 64
SPLITS = SplitRule()
UP: tuple[Status, ...] = ("quarantined", "verified", "active")


class Story(NamedTuple):
    """What of it the tests name."""

    run_id: str
    hostile_attempt: str
    sibling: str
    hostile_task: str
    waiting: str
    picture: str
    page_blob: str
    """A blob that is HTML."""


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    rows = (b"\x00" + bytes(colour) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tell(path: Path) -> Story:
    """Write it all down."""
    with Records.open(Workspace.open(path)) as records:
        config = PracticeConfig(environment="town", rounds=3, attempts=6)
        records.runs.create(
            RUN, config=config.model_dump(mode="json"), versions={"agentlab": ATTACK}, seed=3
        )
        picture = records.blobs.put(png(320, 200, (40, 120, 140)))
        page = records.blobs.put(b"<!doctype html><script>window.hacked=1</script>")
        carry, deliver = _skills(records)
        hostile = a_task(0).model_copy(update={"instruction": ATTACK})
        tasks = [hostile, *(a_task(n, template=f"carry {n % 3}") for n in range(1, 8))]
        told = [_round(records, n, tasks, (carry, deliver), picture, page) for n in range(2)]
        _evaluation(records, tasks, carry)
        waiting = _rest(records)
        records.runs.set_status(RUN, "finished", "")
        return Story(RUN, told[0][0], told[0][1], hostile.id, waiting, picture, page)


def _skills(records: Records) -> tuple[Skill, Skill]:
    old = a_skill(SKILL).model_copy(update={"skills": (), "summary": f"Carry. {ATTACK}"})
    source = f'def {SKILL}(env):\n    """{ATTACK}"""\n    env.carry()\n    env.walk()\n'
    new = a_skill(SKILL, 2, parent=old.id).model_copy(
        update={"skills": (), "source": source, "id": "skill-carry-2", "summary": f"Two. {ATTACK}"}
    )
    calls = a_skill(CALLER).model_copy(update={"skills": (SKILL,), "summary": "Bring it there."})
    for skill in (old, new, calls):
        records.items.save_skill(skill, run_id=RUN, round_=0)
        for status in UP:
            evidence: JsonObject = {"gates": [{"gate": "replay", "passed": True, "reason": ATTACK}]}
            records.items.move(
                skill.id,
                status,
                reason=ATTACK,
                evidence=evidence,
                run_id=RUN,
                round_=0,
            )
    records.items.move(old.id, "retired", reason="superseded: by version 2")
    return new, calls


def _round(
    records: Records,
    round_: int,
    tasks: Sequence[Task],
    skills: tuple[Skill, Skill],
    picture: str,
    page: str,
) -> list[str]:
    """Six practice attempts, two of them of the hostile task and one group."""
    fresh = [
        task.model_copy(update={"id": f"{task.id}-{round_}" if round_ else task.id})
        for task in tasks
    ]
    verdicts: list[tuple[Task, str | None]] = [(task, None) for task in fresh[:6]]
    verdicts += [(fresh[6], f"unsolved: {ATTACK}"), (fresh[7], "duplicate")]
    if round_ == 0:
        verdicts.append((a_task(9), None))
    records.tasks.add_proposals(RUN, round_, verdicts, SPLITS)
    specs = [
        _with_offers(a_spec(slot, fresh[slot // 2], round_=round_, run_id=RUN), skills, slot)
        for slot in range(6)
    ]
    records.attempts.plan(RUN, round_, specs)
    events: list[Event] = [
        TaskAdmitted(run_id=RUN, round=round_, sequence=n, task_id=t.id, instruction=t.instruction)
        for n, (t, why) in enumerate(verdicts)
        if why is None and t.split == "practice" and t.seed != 9
    ]
    events += [
        TaskRejected(
            run_id=RUN, round=round_, sequence=20 + n, task_id=t.id, reason=why or "reserved seed"
        )
        for n, (t, why) in enumerate(verdicts)
        if why is not None or t.seed == 9
    ]
    events.append(AttemptsPlanned(run_id=RUN, round=round_, sequence=40, attempts=6))
    records.events.append(events)
    for slot, spec in enumerate(specs):
        success = slot % 2 == 0
        outcome = an_outcome(spec, success=success)
        if slot < 2:
            outcome = _hostile(outcome, skills[0], picture, page)
        record(records, spec, outcome)
    records.events.append(
        [
            SkillMoved(
                run_id=RUN, round=round_, sequence=50, name=ATTACK, after="active", reason=ATTACK
            ),
            DataExported(run_id=RUN, round=round_, sequence=60, name=f"chat {ATTACK}", rows=12),
            RoundFinished(
                run_id=RUN, round=round_, sequence=70, attempts=6, successes=3, active_skills=2
            ),
        ]
    )
    return [spec.id for spec in specs]


def record(records: Records, spec: AttemptSpec, outcome: AttemptOutcome) -> None:
    """An attempt with the event that tells of it."""
    event = AttemptFinished(
        run_id=spec.run_id,
        round=spec.round,
        slot=spec.slot,
        attempt_id=spec.id,
        attempt_kind=spec.kind,
        task_id=spec.task.id,
        instruction=spec.task.instruction,
        success=outcome.success,
        steps=outcome.usage.steps,
    )
    records.attempts.record(spec, outcome, [event])


def _with_offers(spec: AttemptSpec, skills: tuple[Skill, Skill], slot: int) -> AttemptSpec:
    withheld = slot % 2 == 1
    offers = [
        Offer(item_id=skill.id, name=skill.name, probability=0.5, withheld=withheld, score=0.7)
        for skill in skills
    ]
    if slot < 2:
        offers.append(
            Offer(item_id="skill-strange", name=ATTACK, probability=0.5, withheld=withheld)
        )
    return spec.model_copy(update={"offers": tuple(offers)})


def _hostile(outcome: AttemptOutcome, skill: Skill, picture: str, page: str) -> AttemptOutcome:
    trajectory = outcome.trajectory
    assert trajectory is not None
    seen = Observation(text=f"The tool said: {ATTACK}", images=(picture,))
    steps = (
        Step(
            call=ToolCall(tool="read", arguments={"url": ATTACK}),
            result=StepResult(observation=seen),
        ),
        Step(
            call=ToolCall(tool=f"t{ATTACK}"[:120], arguments={}),
            result=StepResult(observation=seen, error=ATTACK, steps=0),
        ),
        Step(
            call=ToolCall(tool="finish"),
            result=StepResult(observation=seen, reward=1.0, terminated=True),
            state={ATTACK: ATTACK},
        ),
    )
    by = Invocation(
        skill=skill.name, skill_id=skill.id, arguments={"to": ATTACK}, first_step=0, end_step=2
    )
    calls = tuple(
        call.model_copy(update={"request": {"messages": [ATTACK]}, "model": ATTACK})
        for call in trajectory.model_calls
    )
    return outcome.model_copy(
        update={
            "trajectory": trajectory.model_copy(
                update={
                    "steps": steps,
                    "invocations": (by,),
                    "answer": ATTACK,
                    "model_calls": calls,
                }
            ),
            "score": Score(
                value=outcome.score.value,
                success=outcome.score.success,
                explanation=ATTACK,
                evidence={"why": ATTACK},
            ),
            "files": {f"page {ATTACK}": page},
        }
    )


def _evaluation(records: Records, tasks: Sequence[Task], skill: Skill) -> None:
    """A held-out comparison of four tasks: three solved with the library and one without."""
    kind: AttemptKind = "evaluation"
    for arm in range(2):
        for number in range(4):
            task = a_task(100 + number, split="heldout")
            spec = a_spec(arm * 100_000 + number, task, round_=2, kind=kind, run_id=RUN)
            outcome = an_outcome(spec, success=number < (1 if arm else 3))
            record(records, spec, outcome)


def _rest(records: Records) -> str:
    """Insights, a pack, a gate, weights, and a skill that waits for a person; its id."""
    advice = Insight(
        id="insight-0",
        environment="town",
        condition=f"late {ATTACK}",
        advice=ATTACK,
        example=ATTACK,
        outcomes=Outcomes(positive=("task-0",)),
    )
    records.items.save_insight(advice, run_id=RUN, round_=0)
    for status in UP:
        records.items.move(advice.id, status, reason="admitted")
    pack = PackRow(
        DIGEST, f"ada/{ATTACK}"[:120], "1.0.0", "k" * 64, "received", ATTACK, ATTACK, "a" * 64,
        "2026-11-21T10:00:00+00:00",
    )  # fmt: skip
    packed = PackSkillRow(
        DIGEST, "m" * 64, f"ada/{ATTACK}"[:120], ATTACK[:200], "town", "1.0.0", None,
        {"tools": [ATTACK]}, (), {"reason": ATTACK}, False, None, {},
    )  # fmt: skip
    records.packs.receive(pack, [packed])
    _gate(records)
    waits = a_skill(WAITS).model_copy(update={"skills": (), "summary": ATTACK})
    records.items.save_skill(waits, run_id=RUN, round_=1)
    records.items.move(waits.id, "quarantined", reason="admitted", run_id=RUN, round_=1)
    evidence: JsonObject = {
        **gate_evidence(30_000, ()),
        "gates": [{"gate": "replay", "reason": ATTACK}],
    }
    records.items.move(
        waits.id,
        "verified",
        reason="admitted",
        evidence=evidence,
        run_id=RUN,
        round_=1,
    )
    return waits.id


def _gate(records: Records) -> None:
    records.runs.create("gate-run", config={"command": "gate"}, versions={}, seed=0)
    records.policies.register(Policy("lab", "tiny", "/base", "b" * 64, ""))
    records.policies.add_version(PolicyVersion("lab-v1", "lab", "/one", "1" * 64, {}))
    plan = GateRow(
        id=GATE, policy="lab", environment="town", candidate="lab-v1", weights_sha256="1" * 64,
        incumbent="", incumbent_sha256="b" * 64, order_sha256="0" * 64, alpha=0.05,
        carried_wins=0, carried_losses=0, run_id="gate-run", plan={"tasks": [ATTACK]},
    )  # fmt: skip
    records.gates.begin(plan)
    pairs = [Pair(f"task-{n}", n % 3 == 0, n % 3 != 1) for n in range(12)]
    wins = losses = 0
    for n, pair in enumerate(pairs):
        wins += bool(pair.candidate and not pair.control)
        losses += bool(pair.control and not pair.candidate)
        records.gates.look(
            GATE, [Look(n, pair.task_id, pair.control, pair.candidate, wins, losses, 1.0, 1.0)]
        )
    report = GateReport(
        gate=GATE, policy="lab", candidate="lab-v1", incumbent="base", status="promoted",
        reason=f"It won. {ATTACK}", learning="It learnt.", weights_sha256="1" * 64,
        order_sha256="0" * 64, environment="town", alpha=0.05, decides="greedy", looks=12,
        wins=wins, losses=losses, evidence=21.0, evidence_against=0.1,
        deciding=contrast(pairs, "candidate", "control"),
    )  # fmt: skip
    records.gates.decide(GATE, "promoted", report.model_dump(mode="json"))
    records.policies.move("lab", "promotion", "lab-v1", reason=ATTACK, evidence={})

"""Small tasks, skills and attempts for the tests of the records."""

from __future__ import annotations

from pathlib import Path

from agentlab.events import AttemptFinished, Event
from agentlab.records import Records, Workspace
from agentlab.types import (
    AttemptKind,
    AttemptOutcome,
    AttemptSpec,
    EnvironmentRef,
    JsonObject,
    ModelCall,
    Observation,
    Offer,
    Score,
    Skill,
    Split,
    Step,
    StepResult,
    Task,
    ToolCall,
    Trajectory,
    Usage,
    attempt_id,
    skill_id,
)

RUN = "run-1"
TOWN = "town"


def opened(path: Path, run_id: str = RUN) -> Records:
    """Records with one run."""
    records = Records.open(Workspace.open(path))
    records.runs.create(run_id, config={"seed": 3}, versions={"agentlab": "0"}, seed=3)
    return records


def a_task(number: int, *, template: str = "carry", split: Split = "practice") -> Task:
    """Tasks 0 to 7 may be practised under the default rule; 8 is for dev and 9 for heldout."""
    return Task(
        id=f"task-{number}",
        environment=TOWN,
        instruction=f"carry parcel {number}",
        setup={"houses": 3},
        seed=number,
        template=template,
        split=split,
    )


def a_skill(name: str = "carry", version: int = 1, *, parent: str | None = None) -> Skill:
    source = f"def {name}(env):\n    '''Carry it.'''\n    env.carry()  # {version}\n"
    return Skill(
        id=skill_id(TOWN, name, version, source),
        name=name,
        version=version,
        environment=TOWN,
        source=source,
        parameters=(),
        summary="Carry a parcel.",
        effect_source="def check(initial, final):\n    return True\n",
        skills=("walk",),
        source_tasks=("task-0",),
        source_attempts=("attempt-0",),
        parent=parent,
    )


def a_spec(
    slot: int,
    task: Task,
    *,
    round_: int = 0,
    kind: AttemptKind = "practice",
    run_id: str = RUN,
    skills: tuple[Skill, ...] = (),
    withheld: bool = False,
) -> AttemptSpec:
    return AttemptSpec(
        id=attempt_id(run_id, round_, slot, kind),
        run_id=run_id,
        round=round_,
        slot=slot,
        kind=kind,
        task=task,
        group_id=f"group-{task.id}",
        seed=slot,
        environment=EnvironmentRef(name=TOWN, options={"houses": 3}),
        executor="search",
        skills=() if withheld else skills,
        offers=tuple(
            Offer(item_id=skill.id, name=skill.name, probability=0.5, withheld=withheld)
            for skill in skills
        ),
    )


def an_outcome(
    spec: AttemptSpec,
    *,
    success: bool | None = True,
    steps: int = 3,
    data: JsonObject | None = None,
) -> AttemptOutcome:
    seen = Observation(text="a house", data=data or {})
    return AttemptOutcome(
        attempt_id=spec.id,
        trajectory=Trajectory(
            initial=seen,
            initial_state={"at": 0},
            steps=tuple(
                Step(
                    call=ToolCall(tool="walk", arguments={"to": number}),
                    result=StepResult(observation=seen, reward=0.5, steps=2),
                    state={"at": number},
                )
                for number in range(steps)
            ),
            model_calls=(ModelCall(model="scripted", request={}, response={}, tokens=5, usd=0.25),),
        ),
        score=Score(value=1.0 if success else 0.0, success=success, explanation="looked"),
        usage=Usage(attempts=1, tool_calls=steps, steps=2 * steps, tokens=5, usd=0.25),
        first_success=Usage(tool_calls=2, steps=4, cpu_seconds=0.5) if success else None,
        skills_used=tuple(skill.id for skill in spec.skills),
    )


def finished(spec: AttemptSpec) -> list[Event]:
    return [
        AttemptFinished(
            run_id=spec.run_id, round=spec.round, slot=spec.slot, sequence=0, attempt_id=spec.id
        )
    ]

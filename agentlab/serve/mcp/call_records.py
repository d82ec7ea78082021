"""Calls on record: each is a production attempt of a run of its caller's own.

An attempt is planned before its first step and recorded before its answer, so that a server which
is killed has lost nothing that it acknowledged. No draw decided that the skill was called, so none
is recorded and no estimate of an effect counts the call; its use, its cost and whether its effect
check held are kept for each version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.graph.opening import package_versions
from agentlab.models.redaction import known
from agentlab.records import Records
from agentlab.sandbox import SettledBox
from agentlab.serve.mcp.episode import Done
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.serve.mcp.tokens import Principal
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    EnvironmentRef,
    JsonObject,
    Limits,
    Score,
    Skill,
    Task,
    attempt_id,
    canonical_json,
    derive_id,
    derive_seed,
    digest,
)

EXECUTOR = "mcp"
_CALL = re.compile(r"(mcp-[0-9a-f]{8}-[0-9]{1,9})[.]([0-9]{1,9})[.]([0-9]{1,9})")
LONGEST = 2000
"""Characters of a call as a task's instruction."""


class CallRecords:
    """The run of one caller.

    Args:
        records: where it is kept.
        principal: the caller.
        ref: the environment.
        box: where skill code runs.
        limits: of each call.
    """

    def __init__(
        self,
        records: Records,
        principal: Principal,
        ref: EnvironmentRef,
        box: SettledBox,
        limits: ServeLimits,
    ) -> None:
        self._records = records
        self._principal = principal
        self._ref = ref
        self._box = box
        self._limits = limits
        self._run_id: str | None = None
        self._round = -1
        self._slot = 0

    @property
    def run_id(self) -> str | None:
        """The run; None before the first episode."""
        return self._run_id

    def begin(self) -> str:
        """A new episode, which is a round of the run; gives the run's id."""
        if self._run_id is None:
            self._run_id = self._created()
        self._round += 1
        self._slot = 0
        return self._run_id

    def plan(
        self, episode: Task, skill: Skill, callees: Sequence[Skill], arguments: JsonObject
    ) -> AttemptSpec:
        """Put a call on record before its first step."""
        run_id = self._run_id
        assert run_id is not None
        slot, self._slot = self._slot, self._slot + 1
        spec = AttemptSpec(
            id=attempt_id(run_id, self._round, slot, "production"),
            run_id=run_id,
            round=self._round,
            slot=slot,
            kind="production",
            scope=self._principal.scope.path,
            task=_task(run_id, self._round, slot, episode, skill, arguments),
            group_id=derive_id("group", run_id, self._round),
            seed=derive_seed(run_id, self._round, slot),
            environment=self._ref,
            executor=EXECUTOR,
            limits=Limits(tool_calls=self._limits.tool_calls, seconds=self._limits.call_seconds),
            skills=(skill, *callees),
        )
        self._records.attempts.plan(run_id, self._round, [spec])
        return spec

    def record(self, spec: AttemptSpec, done: Done) -> None:
        """Put what came of a call on record; on the disk when this returns."""
        self._records.attempts.record(spec, outcome_of(spec, done))

    def attempt_of(self, call: str) -> str | None:
        """The recorded attempt of a call of this caller's, now or before a restart.

        None where there is none: another's call is as unknown as one that never was.
        """
        found = _CALL.fullmatch(call)
        if found is None:
            return None
        run_id, round_, slot = found[1], int(found[2]), int(found[3])
        try:
            run = self._records.runs.get(run_id)
        except (UnknownNameError, RecordsError):
            return None
        if run.config != self._config() or run.scope != self._principal.scope.path:
            return None
        attempt = attempt_id(run_id, round_, slot, "production")
        return attempt if attempt in self._records.attempts.recorded_ids(run_id, round_) else None

    def close(self) -> None:
        """Say that the run is over."""
        if self._run_id is not None:
            self._records.runs.set_status(self._run_id, "finished", "the server ended")

    def _config(self) -> JsonObject:
        return {
            "command": "mcp serve",
            "environment": self._ref.name,
            "environment_options": self._ref.options,
            "caller": self._principal.name,
        }

    def _created(self) -> str:
        config = self._config()
        # Ids of runs tell nothing of who else there is.
        base = f"mcp-{digest(config, self._principal.scope.path)[:8]}"
        versions = package_versions(self._box)
        number = 1
        while not self._records.runs.create(
            f"{base}-{number}",
            config=config,
            versions=versions,
            seed=0,
            scope=self._principal.scope,
        ):
            number += 1
        return f"{base}-{number}"


def call_name(spec: AttemptSpec) -> str:
    """What a client calls a call."""
    return f"{spec.run_id}.{spec.round}.{spec.slot}"


def outcome_of(spec: AttemptSpec, done: Done) -> AttemptOutcome:
    """What came of a call, as attempts tell it."""
    if done.broken:
        return AttemptOutcome(
            attempt_id=spec.id,
            status="infrastructure_failure",
            error=known().text(done.reason),
            usage=done.usage,
        )
    success = done.success
    used = done.trajectory is not None and bool(done.trajectory.invocations)
    return AttemptOutcome(
        attempt_id=spec.id,
        trajectory=done.trajectory,
        score=Score(
            value=None if success is None else float(success),
            success=success,
            explanation=done.reason or "the skill's effect check held",
            evidence={"completed": done.completed, "goal": done.goal},
        ),
        usage=done.usage,
        skills_used=(spec.skills[0].id,) if used else (),
    )


def _task(
    run_id: str, round_: int, slot: int, episode: Task, skill: Skill, arguments: JsonObject
) -> Task:
    """The call as a task: to bring about what the skill says, where the episode stands."""
    return Task(
        id=derive_id("task", run_id, round_, slot),
        environment=episode.environment,
        instruction=f"{skill.name} {canonical_json(arguments)}"[:LONGEST],
        setup=episode.setup,
        seed=episode.seed,
        template=f"call: {skill.name}",
        split=episode.split,
        parameters={"episode": episode.id, "skill": skill.id, "arguments": arguments},
        source=EXECUTOR,
    )

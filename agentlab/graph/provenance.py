"""What a candidate's source attempts say about it: the arguments they used, their particulars.

Reads records and decides nothing. What is read of an attempt is kept for the round, since the
candidates of a round share most of their sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentlab.errors import UnknownNameError
from agentlab.graph.practice import Practice
from agentlab.graph.starts import known_values
from agentlab.library.constants import Particulars, particulars
from agentlab.types import GrammarSpec, JsonObject, Skill, Task, Trajectory


@dataclass
class Provenance:
    """The source attempts and tasks of candidates, as recorded."""

    practice: Practice
    spec: GrammarSpec
    _attempts: dict[str, Trajectory | None] = field(default_factory=lambda: {})
    _tasks: dict[str, Task | None] = field(default_factory=lambda: {})

    @property
    def clauses(self) -> frozenset[str]:
        """Predicates that a skill here may say it achieves."""
        return frozenset(template.predicate for template in self.spec.templates)

    def seen(self, skill: Skill) -> tuple[tuple[str, ...], ...]:
        """See `ReplayRequest.seen`. An attempt that is not on record says nothing."""
        return tuple(
            known_values(
                [step.call.arguments for step in trajectory.steps]
                + [invocation.arguments for invocation in trajectory.invocations]
            )
            for trajectory in self._trajectories(skill).values()
        )

    def particulars(self, skill: Skill) -> Particulars:
        """What is particular to the tasks that the skill was derived from."""
        found = self._trajectories(skill).values()
        return particulars(
            self.tasks(skill),
            [trajectory.initial.entities for trajectory in found],
            self.starts(skill),
            tools=self.practice.environment.tools,
            spec=self.spec,
        )

    def tasks(self, skill: Skill) -> list[Task]:
        """The source tasks that are on record; those of an import are not."""
        return [task for task in map(self._task, skill.source_tasks) if task is not None]

    def starts(self, skill: Skill) -> list[JsonObject]:
        """The states in which the source attempts began."""
        found = self._trajectories(skill).values()
        return [t.initial_state for t in found if t.initial_state is not None]

    def _trajectories(self, skill: Skill) -> Mapping[str, Trajectory]:
        missing = [key for key in skill.source_attempts if key not in self._attempts]
        for outcome in self.practice.records.trajectories.outcomes(missing):
            self._attempts[outcome.attempt_id] = outcome.trajectory
        found = {key: self._attempts.get(key) for key in skill.source_attempts}
        return {key: trajectory for key, trajectory in found.items() if trajectory is not None}

    def _task(self, task_id: str) -> Task | None:
        if task_id not in self._tasks:
            try:
                self._tasks[task_id] = self.practice.records.tasks.get(task_id)
            except UnknownNameError:  # it came from elsewhere, with an import
                self._tasks[task_id] = None
        return self._tasks[task_id]

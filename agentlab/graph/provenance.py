"""What a candidate's source attempts say about it: the arguments they used, their particulars.

Reads records and decides nothing. What is read of an attempt is kept for the round, since the
candidates of a round share most of their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from agentlab.errors import UnknownNameError
from agentlab.graph.given import PLAIN, Told, told_of
from agentlab.graph.practice import Practice
from agentlab.graph.starts import known_values
from agentlab.library.constants import Particulars, particulars
from agentlab.library.skills import closure
from agentlab.types import (
    GrammarSpec,
    JsonObject,
    PastAttempt,
    Skill,
    Task,
    Trajectory,
)

LATELY = 4
"""Rounds whose attempts tell of arguments."""


@dataclass
class Provenance:
    """The source attempts and tasks of candidates, as recorded."""

    practice: Practice
    spec: GrammarSpec | None
    _past: list[PastAttempt] | None = None
    _attempts: dict[str, Trajectory | None] = field(default_factory=lambda: {})
    _tasks: dict[str, Task | None] = field(default_factory=lambda: {})

    @property
    def clauses(self) -> frozenset[str]:
        """Predicates that a skill here may say it achieves."""
        templates = self.spec.templates if self.spec is not None else ()
        return frozenset(template.predicate for template in templates)

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

    def told(self, skill: Skill, callees: Mapping[str, Skill]) -> Told:
        """What practice tells of plain arguments and of other calls, where that is needed.

        An attempt that it was derived from tells which values make sense; that they are not
        fresh is known by `seen`.
        """
        if skill.achieves is not None and not any(p.type in PLAIN for p in skill.parameters):
            return Told()
        return told_of(skill, callees, self._lately(), self.practice.environment.tools)

    def starting_points(self, skill: Skill) -> tuple[Task, ...]:
        """Practice tasks that were attempted and not derived from, where there is no grammar."""
        if self.spec is not None:
            return ()
        tasks = {past.task.id: past.task for past in self._lately()}
        return tuple(task for key, task in tasks.items() if key not in skill.source_tasks)

    def asking(self, skill: Skill, served: Mapping[str, Skill]) -> Callable[[Task], bool]:
        """Whether a practice task asks for what a skill does.

        A mission says so by its clauses. Any other task, and any skill whose effect has no name,
        is told by its solutions: those brought the clause about, or made every kind of change
        that the skill makes. Whether the skill is of use there is what a trial then finds out.
        """
        achieves = skill.achieves.predicate if skill.achieves else None
        whole = closure([skill], {**served, skill.name: skill})
        changing = {t.name for t in self.practice.environment.tools if t.effect == "changes"}
        needed = changing & {name for each in whole for name in each.tools}

        def asked(task: Task) -> bool:
            if achieves is not None and task.mission is not None:
                return any(clause.predicate == achieves for clause in task.mission.clauses)
            done = self._solved.get(task.id, ())
            if achieves is not None:
                return any(achieves in self._achieved(each) for each in done)
            ways = [task.solution or (), *(each.calls for each in done)]
            return any(needed <= {call.tool for call in calls} for calls in ways)

        return asked

    @cached_property
    def _solved(self) -> Mapping[str, Sequence[Trajectory]]:
        """By task, how it was solved lately."""
        found: dict[str, list[Trajectory]] = {}
        for past in self._lately():
            if past.success and past.trajectory is not None:
                found.setdefault(past.task.id, []).append(past.trajectory)
        return found

    def _achieved(self, trajectory: Trajectory) -> frozenset[str]:
        """Predicates of what it brought about."""
        grammar = self.practice.vocabulary
        last = trajectory.steps[-1].state if trajectory.steps else None
        if grammar is None or trajectory.initial_state is None or last is None:
            return frozenset()
        return frozenset(c.predicate for c in grammar.achieved(trajectory.initial_state, last))

    def _lately(self) -> Sequence[PastAttempt]:
        """The run's last practice attempts, read once for the round."""
        if self._past is None:
            practice = self.practice
            rows = practice.records.attempts.all(practice.run_id, kind="practice")
            rounds = sorted({row.round for row in rows})[-LATELY:]
            self._past = [
                past
                for round_ in rounds
                for past in practice.records.trajectories.learnable(
                    practice.run_id, round_, scope=practice.scope
                )
            ]
        return self._past

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

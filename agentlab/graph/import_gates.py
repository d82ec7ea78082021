"""The gates that an imported skill passes here: those of `library.road` that need no past.

Its author's tests may refuse it and never admit it. What admits it is found out here: replays
from fresh resets in two independent sets, its effect check, negative controls, and practice
tasks searched with it and without it. Decides nothing about records or packs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agentlab.graph import jobs
from agentlab.graph.author_tests import AuthorTestRequest, author_tests, judge_author_tests
from agentlab.graph.starts import ReplayRequest
from agentlab.graph.trials import AdmissionRound, Case, search
from agentlab.graph.workers import WorkerFault
from agentlab.library.admission import (
    Trial,
    exact_duplicate,
    judge_replays,
    judge_trials,
    mean_saving,
    static_check,
)
from agentlab.library.controls import judge_controls, untouched
from agentlab.library.road import Gate
from agentlab.library.skills import closure, origins
from agentlab.protocols import HasTasks
from agentlab.types import Replay, Skill, Task, derive_seed

SETS = 2
"""Independent sets of replays; each must pass."""
ASKED = 12
"""Tasks that the environment is asked for, for each one that a trial needs."""
TRIVIAL = 2
"""Tool calls up to which a task proves nothing."""
NOT_WORSE = -0.05
"""Mean logarithm of calls saved, down to which a later version counts as not worse."""


class ImportGates:
    """The gates for the skills of one environment.

    Args:
        current: what is served, and where trials are recorded; skills that passed are added to
            `current.served` by the caller.
        box: name of the box that the code runs in, settled before.
    """

    def __init__(self, current: AdmissionRound, box: str) -> None:
        self._current = current
        self._practice = current.practice
        self._box = box
        self._tools = {tool.name for tool in self._practice.environment.tools}
        self._tasks: list[Task] | None = None

    def proving(self) -> list[Gate[Case]]:
        """The gates that ask nothing of the library; skills may pass them side by side."""
        sets: list[tuple[Replay, ...]] = []
        needed = self._practice.config.admission.replays

        async def static(case: Case) -> str | None:
            return self._static(case.skill)

        async def run(case: Case) -> str | None:
            return await self._author_tests(case.skill) or await self._replays(case, sets)

        async def replay(case: Case) -> str | None:
            reason = _judge(sets, needed)
            return None if reason is None or reason.startswith("effect: ") else reason

        async def effect(case: Case) -> str | None:
            return _judge(sets, needed)

        async def controls(case: Case) -> str | None:
            return judge_controls(case.skill, case.replays)

        return [
            Gate("static", static),
            Gate("run", run),
            Gate("replay", replay),
            Gate("effect", effect),
            Gate("controls", controls),
        ]

    def serving(self, rival: Skill | None) -> list[Gate[Case]]:
        """The gates that depend on what is served by then; one skill after another.

        Args:
            rival: what serves under the same name; being as good as that is then enough.
        """

        async def duplicate(case: Case) -> str | None:
            return self._duplicate(case.skill)

        async def use(case: Case) -> str | None:
            case.trials = tuple(await self._trials(case.skill))
            if rival is None:
                return judge_trials(case.trials)
            return None if not_worse(case.trials) else f"use: it is worse than {rival.name!r} here"

        return [
            Gate("duplicate", duplicate),
            Gate("use", use),
        ]

    def _static(self, skill: Skill) -> str | None:
        if skill.toolset not in ("default", self._practice.toolset):
            return (
                f"static: it is for the tools {skill.toolset!r}, and there are "
                f"{self._practice.toolset!r} here"
            )
        if unknown := sorted(set(skill.tools) - self._tools):
            return f"static: there is no tool {unknown[0]!r}"
        if missing := [name for name in skill.skills if name not in self._current.served]:
            return f"static: it calls {missing[0]!r}, which is not verified here"
        found = self._current.provenance.particulars(skill)
        return static_check(
            skill,
            self._tools,
            self._current.served.keys(),
            found,
            self._current.provenance.clauses,
            specs=self._practice.environment.tools,
        )

    async def _author_tests(self, skill: Skill) -> str | None:
        practice = self._practice
        request = AuthorTestRequest(
            skill=skill,
            callees=self._callees(skill),
            environment=practice.environment_ref,
            box=self._box,
        )
        seconds = practice.config.attempt_seconds
        found = await practice.pool.run(author_tests, request, seconds=seconds)
        if isinstance(found, WorkerFault):
            return f"run: its author's tests gave no result: {found.error}"
        return judge_author_tests(found)

    async def _replays(self, case: Case, sets: list[tuple[Replay, ...]]) -> str | None:
        """Fill the sets; why nothing could be run, or None."""
        practice, skill = self._practice, case.skill
        for number in range(SETS):
            request = ReplayRequest(
                skill=skill,
                callees=self._callees(skill),
                environment=practice.environment_ref,
                setups=(self._home(skill),),
                count=practice.config.admission.replays,
                seed=derive_seed(practice.config.seed, "import", number),
            )
            found = await practice.pool.run(
                jobs.replay, request, seconds=practice.config.attempt_seconds
            )
            if isinstance(found, WorkerFault):
                return f"run: {found.error}"
            sets.append(found)
            case.replays = (*case.replays, *found)
            if _judge(sets, practice.config.admission.replays) is not None:
                break  # a second set cannot mend the first
        return None

    def _duplicate(self, skill: Skill) -> str | None:
        others = [other for other in self._current.served.values() if other.name != skill.name]
        twin = exact_duplicate(skill, others)
        return f"duplicate: the same as {twin.name!r}" if twin else None

    async def _trials(self, skill: Skill) -> list[Trial]:
        """Practice tasks that state its clause and are not trivial, with it and without it."""
        current, config = self._current, self._practice.config.admission
        # Half as many again, since some will prove trivial.
        tasks = self._stating(skill)[: config.trials + config.trials // 2]
        without = await search(current, tasks, None, None)
        asked = [
            (task, before)
            for task, before in zip(tasks, without, strict=True)
            if before.success is False
            or (before.success is True and before.usage.tool_calls > TRIVIAL)
        ][: config.trials]
        with_it = await search(current, [task for task, _ in asked], skill, None)
        budget = config.trial_tool_calls
        return [
            Trial(
                task.id,
                bool(before.success),
                after.success,
                before.usage.tool_calls if before.success else budget,
                after.usage.tool_calls if after.success else budget,
                skill.id in after.skills_used,
            )
            for (task, before), after in zip(asked, with_it, strict=True)
            if after.success is not None
        ]

    def _stating(self, skill: Skill) -> list[Task]:
        """The environment's practice tasks that state what the skill brings about."""
        practice, environment = self._practice, self._practice.environment
        if skill.achieves is None or not isinstance(environment, HasTasks):
            return []
        if self._tasks is None:
            count = ASKED * practice.config.admission.trials
            seed = derive_seed("import", practice.config.seed) % 10**6
            self._tasks = list(environment.tasks("practice", count, seed))
            proposals = [(task, None) for task in self._tasks]
            rule = environment.split_rule
            practice.records.tasks.add_proposals(practice.run_id, 0, proposals, rule)
        sources = origins(skill, {**self._current.served, skill.name: skill})
        return [
            task
            for task in self._tasks
            if task.id not in sources
            and task.mission is not None
            and any(c.predicate == skill.achieves.predicate for c in task.mission.clauses)
        ]

    def _callees(self, skill: Skill) -> tuple[Skill, ...]:
        return closure([skill], {**self._current.served, skill.name: skill})[1:]

    def _home(self, skill: Skill) -> str:
        """The easiest start-state family in which its author saw it work; else the easiest."""
        setups = self._practice.grammar.spec.setups
        named = Counter(str(test.get("setup")) for test in skill.tests)
        return next((setup for setup in setups if named[setup]), setups[0])


def not_worse(trials: Sequence[Trial]) -> bool:
    """Whether a later version did as well as the one before it, on the same tasks."""
    lost = sum(t.solved_without and not t.solved_with for t in trials)
    won = sum(t.solved_with and not t.solved_without for t in trials)
    return bool(trials) and lost <= won and mean_saving(trials) >= NOT_WORSE


def _judge(sets: Sequence[Sequence[Replay]], needed: int) -> str | None:
    """Why a set of replays does not vouch for the skill, or None.

    A set in which nothing was ever left to do speaks of the check, which the controls judge.
    """
    for replays in sets:
        if replays and all(map(untouched, replays)):
            continue
        reason = judge_replays(replays, needed)
        if reason is not None:
            return reason
    return None

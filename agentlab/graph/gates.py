"""A candidate's way through the gates of admission, and back to the curator when it fails.

The rules are in `library.admission` and its neighbours, the order in `library.road`. Here the
gates are given what they ask for: replays from workers, shadow attempts on practice tasks, the
record. Up to and including the negative controls candidates are judged side by side; from there
on one after another, the shortest first, because what is served then changes with each.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from agentlab.graph import jobs
from agentlab.graph.approving import ascend
from agentlab.graph.honing import hone
from agentlab.graph.likeness import CompareRequest
from agentlab.graph.regression import regressions_of
from agentlab.graph.starts import ReplayRequest
from agentlab.graph.trials import AdmissionRound, Case, Move, affordable, trials_of
from agentlab.graph.workers import WorkerFault
from agentlab.library.admission import (
    REJECTED,
    exact_duplicate,
    judge_regression,
    judge_replays,
    judge_trials,
    nameable,
    near_duplicate,
    static_check,
)
from agentlab.library.controls import judge_controls, untouched
from agentlab.library.road import Gate, walk
from agentlab.library.skills import closure
from agentlab.records import ItemRow
from agentlab.types import JsonObject, Replay, Skill, Usage, derive_seed

LEAST_TRIALS = 6
"""Practice tasks without which use is not judged, but in the last round."""
PATIENCE = 2
"""Rounds that a candidate may stay in quarantine before it must have proved useful; where an
earlier run made it, times that it was judged on tasks enough, for rounds begin anew."""
ALIKE = 0.8
"""Similarity of two skills' documents from which it is asked whether they behave alike."""
RIVALS = 3
"""Served skills, the most similar first, that are run beside a candidate."""
COMPARED = 3
"""Start states from which they are run."""


async def judge(current: AdmissionRound, rows: Sequence[ItemRow[Skill]]) -> None:
    """Decide about candidates, as far as the budget goes; decisions are added to the round."""
    gates = Gates(current, rows)
    waiting = [Case(row.item) for row in rows]
    order = {row.item.name: place for place, row in enumerate(rows)}
    ready: list[Case] = []
    while waiting:
        waiting = await gates.examine(waiting, ready)
    # A mended candidate keeps its name, and with it its place.
    ready.sort(key=lambda case: order.get(case.skill.name, len(order)))
    while ready:
        current.practice.go_on()
        if affordable(current) == 0 or current.practice.out_of_time():
            return
        mended = await gates.try_out(ready.pop(0))
        again: list[Case] = []
        while mended is not None:
            more = await gates.examine([Case(mended)], again)
            mended = more[0].skill if more else None
        ready[:0] = again


Mend = Callable[[Case], Awaitable[Skill | None]]
"""The next version of a candidate that was refused, or None."""


class Gates:
    """The gates of one round."""

    def __init__(
        self,
        current: AdmissionRound,
        rows: Sequence[ItemRow[Skill]],
        *,
        mend: Mend | None = None,
    ) -> None:
        """Judge candidates for `current`, which are on record as `rows`.

        What is refused goes to `mend`, or back to its curator.
        """
        practice = current.practice
        self._mend = mend or functools.partial(hone, current)
        self._current = current
        self._known = {**{row.item.name: row.item for row in rows}, **current.served}
        self._replayed = {row.item.id for row in rows if row.status == "quarantined"}
        self._born = {
            row.item.id: (row.round or 0)
            if row.run_id == practice.run_id
            else current.round - self._failed_before(row.item)
            for row in rows
        }
        self._specs = tuple(practice.environment.tools)
        self._tools = {tool.name for tool in self._specs}

    async def examine(self, cases: Sequence[Case], ready: list[Case]) -> list[Case]:
        """Static checks, replays and controls; those that pass are added to `ready`.

        Returns:
            The next versions of those that failed and could be mended.
        """
        current = self._current
        first = [Gate("static", self._static)]
        for case in cases:
            case.passage = await walk(case, first)
        failed = [case for case in cases if case.passage.reason is not None]
        fit = [case for case in cases if case.passage.reason is None]
        for case in fit:
            if case.skill.id in self._replayed:
                case.replays = self._earlier(case.skill)
                ready.append(case)
        fresh = [case for case in fit if case.skill.id not in self._replayed]
        if fresh and affordable(current) != 0:
            found = await asyncio.gather(*(self._replay(case.skill) for case in fresh))
            for case, result in zip(fresh, found, strict=True):
                if isinstance(result, WorkerFault):
                    case.fault, case.blameless = result.error, not result.of_skill
                else:
                    case.replays = result
                self._charge(case)
                case.passage = await walk(case, self._proving(), case.passage)
                (ready if case.passage.reason is None else failed).append(case)
        return [Case(each) for each in [await self._refuse(case) for case in failed] if each]

    async def try_out(self, case: Case) -> Skill | None:
        """Regression, duplicates and use on practice tasks; then admit, replace or refuse it.

        Returns:
            Its next version, where it failed and could be mended.
        """
        current, skill = self._current, case.skill
        gates = [Gate("regression", self._regression), Gate("duplicate", self._duplicate)]
        case.passage = await walk(case, gates, case.passage)
        if case.passage.reason is not None:
            return await self._refuse(case)
        case.trials = tuple(await trials_of(current, skill))
        if len(case.trials) < LEAST_TRIALS and not current.last:
            why = "too few practice tasks to prove it"
            current.moves.append(Move(skill, ("quarantined",), why, case.evidence()))
            return None
        case.passage = await walk(case, [Gate("use", self._use)], case.passage)
        reason = case.passage.reason
        patient = current.round - self._born.get(skill.id, current.round) < PATIENCE
        if reason is not None and case.rival is None and patient and not current.last:
            current.moves.append(Move(skill, ("quarantined",), reason, case.evidence()))
            return None
        if reason is not None:
            return await self._refuse(case)
        rival, replaced = case.rival, list[Move]()
        if rival is not None and near_duplicate(skill, [rival]) is not None:
            # It saved calls although the rival was there to be used, and nothing needs the rival.
            del current.served[rival.name]
            replaced.append(Move(rival, ("retired",), f"superseded: by {skill.name}"))
        older = current.served.get(skill.name)
        if older is not None:
            why = f"superseded: by version {skill.version}"
            replaced.append(Move(older, ("retired",), why))
        current.served[skill.name] = skill
        ascend(current, skill, "admitted", case.evidence(), replaced)
        return None

    async def _refuse(self, case: Case) -> Skill | None:
        current, skill = self._current, case.skill
        reason = case.passage.reason or ""
        evidence: JsonObject = case.evidence()
        mended = await self._mend(case)
        if mended is not None:
            evidence["honed_into"] = mended.id
            current.honed.append(mended)
            self._known.setdefault(mended.name, mended)
            if self._known[mended.name].id == skill.id:
                self._known[mended.name] = mended
        current.moves.append(Move(skill, ("retired",), REJECTED + reason, evidence))
        return mended

    # --- the gates --------------------------------------------------------------------------

    async def _static(self, case: Case) -> str | None:
        found = self._current.provenance.particulars(case.skill)
        clauses = nameable(case.skill, self._current.provenance.spec)
        return static_check(
            case.skill, self._tools, self._known.keys(), found, clauses, specs=self._specs
        )

    def _proving(self) -> list[Gate[Case]]:
        needed = self._current.practice.config.admission.replays

        async def run(case: Case) -> str | None:
            return None if case.fault is None else f"run: {case.fault}"

        async def replay(case: Case) -> str | None:
            if case.replays and all(map(untouched, case.replays)):
                return None  # they say nothing of the skill, and all the more of its check
            reason = judge_replays(case.replays, needed)
            return None if reason is None or reason.startswith("effect: ") else reason

        async def effect(case: Case) -> str | None:
            if all(map(untouched, case.replays)):
                return None
            return judge_replays(case.replays, needed)

        async def controls(case: Case) -> str | None:
            return judge_controls(case.skill, case.replays)

        return [
            Gate("run", run),
            Gate("replay", replay),
            Gate("effect", effect),
            Gate("controls", controls),
        ]

    async def _regression(self, case: Case) -> str | None:
        current, skill = self._current, case.skill
        if missing := [name for name in skill.skills if name not in current.served]:
            return f"calls: {missing[0]!r} is not served"
        case.regressions = tuple(await regressions_of(current, case))
        return judge_regression(
            case.regressions, current.practice.config.admission.trial_tool_calls
        )

    async def _duplicate(self, case: Case) -> str | None:
        current, skill = self._current, case.skill
        # The version that serves under its own name is what it replaces, and no duplicate.
        served = [other for other in current.served.values() if other.name != skill.name]
        twin = exact_duplicate(skill, served)
        if twin is not None:
            return f"duplicate: the same as {twin.name!r}"
        similar = current.practice.library.alike(skill, served, floor=ALIKE)[:RIVALS]
        found = await self._same_behaviour(skill, similar) if similar else None
        if isinstance(found, WorkerFault):
            return f"duplicate: it could not be compared with what is served ({found.error})"
        case.rival = rival = found
        if rival is not None and any(rival.name in other.skills for other in served):
            return f"duplicate: {rival.name!r} does the same, and others call it"
        return None

    async def _use(self, case: Case) -> str | None:
        reason = judge_trials(case.trials)
        if reason is not None and case.rival is not None:
            return f"duplicate: {case.rival.name!r} does the same ({reason})"
        return reason

    # --- what workers find out --------------------------------------------------------------

    async def _replay(self, skill: Skill) -> tuple[Replay, ...] | WorkerFault:
        practice = self._current.practice
        return await practice.pool.run(
            jobs.replay, self.request(skill, "replay"), seconds=practice.config.attempt_seconds
        )

    def request(self, skill: Skill, purpose: str, *, patient: bool = False) -> ReplayRequest:
        """What a skill is to be tried on; other starts for another purpose."""
        practice, current = self._current.practice, self._current
        provenance = current.provenance
        return ReplayRequest(
            skill=skill,
            callees=closure([skill], self._known)[1:],
            environment=practice.environment_ref,
            setups=(self.home(skill),),
            count=practice.config.admission.replays,
            seed=derive_seed(practice.config.seed, current.round, purpose),
            tasks=provenance.starting_points(skill),
            told=provenance.told(skill, self._known),
            seen=provenance.seen(skill),
            patient=patient,
        )

    def _earlier(self, skill: Skill) -> tuple[Replay, ...]:
        """The replays that brought a candidate into quarantine, from the record."""
        history = self._current.practice.records.items.history(skill.id)
        kept = [move.evidence["replays"] for move in history if move.evidence.get("replays")]
        rows = kept[-1] if kept else None
        return tuple(map(Replay.model_validate, rows)) if isinstance(rows, list) else ()

    def _failed_before(self, skill: Skill) -> int:
        """Verdicts by which it was left in quarantine, over tasks enough to tell.

        Those that rest on the same tasks are one: asking again is no proof of anything.
        """
        found: set[frozenset[str]] = set()
        for move in self._current.practice.records.items.history(skill.id):
            trials = move.evidence.get("trials")
            if move.after == "quarantined" and isinstance(trials, list):
                tasks = [str(trial["task_id"]) for trial in trials if isinstance(trial, dict)]
                if len(tasks) >= LEAST_TRIALS:
                    found.add(frozenset(tasks))
        return len(found)

    def _charge(self, case: Case) -> None:
        current = self._current
        steps = sum(replay.steps for replay in case.replays)
        calls = sum(replay.tool_calls for replay in case.replays)
        current.replay_usage += Usage(tool_calls=calls, steps=steps)
        if current.steps_left is not None:
            current.steps_left -= steps

    async def _same_behaviour(
        self, skill: Skill, rivals: Sequence[Skill]
    ) -> Skill | WorkerFault | None:
        """The first rival that has the candidate's effect wherever the candidate has it."""
        practice = self._current.practice
        request = CompareRequest(
            skill=skill,
            rivals=tuple(rivals),
            callees=closure([skill, *rivals], self._current.served),
            environment=practice.environment_ref,
            setups=(self.home(skill),),
            count=COMPARED,
            seed=derive_seed(practice.config.seed, self._current.round, "compare"),
            tasks=self._current.provenance.starting_points(skill),
            told=self._current.provenance.told(skill, self._known),
        )
        found = await practice.pool.run(
            jobs.compare, request, seconds=practice.config.attempt_seconds
        )
        if isinstance(found, WorkerFault):
            return found
        alike = {likeness.name for likeness in found if likeness.alike}
        return next((rival for rival in rivals if rival.name in alike), None)

    def home(self, skill: Skill) -> str:
        """The easiest start-state family in which it was seen to work; empty where none are."""
        counts: Counter[str] = Counter()
        for task in self._current.provenance.tasks(skill):
            counts[task.template.partition(": ")[0]] += 1
        spec = self._current.provenance.spec
        setups = spec.setups if spec is not None else ("",)
        return next((setup for setup in setups if counts[setup]), setups[0])

"""What is done about a served skill that failed when it was replayed: look again, then mend.

A second look tells what is broken from what had bad luck. What is broken is taken out of service
at once, and remedies are tried in turn, each a new version that walks the same gates: what its
failed replays show, then a search for another way from fresh starts; or a model that is told of
the failure. Which version comes to serve is not decided here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from agentlab.curators.rewriting import Worked, rewrite
from agentlab.graph import jobs
from agentlab.graph.gates import Gates
from agentlab.graph.honing import hone
from agentlab.graph.trials import AdmissionRound, Case
from agentlab.graph.ways import WaysReply, WaysRequest
from agentlab.graph.workers import WorkerFault
from agentlab.library.controls import untouched
from agentlab.library.steadiness import broken, shares
from agentlab.types import Skill, Usage

NONE, SEARCH = "none", "search"
"""Ways of mending beside a chat model's name."""
OF_REPLAYS = ("replay: ", "effect: the effect did not show")
"""How a gate's reason begins that luck may explain."""


PAGES = 5
"""Versions that a model may write of one broken skill: it sees one place where it failed at a time,
and the next only when it has come past that."""


class Look(NamedTuple):
    """What the second look came to."""

    passed: int
    n: int
    broken: bool


class Mending:
    """One skill's remedies, in order; `Gates` asks for the next whenever a version was refused.

    Args:
        current: the verification.
        skill: the version that served.
        how: `search`, `none` or the name of a chat model.
        renamed: names that changed, as other skills showed; added to.
        found_broken: called once, before anything is mended.
    """

    def __init__(
        self,
        current: AdmissionRound,
        skill: Skill,
        *,
        how: str,
        renamed: dict[str, str],
        found_broken: Callable[[Case, Look | None], None],
    ) -> None:
        self._current = current
        self._skill = skill
        self._how = how
        self._renamed = renamed
        self._found_broken = found_broken
        self._refused = Case(skill)
        self._remedies: AsyncGenerator[tuple[str, Skill]] | None = None
        self.gates: Gates | None = None
        self.by: dict[str, str] = {}
        """Id of each version that was made here, and how."""
        self.look: Look | None = None
        self.kept = False
        """Whether it stays in service: it is not shown to be broken, or could not be tried."""

    async def next(self, case: Case) -> Skill | None:
        """The next version to try, or None."""
        self._refused = case
        if case.skill.id == self._skill.id:
            if case.fault is not None and case.blameless:
                self.kept = True
                return None
            if _luck(case) and not await self._broken(case):
                self.kept = True
                return None
            self._found_broken(case, self.look)
            self._remedies = self._in_turn(case)
        if self._remedies is None:
            return None
        async for how, version in self._remedies:
            self.by[version.id] = how
            return version
        return None

    async def _broken(self, case: Case) -> bool:
        assert self.gates is not None
        practice = self._current.practice
        request = self.gates.request(case.skill, "second look", patient=True)
        found = await practice.pool.run(
            jobs.replay, request, seconds=practice.config.attempt_seconds
        )
        if isinstance(found, WorkerFault):
            # What cannot be tried a second time is judged by the first.
            return found.of_skill
        self._current.replay_usage += Usage(
            tool_calls=sum(replay.tool_calls for replay in found),
            steps=sum(replay.steps for replay in found),
        )
        good, n = shares(found)
        verdict = broken(found, practice.config.admission.replays)
        self.look = Look(good, n, verdict)
        if verdict:
            case.replays = (*case.replays, *found)
        return verdict

    async def _in_turn(self, case: Case) -> AsyncGenerator[tuple[str, Skill]]:
        if self._how == NONE:
            return
        if self._how != SEARCH:
            # What a model writes is the model's, whoever wrote what it mends.
            skill = case.skill.model_copy(update={"origin": "model"})
            version = await hone(self._current, _about(case, skill), most=PAGES)
            while version is not None:
                yield "model", version
                version = await hone(self._current, self._refused, most=PAGES)
            return
        version = await hone(self._current, case)
        while version is not None:
            yield "replays", version
            version = await hone(self._current, self._refused)
        version = await self._searched()
        if version is not None:
            yield SEARCH, version

    async def _searched(self) -> Skill | None:
        """A version made of ways that a search found near the old one."""
        assert self.gates is not None
        current, practice = self._current, self._current.practice
        request = WaysRequest(replay=self.gates.request(self._skill, "ways"), renamed=self._renamed)
        found: WaysReply | WorkerFault = await practice.pool.run(
            jobs.ways, request, seconds=practice.config.attempt_seconds
        )
        if isinstance(found, WorkerFault):
            return None
        current.replay_usage += Usage(tool_calls=found.tool_calls, steps=found.steps)
        ways = [
            Worked(way.task_id, way.arguments, way.calls, way.olds, way.before)
            for way in found.ways
        ]
        version = rewrite(self._skill, ways, after=self._newest())
        if version is not None:
            self._renamed.update(found.renamed)
        return version

    def _newest(self) -> int:
        """The newest version of its name, whatever became of it."""
        practice, skill = self._current.practice, self._skill
        rows = practice.records.items.skills(
            environment=skill.environment, name=skill.name, scope=practice.scope
        )
        return max(
            skill.version,
            *(row.item.version for row in rows),
            *(each.version for each in self._current.honed if each.name == skill.name),
        )


def _luck(case: Case) -> bool:
    """Whether it was tried and failed, as a good skill may now and then."""
    reason = case.passage.reason or ""
    tried = any(not untouched(replay) for replay in case.replays)
    return tried and reason.startswith(OF_REPLAYS)


def _about(case: Case, skill: Skill) -> Case:
    return Case(skill, passage=case.passage, replays=case.replays)

"""One client and its episode: tools are called here, one at a time, and put on record.

A tool is looked up in what is offered at that moment, and the skill behind it is asked for in the
records once more: what was retired a moment ago is no tool any more. What a call gives is data;
a call that cannot be made at all is the protocol's error (`RefusedCallError`). The episode is at
work in a thread of its own, see `apart`; who this is and what is offered is decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from agentlab.errors import AgentLabError, EnvironmentFaultError, RecordsError
from agentlab.executors.toolbox import Fault, Toolbox
from agentlab.models.redaction import known
from agentlab.records import Records
from agentlab.records.feedback import LONGEST_COMMENT
from agentlab.sandbox import SettledBox
from agentlab.serve.mcp import own_tools
from agentlab.serve.mcp.answers import (
    FeedbackAnswer,
    SearchAnswer,
    SearchLine,
    advice_lines,
    begin_answer,
    call_answer,
)
from agentlab.serve.mcp.apart import PATIENCE, Apart, StuckError, UnderWay, Work
from agentlab.serve.mcp.call_records import CallRecords
from agentlab.serve.mcp.episode import BROKEN_OFF, Done, Episode, stuck
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.serve.mcp.offerings import Offered, Offerings
from agentlab.serve.mcp.pages import line, plain
from agentlab.serve.mcp.tokens import Principal
from agentlab.serve.mcp.turn import Turn
from agentlab.serve.mcp.wire import INTERNAL_ERROR, INVALID_PARAMS, TOO_MANY
from agentlab.types import (
    EnvironmentRef,
    Frozen,
    JsonObject,
    Observation,
    Skill,
    ToolSpec,
    ToolUse,
)

log = logging.getLogger(__name__)

T = TypeVar("T")


class RefusedCallError(Exception):
    """A call that is not made; the protocol's error says why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Told(NamedTuple):
    """What a tool gave."""

    answer: Frozen | None
    failed: bool = False
    text: str = ""
    """In place of an answer, where there is none."""


class Caller:
    """A client.

    Args:
        principal: who it is.
        records: where its calls are kept.
        ref: its environment.
        box: where skill code runs.
        offerings: what its scope offers.
        limits: of what it may ask.
        stale: called where a call finds that what is offered has changed.
    """

    def __init__(
        self,
        principal: Principal,
        records: Records,
        ref: EnvironmentRef,
        box: SettledBox,
        offerings: Offerings,
        limits: ServeLimits,
        stale: Callable[[], None],
    ) -> None:
        self.principal = principal
        self.offerings = offerings
        self.limits = limits
        self._records = records
        self._calls = CallRecords(records, principal, ref, box, limits)
        self._new_episode = lambda: Episode(ref, box.name, limits, records.blobs)
        self._episode = self._new_episode()
        self._turn = Turn(self._calls)
        """Of the latest call."""
        self._stale = stale
        self._apart = Apart(f"agentlab-mcp-{principal.name}")
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._used = time.monotonic()
        self._ending: set[asyncio.Task[None]] = set()
        """Calls that were cancelled and are being brought to their end."""

    async def call(self, name: str, arguments: dict[str, Any]) -> Told:
        """Call a tool.

        Raises:
            RefusedCallError: there is no such tool, or too many calls wait.
        """
        self._used = time.monotonic()
        try:
            if name in (own_tools.SEARCH, own_tools.FEEDBACK):
                return await self._aside(name, arguments)
            return await self._in_turn(name, arguments)
        except RecordsError as error:
            raise RefusedCallError(INTERNAL_ERROR, known().text(str(error))) from error

    async def _in_turn(self, name: str, arguments: dict[str, Any]) -> Told:
        """A tool that acts in the episode, after the calls that came before."""
        if self._waiting >= self.limits.waiting:
            raise RefusedCallError(TOO_MANY, "Too many calls wait already; one is made at a time.")
        self._waiting += 1
        try:
            async with self._lock:
                await self._ended()
                if name == own_tools.BEGIN:
                    return await self._begin(arguments)
                return await self._skill(name, arguments)
        finally:
            self._waiting -= 1
            self._used = time.monotonic()

    async def tidy(self) -> None:
        """Let go of an episode that nobody has used for long."""
        idle = time.monotonic() - self._used > self.limits.idle_seconds
        in_use = self._lock.locked() or bool(self._ending)
        if idle and not in_use and self._apart.started:
            async with self._lock:
                self._turn = Turn(self._calls)
                with contextlib.suppress(EnvironmentFaultError):  # it blocks and was left behind
                    await self._made(self._episode.close)
                await self._apart.close()

    async def close(self) -> None:
        """End the episode and the run. Safe to call twice."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=PATIENCE)
        try:
            if self._ending:
                await self._give_up(BROKEN_OFF)
            elif self._apart.started:
                await self._closed()
        finally:
            self._calls.close()

    async def _closed(self) -> None:
        try:
            await self._apart.start(self._episode.close).result(PATIENCE)
        except StuckError:
            self._apart.leave()
        else:
            await self._apart.close()

    def look(self) -> None:
        """See to it that what is offered is what the records say at this moment.

        Raises:
            RefusedCallError: they cannot be read.
        """
        try:
            if self.offerings.refresh():
                self._stale()
        except AgentLabError as error:
            raise RefusedCallError(INTERNAL_ERROR, known().text(str(error))) from error

    def tool(self, name: str) -> Offered:
        """The tool of that name, as the records have it now.

        Raises:
            RefusedCallError: there is none.
        """
        self.look()
        listing = self.offerings.listing
        tool = listing.tools.get(name)
        if tool is not None and self.offerings.still(tool):
            return tool
        shown = line(name, 128)
        if (why := listing.withheld.get(name)) is not None:
            raise RefusedCallError(INVALID_PARAMS, f"The tool {shown!r} is withheld: {why}.")
        raise RefusedCallError(INVALID_PARAMS, f"There is no tool {shown!r}; list them again.")

    async def _aside(self, name: str, arguments: dict[str, Any]) -> Told:
        """A tool that needs no environment."""
        self.tool(name)
        asked = _read(name, arguments)
        if isinstance(asked, Told):
            return asked
        if isinstance(asked, own_tools.SearchArguments):
            return Told(self._found(asked))
        # Who writes may have to wait for another process; other callers must not wait with it.
        return await asyncio.to_thread(self._feedback, cast("own_tools.FeedbackArguments", asked))

    def _found(self, asked: own_tools.SearchArguments) -> SearchAnswer:
        listing = self.offerings.listing
        names = {tool.skill.id: name for name, tool in listing.tools.items() if tool.skill}
        lines = [
            SearchLine(
                name=names[each.skill.id],
                signature=line(each.skill.signature, 200),
                summary=plain(each.skill.summary, 500),
                score=round(each.score, 6),
            )
            for each in self.offerings.found(asked.query, asked.limit)
            if each.skill.id in names
        ]
        advice = [f.insight.document for f in self.offerings.advice(asked.query, asked.limit)]
        withheld = tuple(f"{name}: {why}" for name, why in listing.withheld.items())
        return SearchAnswer(
            skills=tuple(lines), advice=advice_lines(advice, self.limits), withheld=withheld
        )

    def _feedback(self, asked: own_tools.FeedbackArguments) -> Told:
        """Keep what a user says of a call, by the rules of `Agent.feedback`."""
        attempt = self._calls.attempt_of(asked.call)
        if attempt is None:
            return Told(None, failed=True, text="There is no call of that id among yours.")
        new = self._records.feedback.add(
            attempt,
            success=asked.success,
            comment=plain(known().text(asked.comment), LONGEST_COMMENT),
            scope=self.principal.scope,
        )
        outcome = self._records.trajectories.outcome(attempt)
        by = None if outcome.success is None else outcome.score.source
        return Told(FeedbackAnswer(call=asked.call, recorded=new, success=outcome.success, by=by))

    async def _begin(self, arguments: dict[str, Any]) -> Told:
        self.tool(own_tools.BEGIN)
        asked = _read(own_tools.BEGIN, arguments)
        if isinstance(asked, Told):
            return asked
        wanted = cast("own_tools.BeginArguments", asked)

        episode, turn = self._episode, Turn(self._calls)
        self._turn = turn

        async def begun() -> Observation:
            seen = await episode.begin(wanted)
            try:
                turn.begin()
            except AgentLabError:  # no call of that episode could be put on record
                await episode.drop()
                raise
            return seen

        try:
            seen = await self._made(begun)
        except RecordsError:
            raise
        except AgentLabError as error:
            return Told(None, failed=True, text=plain(known().text(str(error)), 2000))
        task = self._episode.task
        assert task is not None
        return Told(begin_answer(task, seen, self.limits))

    async def _skill(self, name: str, arguments: dict[str, Any]) -> Told:
        tool = self.tool(name)
        skill = tool.skill
        assert skill is not None
        if (fault := _fault(tool, arguments)) is not None:
            return Told(None, failed=True, text=fault)
        if self._episode.task is None:
            return Told(None, failed=True, text="No episode has begun; call `begin` first.")
        if self._episode.over:
            return Told(None, failed=True, text="The episode is over; call `begin` for another.")
        return await self._carried_out(name, skill, cast("JsonObject", arguments))

    async def _carried_out(self, name: str, skill: Skill, given: JsonObject) -> Told:
        episode, turn = self._episode, Turn(self._calls)
        self._turn = turn
        task = episode.task
        assert task is not None
        callees = self.offerings.callees(skill)

        # In the thread of the environment, where nothing of it can be cancelled halfway: where
        # nobody waits for an answer any more, what was done is recorded all the same.
        async def recorded() -> Done:
            turn.plan(task, skill, callees, given)
            try:
                done = await episode.call(skill, callees, given)
            except asyncio.CancelledError:
                turn.record(BROKEN_OFF)
                raise
            try:
                turn.record(done)
            except EnvironmentFaultError:  # it was left behind, and nobody else will close it
                await episode.drop()
                raise
            return done

        try:
            done = await self._made(recorded)
        except EnvironmentFaultError as error:
            if not turn.name:
                return Told(None, failed=True, text=plain(known().text(str(error)), 2000))
            done = stuck(self.limits)
        over = self._episode.over or self._episode.task is None
        answer = call_answer(turn.name, name, skill, done, over=over, limits=self.limits)
        return Told(answer, failed=done.success is not True and not _unknown(done))

    async def _made(self, work: Work[T]) -> T:
        """What comes of work in the thread of the environment.

        Raises:
            EnvironmentFaultError: there is no room for it, or it did not end and was given up.
        """
        under_way = self._apart.start(work)
        try:
            return await self._in_time(under_way, stuck(self.limits))
        except asyncio.CancelledError:
            under_way.cancel()
            ending = asyncio.create_task(self._wind_up(under_way))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            raise

    async def _in_time(self, under_way: UnderWay[T], otherwise: Done) -> T:
        """What comes of it, unless the environment blocks; then it is given up."""
        try:
            # It ends by itself after the seconds of a call, where it is not blocked.
            return await under_way.result(self.limits.call_seconds + PATIENCE)
        except StuckError:
            if await self._give_up(otherwise):
                raise EnvironmentFaultError(
                    f"The environment did not end within {self.limits.call_seconds:g} s; it blocks "
                    "and was left behind."
                ) from None
        return await under_way.result()

    async def _give_up(self, known_of_it: Done) -> bool:
        """Leave the environment behind, unless its call is over already; whether it was left."""
        given_up = True  # where that cannot be put on record, too
        try:
            given_up = await asyncio.to_thread(self._turn.give_up, known_of_it)
        finally:
            if given_up:
                self._apart.leave()
                self._episode = self._new_episode()
        return given_up

    async def _wind_up(self, under_way: UnderWay[T]) -> None:
        try:
            await self._in_time(under_way, BROKEN_OFF)
        except asyncio.CancelledError:
            return
        except Exception as error:  # nobody waits for it any more
            log.warning("A call was broken off: %s: %s", type(error).__name__, error)

    async def _ended(self) -> None:
        """Wait for calls that were cancelled, for the episode takes one at a time."""
        while self._ending:
            await asyncio.wait(self._ending)


def _read(name: str, arguments: dict[str, Any]) -> Frozen | Told:
    """The arguments of an own tool, or what is told of those that do not fit."""
    try:
        return own_tools.read_arguments(name, arguments)
    except own_tools.WrongArgumentsError as error:
        text = f"The arguments of {name!r} do not fit: {plain(str(error), 600)}"
        return Told(None, failed=True, text=text)


def _unknown(done: Done) -> bool:
    """Whether it ran to its end, and nobody can say what came of it."""
    return done.completed and done.effect is None


def _fault(tool: Offered, arguments: dict[str, Any]) -> str | None:
    """Why arguments do not fit the schema that was listed, or None.

    What does not fit is told in a result and not as the protocol's error, so that a model can put
    it right (MCP 2025-11-25, "Tool Execution Errors").
    """
    spec = ToolSpec(name=tool.name, description="", parameters=tool.parameters)
    use = ToolUse(id="call", name=tool.name, arguments=json.dumps(arguments))
    read = Toolbox([spec]).read(use)
    return plain(read.text, 1000) if isinstance(read, Fault) else None

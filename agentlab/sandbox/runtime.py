"""Runs skill code in a box, behind `protocols.SkillRuntime`; the same for every box.

Calls and checks never share a child: `call` runs skill code in one, `evaluate` runs effect
checks and verifiers in another that has never run a skill, so that no skill can forge the
verdict on itself; and no two sources of checks share one, so that no check can forge another's.
What the child says is checked in `conversation`; a tool call is performed only where the tool
was opened and the called skill, or one that it calls, declares it, and counted.

While skill code runs, the host waits for it in a thread of the runtime's own, so that whatever
else shares its event loop goes on. With `blocking` it waits where it is: a call of a few
microseconds is worth no trip through a thread for an attempt that has its worker process and its
loop to itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from pydantic import JsonValue

from agentlab.errors import SkillFaultError, SkillRefusedError
from agentlab.protocols import EpisodeOver, Perform, SkillReturn
from agentlab.sandbox import protocol
from agentlab.sandbox.box import Box
from agentlab.sandbox.conversation import Conversation
from agentlab.sandbox.pool import Pool
from agentlab.sandbox.protocol import Act, Message, Raised, Returned, RuntimeLimits
from agentlab.types import JsonObject, Origin, Skill, ToolSpec

T = TypeVar("T")
INSTALL = (
    "install bubblewrap (Debian and Ubuntu: `apt-get install bubblewrap`; Fedora: `dnf install "
    "bubblewrap`) or use a kernel with Landlock, and see `agentlab doctor`"
)


class BoxRuntime:
    """Implements `protocols.SkillRuntime` with the children of one box.

    A child serves the calls between two `open`s, which is one attempt, and is then killed;
    with `single_use` it serves one call, for code that is not yet verified. A check that search
    made keeps a child for as long as nothing else is asked; any other has one for each question.
    """

    def __init__(
        self,
        box: Box,
        limits: RuntimeLimits | None = None,
        *,
        spares: int = 1,
        single_use: bool = False,
        keep: bool = False,
        blocking: bool = False,
    ) -> None:
        """Start nothing yet.

        Args:
            box: what starts the children.
            limits: for each call.
            spares: children that are started ahead and wait.
            single_use: one call each, then the child is killed.
            keep: one child for every `open`; for code that search made alone.
            blocking: wait for skill code where it is called; for a loop that nobody shares.
        """
        self.box = box
        self.limits = limits or RuntimeLimits()
        self.single_use = single_use
        self._keep = keep and not box.takes_foreign_code
        self._pool = Pool(box, self.limits, spares, direct=blocking)
        self.refused = 0
        """Tool calls that were performed by nobody, since this runtime was made."""
        self._sources: dict[str, str] = {}
        self._granted: dict[str, frozenset[str]] = {}
        self._tools: tuple[str, ...] = ()
        self._opened = object()
        self._caller: Conversation | None = None
        self._judge: Conversation | None = None
        self._busy = False
        self._spent = 0.0
        self._blocking = blocking
        self._thread: ThreadPoolExecutor | None = None

    @property
    def name(self) -> str:
        """The name of the box, for the record of what ran where."""
        return self.box.name

    async def open(self, skills: Sequence[Skill], tools: Sequence[ToolSpec]) -> None:
        """Make these skills, and no others, callable, in a box that has run nothing.

        Raises:
            SkillRefusedError: one of them may not run in this box.
        """
        for skill in skills:
            self._refuse_foreign(f"The skill {skill.name!r}", skill.origin)
        self._sources = {skill.name: skill.source for skill in skills}
        self._granted = _grants(skills)
        self._tools = tuple(tool.name for tool in tools)
        self._opened = object()
        if not self._keep and self._caller is not None and self._caller.used:
            self._caller = self._end(self._caller)
        if skills:
            self._pool.fill()

    async def call(self, name: str, arguments: JsonObject, perform: Perform) -> SkillReturn:
        """Call a skill; its tool calls go to `perform`, one at a time.

        Whatever the skill does wrong is told in the returned `error`.

        Raises:
            SkillFaultError: the child cannot be started, or another call is under way.
        """
        if name not in self._sources:
            return SkillReturn(False, error=f"There is no opened skill named {name!r}.")
        self._claim()
        child: Conversation | None = None
        try:
            child = await self._aside(self._take_caller)
            return await self._converse(child, name, arguments, perform)
        except SkillFaultError as error:
            if child is None:  # it cannot be started
                raise
            child.kill()
            return SkillReturn(False, error=str(error))
        except BaseException:  # `perform` failed or was cancelled: the skill cannot go on
            if child is not None:
                child.kill()
            raise
        finally:
            self._busy = False
            if self.single_use:
                self._caller = self._end(self._caller)
            self._pool.fill()

    async def evaluate(
        self, source: str, function: str, arguments: JsonObject, *, origin: Origin = "search"
    ) -> JsonValue:
        """Call a function of a source with keyword arguments and give back its JSON result.

        Raises:
            SkillRefusedError: code of that origin may not run in this box.
            SkillFaultError: it raised, called a tool, or did not end in time.
        """
        self._refuse_foreign(f"The function {function!r}", origin)
        once = origin != "search"
        self._claim()
        child: Conversation | None = None
        try:
            child = await self._aside(partial(self._take_judge, (source, function)))
            child.used = True
            child.begin()
            line = protocol.encode_evaluate(source, function, arguments, once=once)
            message, _ = await self._aside(partial(_asked, child, line, self.limits.seconds), child)
        except BaseException:
            if child is not None:
                child.kill()
            raise
        finally:
            self._busy = False
            if once:
                self._judge = self._end(self._judge)
            self._pool.fill()
        if isinstance(message, Returned):
            return message.value
        child.kill()
        if isinstance(message, Raised):
            raise SkillFaultError(f"The function {function!r} raised {message.error}.")
        raise SkillFaultError(f"The function {function!r} asked for a tool; it has none.")

    @property
    def cpu_seconds(self) -> float:
        """What skill code has used so far, in all children; 0 where the system does not tell."""
        alive = (child for child in (self._caller, self._judge) if child is not None)
        return self._spent + sum(child.cpu_seconds for child in alive)

    async def close(self) -> None:
        """End every child. Safe to call twice; a later call starts others."""
        self._caller = self._end(self._caller)
        self._judge = self._end(self._judge)
        await self._aside(self._pool.close)
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None

    async def _aside(self, work: Callable[[], T], child: Conversation | None = None) -> T:
        """What the work gives; it may wait, for the child where one is named.

        It is done in the runtime's one thread, so that all that is done there has an order. When
        the caller is cancelled, the child is ended first: the thread then waits for nothing, and
        has let go of the child before anybody clears it away.
        """
        if self._blocking:
            return work()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="agentlab-box-wait")
        done = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if child is not None:
                child.retire()
            await asyncio.wait((done,))
            if not done.cancelled():
                done.exception()  # it is of the child's end, and told to nobody
            raise

    async def _converse(
        self, child: Conversation, name: str, arguments: JsonObject, perform: Perform
    ) -> SkillReturn:
        left = self.limits.seconds
        calls = 0
        child.used = True
        child.begin()
        line = protocol.encode_call(name, arguments, once=self.single_use)
        while True:
            message, left = await self._aside(partial(_asked, child, line, left), child)
            if isinstance(message, Returned):
                return SkillReturn(True, message.value)
            if isinstance(message, Raised):
                if message.last:
                    child.kill()
                return SkillReturn(False, error=message.error)
            if not isinstance(message, Act):
                raise SkillFaultError("Skill code broke the line protocol: it spoke out of turn.")
            calls += 1
            if calls > self.limits.tool_calls:
                await self._aside(child.stop, child)
                limit = self.limits.tool_calls
                return SkillReturn(False, error=f"The skill made more than {limit} tool calls.")
            if (text := self._refusal(name, message.call.tool)) is not None:
                self.refused += 1
                line = protocol.encode_did(text, ok=False)
                continue
            try:
                result = await perform(message.call)
            except EpisodeOver:
                await self._aside(child.stop, child)
                return SkillReturn(False, error="episode over")
            text = result.observation.text if result.error is None else result.error
            line = protocol.encode_did(text, ok=result.error is None)

    def _take_caller(self) -> Conversation:
        """The child for calls, alive and with the present skills."""
        if self._caller is None or not self._caller.alive:
            self._caller = self._end(self._caller)
            self._caller = self._pool.take()
        if self._caller.knows is not self._opened:
            try:
                self._caller.send(protocol.encode_open(self._sources, self._tools))
            except SkillFaultError:
                self._caller.kill()
                raise
            self._caller.knows = self._opened
        return self._caller

    def _take_judge(self, only: tuple[str, str]) -> Conversation:
        """A child that has run this function of a source or nothing."""
        judge = self._judge
        if judge is None or judge.knows != only or not judge.alive:
            self._judge = self._end(judge)
            self._judge = judge = self._pool.take()
            judge.knows = only
        return judge

    def _refusal(self, name: str, tool: str) -> str | None:
        """Why the called skill may not have this tool, or None."""
        if tool not in self._tools:
            return f"There is no tool named {tool[:100]!r}."
        if tool not in self._granted[name]:
            return f"Neither the skill {name!r} nor one that it calls declares the tool {tool!r}."
        return None

    def _claim(self) -> None:
        """Let nobody else in until the caller clears `_busy`."""
        if self._busy:
            raise SkillFaultError(
                "A skill call is already under way in this runtime; use one for each attempt."
            )
        self._busy = True

    def _end(self, child: Conversation | None) -> None:
        if child is not None:
            self._pool.discard(child)
            self._spent += child.cpu_seconds

    def _refuse_foreign(self, what: str, origin: Origin) -> None:
        if origin != "search" and not self.box.takes_foreign_code:
            raise SkillRefusedError(
                f"{what} has the origin {origin!r}: a {self.box.name} runs only code that search "
                f"made, so run it in a box: {INSTALL}."
            )


def _asked(child: Conversation, line: bytes, seconds: float) -> tuple[Message, float]:
    """What the child answers to a line, and what is left of the time."""
    child.send(line)
    answer = child.receive(seconds)
    child.refuse_lasting()
    return answer


def _grants(skills: Sequence[Skill]) -> dict[str, frozenset[str]]:
    """By skill, the tools that it and those below it declare, as far as they are opened."""
    named = {skill.name: skill for skill in skills}

    def below(name: str, seen: set[str]) -> set[str]:
        if name in named and name not in seen:
            seen.add(name)
            for callee in named[name].skills:
                below(callee, seen)
        return seen

    return {
        name: frozenset(tool for each in below(name, set()) for tool in named[each].tools)
        for name in named
    }

"""BFCL's own multi-turn tasks: a user whose turns are written beforehand, and APIs to call.

They are prose, for language models. The agent calls tools as long as it likes and ends its turn
with `answer_user`; the observation is then what the user says next. Each turn is judged where it
ends (see `checking`); the first that was done wrong ends the episode as a failure, which later
turns could not mend, and the last that was done right ends it as a success. There is no limit of
calls in a turn (the package's runner stops at 20); attempts bring theirs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.environments.bfcl import checking, package, schemas
from agentlab.environments.bfcl.checking import Said
from agentlab.environments.bfcl.options import chosen
from agentlab.environments.bfcl.package import Entry
from agentlab.environments.bfcl.world import World
from agentlab.errors import InvalidTaskError, UsageError
from agentlab.types import (
    JsonObject,
    Observation,
    Split,
    SplitRule,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    derive_seed,
    task_id,
)

ENVIRONMENT = "bfcl-turns"
ANSWER = ToolSpec(
    name="answer_user",
    description="End your turn, telling the user what you did or found or what is missing. "
    "The result is what the user says next.",
    parameters={
        "type": "object",
        "properties": {"message": {"type": "string", "description": "What the user reads."}},
        "additionalProperties": False,
    },
)
SPLIT_RULE = SplitRule()
"""By the scenario's number, so that its four variants are on one side: of each ten, eight are
for practice, one for dev and one is held out."""


class Talk(NamedTuple):
    """A saved state; its key is all of it."""

    world: World
    turn: int
    said: Said
    over: bool

    @property
    def key(self) -> tuple[str, int, Said, bool]:
        """Equal for states that behave alike from here on."""
        return (self.world.key, self.turn, self.said, self.over)


class Conversations:
    """The benchmark's own tasks with its own checks, for language models.

    Args:
        apis: which of the APIs there are; all eight by default. Tasks that need others are left
            out.
        categories: which kinds of task: `base`, `long_context` (crowded states, long
            responses), `miss_func` (a tool comes only later), `miss_param` (the user says
            something only later); all four by default.
    """

    def __init__(
        self,
        *,
        apis: str | Sequence[str] = package.APIS,
        categories: str | Sequence[str] = package.CATEGORIES,
    ) -> None:
        self._apis = chosen("apis", apis, package.APIS)
        self._categories = chosen("categories", categories, package.CATEGORIES)
        self._tools = (*schemas.tools_of(self._apis), ANSWER)
        self._specs = {tool.name: tool for tool in self._tools}
        self._entry: Entry | None = None
        self._now = Talk(World({}), 0, Said(), over=True)

    @classmethod
    def from_argument(cls, argument: str, **options: object) -> Conversations:
        """`bfcl-turns:TicketAPI`: that API alone."""
        return cls(apis=argument, **options)  # pyright: ignore[reportArgumentType]  # checked there

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """Every function of the chosen APIs, and `answer_user`."""
        return self._tools

    async def reset(self, task: Task, seed: int) -> Observation:
        """Begin the conversation.

        Raises:
            InvalidTaskError: there is no such conversation, or it needs an API that was not
                chosen.
        """
        entry = _entry_of(task)
        lacking = set(entry.apis) - set(self._apis)
        if lacking:
            raise InvalidTaskError(
                f"The conversation {entry.id!r} needs {sorted(lacking)}; add to the option 'apis'."
            )
        self._entry = entry
        self._now = Talk(checking.start(entry), 0, Said(), over=False)
        return self._turn(entry)

    async def step(self, call: ToolCall) -> StepResult:
        """Carry out one call; what cannot be done is refused with a sentence."""
        entry, now = self._current(), self._now
        refusal = self._refusal(entry, now, call)
        if refusal is not None:
            return self._refused(entry, refusal)
        if call.tool == ANSWER.name:
            return self._end_turn(entry, now)
        answer = now.world.call(call.tool, call.arguments)
        if answer.error is not None:
            return self._refused(entry, answer.error)
        said = checking.heard(now.said, answer.text, checking.gold(entry))
        self._now = now._replace(world=answer.world, said=said)
        return StepResult(observation=Observation(text=answer.text))

    async def close(self) -> None:
        """Nothing is held but memory."""
        self._entry = None

    async def snapshot(self) -> Talk:
        """The state, which is a value: saving it costs nothing."""
        self._current()
        return self._now

    async def restore(self, snapshot: object) -> Observation:
        """Return to a state of this conversation; what the user said last is shown."""
        entry = self._current()
        if not isinstance(snapshot, Talk):
            raise UsageError("bfcl: only a snapshot that this environment made can be restored.")
        self._now = snapshot
        return self._turn(entry)

    async def state(self) -> JsonObject:
        """Each public attribute of each API, named `TicketAPI.ticket_queue`."""
        self._current()
        return {
            f"{api}.{name}": value
            for api, kept in self._now.world.kept.items()
            for name, value in kept.attributes.items()
        }

    def describe(self) -> str:
        """What is here, for a proposer."""
        lines = [
            "A user asks for things turn by turn, and APIs are there to do them with. End each",
            "turn with answer_user; its result is what the user says next. A turn is done right",
            "when the APIs' state is what it should be and everything needed was looked up.",
            "",
            *(f"- {tool.name}: {tool.description}" for tool in self._tools),
        ]
        return "\n".join(lines)

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        """The right answers as they were written down, each turn ended.

        None where they call a tool that is only given later, which is so in one of the 800
        (`multi_turn_miss_func_49`).
        """
        entry = _entry_of(task)
        for turn, calls in enumerate(entry.gold):
            if not {call.tool for call in calls} <= _given(entry, turn):
                return None
        done = ToolCall(tool=ANSWER.name, arguments={"message": "Done."})
        return [call for turn in entry.gold for call in (*turn, done)]

    @property
    def split_rule(self) -> SplitRule:
        """Seeds are the scenarios' numbers; nothing is reserved by template."""
        return SPLIT_RULE

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        """`count` distinct conversations of the split, in an order that the seed decides.

        The first few have every API among them.

        Raises:
            UsageError: the benchmark has fewer of them.
        """
        found = [
            self._task(entry)
            for category in self._categories
            for entry in package.entries(category)
            if SPLIT_RULE.split_of_seed(entry.number) == split
            and set(entry.apis) <= set(self._apis)
        ]
        if len(found) < count:
            raise UsageError(
                f"With these APIs BFCL has {len(found)} tasks for {split}; ask for at most that "
                f"many, not {count}."
            )
        random.Random(derive_seed("bfcl tasks", split, seed)).shuffle(found)
        return _varied(found)[:count]

    def _task(self, entry: Entry) -> Task:
        setup: JsonObject = {"entry": entry.id}
        instruction = entry.turns[0]
        return Task(
            id=task_id(ENVIRONMENT, instruction, setup, entry.number),
            environment=ENVIRONMENT,
            instruction=instruction,
            setup=setup,
            seed=entry.number,
            template=f"{entry.category}: {' & '.join(entry.apis)}",
            split=SPLIT_RULE.split_of_seed(entry.number),
        )

    def _refusal(self, entry: Entry, now: Talk, call: ToolCall) -> str | None:
        if now.over:
            return "The conversation is over."
        tool = self._specs.get(call.tool)
        if tool is None:
            return f"There is no tool named {call.tool[:80]!r}."
        why = schemas.fault(tool, call.arguments)
        if why is not None:
            return f"The tool {call.tool!r} cannot be called so: {why[:200]}."
        if tool is not ANSWER and call.tool not in _given(entry, now.turn):
            return f"The tool {call.tool!r} is not available in this conversation now."
        return None

    def _end_turn(self, entry: Entry, now: Talk) -> StepResult:
        wrong = checking.mistake(entry, now.turn, now.world, now.said)
        last = now.turn + 1 == len(entry.turns)
        if wrong is not None or last:
            self._now = now._replace(over=True)
            right = wrong is None
            text = "The conversation is over." if right else f"The turn was done wrong: {wrong}."
            return StepResult(
                observation=Observation(text=text), reward=float(right), terminated=True
            )
        self._now = Talk(now.world, now.turn + 1, now.said._replace(acted=False), over=False)
        return StepResult(observation=self._turn(entry))

    def _turn(self, entry: Entry) -> Observation:
        turn = self._now.turn
        lines = [entry.turns[turn]] if entry.turns[turn] else []
        added = entry.added.get(turn)
        if added:
            lines.append(f"From now on these tools are available too: {', '.join(added)}.")
        if turn == 0:
            names = ", ".join(sorted(_given(entry, turn)))
            lines.append(f"\nAvailable in this conversation, beside {ANSWER.name}: {names}.")
        return Observation(text="\n".join(lines))

    def _refused(self, entry: Entry, reason: str) -> StepResult:
        return StepResult(observation=self._turn(entry), error=reason, steps=0)

    def _current(self) -> Entry:
        if self._entry is None:
            raise UsageError("bfcl: call reset() before anything else.")
        return self._entry


def _varied(tasks: Sequence[Task]) -> list[Task]:
    """The same tasks; first of all those with an API that no earlier one has."""
    seen: set[str] = set()
    first: list[Task] = []
    for task in tasks:
        apis = set(_entry_of(task).apis)
        if apis - seen:
            first.append(task)
            seen |= apis
    known = {task.id for task in first}
    return [*first, *(task for task in tasks if task.id not in known)]


def _entry_of(task: Task) -> Entry:
    name = task.setup.get("entry")
    entry = package.entry(name) if isinstance(name, str) else None
    if entry is None:
        raise InvalidTaskError(f"BFCL has no multi-turn conversation {str(name)[:80]!r}.")
    return entry


def _given(entry: Entry, turn: int) -> set[str]:
    """The tools of a conversation's APIs, less those excluded and those that come later."""
    later = {name for when, names in entry.added.items() if when > turn for name in names}
    every = {tool.name for tool in schemas.tools_of(entry.apis)}
    return every - entry.excluded - later

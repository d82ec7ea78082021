"""The burrow as an environment: three tools, one chamber in view, tasks held out by map.

Observations are one line of plain words and name no entities, so that an episode of a dozen calls
stays within a few hundred tokens of a small tokenizer. There is no step limit; attempts bring
theirs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.envs.burrow import world
from agentlab.envs.burrow.grammar import (
    LOOK_AROUND,
    SPLIT_RULE,
    BurrowGrammar,
    Progress,
    advance,
    read_state,
)
from agentlab.envs.burrow.oracle import solve, solved_by
from agentlab.envs.burrow.world import Layout, Position, Refused, make_layout
from agentlab.errors import InvalidTaskError, UsageError
from agentlab.types import (
    Clause,
    EnvironmentVerifier,
    JsonObject,
    Mission,
    Observation,
    Split,
    SplitRule,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    derive_seed,
    is_judged,
)


def _tool(name: str, description: str, parameter: str, values: Sequence[str]) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=description,
        parameters={
            "type": "object",
            "properties": {parameter: {"type": "string", "enum": list(values)}},
            "required": [parameter],
            "additionalProperties": False,
        },
    )


TOOLS = (
    _tool("go", "Walk through a tunnel.", "way", tuple(world.WAYS)),
    _tool("take", "Take a thing that lies in the chamber.", "thing", world.THINGS),
    _tool("open", "Open a chest here; you must carry its key.", "chest", world.COLOURS),
)
_ACTS = {"go": world.go, "take": world.take, "open": world.unlock}
_ARGUMENTS = {"go": "way", "take": "thing", "open": "chest"}
_SPLIT_MAPS: dict[Split, tuple[str, ...]] = {
    "practice": world.PRACTISED,
    "dev": world.DEV,
    "heldout": world.HELDOUT,
}
_KINDS = ("opened", "opened", "opened", "holding", "at")
"""How often each predicate is asked for."""
_SECOND = 0.4
"""Share of the tasks that have a second clause."""


class BurrowSnapshot(NamedTuple):
    """A saved state; the key is all of it."""

    position: Position
    progress: Progress
    over: bool

    @property
    def key(self) -> tuple[Position, Progress, bool]:
        """Equal for states that behave alike from here on."""
        return (self.position, self.progress, self.over)


class Burrow:
    """Five chambers, keys and chests, seen one chamber at a time; needs nothing else.

    It implements every protocol of `protocols` but `HasModel` and `HasClues`.
    """

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._mission: Mission | None = None
        self._now = BurrowSnapshot(Position(0, (), ()), Progress(), over=True)

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """The three tools."""
        return TOOLS

    async def reset(self, task: Task, seed: int) -> Observation:
        """Start the task; the burrow comes from the task's own seed, and nothing is random here.

        Raises:
            InvalidTaskError: the task is not of this world.
        """
        setup = task.setup.get("setup")
        if not isinstance(setup, str) or setup not in world.MAPS:
            raise InvalidTaskError(f"A burrow's map is one of {tuple(world.MAPS)}, not {setup!r}.")
        mission = task.mission
        # Words that code verifies need not be of the grammar.
        spoken = isinstance(task.verifier, EnvironmentVerifier) and not is_judged(task)
        if mission is None and task.instruction != LOOK_AROUND and spoken:
            mission = self.grammar().parse(task.instruction)
        layout = make_layout(setup, task.seed)
        self._layout, self._mission = layout, mission
        self._now = BurrowSnapshot(layout.start, Progress(), over=False)
        return self._view(layout)

    async def step(self, call: ToolCall) -> StepResult:
        """Carry out one call; what cannot be done is refused with a sentence."""
        layout = self._current()
        now = self._now
        if now.over:
            return self._refuse(layout, "The episode is over.")
        act, name = _ACTS.get(call.tool), _ARGUMENTS.get(call.tool)
        if act is None:
            return self._refuse(layout, f"There is no tool named {call.tool[:80]!r}.")
        value = call.arguments.get(name or "")
        if len(call.arguments) != 1 or not isinstance(value, str):
            return self._refuse(layout, f"The tool {call.tool!r} takes {name!r}, a word.")
        outcome = act(layout, now.position, value[:80])
        if isinstance(outcome, Refused):
            return self._refuse(layout, outcome.reason)
        progress, success = now.progress, False
        if self._mission is not None:
            progress, success = advance(self._mission, progress, read_state(layout, outcome))
        self._now = BurrowSnapshot(outcome, progress, success)
        return StepResult(
            observation=self._view(layout),
            reward=1.0 if success else 0.0,
            terminated=success,
        )

    async def close(self) -> None:
        """Nothing is held but memory."""
        self._layout = None

    async def snapshot(self) -> BurrowSnapshot:
        """The state, which is a value: saving it costs nothing."""
        self._current()
        return self._now

    async def restore(self, snapshot: object) -> Observation:
        """Return to a state of this episode."""
        layout = self._current()
        if not isinstance(snapshot, BurrowSnapshot):
            raise UsageError("A burrow can only restore a snapshot that a burrow made.")
        self._now = snapshot
        return self._view(layout)

    async def state(self) -> JsonObject:
        """The facts; see `grammar.read_state`."""
        return read_state(self._current(), self._now.position)

    def describe(self) -> str:
        """What this world is, for a proposer."""
        lines = [
            "A burrow has five chambers, joined by tunnels to the north, east, south and west.",
            "Only the chamber where you are is seen. In the chambers lie things to take, any",
            "number of which can be carried, and stand locked chests of various colours; the key",
            "of a chest's colour opens it.",
            "",
            "Tools:",
            *(f"- {tool.name}: {tool.description}" for tool in TOOLS),
            "",
            "Tasks are one clause, or two joined by ', then' (in this order):",
            "'Go to the moss chamber.', 'Take the bell.', 'Open the red chest.',",
            "'Take the bell, then open the red chest.'",
        ]
        return "\n".join(lines)

    def grammar(self) -> BurrowGrammar:
        """The grammar; its tasks are the environment's own."""
        return BurrowGrammar()

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        """Calls that solve the task, by one who sees the whole map; None without a goal."""
        setup = task.setup.get("setup")
        if task.mission is None or not isinstance(setup, str):
            return None
        return solve(make_layout(setup, task.seed), task.mission)

    @property
    def split_rule(self) -> SplitRule:
        """Seeds by residue, and five of the twelve maps only in evaluation."""
        return SPLIT_RULE

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        """Distinct tasks on the maps of a split, each with a solution and two failing cases."""
        grammar = self.grammar()
        rng = random.Random(derive_seed("burrow tasks", split, seed))
        found: dict[str, Task] = {}
        while len(found) < count:
            layout_seed = rng.randrange(10**9)
            setup = rng.choice(_SPLIT_MAPS[split])
            mission = _random_mission(make_layout(setup, layout_seed), rng)
            if SPLIT_RULE.split_of_seed(layout_seed) != split:
                continue
            try:
                task = grammar.compose(mission, setup, layout_seed)
            except InvalidTaskError:
                continue
            layout = make_layout(setup, layout_seed)
            solution = solve(layout, mission)
            failing = _failing(layout, mission, solution)
            found[task.id] = task.model_copy(update={"solution": solution, "failing": failing})
        return list(found.values())

    def _current(self) -> Layout:
        if self._layout is None:
            raise UsageError("burrow: call reset() before anything else.")
        return self._layout

    def _refuse(self, layout: Layout, reason: str) -> StepResult:
        return StepResult(observation=self._view(layout), error=reason, steps=0)

    def _view(self, layout: Layout) -> Observation:
        return Observation(text=world.text_of(layout, self._now.position))


def _random_mission(layout: Layout, rng: random.Random) -> Mission:
    made: list[Clause] = []
    for _ in range(2 if rng.random() < _SECOND else 1):
        predicate = rng.choice(_KINDS)
        match predicate:
            case "at":
                clause = Clause(
                    predicate=predicate, arguments={"chamber": rng.choice(layout.names)}
                )
            case "holding":
                clause = Clause(predicate=predicate, arguments={"thing": rng.choice(layout.things)})
            case _:
                colour, _ = rng.choice(layout.chests)
                clause = Clause(predicate=predicate, arguments={"chest": colour})
        made.append(clause)
    return Mission(groups=tuple((clause,) for clause in made))


def _failing(
    layout: Layout, mission: Mission, solution: tuple[ToolCall, ...]
) -> tuple[tuple[ToolCall, ...], ...]:
    """Trajectories that come near the goal and miss it: all but the last call, and its half."""
    idle = ToolCall(tool="take", arguments={"thing": layout.things[-1]})
    cases = (
        (*solution[:-1], ToolCall(tool="open", arguments={"chest": "none"})),
        (*solution[: len(solution) // 2], idle),
        (ToolCall(tool="go", arguments={"way": "nowhere"}),),
    )
    return tuple(case for case in cases if not solved_by(layout, mission, case))[:2]

"""Episodes of BabyAI behind the protocols of agentlab: what the full and partial view share.

This joins the parts of the package; it decides nothing about the rules of the game.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, get_args

from agentlab.environments.babyai.bot import BotRun, run_bot
from agentlab.environments.babyai.description import describe
from agentlab.environments.babyai.facts import facts
from agentlab.environments.babyai.families import composed_tasks, level_tasks
from agentlab.environments.babyai.grammar import BabyAIGrammar
from agentlab.environments.babyai.instructions import require_plain_verifiers
from agentlab.environments.babyai.levels import level_name
from agentlab.environments.babyai.referee import Referee
from agentlab.environments.babyai.scene import Scene
from agentlab.environments.babyai.solver import Solver
from agentlab.environments.babyai.splits import SPLIT_RULE
from agentlab.environments.babyai.starts import Start, start_of
from agentlab.environments.babyai.tools import (
    LOOK,
    PRIMITIVE,
    Plan,
    Toolset,
    View,
    plan_objects,
    plan_primitive,
    tools_of,
)
from agentlab.environments.babyai.verifier import CONTINUE
from agentlab.environments.babyai.world import Saved, World
from agentlab.errors import ConfigError, EnvironmentFaultError
from agentlab.protocols import Snapshot
from agentlab.types import (
    JsonObject,
    Observation,
    Split,
    SplitRule,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
)


class Episodes:
    """The base of every BabyAI environment; use `BabyAI`."""

    def __init__(
        self,
        *,
        toolset: Toolset = "objects",
        view: View = "full",
        level: str | None = None,
        max_steps: int | None = None,
    ) -> None:
        for name, value, allowed in (("toolset", toolset, Toolset), ("view", view, View)):
            if value not in get_args(allowed):
                raise ConfigError(
                    f"BabyAI has no {name} {value!r}; use one of {', '.join(get_args(allowed))}."
                )
        require_plain_verifiers()
        if max_steps is not None and max_steps < 1:
            raise ConfigError(f"BabyAI's step cap must be at least 1, not {max_steps}.")
        self._toolset: Toolset = toolset
        self._level = level_name(level) if level is not None else None
        self._max_steps = max_steps
        self._tools = tools_of(toolset, view)
        self._start: Start | None = None
        self._referee: Referee | None = None
        self._world: World | None = None
        self._scene: Scene | None = None
        self._observation = Observation(text="")

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """The tools of the chosen toolset."""
        return self._tools

    @property
    def split_rule(self) -> SplitRule:
        """Which seeds and templates are reserved."""
        return SPLIT_RULE

    async def reset(self, task: Task, seed: int) -> Observation:
        """Start the task; its own seed fixes the start state, and nothing else is random.

        Raises:
            InvalidTaskError: the task is not one of BabyAI's.
        """
        start = start_of(task, self._max_steps)
        self._start = start
        self._referee = Referee(start.build, task.seed)
        self._world = World(start.layout, start.goal, start.max_steps)
        self._begin(start, self._world)
        return self._show()

    async def step(self, call: ToolCall) -> StepResult:
        """Carry out one call as primitive moves; an impossible one moves nothing."""
        world = self._running()
        if world.over:
            return StepResult(
                observation=self._observation,
                terminated=world.verdict != CONTINUE,
                truncated=world.truncated,
                error="The episode is over; reset before the next call.",
                steps=0,
            )
        if call.tool == LOOK.name and self._toolset == "objects" and not call.arguments:
            return StepResult(observation=self._observation, steps=0)
        plan = self._plan(world, call)
        if plan.error is not None:
            return StepResult(observation=self._observation, error=plan.error, steps=0)
        return self._carry_out(world, plan)

    async def state(self) -> JsonObject:
        """What is carried, faced, open, locked and next to what."""
        return facts(self._running())

    async def close(self) -> None:
        """Forget the episode. Safe to call twice."""
        self._world = None
        self._referee = None

    def describe(self) -> str:
        """A page for a proposer: what is here, what can be done, what a task looks like."""
        return describe(self._tools, self._level)

    def grammar(self) -> BabyAIGrammar:
        """The grammar of tasks in composed start states, or in those of the chosen level."""
        return BabyAIGrammar(self._level)

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        """`count` distinct tasks: of the chosen level, else of the split's families in turn.

        Raises:
            InvalidTaskError: practice was asked of a level whose missions are held out.
        """
        if self._level is not None:
            return level_tasks(self._level, split, count, seed)
        return composed_tasks(split, count, seed)

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        """Calls of this toolset that solve the task, or None where none is known.

        Primitive actions are BabyAIBot's. For the objects toolset they are planned on the
        instruction (see `solver`), which knows no answer where things must be moved out of the
        way or a box holds the key.
        """
        if self._toolset == "primitive":
            run = self.bot(task)
            names = list(PRIMITIVE)
            return [ToolCall(tool=names[move]) for move in run.moves] if run.solved else None
        start = start_of(task, self._max_steps)
        return Solver(World(start.layout, start.goal, start.max_steps)).solve()

    def bot(self, task: Task) -> BotRun:
        """What minigrid's BabyAIBot makes of the task: the ceiling."""
        start = start_of(task, self._max_steps)
        if start.goal is None:
            return BotRun(solved=False, moves=(), reason="there is no goal")
        level = start.build()
        level.reset(seed=task.seed)
        return run_bot(level, start.max_steps)

    def bot_solves(self, task: Task) -> bool:
        """Whether BabyAIBot solves the task within its step cap."""
        return self.bot(task).solved

    def _running(self) -> World:
        if self._world is None:
            raise EnvironmentFaultError("BabyAI has no episode; call reset first.")
        return self._world

    def _plan(self, world: World, call: ToolCall) -> Plan:
        if self._toolset == "primitive":
            return plan_primitive(call)
        return plan_objects(world, call)

    def _carry_out(self, world: World, plan: Plan) -> StepResult:
        steps = self._move(world, plan.moves)
        terminated = world.verdict != CONTINUE
        if terminated and self._referee is not None:
            self._referee.confirm(world.moves(), reward=world.reward, truncated=world.truncated)
        return StepResult(
            observation=self._show(),
            reward=world.reward if terminated else 0.0,
            terminated=terminated,
            truncated=world.truncated,
            steps=steps,
        )

    def _begin(self, start: Start, world: World) -> None:
        self._scene = Scene(start.layout, start.instruction)

    def _move(self, world: World, moves: tuple[int, ...]) -> int:
        return world.run(moves)

    def _show(self) -> Observation:
        if self._scene is not None:
            self._observation = self._scene.observe(self._running())
        return self._observation


class SavedEpisode(NamedTuple):
    """A saved state and what was shown in it."""

    saved: Saved
    observation: Observation

    @property
    def key(self) -> Hashable:
        """Equal for states that behave alike from here on."""
        return self.saved.key


class KnownEpisodes(Episodes):
    """Episodes that can be put back into an earlier state."""

    async def snapshot(self) -> SavedEpisode:
        """Save the state, the verifier's own included; a microsecond."""
        return SavedEpisode(self._running().save(), self._observation)

    async def restore(self, snapshot: Snapshot) -> Observation:
        """Return to a saved state of this task.

        Raises:
            EnvironmentFaultError: it is no state of this task.
        """
        if not isinstance(snapshot, SavedEpisode):
            raise EnvironmentFaultError(
                f"BabyAI did not make the snapshot {snapshot!r}; restore what it saved."
            )
        self._running().load(snapshot.saved)
        self._observation = snapshot.observation
        return snapshot.observation

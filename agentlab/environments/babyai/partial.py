"""BabyAI through the 7 x 7 view: what was seen is remembered, and can be simulated.

The real episode cannot be saved or put back. Search plans in `model()`, which is built from
what was shown and knows nothing else, acts here, and plans again.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.environments.babyai.belief import Belief, explore
from agentlab.environments.babyai.episodes import Episodes, KnownEpisodes, Start
from agentlab.environments.babyai.facts import facts
from agentlab.environments.babyai.scene import Scene
from agentlab.environments.babyai.solver import Solver
from agentlab.environments.babyai.tools import Plan, Toolset
from agentlab.environments.babyai.verifier import CONTINUE
from agentlab.environments.babyai.world import World
from agentlab.errors import EnvironmentFaultError
from agentlab.types import JsonObject, Observation, StepResult, Task, ToolCall

_ROUNDS = 60
"""Plans or explorations the oracle of the partial view makes before it gives up."""


class PartialBabyAI(Episodes):
    """BabyAI of which only what was seen is known. Made by `BabyAI(view="partial")`."""

    def __init__(
        self,
        *,
        toolset: Toolset = "objects",
        level: str | None = None,
        max_steps: int | None = None,
    ) -> None:
        super().__init__(toolset=toolset, view="partial", level=level, max_steps=max_steps)
        self._belief: Belief | None = None

    def _begin(self, start: Start, world: World) -> None:
        self._belief = Belief(world, start.goal)

    async def close(self) -> None:
        """Forget the episode. Safe to call twice."""
        await super().close()
        self._belief = None

    async def state(self) -> JsonObject:
        """The facts of what was seen."""
        return facts(self._memory().world())

    async def model(self) -> BeliefModel:
        """A simulator of what was seen, in the state now."""
        return BeliefModel(
            self._memory().world(), self._instruction(), toolset=self._toolset, seen=self._seen()
        )

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        """Calls that solve the task without knowing more than the view shows, or None."""
        if self._toolset == "primitive":
            return await super().oracle(task)
        scout = PartialBabyAI(level=self._level, max_steps=self._max_steps)
        await scout.reset(task, 0)
        calls: list[ToolCall] = []
        for _ in range(_ROUNDS):
            for call in scout._next_calls():
                result = await scout.step(call)
                if result.error is not None:
                    return None
                calls.append(call)
                if result.terminated or result.truncated:
                    return calls if result.succeeded else None
        return None

    def _next_calls(self) -> Sequence[ToolCall]:
        plan = Solver(self._memory().world()).solve()
        if plan:
            return plan
        if explore(self._memory().world()):
            return (ToolCall(tool="explore"),)
        return Solver(self._memory().world()).unlock_any() or (ToolCall(tool="explore"),)

    def _memory(self) -> Belief:
        if self._belief is None:
            raise EnvironmentFaultError("BabyAI has no episode; call reset first.")
        return self._belief

    def _seen(self) -> int:
        return self._memory().seen

    def _instruction(self) -> str:
        return self._start.instruction if self._start is not None else ""

    def _plan(self, world: World, call: ToolCall) -> Plan:
        if call.tool == "explore" and self._toolset == "objects":
            if call.arguments:
                return Plan(error="'explore' takes no arguments.")
            moves = explore(self._memory().world())
            if not moves:
                return Plan(error="Everything that can be reached from here has been seen.")
            return Plan(moves=moves)
        return super()._plan(self._memory().world(), call)

    def _move(self, world: World, moves: tuple[int, ...]) -> int:
        steps = 0
        for move in moves:
            steps += world.run((move,))
            self._memory().look()
            if world.over:
                break
        return steps

    def _show(self) -> Observation:
        self._observation = observe(self._memory().world(), self._instruction(), self._seen())
        return self._observation


class BeliefModel(KnownEpisodes):
    """What was seen, simulated: an environment with snapshots that reveals nothing new."""

    def __init__(self, world: World, instruction: str, *, toolset: Toolset, seen: int) -> None:
        super().__init__(toolset=toolset, view="partial")
        self._world = world
        self._first = world.save()
        self._instruction = instruction
        self._seen = seen
        self._scene = Scene(world.layout, instruction, note=_note(seen))
        self._observation = self._scene.observe(world)

    async def reset(self, task: Task, seed: int) -> Observation:
        """Go back to what was known when the model was made; the task is the same one."""
        self._running().load(self._first)
        return self._show()

    async def step(self, call: ToolCall) -> StepResult:
        """Carry out one call in the simulation; exploring is refused."""
        if call.tool == "explore":
            world = self._running()
            return StepResult(
                observation=self._observation,
                terminated=world.verdict != CONTINUE,
                truncated=world.truncated,
                error="A model of what was seen has nothing new to show.",
                steps=0,
            )
        return await super().step(call)


def observe(world: World, instruction: str, seen: int) -> Observation:
    """What is shown of a believed world."""
    return Scene(world.layout, instruction, note=_note(seen)).observe(world)


def _note(seen: int) -> str:
    return f"You have seen {seen} cells so far."

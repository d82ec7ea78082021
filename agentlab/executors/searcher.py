"""Search over tool calls and skills from snapshots, within a budget of calls.

Best-first by prior probability: the next edge tried is the one whose path from the root is the
most likely under `ActionSpace`'s prior (uniform-cost search on -log p; the policy-guided search
of Orseau et al. 2018, "Single-Agent Policy Tree Search With Guarantees", without its depth
factor). States are told apart by the snapshot's key, so each is expanded once.

The environment is its own model here: a snapshot is restored for every edge. Only executed
calls are charged, which refused ones are not; a skill that makes k calls is charged k. Where
going back means making calls again (`replayed_steps`), those count as steps. What was
spent when the goal was first reached is kept, so that one run gives success at every smaller
budget.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Hashable
from typing import NamedTuple

from agentlab.errors import UsageError
from agentlab.executors.actions import Action, ActionSpace
from agentlab.protocols import (
    Environment,
    EpisodeOver,
    HasClues,
    HasSnapshots,
    HasState,
    SkillRuntime,
    Snapshot,
)
from agentlab.types import (
    JsonObject,
    Limits,
    Observation,
    Skill,
    StepResult,
    ToolCall,
    Usage,
    canonical_json,
)

REFUSALS = 20
"""Refused calls that a search may make for each call that it may have carried out."""


class PlannedMove(NamedTuple):
    """An edge of a plan: the tool calls it made, and the skill call they came from."""

    calls: tuple[ToolCall, ...]
    skill: Skill | None = None
    arguments: JsonObject | None = None


class Plan(NamedTuple):
    """A path from the root: solved when its last call reached the goal."""

    moves: tuple[PlannedMove, ...]
    solved: bool


class Meter:
    """What one attempt has spent, and whether it may go on.

    Args:
        limits: what it may spend.
        besides: processor seconds that others have used for it so far, such as skill code.
    """

    def __init__(self, limits: Limits, *, besides: Callable[[], float] = lambda: 0.0) -> None:
        self._limits = limits
        self._besides = besides
        self._before = besides()
        self._started = time.monotonic()
        self._cpu = time.process_time()
        self.tool_calls = 0
        self.refused = 0
        self.steps = 0
        self.first_success: Usage | None = None

    @property
    def left(self) -> int:
        """Tool calls left."""
        if time.monotonic() - self._started > self._limits.seconds:
            return 0
        if self.refused >= REFUSALS * self._limits.tool_calls:
            return 0
        if self._limits.steps is not None and self.steps >= self._limits.steps:
            return 0
        return self._limits.tool_calls - self.tool_calls

    def charge(self, result: StepResult) -> None:
        """Count one call; one that was refused did nothing and is counted apart."""
        if result.error is not None:
            self.refused += 1
            return
        self.tool_calls += 1
        self.steps += result.steps

    def went_back(self, steps: int) -> None:
        """Count steps that were taken again to come back to an earlier state."""
        self.steps += steps

    def reached(self) -> None:
        """Keep what was spent when the goal was reached for the first time."""
        if self.first_success is None:
            self.first_success = self.usage()

    def usage(self) -> Usage:
        """Everything so far."""
        return Usage(
            attempts=1,
            tool_calls=self.tool_calls,
            steps=self.steps,
            cpu_seconds=time.process_time() - self._cpu + self._besides() - self._before,
            wall_seconds=time.monotonic() - self._started,
        )


NOTHING_SHOWN = Observation(text="")


class _Node(NamedTuple):
    number: int
    snapshot: Snapshot
    parent: _Node | None
    move: PlannedMove | None
    depth: int
    cost: float
    done: frozenset[int]


class _Edge(NamedTuple):
    cost: float
    order: int
    node: _Node
    action: Action


class Searcher:
    """Finds a plan in an environment with snapshots, on a meter."""

    def __init__(
        self,
        environment: Environment,
        space: ActionSpace,
        runtime: SkillRuntime,
        meter: Meter,
        *,
        calls: int | None = None,
        reach: bool = True,
    ) -> None:
        if not isinstance(environment, HasSnapshots):
            raise UsageError(
                "The model 'search' needs an environment with snapshot() and restore(), or "
                "with model(); this one has neither."
            )
        self._environment = environment
        self._snapshots: HasSnapshots = environment
        self._space = space
        self._runtime = runtime
        self._meter = meter
        self._end = meter.tool_calls + calls if calls is not None else None
        self._reach = reach
        self._order = 0
        self._nodes = 0
        self._heap: list[_Edge] = []
        self._seen: set[Hashable] = set()
        self._tried: set[tuple[int, str]] = set()

    async def find(self, observation: Observation) -> Plan:
        """Search from the environment's state now.

        Returns:
            The plan that reached the goal; without one, the longest path that was tried.
        """
        root = _Node(0, await self._snapshots.snapshot(), None, None, 0, 0.0, frozenset())
        self._seen.add(root.snapshot.key)
        await self._push(root, observation)
        deepest = root
        while self._heap and self._left() > 0:
            edge = heapq.heappop(self._heap)
            node, solved, observation = await self._try(edge)
            if solved and node is not None:
                return Plan(_path(node), solved=True)
            if node is None or node.snapshot.key in self._seen:
                continue
            self._seen.add(node.snapshot.key)
            if node.depth > deepest.depth:
                deepest = node
            await self._push(node, observation)
        return Plan(_path(deepest), solved=False)

    def _left(self) -> int:
        left = self._meter.left
        if self._end is not None:
            left = min(left, self._end - self._meter.tool_calls)
        return left

    async def _push(self, node: _Node, observation: Observation) -> None:
        state: JsonObject | None = None
        if self._space.needs_state and isinstance(self._environment, HasState):
            state = await self._environment.state()
        clues = self._environment.clues if isinstance(self._environment, HasClues) else None
        for cost, action in self._space.actions(observation.entities, state, node.done, clues):
            self._order += 1
            heapq.heappush(self._heap, _Edge(node.cost + cost, self._order, node, action))

    async def _try(self, edge: _Edge) -> tuple[_Node | None, bool, Observation]:
        """The child an edge leads to (None: nothing changed or a dead end) and if it is a goal."""
        node, action = edge.node, edge.action
        if action.skill is None and self._done_by_skill(node, action):
            return None, False, NOTHING_SHOWN
        observation = await self._restored(node.snapshot)
        done = node.done
        if action.skill is None:
            call = ToolCall.model_construct(tool=action.name, arguments=action.arguments)
            result = await self._environment.step(call)
            self._meter.charge(result)
            results = [result]
            move = PlannedMove((call,))
            completed = result.error is None
        else:
            results, calls, completed = await self._call_skill(action, action.skill)
            move = PlannedMove(tuple(calls), action.skill, action.arguments)
            # Not where it broke after its call for a reason of its own: what the call alone
            # leads to was then dropped with it.
            if len(calls) == 1 and (completed or results[0].error is not None):
                self._tried.add((node.number, _spell(calls[0].tool, calls[0].arguments)))
            if action.clause is not None:
                done = done | {action.clause}
        last = results[-1] if results else None
        solved = last is not None and last.succeeded
        if solved:
            if self._reach:
                self._meter.reached()
        elif last is None or not completed or last.terminated or last.truncated:
            return None, False, observation
        snapshot = node.snapshot if solved else await self._snapshots.snapshot()
        self._nodes += 1
        child = _Node(self._nodes, snapshot, node, move, node.depth + 1, edge.cost, done)
        return child, solved, last.observation if last else observation

    async def _restored(self, snapshot: Snapshot) -> Observation:
        """Go back; where that means making the calls again, their steps are paid for."""
        before: int = getattr(self._environment, "replayed_steps", 0)
        observation = await self._snapshots.restore(snapshot)
        after: int = getattr(self._environment, "replayed_steps", 0)
        self._meter.went_back(after - before)
        return observation

    def _done_by_skill(self, node: _Node, action: Action) -> bool:
        """Whether a skill has made just this call here already; it need not be paid twice."""
        return bool(self._tried) and (
            (node.number, _spell(action.name, action.arguments)) in self._tried
        )

    async def _call_skill(
        self, action: Action, skill: Skill
    ) -> tuple[list[StepResult], list[ToolCall], bool]:
        results: list[StepResult] = []
        calls: list[ToolCall] = []

        async def perform(call: ToolCall) -> StepResult:
            if self._left() <= 0:
                raise EpisodeOver
            result = await self._environment.step(call)
            self._meter.charge(result)
            calls.append(call)
            results.append(result)
            if result.terminated or result.truncated:
                raise EpisodeOver
            return result

        returned = await self._runtime.call(skill.name, action.arguments, perform)
        return results, calls, returned.completed


def _spell(tool: str, arguments: JsonObject) -> str:
    return f"{tool} {canonical_json(arguments)}"


def _path(node: _Node) -> tuple[PlannedMove, ...]:
    moves: list[PlannedMove] = []
    current: _Node | None = node
    while current is not None and current.move is not None:
        moves.append(current.move)
        current = current.parent
    return tuple(reversed(moves))

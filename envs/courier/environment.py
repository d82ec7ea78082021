"""A small text world with every environment protocol in full, to show what does not need BabyAI.

A courier walks between places, takes items, and puts them into containers, which may be locked
and open with the token of their metal. It is quick (positions are tuples), fully observed and
deterministic, and its missions have the structure that makes learnt skills worth having:
delivering is four calls, and with a lock eight. There is no step limit; attempts bring theirs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.envs.courier import world
from agentlab.envs.courier.grammar import (
    LOOK_AROUND,
    SPLIT_RULE,
    CourierGrammar,
    Progress,
    advance,
    read_state,
)
from agentlab.envs.courier.oracle import solve
from agentlab.envs.courier.view import entities_of, text_of
from agentlab.envs.courier.world import Layout, Position, Size, make_layout
from agentlab.errors import ConfigError, InvalidTaskError, UsageError
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

KEPT_VIEWS = 20_000
"""Observations kept; search comes back to the same positions again and again."""


def _pointing(name: str, description: str, parameter: str, entity: str) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=description,
        parameters={
            "type": "object",
            "properties": {parameter: {"type": "object", "x-entity": entity}},
            "required": [parameter],
            "additionalProperties": False,
        },
    )


_NOTHING: JsonObject = {"type": "object", "properties": {}, "additionalProperties": False}

TOOLS = (
    _pointing("walk", "Walk through the gates to a place, or up to a thing.", "to", "*"),
    _pointing("take", "Take an item that you walked up to.", "item", "item"),
    ToolSpec(name="leave", description="Put down what you hold.", parameters=_NOTHING),
    _pointing(
        "unlock",
        "Unlock a container that you walked up to, holding the token of its metal.",
        "container",
        "container",
    ),
    _pointing(
        "put_in",
        "Put what you hold into a container that you walked up to.",
        "container",
        "container",
    ),
    ToolSpec(
        name="read_sign",
        description="Read the sign at the place where you are.",
        parameters=_NOTHING,
        effect="none",
    ),
)


def _taken(position: Position, steps: int) -> world.Done:
    """Walking as interface `b` has it: an item walked up to is in the hand, where that is free."""
    beside = position.beside
    if beside is None or beside.type != "item":
        return world.Done(position, steps)
    taken = world.take(position, beside.number)
    if isinstance(taken, world.Refused):
        return world.Done(position, steps)
    return world.Done(taken.position, steps + taken.steps)


class CourierSnapshot(NamedTuple):
    """A saved state; the key is all of it."""

    position: Position
    progress: Progress
    over: bool

    @property
    def key(self) -> tuple[Position, Progress, bool]:
        """Equal for states that behave alike from here on."""
        return (self.position, self.progress, self.over)


class Courier:
    """Letters, keys and places in a few lines of text; needs nothing else, to try things out.

    It implements every protocol of `protocols` but `HasModel`.

    Args:
        places: how many places there are, 2 to 10.
        cargo: how many items to deliver, 1 to 20.
        containers: how many containers, 1 to 5.
        interface: `a`, or `b`, a later version in which a courier with free hands takes an item
            by walking up to it: the same tools and worlds, and some of what was learnt on the
            one does not work on the other.
    """

    def __init__(
        self, *, places: int = 4, cargo: int = 3, containers: int = 2, interface: str = "a"
    ) -> None:
        if interface not in ("a", "b"):
            raise ConfigError(f"courier: 'interface' must be 'a' or 'b', not {interface!r}.")
        self._takes_by_walking = interface == "b"
        for name, value, least, most in (
            ("places", places, 2, len(world.NAMES)),
            ("cargo", cargo, 1, len(world.CARGO) * len(world.COLOURS)),
            ("containers", containers, 1, len(world.METALS)),
        ):
            if not least <= value <= most:
                raise ConfigError(f"courier: {name!r} must be {least} to {most}, not {value}.")
        self._size = Size(places, cargo, containers)
        self._layout: Layout | None = None
        self._mission: Mission | None = None
        self._now = CourierSnapshot(Position(0, (), ()), Progress(), over=True)
        self._views: dict[Position, Observation] = {}
        self._states: dict[Position, JsonObject] = {}

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """The six tools."""
        return TOOLS

    async def reset(self, task: Task, seed: int) -> Observation:
        """Start the task; the world comes from the task's own seed, and nothing is random here.

        Raises:
            InvalidTaskError: the task is not of this world.
        """
        setup = task.setup.get("setup")
        if not isinstance(setup, str) or setup not in world.SETUPS:
            raise InvalidTaskError(f"A courier's setup is one of {world.SETUPS}, not {setup!r}.")
        mission = task.mission
        # Words that code verifies need not be of the grammar.
        spoken = isinstance(task.verifier, EnvironmentVerifier) and not is_judged(task)
        if mission is None and task.instruction != LOOK_AROUND and spoken:
            mission = self.grammar().parse(task.instruction)
        layout = make_layout(setup, task.seed, self._size)
        if layout != self._layout:
            self._views, self._states = {}, {}
            self._layout = layout
        self._mission = mission
        self._now = CourierSnapshot(layout.start, Progress(), over=False)
        return self._view(layout)

    async def step(self, call: ToolCall) -> StepResult:
        """Carry out one call; what cannot be done is refused with a sentence."""
        layout = self._current()
        now = self._now
        if now.over:
            return self._refuse(layout, "The episode is over.")
        if call.tool == "read_sign" and not call.arguments:
            return StepResult.model_construct(
                observation=self._view(layout, extra=f"The sign says: {layout.sign}."), steps=0
            )
        outcome = _act(layout, now.position, call)
        if isinstance(outcome, world.Refused):
            return self._refuse(layout, outcome.reason)
        position, steps = outcome
        if self._takes_by_walking and call.tool == "walk":
            position, steps = _taken(position, steps)
        progress, success = now.progress, False
        if self._mission is not None:
            facts = self._facts(layout, position)
            progress, success = advance(self._mission, progress, facts)
        self._now = CourierSnapshot(position, progress, success)
        return StepResult.model_construct(
            observation=self._view(layout),
            reward=1.0 if success else 0.0,
            terminated=success,
            steps=steps,
        )

    async def close(self) -> None:
        """Nothing is held but memory."""
        self._layout = None
        self._views, self._states = {}, {}

    async def snapshot(self) -> CourierSnapshot:
        """The state, which is a value: saving it costs nothing."""
        self._current()
        return self._now

    async def restore(self, snapshot: object) -> Observation:
        """Return to a state of this episode."""
        layout = self._current()
        if not isinstance(snapshot, CourierSnapshot):
            raise UsageError("A courier can only restore a snapshot that a courier made.")
        self._now = snapshot
        return self._view(layout)

    async def state(self) -> JsonObject:
        """The facts; see `grammar.read_state`. Do not change what is returned."""
        return self._facts(self._current(), self._now.position)

    def describe(self) -> str:
        """What this world is, for a proposer."""
        lines = [
            "A courier walks between places that gates connect. At the places lie items, and",
            "there stand containers of various metals. Only one thing can be held at a time, and",
            "a thing must be walked up to before it is handled.",
            "In the start states 'open' all containers are unlocked; in 'locked' each needs the",
            "token of its metal, which lies somewhere and stays in the lock.",
            "",
            "Tools:",
            *(f"- {tool.name}: {tool.description}" for tool in TOOLS),
            "",
            "Tasks join up to four clauses with 'and' (any order) and ', then' (this order):",
            "'Go to the mill.', 'Pick up the red parcel.', 'Unlock the tin chest.',",
            "'Deliver the red parcel to the tin chest, then go to the yard.'",
        ]
        return "\n".join(lines)

    def grammar(self) -> CourierGrammar:
        """The grammar for worlds of this size."""
        return CourierGrammar(self._size)

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        """Calls that solve the task; None for a task without a goal."""
        setup = task.setup.get("setup")
        if task.mission is None or not isinstance(setup, str):
            return None
        return solve(make_layout(setup, task.seed, self._size), task.mission)

    @property
    def split_rule(self) -> SplitRule:
        """Seeds by residue; three clauses and more, and one shape of two, only in evaluation."""
        return SPLIT_RULE

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        """Distinct tasks: one or two clauses for `practice` and `dev`, more for `heldout`."""
        grammar = self.grammar()
        rng = random.Random(derive_seed("courier tasks", split, seed))
        found: dict[str, Task] = {}
        while len(found) < count:
            layout_seed = rng.randrange(10**9)
            if SPLIT_RULE.split_of_seed(layout_seed) != split:
                continue
            setup = rng.choice(world.SETUPS)
            layout = make_layout(setup, layout_seed, self._size)
            clauses = rng.choice((3, 4) if split == "heldout" else (1, 2))
            mission = _random_mission(layout, clauses, rng)
            try:
                task = grammar.compose(mission, setup, layout_seed)
            except InvalidTaskError:
                continue
            if task.split == split:
                found[task.id] = task
        return list(found.values())

    def _current(self) -> Layout:
        if self._layout is None:
            raise UsageError("courier: call reset() before anything else.")
        return self._layout

    def _refuse(self, layout: Layout, reason: str) -> StepResult:
        return StepResult.model_construct(observation=self._view(layout), error=reason, steps=0)

    def _facts(self, layout: Layout, position: Position) -> JsonObject:
        known = self._states.get(position)
        if known is None:
            if len(self._states) >= KEPT_VIEWS:
                self._states.clear()
            known = self._states[position] = read_state(layout, position)
        return known

    def _view(self, layout: Layout, *, extra: str = "") -> Observation:
        position = self._now.position
        known = self._views.get(position)
        if known is None:
            if len(self._views) >= KEPT_VIEWS:
                self._views.clear()
            known = self._views[position] = Observation.model_construct(
                text=text_of(layout, position), entities=entities_of(layout, position)
            )
        if extra:
            return known.model_copy(update={"text": f"{extra}\n{known.text}"})
        return known


def _act(layout: Layout, position: Position, call: ToolCall) -> world.Done | world.Refused:
    tool, arguments = call.tool, call.arguments
    if tool == "leave" and not arguments:
        return world.leave(position)
    match arguments:
        case {"to": reference, **rest} if tool == "walk" and not rest:
            thing = layout.find(reference)
            return world.walk(layout, position, thing) if thing else _unknown(reference)
        case {"item": reference, **rest} if tool == "take" and not rest:
            thing = layout.find(reference)
            if thing is None or thing.type != "item":
                return _unknown(reference)
            return world.take(position, thing.number)
        case {"container": reference, **rest} if tool in ("unlock", "put_in") and not rest:
            thing = layout.find(reference)
            if thing is None or thing.type != "container":
                return _unknown(reference)
            act = world.unlock if tool == "unlock" else world.put_in
            return act(layout, position, thing.number)
        case _:
            known = {spec.name for spec in TOOLS}
            if tool not in known:
                return world.Refused(f"There is no tool named {tool!r}.")
            return world.Refused(f"The tool {tool!r} does not take {sorted(arguments)}.")


def _unknown(reference: JsonValue) -> world.Refused:
    return world.Refused(f"There is nothing here to use that on: {str(reference)[:80]}.")


def _random_mission(layout: Layout, clauses: int, rng: random.Random) -> Mission:
    predicates = ("delivered", "delivered", "delivered", "holding", "unlocked", "at")
    made: list[Clause] = []
    for _ in range(clauses):
        predicate = rng.choice(predicates)
        arguments: JsonObject = {}
        if predicate == "at":
            arguments["place"] = rng.choice(layout.place_references)
        if predicate in ("delivered", "holding"):
            arguments["item"] = rng.choice(layout.items[: len(layout.cargo)])
        if predicate in ("delivered", "unlocked"):
            arguments["container"] = rng.choice(layout.container_references)
        made.append(Clause(predicate=predicate, arguments=arguments))
    border = rng.choice([n for n in (1, 2) if clauses - n <= 2 and n < clauses] or [clauses])
    groups = (tuple(made[:border]), tuple(made[border:]))
    return Mission(groups=tuple(group for group in groups if group))

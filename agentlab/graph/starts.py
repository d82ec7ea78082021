"""Start states for replaying a candidate: where it applies, with arguments it has not seen.

The grammar makes them; where there is none, practice tasks lend theirs. A skill that names a
clause is given a task that asks for it; one whose effect has no name is given none, and its effect
check, held against more controls, is all that judges the replay.

Runs in a worker, on one environment. Reads and writes no record, and calls no skill.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from typing import cast

from pydantic import JsonValue

from agentlab.errors import EnvironmentFaultError, InvalidTaskError
from agentlab.executors.actions import tool_calls
from agentlab.executors.fitting import bindings, holds
from agentlab.graph.given import Told, offered
from agentlab.library.admission import passed
from agentlab.proposers.surroundings import without_goal
from agentlab.protocols import Environment, Grammar, HasGrammar, HasState, HasTasks
from agentlab.types import (
    Clause,
    Entity,
    EnvironmentRef,
    Frozen,
    JsonObject,
    Mission,
    Observation,
    Replay,
    Skill,
    SplitRule,
    Task,
    ToolCall,
    canonical_json,
    derive_seed,
)

LEAD_IN = 24
"""Random calls that may bring a start state to where a candidate's precondition holds."""
TRIED = 8
"""Argument sets of a start state for which a task is looked for."""
KNOWN = 12
"""References of each type kept from other start states, for negative controls."""


OTHERS = 8
"""Calls of other tools, and of its own, that may be made in a candidate's place."""


class ReplayRequest(Frozen):
    """What a candidate is to be replayed on."""

    skill: Skill
    callees: tuple[Skill, ...] = ()
    environment: EnvironmentRef
    setups: tuple[str, ...]
    count: int
    seed: int
    tasks: tuple[Task, ...] = ()
    """Practice tasks that it was not derived from: where there is no grammar it starts there."""
    told: Told = Told()
    """What practice tells of plain arguments, and of calls that are not its own."""
    patient: bool = False
    """Whether to go on until `steadiness.settled`, and not to end with the first failure."""
    seen: tuple[tuple[str, ...], ...] = ()
    """For each attempt that it was derived from, the values (canonical JSON) of all arguments of
    its calls. A set of arguments all of which one attempt used is not unseen."""


class Start(Frozen):
    """A start state, brought to where the skill applies, and what to call it with."""

    task: Task
    free: Task
    """The same start state without a goal."""
    lead_in: tuple[ToolCall, ...]
    arguments: JsonObject
    entities: tuple[Entity, ...]
    """What it could be given there."""
    skill: Skill
    """With the types under which `entities` has what its parameters take."""


def known_values(calls: Collection[JsonObject]) -> tuple[str, ...]:
    """The values of all these arguments, for `ReplayRequest.seen`."""
    return tuple(sorted({canonical_json(v) for arguments in calls for v in arguments.values()}))


class Starts:
    """Start states for a skill, one for each number; remembers what it gave.

    Raises:
        EnvironmentFaultError: the environment has no state, or there is nowhere to start.
    """

    def __init__(self, request: ReplayRequest, environment: Environment) -> None:
        known = isinstance(environment, HasGrammar)
        if not isinstance(environment, HasState) or not (known or request.tasks):
            raise EnvironmentFaultError(
                "A skill can be replayed only where the environment has state(), and grammar() or "
                "other practice tasks to start from."
            )
        self._request = request
        self._environment = environment
        self._grammar: Grammar | None = environment.grammar() if known else None
        self._rule = environment.split_rule if isinstance(environment, HasTasks) else SplitRule()
        self._given: set[str] = set()
        self._tests = {
            canonical_json(test.get("arguments"))
            for test in request.skill.tests
            if test.get("arguments")
        }
        self._attempts = [frozenset(values) for values in request.seen]
        self.elsewhere: dict[str, list[JsonValue]] = {}

    def rng(self, number: int) -> random.Random:
        """The draws of a start state."""
        return random.Random(derive_seed(self._request.seed, self._request.skill.id, number))

    def unseen(self, arguments: JsonObject) -> bool:
        """Whether no attempt that the skill was derived from used all of these."""
        named = _named(self._request.skill, arguments)
        values = {canonical_json(value) for value in named.values()}
        if not values:
            return False
        return canonical_json(named) not in self._tests and not any(
            values <= attempt for attempt in self._attempts
        )

    def used(self, start: Start) -> None:
        """Do not give these arguments again while there are others."""
        self._given.add(canonical_json([start.free.id, start.arguments]))
        self._given.add(canonical_json(_named(self._request.skill, start.arguments)))

    async def find(self, number: int, replays: Sequence[Replay] = ()) -> Start | None:
        """The start state of this number; None where the skill does not apply there."""
        rng = self.rng(number)
        free = self._free(number, rng)
        if free is None:
            return None
        lead_in = await self._lead_in(await self._environment.reset(free, 0), rng)
        if lead_in is None:
            return None
        calls, skill, entities = lead_in
        self._note(entities)
        # Where few arguments exist, a known one in a start state that is new must do.
        scarce = number >= 3 * self._request.count
        choices = [
            arguments
            for arguments in bindings(skill, None, entities)
            if (scarce or self.unseen(arguments))
            and canonical_json([free.id, arguments] if scarce else _named(skill, arguments))
            not in self._given
        ]
        rng.shuffle(choices)
        shapes = Counter(replay.shape for replay in replays if passed(replay))
        choices.sort(key=lambda each: shapes[shape_of(skill, each, entities)])
        for arguments in choices[:TRIED]:
            task = free
            if skill.achieves is not None:
                setup = self._setup(number)
                task = _stated(skill, arguments, entities, self._grammar, setup, free.seed)
            if task is not None:
                return Start(
                    task=task,
                    free=free,
                    lead_in=tuple(calls),
                    arguments=arguments,
                    entities=entities,
                    skill=skill,
                )
        return None

    def _free(self, number: int, rng: random.Random) -> Task | None:
        """The start state of this number, without a goal."""
        if self._grammar is None:
            task = self._request.tasks[number % len(self._request.tasks)]
            return None if self._rule.refusal(task) else without_goal(task)
        layout = rng.randrange(10**9)
        while self._rule.split_of_seed(layout) != "practice":
            layout += 1
        try:
            return self._grammar.compose(None, self._setup(number), layout)
        except InvalidTaskError:
            return None

    def _setup(self, number: int) -> str:
        return self._request.setups[number % len(self._request.setups)]

    async def _lead_in(
        self, observation: Observation, rng: random.Random
    ) -> tuple[list[ToolCall], Skill, tuple[Entity, ...]] | None:
        """Random calls after which the precondition holds and arguments exist, and those."""
        calls: list[ToolCall] = []
        environment = self._environment
        state_of = cast("HasState", environment)
        for _ in range(LEAD_IN):
            state = await state_of.state()
            skill, entities = offered(
                self._request.skill, self._request.told, observation.entities, state, rng
            )
            if holds(skill.precondition, state) and any(
                True for _ in bindings(skill, None, entities)
            ):
                return calls, skill, entities
            choices = tool_calls(environment.tools, observation.entities)
            if not skill.precondition or not choices:
                return None
            call = rng.choice(choices)
            result = await environment.step(call)
            if result.terminated or result.truncated:
                return None
            if result.error is None:
                calls.append(call)
                observation = result.observation
        return None

    def other_calls(self, start: Start) -> list[ToolCall]:
        """Calls that are not the skill's there: of other tools, then of its own on other things."""
        rng = random.Random(derive_seed("instead", self._request.skill.id, start.free.id))
        own = {name for skill in self._all() for name in skill.tools}
        used = {canonical_json(value) for value in start.arguments.values()}
        found = tool_calls(self._environment.tools, start.entities)
        found += [call for call in self._request.told.others if call not in found]
        rng.shuffle(found)
        others = [call for call in found if call.tool not in own]
        alike = [call for call in found if call.tool in own and not used & _values(call)]
        return [*others[:OTHERS], *alike[:OTHERS]]

    def _all(self) -> tuple[Skill, ...]:
        return (self._request.skill, *self._request.callees)

    def _note(self, entities: Sequence[Entity]) -> None:
        for entity in entities:
            known = self.elsewhere.setdefault(entity.type, [])
            if len(known) < KNOWN and entity.reference not in known:
                known.append(entity.reference)


def _values(call: ToolCall) -> set[str]:
    """The plain values that a call was given, those in lists of one too."""
    values = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in call.arguments.values()]
    return {canonical_json(value) for value in values}


def shape_of(skill: Skill, arguments: JsonObject, entities: Sequence[Entity]) -> tuple[str, ...]:
    """The type of entity that each parameter is given."""
    types = {canonical_json(entity.reference): entity.type for entity in entities}
    return tuple(types.get(canonical_json(arguments[p.name]), p.type) for p in skill.parameters)


def _named(skill: Skill, arguments: JsonObject) -> JsonObject:
    """What the clause names; the tests of a skill tell nothing of its free parameters."""
    return {p.name: arguments[p.name] for p in skill.parameters if p.from_clause}


def _stated(
    skill: Skill,
    arguments: JsonObject,
    entities: Sequence[Entity],
    grammar: Grammar | None,
    setup: str,
    layout: int,
) -> Task | None:
    """A task that asks for what the skill achieves with these arguments; None where invalid."""
    if skill.achieves is None or grammar is None:
        return None
    templates = {t.predicate: t for t in grammar.spec.templates}
    if skill.achieves.predicate not in templates:
        return None
    descriptors = templates[skill.achieves.predicate].descriptors
    described: JsonObject = {}
    for name, parameter in skill.achieves.arguments.items():
        reference = arguments[str(parameter)]
        entity = next(e for e in entities if e.reference == reference)
        described[name] = {
            key: entity.properties[key]
            for key in descriptors
            if key in entity.properties and not isinstance(entity.properties[key], list)
        }
    clause = Clause(predicate=skill.achieves.predicate, arguments=described)
    try:
        return grammar.compose(Mission(groups=((clause,),)), setup, layout)
    except InvalidTaskError:
        return None

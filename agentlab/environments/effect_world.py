"""What every environment over foreign tools has in common: state, effects, tasks, snapshots.

A subclass brings the tools, the state as facts, and a way to begin, to act, to save and to go
back. From these come the rest of `protocols`: observations with the values that calls may use,
a grammar over what the state can become, a verifier that ends the episode at the step after which
everything asked for holds, and tasks split by rule. Text that a tool gave is shown as its answer,
shortened where it is long; it is data and never read for instructions.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.environments.effects import EffectGrammar
from agentlab.environments.probing import mismatch
from agentlab.environments.shapes import Field, Predicate, Scalar, is_scalar, widened
from agentlab.environments.vocabulary import new_values
from agentlab.errors import ConfigError, InvalidTaskError, UsageError
from agentlab.types import (
    Clause,
    Entity,
    JsonObject,
    Mission,
    Observation,
    Split,
    SplitRule,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    canonical_json,
    derive_seed,
)

MOST_ENTITIES = 60
"""Values offered as arguments at a time; those that the task names come first."""
MOST_TEXT = 16_000
"""Characters of a tool's answer that are shown."""
MOST_STATE = 8_000
"""Characters of the state that are shown."""
TRIES = 400
"""Compositions tried for each task that is asked for."""


class Done(NamedTuple):
    """What a tool did."""

    text: str = ""
    """Its answer."""
    error: str | None = None
    """Why it could not be carried out."""
    data: JsonValue = None
    """The answer as data, where it has it."""


class Saved(NamedTuple):
    """A state of an episode: what the subclass saved, and what it looked like."""

    inner: object
    state: JsonObject
    over: bool
    text: str
    besides: str = ""

    @property
    def key(self) -> tuple[str, str, bool]:
        """The state in full: an environment's facts must say all that matters from here on."""
        return (self.text, self.besides, self.over)


class EffectWorld(ABC):
    """The common part; see the module. One instance serves one attempt at a time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._mission: Mission | None = None
        self._over = True
        self._state: JsonObject = {}
        self._state_text = "{}"
        self._new: tuple[Entity, ...] = ()
        self._began = False
        self._views: dict[str, Observation] = {}

    # --- what a subclass brings ---------------------------------------------------------

    @property
    @abstractmethod
    def tools(self) -> Sequence[ToolSpec]:
        """The tools, the same for the instance's whole life."""

    @abstractmethod
    def _shape(self) -> tuple[tuple[Predicate, ...], tuple[str, ...]]:
        """What can be asked for, and the start-state families; the same on every call."""

    @abstractmethod
    def _start_state(self, setup: str, seed: int) -> JsonObject:
        """The facts with which a family and a seed begin; disturbs no episode."""

    def _standing(self, setups: Sequence[str]) -> Sequence[Scalar]:
        """The values that stand in every start state, where these are all alike."""
        return ()

    @abstractmethod
    def _examples(self, setup: str, seed: int) -> Mapping[str, Sequence[JsonValue]]:
        """By kind, new values that tasks in this start state may name."""

    @abstractmethod
    async def _begin(self, task: Task, setup: str) -> None:
        """Bring about the start state of a task."""

    @abstractmethod
    async def _perform(self, tool: ToolSpec, arguments: JsonObject) -> Done:
        """Carry out a call whose arguments fit the schema."""

    @abstractmethod
    async def _facts(self) -> JsonObject:
        """The facts now."""

    @abstractmethod
    async def close(self) -> None:
        """Release what the instance holds. Safe to call twice."""

    # --- what follows from it -------------------------------------------------------------

    @cached_property
    def _grammar(self) -> EffectGrammar:
        predicates, setups = self._shape()
        standing = self._standing(setups)
        return EffectGrammar(self._name, predicates, setups, self._start_state, standing)

    @cached_property
    def _predicates(self) -> tuple[Predicate, ...]:
        return self._shape()[0]

    @cached_property
    def _by_name(self) -> dict[str, ToolSpec]:
        return {tool.name: tool for tool in self.tools}

    def grammar(self) -> EffectGrammar:
        """What can be asked for here, learnt from the shape of the state.

        It has no templates, and says why, where the tools were not seen to change anything.
        """
        return self._grammar

    @property
    def split_rule(self) -> SplitRule:
        """Seeds by residue; three effects at once only in evaluation, some pairs only in dev."""
        return self._grammar.split_rule

    async def reset(self, task: Task, seed: int) -> Observation:
        """Start the task; the start state comes from the task's own seed.

        Raises:
            InvalidTaskError: the task is not of this environment.
        """
        setup = task.setup.get("setup", self._grammar.spec.setups[0])
        if not isinstance(setup, str) or setup not in self._grammar.spec.setups:
            raise InvalidTaskError(
                f"A start state here is one of {list(self._grammar.spec.setups)}, not {setup!r}."
            )
        self._mission = self._mission_of(task)
        await self._begin(task, setup)
        await self._look()
        self._new = self._new_entities(setup, task.seed)
        self._views = {}
        self._over, self._began = False, True
        return self._view()

    async def step(self, call: ToolCall) -> StepResult:
        """Carry out one call; what cannot be done is refused with a sentence."""
        if not self._began:
            raise UsageError(f"{self._name}: call reset() before anything else.")
        if self._over:
            return self._refused("The episode is over.")
        tool = self._by_name.get(call.tool)
        if tool is None:
            return self._refused(f"There is no tool named {call.tool[:80]!r}.")
        why = mismatch(tool.parameters, call.arguments)
        if why is not None:
            return self._refused(f"The tool {tool.name!r} does not take that: {why[:300]}.")
        before = self._state_text
        done = await self._perform(tool, call.arguments)
        await self._look()
        changed = self._state_text != before
        if done.error is not None and not changed:
            return self._refused(shortened(done.error, MOST_TEXT // 8))
        success = self._mission is not None and self._grammar.met(self._mission, self._state)
        self._over = success
        text = done.text if done.error is None else f"It failed half way: {done.error}"
        return StepResult.model_construct(
            observation=self._view(answer=Done(text, None, done.data)),
            reward=1.0 if success else 0.0,
            terminated=success,
            steps=0 if tool.effect == "none" else 1,
        )

    async def state(self) -> JsonObject:
        """The facts, and for each set of records what its members are called; do not change it."""
        return self._state

    def describe(self) -> str:
        """What this environment is, for a proposer."""
        predicates, setups = self._shape()
        kinds = sorted({field.kind for predicate in predicates for field in predicate.fields})
        return "\n".join(
            [
                f"The tools of {self._name}. What there is can be read as facts: "
                f"{', '.join(sorted({predicate.said for predicate in predicates}))}.",
                f"Values are of these kinds: {', '.join(kinds)}.",
                f"Start states, easier first: {', '.join(setups)}.",
                "",
                "Tools:",
                *(f"- {tool.name}: {shortened(tool.description, 300)}" for tool in self.tools),
                "",
                *(["A task asks for one to three effects, such as:"] if predicates else []),
                *(t.instruction for t in (self.tasks("practice", 3, 0) if predicates else ())),
            ]
        )

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        """Distinct tasks: one or two effects for `practice` and `dev`, two or three held out.

        Raises:
            ConfigError: there is nothing to practise.
            InvalidTaskError: fewer can be stated here.
        """
        if self._grammar.spec.nothing:
            raise ConfigError(self._grammar.spec.nothing)
        rng = random.Random(derive_seed("effect tasks", self._name, split, seed))
        rule, setups = self.split_rule, self._grammar.spec.setups
        found: dict[str, Task] = {}
        for _ in range(TRIES * count):
            if len(found) == count:
                break
            place = rng.randrange(10**9)
            setup = rng.choice(setups)
            size = rng.choice((2, 3) if split == "heldout" else (1, 1, 2))
            if rule.split_of_seed(place) != split:
                continue
            mission = self._random_mission(setup, place, size, rng)
            try:
                task = self._grammar.compose(mission, setup, place) if mission else None
            except InvalidTaskError:
                continue
            if task is not None and task.split == split:
                found[task.id] = task
        if len(found) < count:
            raise InvalidTaskError(
                f"{self._name} can state {len(found)} of {count} tasks for {split}: its state has "
                "too few facts that could change."
            )
        return list(found.values())

    def _random_mission(
        self, setup: str, seed: int, size: int, rng: random.Random
    ) -> Mission | None:
        state = widened(self._start_state(setup, seed), self._predicates)
        entities = (*_entities_of(state, self._predicates), *self._new_entities(setup, seed))
        clauses: list[Clause] = []
        for _ in range(size):
            predicate = rng.choice(self._predicates)
            arguments: JsonObject = {}
            for field in predicate.fields:
                values = [e.reference for e in entities if _is_of(e, field, predicate)]
                fitting = [value for value in values if value not in arguments.values()]
                if not fitting:
                    return None
                arguments[field.parameter] = rng.choice(fitting)
            clauses.append(Clause(predicate=predicate.name, arguments=arguments))
        return Mission(groups=(tuple(clauses),))

    def _mission_of(self, task: Task) -> Mission | None:
        if task.mission is not None:
            return task.mission
        try:
            return self._grammar.parse(task.instruction)
        except InvalidTaskError:
            # Whatever else a task asks for is for its own verifier to judge.
            return None

    async def _look(self) -> None:
        facts = await self._facts()
        self._state = widened(facts, self._predicates)
        self._state_text = canonical_json(self._state)

    def _refused(self, reason: str) -> StepResult:
        return StepResult.model_construct(observation=self._view(), error=reason, steps=0)

    def _view(self, *, answer: Done | None = None) -> Observation:
        known = self._views.get(self._state_text)
        if known is None:
            if len(self._views) >= 5_000:
                self._views.clear()
            known = self._views[self._state_text] = Observation.model_construct(
                text=f"The facts now:\n{told(self._state, self._predicates)}",
                entities=self._entities(),
            )
        if answer is None:
            return known
        text = shortened(answer.text, MOST_TEXT)
        data: JsonObject = {} if answer.data is None else {"answer": answer.data}
        if len(canonical_json(data)) > MOST_TEXT:
            data = {}
        return known.model_copy(
            update={"text": f"The tool answered:\n{text}\n\n{known.text}", "data": data}
        )

    def _entities(self) -> tuple[Entity, ...]:
        """Values that calls may use, each once: the task's, those there are, and new ones."""
        named = {
            canonical_json(value)
            for clause in (self._mission.clauses if self._mission else ())
            for value in clause.arguments.values()
        }
        found: dict[str, Entity] = {}
        there = _entities_of(self._state, self._predicates)
        for entity in (*there, *self._new, *self._mission_entities()):
            found.setdefault(canonical_json(entity.reference), entity)
        ordered = sorted(found, key=lambda text: text not in named)
        return tuple(found[text] for text in ordered[:MOST_ENTITIES])

    def _mission_entities(self) -> tuple[Entity, ...]:
        fields = {p.name: p.fields for p in self._predicates}
        return tuple(
            _entity(field, value, self._state, self._predicates)
            for clause in (self._mission.clauses if self._mission else ())
            for field in fields.get(clause.predicate, ())
            if is_scalar(value := clause.arguments.get(field.parameter))
        )

    def _new_entities(self, setup: str, seed: int) -> tuple[Entity, ...]:
        """What could be there and is not: the same for a start state, whatever happens in it."""
        state = widened(self._start_state(setup, seed), self._predicates)
        there = _entities_of(state, self._predicates)
        examples = self._examples(setup, seed)
        made: dict[str, Entity] = {}
        for field in {f.kind: f for p in self._predicates for f in p.fields}.values():
            known = [entity.reference for entity in there if entity.type == field.kind]
            rng = random.Random(derive_seed("new values", setup, seed, field.kind))
            for value in new_values(field, known, examples, rng):
                entity = _entity(field, value, state, self._predicates)
                made.setdefault(canonical_json(value), entity)
        return tuple(made.values())


class RestorableWorld(EffectWorld):
    """An environment over foreign tools that can be put back into an earlier state."""

    @abstractmethod
    async def _save(self) -> object:
        """What `_load` needs to come back to the state now."""

    @abstractmethod
    async def _load(self, saved: object) -> None:
        """Come back."""

    def _besides(self) -> str:
        """What tells states apart beyond their facts, as text."""
        return ""

    async def snapshot(self) -> Saved:
        """The state, by what the tools' owner offers for it."""
        return Saved(await self._save(), self._state, self._over, self._state_text, self._besides())

    async def restore(self, snapshot: object) -> Observation:
        """Return to a state of this episode."""
        if not isinstance(snapshot, Saved):
            raise UsageError(f"{self._name} can only restore a snapshot that it made.")
        await self._load(snapshot.inner)
        self._state, self._state_text = snapshot.state, snapshot.text
        self._over = snapshot.over
        return self._view()


def _is_of(entity: Entity, field: Field, predicate: Predicate) -> bool:
    there = entity.properties.get(f"in_{predicate.key}")
    return entity.type == field.kind and (predicate.form != "absent" or there is True)


def _entities_of(state: JsonObject, predicates: Sequence[Predicate]) -> tuple[Entity, ...]:
    """Every value in a widened state that a clause can name, each once."""
    found: dict[str, Entity] = {}
    for predicate in predicates:
        value = state.get(predicate.key)
        members = [value] if predicate.form == "fact" else value if isinstance(value, list) else []
        for member in members:
            for field in predicate.fields:
                part = member.get(field.name) if isinstance(member, dict) else member
                text = canonical_json(part)
                if is_scalar(part) and text not in found:
                    found[text] = _entity(field, part, state, predicates)
    return tuple(found.values())


def _entity(
    field: Field, value: JsonValue, state: JsonObject, predicates: Sequence[Predicate]
) -> Entity:
    """A value with what can be said of it: its kind, and in which sets it is now."""
    where: JsonObject = {
        f"in_{each.key}": value in cast("list[JsonValue]", state.get(each.key) or [])
        for each in predicates
        if each.form != "fact" and len(each.fields) == 1 and not each.fields[0].name
    }
    properties: JsonObject = {"value": value, "kind": field.kind, **where}
    return Entity.model_construct(type=field.kind, reference=value, properties=properties)


def shortened(text: str, most: int) -> str:
    """The text, or its beginning with a note of how much was left out."""
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text) - most:,} more characters are not shown)"


def told(state: JsonObject, predicates: Sequence[Predicate]) -> str:
    """A widened state in lines, without what `widened` added."""
    added = {each.key for each in predicates if each.key != each.said}
    lines: list[str] = []
    for key, value in state.items():
        if key in added:
            continue
        if isinstance(value, list):
            lines.append(f"{key}: {len(value)}")
            lines.extend(f"- {shortened(canonical_json(member), 600)}" for member in value)
        else:
            lines.append(f"{key}: {shortened(canonical_json(value), 600)}")
    return shortened("\n".join(lines), MOST_STATE)

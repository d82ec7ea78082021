"""From solved attempts to examples: which moves brought about which clause, from which state.

A trajectory that met several clauses is cut where each of them first held. What was achieved
is named by the environment's grammar over JSON state, never guessed from the calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.errors import UsageError
from agentlab.protocols import CurationContext, Grammar, HoningContext
from agentlab.types import (
    Clause,
    Entity,
    JsonObject,
    Observation,
    PastAttempt,
    Trajectory,
    canonical_json,
    satisfies,
)


class Move(NamedTuple):
    """A tool call, or a call of a skill."""

    name: str
    is_skill: bool
    arguments: JsonObject


class Example(NamedTuple):
    """One way in which a clause was brought about once."""

    predicate: str
    bound: JsonObject
    """Clause argument to the reference of the entity that it turned out to mean."""
    moves: tuple[Move, ...]
    entities: tuple[Entity, ...]
    """What was shown before the first move."""
    before: JsonObject
    after: JsonObject
    task_id: str
    attempt_id: str
    setup: str

    @property
    def shape(self) -> tuple[str, ...]:
        """The clause's predicate and the names of the moves."""
        names = (f"{'*' if move.is_skill else ''}{move.name}" for move in self.moves)
        return (self.predicate, *names)


class _Met(NamedTuple):
    end: int
    order: int
    clause: Clause
    bound: JsonObject


def grammar_of(context: CurationContext | HoningContext) -> Grammar:
    """The grammar by which achievements are named.

    Raises:
        UsageError: the environment has none.
    """
    if context.grammar is None:
        raise UsageError(
            "The curator 'generalise' needs an environment with grammar(); this one has none."
        )
    return context.grammar


def examples(attempts: Iterable[PastAttempt], grammar: Grammar, *, compose: bool) -> list[Example]:
    """Every example in the attempts that succeeded, in the attempts' order.

    Args:
        attempts: practice attempts with their trajectories.
        grammar: names what held in a state.
        compose: whether skill calls stay calls; otherwise they are unfolded into tool calls.
    """
    found: list[Example] = []
    for attempt in attempts:
        if attempt.success and attempt.trajectory is not None:
            found.extend(_of_attempt(attempt, attempt.trajectory, grammar, compose=compose))
    return found


def _of_attempt(
    attempt: PastAttempt, trajectory: Trajectory, grammar: Grammar, *, compose: bool
) -> list[Example]:
    mission = attempt.task.mission
    if mission is None or trajectory.initial_state is None:
        return []
    states = [trajectory.initial_state]
    for step in trajectory.steps:
        if step.state is None:
            return []
        states.append(step.state)
    observations = [trajectory.initial, *(step.result.observation for step in trajectory.steps)]
    met: list[_Met] = []
    for order, clause in enumerate(mission.clauses):
        first = _first_met(clause, states, observations, grammar, order)
        if first is None:
            return []
        met.append(first)
    met.sort()
    result: list[Example] = []
    start = 0
    for item in met:
        moves = _moves(trajectory, start, item.end, compose=compose)
        if moves:
            result.append(
                Example(
                    predicate=item.clause.predicate,
                    bound=item.bound,
                    moves=moves,
                    entities=observations[start].entities,
                    before=states[start],
                    after=states[item.end],
                    task_id=attempt.task.id,
                    attempt_id=attempt.attempt_id,
                    setup=attempt.task.template.partition(": ")[0],
                )
            )
        start = item.end
    return result


def _first_met(
    clause: Clause,
    states: Sequence[JsonObject],
    observations: Sequence[Observation],
    grammar: Grammar,
    order: int,
) -> _Met | None:
    """When the clause first held, and for which entities."""
    for end in range(1, len(states)):
        for achieved in grammar.achieved(states[end - 1], states[end]):
            if achieved.predicate != clause.predicate:
                continue
            bound = _bind(clause, achieved, observations[end].entities)
            if bound is not None:
                return _Met(end, order, clause, bound)
    return None


def _bind(clause: Clause, achieved: Clause, entities: Sequence[Entity]) -> JsonObject | None:
    bound: JsonObject = {}
    for name, description in clause.arguments.items():
        reference = _reference(description, achieved.arguments.get(name), entities)
        if reference is None:
            return None
        bound[name] = reference
    return bound


def _reference(
    description: JsonValue, achieved: JsonValue, entities: Sequence[Entity]
) -> JsonValue:
    """The one entity that both fit; None where several do, since either may be meant."""
    fitting = [
        entity.reference
        for entity in entities
        if satisfies(entity, description)
        and (entity.reference == achieved or satisfies(entity, achieved))
    ]
    return fitting[0] if len(fitting) == 1 else None


def _moves(trajectory: Trajectory, start: int, end: int, *, compose: bool) -> tuple[Move, ...]:
    """The moves of a segment; empty when a skill call reaches across its border."""
    moves: list[Move] = []
    index = start
    invocations = {i.first_step: i for i in trajectory.invocations if compose}
    for invocation in invocations.values():
        crosses_start = invocation.first_step < start < invocation.end_step
        crosses_end = invocation.first_step < end < invocation.end_step
        if crosses_start or crosses_end:
            return ()
    while index < end:
        invocation = invocations.get(index)
        if invocation is not None and invocation.end_step > index:
            moves.append(Move(invocation.skill, True, invocation.arguments))
            index = invocation.end_step
        else:
            call = trajectory.steps[index].call
            moves.append(Move(call.tool, False, call.arguments))
            index += 1
    return tuple(moves)


def facts(state: JsonObject) -> set[tuple[str, bool, str]]:
    """A state as facts: (name, is an element of a set, canonical JSON)."""
    result: set[tuple[str, bool, str]] = set()
    for name, value in state.items():
        if isinstance(value, list):
            result.update((name, True, canonical_json(item)) for item in value)
        else:
            result.add((name, False, canonical_json(value)))
    return result

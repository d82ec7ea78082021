"""Tasks without a language model: composed from the grammar, and found in hindsight.

Composed tasks get harder as the agent gets better: missions grow by a clause, and later
start-state families open, where what was asked so far is mostly solved. Hindsight relabelling
(Andrychowicz et al. 2017, "Hindsight Experience Replay"; LMA3) turns what an attempt achieved
by accident into a task whose reference solution is known. Which of them become tasks is not
decided here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.environments.probing import calls_of, properties_of
from agentlab.errors import (
    AgentLabError,
    EnvironmentFaultError,
    InvalidTaskError,
    UsageError,
)
from agentlab.proposers.own import FAILING, own_tasks
from agentlab.protocols import Environment, Grammar, HasGrammar, ProposalContext
from agentlab.types import (
    Clause,
    ClauseTemplate,
    Entity,
    GrammarSpec,
    JsonObject,
    Mission,
    Observation,
    PastAttempt,
    SplitRule,
    Task,
    ToolCall,
    ToolSpec,
    derive_seed,
    satisfies,
)

SEED_SPACE = 10**9
GOOD_ENOUGH = 0.5
"""Success rate from which the next harder kind of task is proposed too."""
ENOUGH_OUTCOMES = 6
"""Outcomes needed before a rate is believed."""
BYSTANDERS = 6
"""Things from which calls of tools that take several are made."""


class Kind(NamedTuple):
    """A rung of the ladder: start-state family and number of clauses."""

    setup: str
    clauses: int


class GrammarProposer:
    """Composes missions from the environment's grammar and relabels what was achieved.

    Args:
        hindsight: share of the proposals that may come from relabelling.
        tries: compositions tried for each proposal before giving it up.
    """

    needs_grammar = True
    cpu_bound = True
    """It resets environments, and one that blocks in that must not hold up the run."""

    def __init__(self, *, hindsight: float = 0.15, tries: int = 12) -> None:
        self._hindsight = hindsight
        self._tries = tries
        self._fault: EnvironmentFaultError | None = None

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        """At most `context.count` tasks. See `protocols.Proposer`.

        Raises:
            UsageError: the environment has no grammar, or nothing can be asked for in it.
            EnvironmentFaultError: it raised whenever it was reset.
        """
        self._fault = None
        environment = context.environment()
        try:
            if not isinstance(environment, HasGrammar):
                raise UsageError(
                    "The proposer 'grammar' needs an environment with grammar(); choose another."
                )
            grammar = environment.grammar()
            if grammar.spec.nothing and not grammar.spec.templates:
                raise UsageError(grammar.spec.nothing)
            if not grammar.spec.composable:
                return await own_tasks(environment, grammar, context, wrong_calls)
            tasks = list(
                relabelled(
                    grammar,
                    environment.tools,
                    context.recent,
                    limit=int(context.count * self._hindsight),
                )
            )
            kinds = open_kinds(grammar.spec, context)
            for position in range(context.count - len(tasks)):
                seed = derive_seed(context.seed, context.round, position, "proposal")
                task = await self._compose(environment, grammar, kinds, context.split_rule, seed)
                if task is not None:
                    tasks.append(task)
            if not tasks and self._fault is not None:
                raise self._fault
            return tasks
        finally:
            await environment.close()

    async def _compose(
        self,
        environment: Environment,
        grammar: Grammar,
        kinds: Sequence[Kind],
        rule: SplitRule,
        seed: int,
    ) -> Task | None:
        rng = random.Random(seed)
        for _ in range(self._tries):
            kind = rng.choice(kinds)
            layout = practice_seed(rng.randrange(SEED_SPACE), rule)
            try:
                free = grammar.compose(None, kind.setup, layout)
                entities = (await _reset(environment, free)).entities
                mission = random_mission(grammar.spec, kind.clauses, entities, rng)
                if mission is None:
                    continue
                task = grammar.compose(mission, kind.setup, layout)
            except InvalidTaskError:
                continue
            except EnvironmentFaultError as error:
                self._fault = error
                continue
            failing = wrong_calls(environment.tools, mission, entities, rng)
            if len(failing) < FAILING or rule.refusal(task) is not None:
                continue
            return task.model_copy(update={"source": "grammar", "failing": failing})
        return None


async def _reset(environment: Environment, task: Task) -> Observation:
    try:
        return await environment.reset(task, 0)
    except AgentLabError:
        raise
    except Exception as error:  # foreign code, which may fail in any way
        raise EnvironmentFaultError(f"reset() raised {type(error).__name__}: {error}") from error


def practice_seed(number: int, rule: SplitRule) -> int:
    """The first seed from `number` on that belongs to practice."""
    while rule.split_of_seed(number) != "practice":
        number += 1
    return number


def open_kinds(spec: GrammarSpec, context: ProposalContext) -> list[Kind]:
    """The rungs that are open: one clause everywhere, more where one fewer mostly succeeds.

    Raises:
        UsageError: every family of start states is reserved.
    """
    rates = _rates(context)
    kinds: list[Kind] = []
    for setup in spec.setups:
        for clauses in range(1, spec.max_groups * spec.max_group_size + 1):
            probe = f"{setup}: " + " & ".join(["_"] * clauses)
            if context.split_rule.reserved_template(probe):
                break
            if clauses > 1 and rates.get(Kind(setup, clauses - 1), 0.0) < GOOD_ENOUGH:
                break
            kinds.append(Kind(setup, clauses))
    if not kinds:
        raise UsageError("Every start-state family of the grammar is reserved; nothing to propose.")
    return kinds


def _rates(context: ProposalContext) -> dict[Kind, float]:
    counts: dict[Kind, list[int]] = {}
    for template in context.templates:
        setup, _, structure = template.name.partition(": ")
        kind = Kind(setup, structure.count("&") + structure.count(">") + 1)
        total = counts.setdefault(kind, [0, 0])
        total[0] += template.successes
        total[1] += template.attempts
    return {kind: s / n for kind, (s, n) in counts.items() if n >= ENOUGH_OUTCOMES}


def random_mission(
    spec: GrammarSpec, clauses: int, entities: Sequence[Entity], rng: random.Random
) -> Mission | None:
    """A mission of that many clauses over these entities; None when none fits.

    Clauses fall into groups at random, as far as the grammar's limits allow.
    """
    made: list[Clause] = []
    for _ in range(clauses):
        clause = random_clause(rng.choice(spec.templates), entities, rng)
        if clause is None or clause in made:
            return None
        made.append(clause)
    groups: list[tuple[Clause, ...]] = []
    rest = made
    while rest:
        room = spec.max_groups - len(groups)
        least = max(1, len(rest) - (room - 1) * spec.max_group_size)
        size = rng.randint(least, min(len(rest), spec.max_group_size))
        groups.append(tuple(rest[:size]))
        rest = rest[size:]
    return Mission(groups=tuple(groups))


def random_clause(
    template: ClauseTemplate, entities: Sequence[Entity], rng: random.Random
) -> Clause | None:
    """The template over distinct entities chosen at random, each described in words it allows."""
    arguments: JsonObject = {}
    used: list[JsonValue] = []
    for name, requires in template.parameters.items():
        fitting = [e for e in entities if satisfies(e, requires) and e.reference not in used]
        if not fitting:
            return None
        entity = rng.choice(fitting)
        used.append(entity.reference)
        arguments[name] = describe_entity(template, entity, rng)
    return Clause(predicate=template.predicate, arguments=arguments)


def describe_entity(template: ClauseTemplate, entity: Entity, rng: random.Random) -> JsonObject:
    """Properties that an instruction can say of the entity: usually all single-valued ones."""
    description: JsonObject = {}
    for name in template.descriptors:
        value = entity.properties.get(name)
        if isinstance(value, list):
            if value and rng.random() < 0.1:
                description[name] = rng.choice(value)
        elif value is not None:
            description[name] = value
    single = [name for name in description if name in entity.properties]
    if len(single) > 1 and rng.random() < 0.15:
        del description[rng.choice(single)]
    return description


def wrong_calls(
    tools: Sequence[ToolSpec], mission: Mission, entities: Sequence[Entity], rng: random.Random
) -> tuple[tuple[ToolCall, ...], ...]:
    """Two short trajectories that must not pass: they handle only what the mission does not name.

    Tools that take several things are filled in with such things alone, where tools that take
    one give too few. Fewer where everything is named, and then the mission makes no task.
    """
    descriptions = [d for clause in mission.clauses for d in clause.arguments.values()]
    bystanders = [
        e for e in entities if not any(satisfies(e, description) for description in descriptions)
    ]
    calls: list[ToolCall] = []
    for tool in tools:
        pointing = _entity_parameter(tool)
        if tool.effect == "changes" and pointing is not None:
            calls.extend(
                ToolCall(tool=tool.name, arguments={pointing: entity.reference})
                for entity in bystanders
            )
    if len(calls) < FAILING:
        some = rng.sample(bystanders, min(BYSTANDERS, len(bystanders)))
        for tool in tools:
            if tool.effect == "changes" and _entity_parameter(tool) is None and _points(tool):
                calls.extend(calls_of(tool, some))
    rng.shuffle(calls)
    return tuple((call,) for call in calls[:FAILING])


def _entity_parameter(tool: ToolSpec) -> str | None:
    properties = tool.parameters.get("properties")
    if not isinstance(properties, Mapping) or len(properties) != 1:
        return None
    ((name, schema),) = properties.items()
    return name if isinstance(schema, dict) and "x-entity" in schema else None


def _points(tool: ToolSpec) -> bool:
    """Whether its calls point at things, so that none is about nothing in particular."""
    return any("x-entity" in schema for schema in properties_of(tool).values())


def relabelled(
    grammar: Grammar, tools: Sequence[ToolSpec], attempts: Sequence[PastAttempt], *, limit: int
) -> Iterator[Task]:
    """Tasks that past attempts solved without being asked to, each with its solution.

    One for each attempt at most, taken from those that failed at what they were asked; the last
    thing achieved is taken, since it needs the most steps.
    """
    made = 0
    for past in attempts:
        if made >= limit:
            return
        if past.success is not False or past.trajectory is None:
            continue
        task = _relabel(grammar, tools, past)
        if task is not None:
            made += 1
            yield task


def _relabel(grammar: Grammar, tools: Sequence[ToolSpec], past: PastAttempt) -> Task | None:
    trajectory = past.trajectory
    if trajectory is None or trajectory.initial_state is None:
        return None
    held: list[Clause] = []
    last: tuple[Clause, int] | None = None
    for number, step in enumerate(trajectory.steps, start=1):
        if step.state is None:
            return None
        for clause in grammar.achieved(trajectory.initial_state, step.state):
            if clause not in held:
                held.append(clause)
                last = (clause, number)
    if last is None:
        return None
    clause, length = last
    setup = past.task.template.partition(": ")[0]
    mission = Mission(groups=((clause,),))
    try:
        task = grammar.compose(mission, setup, past.task.seed)
    except InvalidTaskError:
        return None
    solution = trajectory.calls[:length]
    cut_short = [solution[: length // 2], solution[:-1]] if length > 3 else [solution[:-1]]
    rng = random.Random(derive_seed(task.id, "failing"))
    failing = [calls for calls in cut_short if calls]
    failing += wrong_calls(tools, mission, trajectory.initial.entities, rng)
    if len(failing) < FAILING:
        return None
    return task.model_copy(
        update={
            "source": "hindsight",
            "solution": solution,
            "failing": tuple(failing[:FAILING]),
            "derived_from": (past.task.id,),
        }
    )

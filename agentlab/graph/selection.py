"""The select node: which tasks a round attempts, what each is offered, and what is set aside.

Everything an attempt depends on is decided here, in slot order, and committed before the first
one begins: the choice of tasks, the retrieved items, who is withheld, the limits. The attempts
themselves then need nothing but their plan, whichever process makes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agentlab.curricula.draw import Pool, TaskChoice, draw_tasks
from agentlab.embeddings import uses_model
from agentlab.errors import AgentLabError, UsageError
from agentlab.events import AttemptsPlanned, Event
from agentlab.graph.answers import probabilities_of, raised
from agentlab.graph.approving import decided
from agentlab.graph.demonstrating import EXECUTOR, is_shown
from agentlab.graph.practice import LEAST_STEPS, Practice, RunState, RunUpdate
from agentlab.library.attribution import (
    Retrieved,
    draw_offers,
    draws_of,
    withholding_probability,
)
from agentlab.library.insights import FoundInsight
from agentlab.records import DrawRow, Transaction
from agentlab.registry import resolve
from agentlab.statistics import Draw
from agentlab.types import (
    Allotment,
    AttemptSpec,
    Insight,
    JsonObject,
    Limits,
    Skill,
    Task,
    Template,
    Usage,
    attempt_id,
    derive_id,
    derive_seed,
)

SELECT_SEQUENCE = 10_000
EMPTY: JsonObject = {}
TRIES = 4
"""Attempts from which on it is known whether a task can be learnt from."""


async def select(state: RunState, practice: Practice) -> RunUpdate:
    """Choose the round's attempts, what each is offered, and reserve their cost.

    Library, curriculum and budget are frozen here, in slot order.
    """
    run_id, round_ = practice.run_id, state["round"]
    records = practice.records
    known = records.nodes.done(run_id, round_, "select")
    if known is None:
        heard = decided(practice, round_)
        specs = _plan(practice, round_)
        events: list[Event] = [
            AttemptsPlanned(
                run_id=run_id,
                round=round_,
                sequence=SELECT_SEQUENCE,
                attempts=len(specs),
                templates=dict(sorted(Counter(s.task.template for s in specs).items())),
            )
        ]

        def work(part: Transaction) -> JsonObject:
            part.attempts.plan(run_id, round_, specs)
            part.budgets.reserve(run_id, round_, _promised(specs))
            found = Usage(tokens=practice.embedded())
            part.budgets.reserve(run_id, round_, found, purpose="retrieval")
            part.budgets.settle(run_id, round_, found, purpose="retrieval")
            part.events.append(events)
            return {"planned": len(specs), **heard.result}

        known = records.once(run_id, round_, "select", work)
        practice.tell([*heard.events, *events])
    planned = known.get("planned")
    return {"planned": planned if isinstance(planned, int) else 0}


class _Reserved(NamedTuple):
    attempts: int
    steps: int | None
    """Primitive steps that each of them may take."""
    tokens: int | None = None
    """What retrieval may spend; None where it has no cap or costs nothing."""
    allotted: tuple[Allotment, ...] = ()
    """What the calls of each to models may take."""


def _reserve(practice: Practice) -> _Reserved:
    """What the budget can pay for: as many attempts, each with an equal part of the steps."""
    left = practice.left()
    count = practice.config.attempts
    if left.attempts is not None:
        count = min(count, left.attempts)
    if left.seconds is not None and left.seconds <= 0:
        count = 0
    tokens = left.tokens if uses_model(practice.config.embedder) else None
    if left.steps is not None:
        count = min(count, left.steps // LEAST_STEPS)
    allotted: tuple[Allotment, ...] = ()
    if count:
        count, allotted = practice.share(count)
    if left.steps is None:
        return _Reserved(count, None, tokens, allotted)
    return _Reserved(count, left.steps // count if count else 0, tokens, allotted)


def _promised(specs: Sequence[AttemptSpec]) -> Usage:
    """The most that these attempts may take; what has no limit of its own is left at 0."""
    limits = [spec.limits for spec in specs]
    return Usage(
        attempts=len(specs),
        tool_calls=sum(limit.tool_calls for limit in limits),
        steps=sum(limit.steps or 0 for limit in limits),
        tokens=sum(limit.tokens or 0 for limit in limits)
        + sum(each.tokens or 0 for spec in specs for each in spec.allotted if not each.role),
        usd=sum(each.usd or 0.0 for spec in specs for each in spec.allotted if not each.role),
    )


def _plan(practice: Practice, round_: int) -> list[AttemptSpec]:
    reserved = _reserve(practice)
    config, records, run_id = practice.config, practice.records, practice.run_id
    fresh = records.tasks.untried(run_id)
    outcomes = {template.name: template for template in records.attempts.template_outcomes(run_id)}
    names = sorted({task.template for task in fresh})
    if not names or reserved.attempts <= 0:
        return []
    templates = [outcomes.get(name, Template(name=name)) for name in names]
    pools = [Pool(name, tuple(t.id for t in fresh if t.template == name)) for name in names]
    choices = _chosen(
        practice, templates, pools, min(-(-reserved.attempts // config.group), len(fresh)), round_
    )
    grouped = [c.task_id for c in choices for _ in range(config.group)][: reserved.attempts]
    again = _undecided(practice, reserved.attempts - len(grouped)) if choices else []
    places = list(enumerate([*grouped, *(task.id for task in again)]))
    by_id = {task.id: task for task in (*fresh, *again)}
    practice.library.refresh()
    if practice.insights is not None:
        practice.insights.refresh()
    chances = _chances(practice)
    limits = Limits(
        tool_calls=config.tool_calls, steps=reserved.steps, seconds=config.attempt_seconds
    )
    specs: list[AttemptSpec] = []
    number = practice.records.items.library_version(practice.environment_name)
    version = f"{practice.environment_name}@{number}"
    for slot, task_id in places:
        if reserved.tokens is not None and practice.library.uncharged >= reserved.tokens:
            break  # finding what to offer the next one would pass the cap
        task = by_id[task_id]
        known = outcomes.get(task.template, Template(name=task.template))
        spec = _spec(practice, round_, slot, task, chances, limits, known)
        specs.append(
            spec.model_copy(update={"allotted": reserved.allotted, "library_version": version})
        )
    return [*specs, *_shown(practice, round_, len(places), fresh, limits)]


def _chosen(
    practice: Practice, templates: list[Template], pools: list[Pool], count: int, round_: int
) -> tuple[TaskChoice, ...]:
    """The tasks that are drawn as the curriculum has it.

    Raises:
        UsageError: it raised, or gave no probabilities; names it.
    """
    name = practice.config.curriculum
    try:
        given = practice.curriculum.probabilities(templates)
    except AgentLabError:
        raise
    except Exception as error:  # foreign code: it may fail in any way
        raise UsageError(
            f"The curriculum {name!r} raised {raised(error)}; correct it, or choose another."
        ) from error
    chances = probabilities_of(name, given)
    try:
        return draw_tasks(pools, chances, count, seed=practice.config.seed, round_=round_)
    except UsageError as error:
        raise UsageError(f"The curriculum {name!r} is to be corrected: {error}") from error


def _shown(
    practice: Practice, round_: int, slot: int, fresh: Sequence[Task], limits: Limits
) -> list[AttemptSpec]:
    """What was demonstrated, carried out once, in the round in which it was proposed."""
    tasks = [task for task in fresh if is_shown(task)] if not round_ else []
    specs = [
        _spec(practice, round_, slot + number, task, {}, limits, Template(name=task.template))
        for number, task in enumerate(tasks)
    ]
    return [
        spec.model_copy(
            update={
                "executor": EXECUTOR,
                "executor_options": EMPTY,
                "skills": (),
                "insights": (),
                "unverified": (),
                "offers": (),
            }
        )
        for spec in specs
    ]


def _undecided(practice: Practice, count: int) -> list[Task]:
    """Tasks of a model's own to try once more, where attempts are left over, the least tried first.

    Whether such a task can be learnt from is told by `TRIES` attempts; a grammar's tasks are
    judged by their template, which has many.
    """
    if count <= 0 or practice.model("proposer") is None:
        return []
    tried = Counter(
        row.task_id
        for row in practice.records.attempts.all(practice.run_id, kind="practice")
        if row.success is not None
    )
    tasks = [task for task in practice.records.tasks.all(practice.run_id) if task.id in tried]
    open_ = [task for task in tasks if tried[task.id] < TRIES]
    return sorted(open_, key=lambda task: tried[task.id])[:count]


def past_draws(practice: Practice, *, relevant: bool = False) -> dict[str, list[Draw]]:
    """Past draws by item, oldest first; attempts at an item's own source tasks left out.

    Args:
        practice: the run at work.
        relevant: only those for tasks that state the clause that the item achieves.
    """
    rows: dict[str, list[DrawRow]] = {}
    for row in practice.records.draws.all(
        environment=practice.environment_name, scope=practice.scope
    ):
        rows.setdefault(row.item_id, []).append(row)
    return {
        skill.id: draws_of(skill, rows[skill.id], relevant=relevant)
        for skill in practice.library.skills.values()
        if skill.id in rows
    }


def _chances(practice: Practice) -> dict[str, float]:
    """How likely each served item is to be withheld in this round, by id."""
    items: dict[str, Skill | Insight] = {**practice.library.skills}
    if practice.insights is not None:
        items |= practice.insights.insights
    config = practice.config.attribution
    found = practice.records.draws.known(
        list(items),
        environment=practice.environment_name,
        first=config.decided,
        scope=practice.scope,
    )
    return {
        key: withholding_probability(
            draws_of(item, found[key].first), config, known=found[key].known
        )
        if key in found
        else withholding_probability([], config)
        for key, item in items.items()
    }


def _spec(
    practice: Practice,
    round_: int,
    slot: int,
    task: Task,
    chances: Mapping[str, float],
    limits: Limits,
    template: Template,
) -> AttemptSpec:
    config = practice.config
    found = practice.library.retrieve(task.instruction, config.retrieval, task_id=task.id)
    retrieved = [
        Retrieved(
            item.skill.id,
            item.skill.name,
            chances[item.skill.id],
            item.score,
        )
        for item in found
    ]
    advice = _advice(practice, task)
    retrieved += [
        Retrieved(i.insight.id, i.insight.id, chances[i.insight.id], i.score) for i in advice
    ]
    offers = draw_offers(
        retrieved,
        calls=practice.library.calls(),
        seed=config.seed,
        round_=round_,
        slot=slot,
    )
    offered = {offer.item_id for offer in offers if not offer.withheld}
    skills = [item.skill for item in found if item.skill.id in offered]
    return AttemptSpec(
        id=attempt_id(practice.run_id, round_, slot),
        run_id=practice.run_id,
        round=round_,
        slot=slot,
        task=task,
        group_id=derive_id("group", practice.run_id, round_, task.id),
        seed=derive_seed(config.seed, round_, slot),
        environment=practice.environment_ref,
        executor=config.acting,
        executor_options=merged(executor_options(config.acting, template), config.executor_options),
        limits=limits,
        skills=practice.library.with_callees(skills),
        insights=tuple(item.insight for item in advice if item.insight.id in offered),
        offers=offers,
        scope=practice.scope.path,
    )


def executor_options(executor: str, template: Template) -> JsonObject:
    """What an executor that decides by past success is told of the task's template."""
    first, _, rest = executor.partition(":")
    options: JsonObject = {}
    if getattr(resolve("executor", first), "wants_rate", False):
        options |= {"solved": template.successes, "tried": template.attempts}
    if rest and (inner := executor_options(rest, template)):
        options["inner"] = inner
    return options


def merged(options: JsonObject, own: JsonObject) -> JsonObject:
    """The options, those of the user first, whatever they wrap included."""
    inner, mine = options.get("inner"), own.get("inner")
    if isinstance(inner, dict) and isinstance(mine, dict):
        return {**options, **own, "inner": merged(inner, mine)}
    return {**options, **own}


def _advice(practice: Practice, task: Task) -> list[FoundInsight]:
    """The insights that fit the task; none where nobody in this run reads any."""
    if practice.insights is None:
        return []
    return practice.insights.retrieve(task.instruction, practice.config.advice, task_id=task.id)

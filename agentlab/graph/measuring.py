"""An evaluation from what is asked of it to its report, as a run of its own on record.

    refuse what cannot be measured → its number, config and versions on record → arms at work
    → report

What can be refused is refused before anything is written. Unlike practice an evaluation is not
gone on with: one that was broken off says so, and another starts over. How the attempts of the
arms are made is told by `evaluation`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple, cast

from agentlab.config import PracticeConfig, is_chat_model
from agentlab.environments.registration import base_name, check_machine, make_environment
from agentlab.graph.evaluation import Arm, Bench, evaluate_arms, evaluation_tasks
from agentlab.graph.opening import cores, package_versions, run_id_of
from agentlab.graph.policies import pinned, routed
from agentlab.graph.practice import toolset_name
from agentlab.graph.preflight import check_evaluation, check_executor
from agentlab.graph.remarks import cut_off
from agentlab.graph.reports import BASELINE, LIBRARY, evaluation_report
from agentlab.graph.seats import seated
from agentlab.graph.watching import Watchers
from agentlab.graph.workers import WorkerPool
from agentlab.library.insights import InsightLibrary
from agentlab.library.skills import SkillLibrary
from agentlab.protocols import Environment, Observer
from agentlab.records import Records
from agentlab.sandbox import SettledBox, settle_box
from agentlab.types import EnvironmentRef, JsonObject, Split, Task
from agentlab.types.report import INTERRUPTED, EvaluationReport

MEASURED = {"executor_options", "roles", "budget", "retrieval", "advice"}
"""Of a config, what an evaluation goes by and names only where it is set."""


class Measure(NamedTuple):
    """What is to be measured."""

    config: PracticeConfig
    """How attempts are made, and where."""
    split: Split
    tasks: int
    tool_calls: int
    """Budget of each attempt."""
    seed: int
    """Chooses the tasks."""
    baseline: bool
    """Whether it is compared with an empty library."""
    library: bool
    """Whether the library is offered."""
    arms: tuple[str, ...]
    """Further executors on the same tasks."""


class Prepared(NamedTuple):
    """What can be measured, and with what."""

    wanted: Measure
    box: SettledBox
    world: Environment
    tasks: Sequence[Task]


def prepared(wanted: Measure) -> Prepared:
    """Find what a measurement needs.

    Raises:
        UsageError: it cannot be made like that.
        SkillRefusedError: the box cannot be used here; says why.
    """
    config = wanted.config
    box = settle_box(config.box)
    check_evaluation(config)
    for name in wanted.arms:
        check_executor(config.model_copy(update={"executor": name, "executor_options": {}}))
    world = make_environment(_environment(config))
    check_machine(world)
    return Prepared(
        wanted, box, world, evaluation_tasks(world, wanted.split, wanted.tasks, wanted.seed)
    )


async def measure(
    records: Records, ready: Prepared, observers: Sequence[Observer] = ()
) -> EvaluationReport:
    """Make the attempts of all arms and report them; nothing is learnt and nothing withheld."""
    wanted, where = ready.wanted, ready.box
    config = pinned(records, wanted.config)
    library_of = base_name(config.environment)
    said = _said(records, wanted, config)
    run_id = run_id_of(records, f"evaluate-{library_of}", wanted.seed, said)
    with records.workspace.lock_run(run_id):
        records.runs.create(run_id, config=said, versions=package_versions(where), seed=wanted.seed)
        async with AsyncExitStack() as closing:
            closing.enter_context(_evaluating(records, run_id))
            pool = WorkerPool(
                cores(config.concurrency), box=where.name, blobs=records.workspace.blobs
            )
            closing.callback(pool.close)
            routes = closing.enter_context(routed(records, config))
            seats = await closing.enter_async_context(seated(config, routes))
            skills = SkillLibrary(
                records,
                library_of,
                toolset=toolset_name(ready.world.tools),
                embedder=config.embedder,
                backend=config.index,
                foreign=where.takes_foreign_code,
            )
            closing.callback(skills.close)
            told: InsightLibrary | None = None
            if wanted.library and seats is not None and seats.reads_advice:
                told = InsightLibrary(
                    records, library_of, embedder=config.embedder, backend=config.index
                )
                closing.callback(told.close)
            act, options = config.acting, config.executor_options
            empty = Arm(BASELINE, act, options=options)
            first = Arm(LIBRARY, act, skills, told, options) if wanted.library else empty
            plan = [first, *([empty] if wanted.baseline and wanted.library else [])]
            plan.extend(Arm(name, name) for name in wanted.arms)
            bench = Bench(
                run_id,
                0,
                records,
                pool,
                _environment(config),
                config.evaluator,
                config.retrieval,
                (Watchers(observers),),
                seats,
                config.advice,
            )
            specs = await evaluate_arms(bench, plan, ready.tasks, tool_calls=wanted.tool_calls)
            report = evaluation_report(bench, specs, split=wanted.split, budget=wanted.tool_calls)
            cut = cut_off(config, seats.refused if seats is not None else ())
            return report.model_copy(update={"notes": cut})


def _environment(config: PracticeConfig) -> EnvironmentRef:
    return EnvironmentRef(name=config.environment, options=config.environment_options)


def _said(records: Records, wanted: Measure, config: PracticeConfig) -> JsonObject:
    """What an evaluation writes down of itself, and is named by."""
    library_of = base_name(config.environment)
    said: JsonObject = {
        "command": "evaluate",
        "environment": config.environment,
        "environment_options": config.environment_options,
        "model": config.model,
        "arms": list(wanted.arms),
        "seed": wanted.seed,
        "tasks": wanted.tasks,
        "tool_calls": wanted.tool_calls,
        "split": wanted.split,
        "baseline": wanted.baseline,
        "library": records.items.library_version(library_of) if wanted.library else None,
        "embedder": config.embedder,
        "index": config.index,
        "box": config.box,
    }
    if is_chat_model(config.model):
        said |= {"executor": config.acting, "evaluator": config.evaluator}
    # As in practice: what is left as it is says nothing, so a setting that is new renames no
    # run.
    return said | cast(
        "JsonObject", config.model_dump(mode="json", include=MEASURED, exclude_defaults=True)
    )


@contextlib.contextmanager
def _evaluating(records: Records, run_id: str) -> Generator[None]:
    """Write down how an evaluation ended, however it did; another starts over."""
    try:
        yield
    except (asyncio.CancelledError, KeyboardInterrupt):
        records.runs.set_status(run_id, "stopped", INTERRUPTED)
        raise
    except Exception as error:
        records.runs.set_status(run_id, "failed", str(error))
        raise
    records.runs.set_status(run_id, "finished")

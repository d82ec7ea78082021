"""One run at work in this process: rounds, closing comparison, report.

The run's directory is locked while this works on it. Its config and versions are written down
before the first attempt; how it ended is written down whatever happens, a kill apart.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agentlab.config import PracticeConfig
from agentlab.environments.registration import base_name, make_environment
from agentlab.errors import AgentLabError, RecordsError
from agentlab.events import Event, RoundFinished, RunFinished, RunPaused, RunStarted
from agentlab.graph.budgets import changes_of, enlarged, seconds_before
from agentlab.graph.build import STEPS_PER_ROUND, build
from agentlab.graph.checkpoints import CheckpointFault, checkpoints
from agentlab.graph.evaluation import Arm, Bench, evaluate_arms, evaluation_tasks
from agentlab.graph.opening import (
    begin,
    cores,
    package_versions,
    refuse_secrets,
    refuse_unknown_price,
    write_down,
)
from agentlab.graph.policies import routed
from agentlab.graph.practice import (
    Practice,
    RunState,
    RunStopped,
    RunUpdate,
    RunWaits,
    toolset_name,
)
from agentlab.graph.registering import roll_back_after
from agentlab.graph.remarks import remarks
from agentlab.graph.reports import (
    BASELINE,
    LIBRARY,
    evaluation_report,
    ran_in,
    run_skills,
    task_counts,
)
from agentlab.graph.seats import Seats, asks_models, open_seats
from agentlab.graph.watching import Watchers
from agentlab.graph.workers import WorkerPool
from agentlab.library.advice import insight_counts, insight_lines
from agentlab.library.catalogue import skill_counts, skill_lines
from agentlab.library.insights import InsightLibrary
from agentlab.library.skills import SkillLibrary
from agentlab.models.journal import SPENDING, Journal, larger
from agentlab.models.redaction import known
from agentlab.protocols import Observer
from agentlab.records import Records
from agentlab.records.files import replace_text
from agentlab.sandbox import settle_box
from agentlab.types import SHARED, EnvironmentRef, JsonObject, Role, Scope, Usage
from agentlab.types.report import INTERRUPTED, WAITS, EvaluationReport, PracticeReport, RunStatus

logger = logging.getLogger(__name__)


async def work_on(
    records: Records,
    run_id: str,
    config: PracticeConfig,
    observers: Sequence[Observer],
    stop: Callable[[], bool],
    *,
    resumed: bool,
) -> PracticeReport:
    """Work on a run until it is complete, stopped or failed.

    One that is new takes the next number when another process began the same at this moment.

    Raises:
        RunInUseError: another process works on the run that is to be resumed.
    """
    refuse_unknown_price(config)
    refuse_secrets(config)
    workspace = records.workspace
    spelt = cast("JsonObject", config.model_dump(mode="json"))
    box = settle_box(config.box)
    versions = package_versions(box)
    if resumed:
        lock = workspace.lock_run(run_id)
    else:
        run_id, lock = begin(records, run_id, spelt, versions, config.seed)
    with lock:
        directory = workspace.run_directory(run_id, create=True)
        if not resumed:
            write_down(directory, spelt, versions)
        started = time.monotonic()
        before = seconds_before(directory)
        watchers = Watchers([*observers, _Clock(directory, before - started)])
        watchers.notify(
            RunStarted(
                run_id=run_id,
                environment=config.environment,
                model=config.model,
                resumed=resumed,
            )
        )
        ended = records.runs.get(run_id).reason
        records.runs.set_status(run_id, "running")
        status: RunStatus = "failed"
        reason, report = "", None
        seconds = before
        try:
            async with practising(records, run_id, config, watchers, stop, before) as practice_:
                try:
                    done = await _rounds(practice_, directory)
                    spent = practice_.exhausted()
                    status, reason = ("stopped", f"{spent} used up") if spent else ("finished", "")
                    if not spent and done < config.rounds:
                        # A budget ended it in an earlier process, and it is the same budget.
                        status, reason = "stopped", ended or "its budget used up"
                    report = await _closing(practice_, stop)
                except RunStopped:
                    status, reason = "stopped", INTERRUPTED
                except RunWaits:
                    status, reason = "stopped", WAITS
        except asyncio.CancelledError:
            status, reason = "stopped", INTERRUPTED
            raise
        except (AgentLabError, OSError) as error:
            status, reason = "failed", known().text(str(error))
            raise
        finally:
            seconds = before + time.monotonic() - started
            _leave(records, directory, run_id, status, reason, seconds)
            watchers.notify(RunFinished(run_id=run_id, status=status, reason=reason))
        made = _report(practice_, directory, status, reason, report, seconds)
        taken = roll_back_after(records, config, run_id) if status == "finished" else ""
        return made.model_copy(update={"notes": (*made.notes, taken)}) if taken else made


def spent(records: Records, run_id: str) -> dict[Role, Usage]:
    """What a run's models have taken so far by role, evaluations included.

    What is on no call's record, such as the calls of an attempt that failed, is the executor's.
    """
    kinds = ("practice", "shadow", "evaluation")
    whole = records.attempts.spent(run_id, kinds=kinds) + records.budgets.charged(run_id)
    known = records.role_calls.spent(run_id)
    told = sum(known.values(), Usage())
    rest = Usage(tokens=max(0, whole.tokens - told.tokens), usd=max(0.0, whole.usd - told.usd))
    return {**known, "executor": known.get("executor", Usage()) + rest}


@asynccontextmanager
async def practising(
    records: Records,
    run_id: str,
    config: PracticeConfig,
    watchers: Watchers,
    stop: Callable[[], bool] = lambda: False,
    before: float = 0.0,
    *,
    scope: Scope = SHARED,
) -> AsyncGenerator[Practice]:
    """A run at work in this process: its workers, its library and its roles, closed at the end."""
    with routed(records, config) as routes:
        box = settle_box(config.box)
        pool = WorkerPool(cores(config.concurrency), box=box.name, blobs=records.workspace.blobs)
        ref = EnvironmentRef(name=config.environment, options=config.environment_options)
        library = SkillLibrary(
            records,
            base_name(config.environment),
            toolset=toolset_name(make_environment(ref).tools),
            embedder=config.embedder,
            backend=config.index,
            foreign=box.takes_foreign_code,
            scope=scope,
        )
        insights: InsightLibrary | None = None
        seats: Seats | None = None
        try:

            def pause(reason: str | None) -> None:
                watchers.notify(RunPaused(run_id=run_id, reason=reason or ""))

            if asks_models(config):
                journal = Journal(records.workspace.run_directory(run_id, create=True) / SPENDING)
                paid = larger(spent(records, run_id), journal.spent())
                seats = open_seats(config, paid, pause, journal, routes)
            if seats is not None and seats.reads_advice:
                insights = InsightLibrary(
                    records,
                    base_name(config.environment),
                    embedder=config.embedder,
                    backend=config.index,
                    scope=scope,
                )
            yield Practice(
                run_id=run_id,
                config=config,
                records=records,
                pool=pool,
                library=library,
                insights=insights,
                seats=seats,
                observers=(watchers,),
                spent_before=before,
                stop=stop,
                scope=scope,
            )
        finally:
            if seats is not None:
                await seats.close()
            if insights is not None:
                insights.close()
            library.close()
            pool.close()


async def _rounds(practice_: Practice, directory: Path) -> int:
    """Run the graph to its end, from its last checkpoint; how many rounds are complete."""
    config = practice_.config
    where: RunnableConfig = {
        "configurable": {"thread_id": practice_.run_id},
        "recursion_limit": config.rounds * STEPS_PER_ROUND + 10,
        "max_concurrency": practice_.width,
    }

    async def read(saver: AsyncSqliteSaver) -> None:
        found = await build(practice_, saver).aget_state(where)
        _check_state(found.values, practice_)

    async with checkpoints(directory, practice_.run_id, read) as saver:
        graph = build(practice_, saver)
        known = await graph.aget_state(where)
        if known.values.get("finished") and not known.next:
            round_ = int(known.values["round"])
            if round_ >= config.rounds or not _may_go_on(practice_):
                return round_
            # A budget ended it, and has been made larger since.
            await graph.aupdate_state(where, RunUpdate(finished=False), as_node="end_round")  # pyright: ignore[reportUnknownMemberType]
        first = RunState(run_id=practice_.run_id, round=0, planned=0, finished=False)
        start = None if known.values else first
        # LangGraph's signature is partly untyped.
        await graph.ainvoke(start, where, durability="sync")  # pyright: ignore[reportUnknownMemberType]
        left = await graph.aget_state(where)
        if left.interrupts:
            # Nothing failed and a node is still to come: that the call returned says no more.
            raise RunWaits
        return int(left.values["round"])


def _may_go_on(practice_: Practice) -> bool:
    """Whether a run that a budget ended has been given a larger one."""
    return bool(changes_of(practice_.records, practice_.run_id)) and practice_.exhausted() is None


def _check_state(values: Mapping[str, object], practice_: Practice) -> None:
    """Refuse a state that the nodes could not have left; none at all is a beginning."""
    if not values:
        return
    round_ = values.get("round")
    if (
        values.get("run_id") != practice_.run_id
        or not isinstance(round_, int)
        or not 0 <= round_ <= practice_.config.rounds
        or not isinstance(values.get("finished"), bool)
    ):
        raise CheckpointFault("it holds no state of this run")


async def _closing(practice_: Practice, stop: Callable[[], bool]) -> EvaluationReport | None:
    """The closing comparison on held-out tasks, with and without the library."""
    config = practice_.config
    if config.heldout == 0 or _cannot_ask(practice_):
        return None
    grammar = practice_.vocabulary
    if grammar is not None and grammar.spec.nothing:
        logger.warning(
            "There is no closing comparison, for want of tasks: %s", grammar.spec.nothing
        )
        return None
    practice_.library.refresh()
    bench = Bench(
        practice_.run_id,
        config.rounds,
        practice_.records,
        practice_.pool,
        practice_.environment_ref,
        config.evaluator,
        config.retrieval,
        practice_.observers,
        practice_.seats,
        config.advice,
    )
    arms = [
        Arm(LIBRARY, config.acting, practice_.library, practice_.insights, config.executor_options),
        Arm(BASELINE, config.acting, options=config.executor_options),
    ]
    tasks = evaluation_tasks(practice_.environment, "heldout", config.heldout, config.seed)
    done = len(practice_.records.attempts.recorded_ids(practice_.run_id, config.rounds))
    # Equal parts for both arms, and rather fewer tasks than attempts that are cut off.
    left = max(0, len(arms) * len(tasks) - done)
    paid, allotted = practice_.share(left) if left else (0, ())
    tasks = tasks[: (paid + done) // len(arms)]
    if not tasks:
        logger.warning("There is no closing comparison: the budget does not pay for one.")
        return None
    work = asyncio.ensure_future(
        evaluate_arms(
            bench,
            arms,
            tasks,
            tool_calls=config.heldout_tool_calls,
            seconds=config.attempt_seconds,
            allotted=allotted,
        )
    )
    while not work.done():
        await asyncio.wait({work}, timeout=0.2)
        if stop():
            work.cancel()
            await asyncio.wait({work})
            raise RunStopped
    if _cannot_ask(practice_):
        return None  # attempts that a budget cut off would be counted as failures
    return evaluation_report(
        bench, work.result(), split="heldout", budget=config.heldout_tool_calls
    )


def _cannot_ask(practice_: Practice) -> bool:
    """Whether a budget allows the chat models no further call."""
    return practice_.seats is not None and (
        practice_.seats.spent_out is not None or practice_.exhausted() in ("tokens", "usd")
    )


def _report(
    practice_: Practice,
    directory: Path,
    status: RunStatus,
    reason: str,
    heldout: EvaluationReport | None,
    seconds: float,
) -> PracticeReport:
    records, run_id = practice_.records, practice_.run_id
    rows = run_skills(records, run_id, practice_.environment_name)
    active = [row for row in rows if row.status == "active"]
    insights = records.items.insights(environment=practice_.environment_name)
    told = [row for row in insights if row.run_id == run_id]
    kinds = ("practice", "shadow")
    usage: Usage = records.attempts.spent(run_id, kinds=kinds) + records.budgets.charged(run_id)
    return PracticeReport(
        run_id=run_id,
        run_dir=str(directory),
        status=status,
        reason=reason,
        attempts=records.attempts.count(run_id, kind="practice"),
        tasks=task_counts(records, run_id),
        skills=skill_counts(rows),
        insights=insight_counts(told),
        advice=tuple(insight_lines(records, [row for row in told if row.status == "active"])),
        learnt=tuple(skill_lines(records, active)),
        heldout=heldout,
        usage=usage,
        box=ran_in(records, run_id),
        seconds=round(seconds, 3),
        notes=remarks(records, run_id, practice_.config, reason),
        goes_on_with=enlarged(practice_.config, reason, usage),
    )


class _Clock:
    """Writes down the wall-clock seconds at the end of each round, for a run that is killed."""

    def __init__(self, directory: Path, offset: float) -> None:
        self._file = directory / "seconds"
        self._offset = offset

    def notify(self, event: Event) -> None:
        """Called after the event is on record."""
        if isinstance(event, RoundFinished):
            seconds = self._offset + time.monotonic()
            replace_text(self._file, f"{seconds:.3f}\n")


def _leave(
    records: Records, directory: Path, run_id: str, status: RunStatus, reason: str, seconds: float
) -> None:
    try:
        records.runs.set_status(run_id, status, reason)
        replace_text(directory / "seconds", f"{seconds:.3f}\n")
    except (RecordsError, OSError):
        if status != "failed":
            raise  # else what made it fail is what is told, and is mostly this

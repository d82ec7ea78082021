"""How good a judge is: asked about recorded attempts whose outcome a verifier knows.

The judge reads what it would read where there is no verifier, and is not told the outcome. What
is found is kept in the workspace, and decides there whether this judge's verdicts may admit items
or label exports (`records.calibrations`). Attempts at held-out tasks are measured only when asked
for, apart from the others, and decide nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.environments.registration import base_name
from agentlab.errors import ModelFaultError, SkillRefusedError, UsageError
from agentlab.models.counting import counted
from agentlab.models.prices import Prices, load_prices
from agentlab.protocols import (
    ChatModel,
    EvaluationContext,
    Evaluator,
    Perform,
    SkillReturn,
)
from agentlab.records import AttemptRow, Records, Workspace
from agentlab.records.blobs import Blobs
from agentlab.records.calibrations import (
    Calibration,
    Calibrations,
    Figure,
    Figures,
    Spent,
    judge_digest,
    with_sampling,
)
from agentlab.registry import resolve
from agentlab.statistics import Estimate
from agentlab.statistics.agreement import Agreement, Rating, agreement
from agentlab.types import (
    ChatReply,
    ChatRequest,
    JsonObject,
    Origin,
    Skill,
    Task,
    ToolSpec,
    Trajectory,
    derive_seed,
    derive_uniform,
)

VERIFIER = "verifier"
"""The evaluator that judges are measured by."""
CONCURRENCY = 8
"""Attempts judged at a time."""
LIMIT = 200
"""Attempts judged, unless told otherwise."""

Progress = Callable[[int, int], None]
"""Is told how many attempts are judged, and of how many."""
Closing = Callable[[], Awaitable[None]]


class Scope(NamedTuple):
    """Which recorded attempts a judge is measured on."""

    runs: tuple[str, ...] = ()
    """Ids; none is every run of the workspace."""
    environment: str = ""
    """Empty is that of the runs, which must then have one and the same."""
    limit: int = LIMIT
    """At most so many attempts, and so many held-out ones, drawn by the seed."""
    heldout: bool = False
    """Whether to measure it on attempts at held-out tasks too, to report it."""
    seed: int = 0


class Known(NamedTuple):
    """An attempt, and what the verifier said of it."""

    attempt_id: str
    task: Task
    trajectory: Trajectory
    success: bool
    heldout: bool
    files: Mapping[str, str] = {}
    """What the environment kept of it, by name: digests of blobs."""


def calibrate(
    workspace: Path | str,
    evaluator: str,
    *,
    model: ChatModel,
    stronger: ChatModel | None = None,
    scope: Scope | None = None,
    options: Mapping[str, JsonValue] | None = None,
    sampling: JsonObject | None = None,
    prices: Prices | None = None,
    progress: Progress | None = None,
    closing: Closing | None = None,
) -> Calibration:
    """Measure an evaluator that asks a model, and keep what was found in the workspace.

    Args:
        workspace: where the attempts are recorded.
        evaluator: its registered name, such as `judge`.
        model: what the evaluator asks.
        stronger: what it asks where it is undecided.
        scope: which attempts; by default at most 200 of every run.
        options: of the evaluator.
        sampling: what the user set for the models, by role, which they already obey; a run whose
            config sets the same finds this calibration. See `graph.judges.open_bench`.
        prices: of the models; by default those of the table that ships.
        progress: called after each attempt.
        closing: awaited in the end, in the event loop in which the models were asked; closes
            their endpoints.

    Raises:
        UnknownNameError: there is no such evaluator or run.
        UsageError: no workspace, no attempt of known outcome, attempts in several environments,
            or an evaluator that asks no model.
        ModelFaultError: the endpoint failed for every attempt.
        BudgetSpentError: a budget did not allow a call.
    """
    if evaluator == VERIFIER:
        raise UsageError(
            "The evaluator 'verifier' is what judges are measured by; name one that asks a model, "
            "such as 'judge'."
        )
    judge = _made(evaluator, options or {})
    scope = scope or Scope()
    place = Workspace.open(workspace, create=False)
    with Records.open(place) as records:
        environment, runs, attempts = known_attempts(records, scope)
    began = time.monotonic()
    prices = prices or load_prices()
    first = _Counted(model, prices)
    second = _Counted(stronger, prices) if stronger is not None else None

    async def work() -> list[tuple[Rating, bool]]:
        try:
            return await _judged(judge, attempts, (first, second), progress, Blobs(place.blobs))
        finally:
            if closing is not None:
                await closing()

    judged = asyncio.run(work())
    said = _identity(judge, evaluator, options or {}, model, stronger)
    identity = with_sampling(said, sampling or {})
    parts = [
        _figures([rating for rating, heldout in judged if heldout is kept], scope.seed)
        for kept in (False, True)
    ]
    calibration = Calibration(
        judge=judge_digest(identity),
        evaluator=evaluator,
        identity=identity,
        environment=environment,
        runs=runs,
        figures=parts[0],
        heldout=parts[1],
        failed=len(attempts) - len(judged),
        spent=_spent([first, *([second] if second else [])], time.monotonic() - began),
    )
    Calibrations(place).keep(calibration)
    return calibration


def known_attempts(
    records: Records, scope: Scope
) -> tuple[str, tuple[str, ...], tuple[Known, ...]]:
    """The environment, the runs and the attempts of a scope, held-out ones last.

    Attempts that completed and that a verifier scored, drawn without looking at their outcome.

    Raises:
        UnknownNameError: there is no such run.
        UsageError: there is no such attempt, or they are of several environments.
    """
    rows: list[AttemptRow] = []
    for run in dict.fromkeys(scope.runs) or records.runs.ids():
        records.runs.get(run)
        made = records.attempts.all(run)
        # What is a tenant's is shown to no judge whom that tenant did not choose.
        rows += [row for row in made if row.status == "completed" and row.scope == ""]
    wanted = base_name(scope.environment)
    environments = sorted({row.environment for row in rows})
    if not wanted and len(environments) > 1:
        listed = ", ".join(repr(name) for name in environments)
        raise UsageError(
            f"The attempts are of several environments ({listed}), and a judge is measured in one "
            "at a time; name it with --environment."
        )
    found: list[Known] = []
    for heldout in (False, True)[: 2 if scope.heldout else 1]:
        chosen = [
            row
            for row in rows
            if row.environment == (wanted or row.environment)
            and (row.split == "heldout") is heldout
        ]
        chosen.sort(key=lambda row: derive_uniform("calibration", scope.seed, row.attempt_id))
        found += _first_known(records, chosen, scope.limit, heldout=heldout)
    if not found:
        where = f" in {wanted!r}" if wanted else ""
        raise UsageError(
            f"No recorded attempt{where} was scored by a verifier, so there is nothing to measure "
            "a judge by; practise first in an environment whose success can be read, such as "
            "`agentlab practice courier`, or add --heldout."
        )
    used = {known.attempt_id for known in found}
    runs = tuple(dict.fromkeys(row.run_id for row in rows if row.attempt_id in used))
    return wanted or environments[0], runs, tuple(found)


def _first_known(
    records: Records, rows: Sequence[AttemptRow], limit: int, *, heldout: bool
) -> Iterator[Known]:
    tasks: dict[tuple[str, int], dict[str, Task]] = {}
    left = limit
    for row in rows:
        if not left:
            return
        outcome = records.trajectories.outcome(row.attempt_id)
        # The score's own word: an assisted success counts in no rate, and is one all the same.
        success = outcome.score.success
        if outcome.score.source != "verifier" or outcome.trajectory is None or success is None:
            continue
        place = (row.run_id, row.round)
        if place not in tasks:
            planned = records.attempts.planned(*place)
            tasks[place] = {spec.id: spec.task for spec in planned}
        left -= 1
        task = tasks[place][row.attempt_id]
        yield Known(row.attempt_id, task, outcome.trajectory, success, heldout, outcome.files)


async def _judged(
    judge: Evaluator,
    attempts: Sequence[Known],
    models: tuple[ChatModel, ChatModel | None],
    progress: Progress | None,
    blobs: Blobs,
) -> list[tuple[Rating, bool]]:
    """What the judge says of each, in order; attempts that the endpoint failed on are left out."""
    gate = asyncio.Semaphore(CONCURRENCY)
    faults: list[ModelFaultError] = []
    done = 0

    async def one(known: Known) -> tuple[Rating, bool] | None:
        nonlocal done
        context = EvaluationContext(
            known.task,
            known.trajectory,
            _NoCode(),
            *models,
            picture=blobs.get,
            files=known.files,
        )
        async with gate:
            try:
                score = await judge.evaluate(context)
            except ModelFaultError as error:
                faults.append(error)
                return None
        if score.source != "judge":
            raise UsageError(
                "The evaluator gave the verifier's own verdict back, so nothing can be measured; "
                "it needs an option `verify`, which is False while it is measured."
            )
        done += 1
        if progress is not None:
            progress(done, len(attempts))
        return Rating(known.task.id, known.success, score.success), known.heldout

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(known)) for known in attempts]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    judged = [found for task in tasks if (found := task.result()) is not None]
    if not judged and faults:
        raise faults[0]
    return judged


def _made(name: str, options: Mapping[str, JsonValue]) -> Evaluator:
    """The evaluator, told to judge where there is a verifier too."""
    target = cast("Callable[..., Evaluator]", resolve("evaluator", name))
    takes = inspect.signature(target).parameters
    given = {**options, **({"verify": False} if "verify" in takes else {})}
    try:
        return target(**given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The evaluator {name!r} does not take these options: {error}.") from error


def _identity(
    judge: Evaluator,
    name: str,
    options: Mapping[str, JsonValue],
    model: ChatModel,
    stronger: ChatModel | None,
) -> JsonObject:
    """As the evaluator says it; one that does not is known by its name, options and models."""
    said = getattr(judge, "identity", None)
    second = stronger.name if stronger is not None else None
    if callable(said):
        return cast("JsonObject", said(model.name, second))
    return {
        "evaluator": name,
        "options": dict(options),
        "model": model.name,
        "stronger": second,
    }


def _figures(ratings: Sequence[Rating], seed: int) -> Figures | None:
    found: Agreement | None = agreement(ratings, seed=derive_seed("calibration", seed))
    if found is None:
        return None
    return Figures(
        attempts=found.attempts,
        tasks=found.tasks,
        **found.confusion._asdict(),
        unknown=Figure(**found.unknown._asdict()),
        precision=_figure(found.precision),
        recall=_figure(found.recall),
        specificity=_figure(found.specificity),
        agreement=_figure(found.agreement),
        kappa=_figure(found.kappa),
    )


def _figure(estimate: Estimate | None) -> Figure | None:
    return None if estimate is None else Figure(**estimate._asdict())


def _spent(models: Sequence[_Counted], seconds: float) -> Spent:
    usd = [model.usd for model in models if model.calls]
    return Spent(
        calls=sum(model.calls for model in models),
        tokens=sum(model.tokens for model in models),
        usd=sum(each for each in usd if each is not None) if None not in usd else None,
        seconds=seconds,
    )


class _Counted:
    """A chat model that counts what is asked of it."""

    def __init__(self, model: ChatModel, prices: Prices) -> None:
        self._model = model
        self._price = prices.of(model.name)
        self.calls = 0
        self.tokens = 0
        self.usd: float | None = 0.0 if self._price is not None else None

    @property
    def name(self) -> str:
        return self._model.name

    async def chat(self, request: ChatRequest) -> ChatReply:
        reply = await self._model.chat(request)
        self.calls += 1
        took = counted(request, reply)
        self.tokens += took.total
        if self._price is not None and self.usd is not None:
            self.usd += self._price.usd(took)
        return reply


class _NoCode:
    """A runtime that runs nothing: measuring a judge needs no code."""

    async def open(self, skills: Sequence[Skill], tools: Sequence[ToolSpec]) -> None:
        raise _no_code()

    async def call(self, name: str, arguments: JsonObject, perform: Perform) -> SkillReturn:
        raise _no_code()

    async def evaluate(
        self, source: str, function: str, arguments: JsonObject, *, origin: Origin = "search"
    ) -> JsonValue:
        raise _no_code()

    async def close(self) -> None:
        pass


def _no_code() -> SkillRefusedError:
    return SkillRefusedError(
        "An evaluator wanted to run code while it was measured; a judge reads the record alone."
    )

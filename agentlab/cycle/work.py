"""The cycle at work: stage after stage, unattended, and from where it stopped.

    practice → watch → export → train → … → gate → practice …

A stage that is written down is not done again; one that was cut off goes on by its own means: a
run by `resume`, a training from its checkpoint, a gate from its looks. An iteration that has
nothing to train on, or whose candidate is refused, is over, and the next practises on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from agentlab.config import PracticeConfig
from agentlab.cycle.budget import CycleSpentError, Left, changes, left, taken, within
from agentlab.cycle.serving import CycleServer
from agentlab.cycle.settings import CycleConfig, TrainStage
from agentlab.cycle.stages import Stage, Stages
from agentlab.cycle.training import CommandTrainer, Trainer, TrainOrder
from agentlab.errors import AdapterRefusedError, GateInterruptedError, NothingToExportError
from agentlab.events import Event, RunStarted
from agentlab.graph.gate_plan import GateRequest
from agentlab.graph.gating import gate
from agentlab.graph.registering import roll_back_if_worse
from agentlab.protocols import Observer
from agentlab.records import Records, Workspace
from agentlab.runner import apractice, aresume
from agentlab.training.adapters import read_adapter
from agentlab.training.exporting import ExportRequest, ViewName, export
from agentlab.training.promotion.verdict import GateReport
from agentlab.types import Frozen, JsonObject

RESTARTS = 2
"""Times that a gate's server is started again before the cycle stops."""


class CycleReport(Frozen):
    """What a cycle came to so far."""

    policy: str
    serves: str
    """An adapter, or `base`."""
    iterations: int
    """That are complete."""
    stages: tuple[tuple[int, Stage], ...] = ()
    status: str = "finished"
    """`finished`, or `stopped` by a budget."""
    reason: str = ""
    seconds: float = 0.0
    tokens: int = 0
    promoted: tuple[str, ...] = Field(default=())


class _Trained(NamedTuple):
    folder: Path
    name: str


async def cycle(
    config: CycleConfig,
    workspace: Path | str,
    *,
    observers: Sequence[Observer] = (),
    trainer: Trainer | None = None,
) -> CycleReport:
    """Practise, train and gate until the iterations or the budget are used up.

    Args:
        config: what to do.
        workspace: directory of records, runs and the cycle's own files.
        observers: are told what happens.
        trainer: makes the weights; by default `agentlab train`.

    Raises:
        UsageError: something in it cannot be done.
        GateInterruptedError: a gate's server went away and did not come back; the same call goes
            on.
        ServerFaultError: the model server does not answer, or did not come back; the same call
            goes on.
        AdapterRefusedError: what serves is not what it was.
        TrainerFaultError: a training failed; the same call tries it again.
    """
    place = Workspace.open(workspace)
    stages = Stages(place, config)
    with place.lock_run(f"cycle-{config.policy}"):
        own = trainer or CommandTrainer(stages.folder / "train.log")
        async with CycleServer(config, place, stages.folder / "server.log") as server:
            work = _Cycle(config, place, stages, server, own, observers)
            return await work.run()


class _Cycle:
    """One cycle in this process."""

    def __init__(
        self,
        config: CycleConfig,
        workspace: Workspace,
        stages: Stages,
        server: CycleServer,
        trainer: Trainer,
        observers: Sequence[Observer],
    ) -> None:
        self._config = config
        self._workspace = workspace
        self._stages = stages
        self._server = server
        self._trainer = trainer
        self._observers = observers

    async def run(self) -> CycleReport:
        """Go on to the end, from wherever it is."""
        done, status, reason = 0, "finished", ""
        try:
            for iteration in range(1, self._config.iterations + 1):
                await self._iteration(iteration)
                done = iteration
        except CycleSpentError as spent:
            status, reason = "stopped", str(spent)
        found = tuple(self._stages.all())
        with Records.open(self._workspace) as records:
            serves = records.policies.current(self._config.policy) or "base"
            moves = records.policies.moves(self._config.policy)
        return CycleReport(
            policy=self._config.policy,
            serves=serves,
            iterations=done,
            stages=found,
            status=status,
            reason=reason,
            seconds=sum(stage.seconds for _, stage in found),
            tokens=sum(stage.tokens for _, stage in found),
            promoted=tuple(move.after for move in moves if move.kind == "promotion"),
        )

    async def _iteration(self, iteration: int) -> None:
        await self._stage(iteration, "practice", self._practise)
        await self._stage(iteration, "watch", self._watch)
        trained: _Trained | None = None
        for number, stage in enumerate(self._config.train, start=1):
            made = await self._made(iteration, number, stage, trained)
            if made is None:
                break
            trained = made
        if trained is not None:
            candidate = trained

            async def decide(iteration: int) -> Stage:
                return await self._gate(iteration, candidate)

            await self._stage(iteration, "gate", decide)

    async def _stage(
        self, iteration: int, name: str, work: Callable[[int], Awaitable[Stage]]
    ) -> Stage:
        known = self._stages.done(iteration, name)
        if known is not None:
            return known
        self._left(name)
        began = time.monotonic()
        made = await work(iteration)
        seconds = time.monotonic() - began
        return self._stages.finish(iteration, made.model_copy(update={"seconds": seconds}))

    def _left(self, stage: str) -> Left:
        return left(self._config.budget, (each for _, each in self._stages.all()), stage)

    # --- the stages -------------------------------------------------------------------------

    async def _practise(self, iteration: int) -> Stage:
        begun = self._stages.begun(iteration, "practice")
        where = self._workspace.path
        config = within(self._practice(iteration), self._left("practice"))
        async with self._server.kept_up():
            if begun:
                with Records.open(self._workspace) as records:
                    other = changes(records, begun, config)
                report = await aresume(begun, workspace=where, observers=self._observers, **other)
            else:
                observers = (*self._observers, _Beginning(self._stages, iteration))
                report = await apractice(config, workspace=where, observers=observers)
        with Records.open(self._workspace) as records:
            tokens = taken(records, report.run_id)
        return Stage(
            stage="practice",
            told=f"{report.attempts} attempts in the run {report.run_id}.",
            result={"run": report.run_id, "status": report.status, "attempts": report.attempts},
            tokens=tokens,
        )

    def _practice(self, iteration: int) -> PracticeConfig:
        """Practice of an iteration: asked of what serves by then, with a seed of its own."""
        own = self._config.practice
        return own.model_copy(update={"seed": own.seed + iteration - 1})

    async def _watch(self, iteration: int) -> Stage:
        with Records.open(self._workspace) as records:
            found = roll_back_if_worse(records, self._config.policy)
            practised = self._stages.done(iteration, "practice")
            run_id = practised.result.get("run") if practised is not None else None
            moves = records.policies.moves(self._config.policy)
            if not found.moved and moves and moves[-1].evidence.get("run") == run_id:
                # The run itself looked at its end, and took the version back.
                found = found.model_copy(
                    update={"moved": True, "before": moves[-1].before, "sentence": moves[-1].reason}
                )
        return Stage(
            stage="watch",
            told=found.sentence,
            result={"moved": found.moved, "before": found.before, "after": found.after},
        )

    async def _made(
        self, iteration: int, number: int, stage: TrainStage, before: _Trained | None
    ) -> _Trained | None:
        """What a training stage makes; None where there is nothing to train on."""
        data = self._stages.place(iteration) / f"export-{number}"
        out = self._stages.place(iteration) / f"trained-{number}"

        async def write(iteration: int) -> Stage:
            return self._export(iteration, number, stage, data)

        async def train(iteration: int) -> Stage:
            return await self._train(iteration, number, stage, data, out, before)

        exported = await self._stage(iteration, f"export-{number}", write)
        if exported.result.get("rows") == 0:
            return before
        trained = await self._stage(iteration, f"train-{number}", train)
        return _Trained(out, str(trained.result["adapter"]))

    def _export(self, iteration: int, number: int, stage: TrainStage, data: Path) -> Stage:
        name, settings = f"export-{number}", self._config.export
        first = max(1, iteration - settings.runs + 1)
        done = [self._stages.done(each, "practice") for each in range(first, iteration + 1)]
        runs = tuple(str(each.result["run"]) for each in done if each is not None)
        with Records.open(self._workspace) as records:
            terms = {model: str(text) for model, text in settings.terms.items()}
            policy = records.policies.get(self._config.policy)
            own = [policy.base_model, *(v.adapter for v in records.policies.versions(policy.name))]
            request = ExportRequest(
                run_ids=runs,
                format=stage.format,
                view=_view(stage.view),
                terms=tuple({**dict.fromkeys(own, settings.own_terms), **terms}.items()),
                judged=settings.judged,
                estimator=stage.estimator or None,
            )
            if data.exists():  # it appears whole, and only the note of it was lost
                rows = int(json.loads((data / "export.json").read_bytes())["rows"])
                told = f"{rows} rows as {stage.format} from {len(runs)} runs."
                return Stage(stage=name, told=told, result={"runs": list(runs), "rows": rows})
            try:
                report = export(records, request, data)
            except NothingToExportError as error:
                told = f"There is nothing to train on: {error}"
                return Stage(stage=name, told=told, result={"runs": list(runs), "rows": 0})
        return Stage(
            stage=name,
            told=f"{report.rows} rows as {report.format} from {len(runs)} runs.",
            result={"runs": list(runs), "rows": report.rows},
        )

    async def _train(
        self,
        iteration: int,
        number: int,
        stage: TrainStage,
        data: Path,
        out: Path,
        before: _Trained | None,
    ) -> Stage:
        with Records.open(self._workspace) as records:
            current = records.policies.current(self._config.policy)
            serving = Path(records.policies.version(current).path) if current else None
        start = {
            "base": None,
            "served": serving,
            "before": before.folder if before is not None else serving,
        }[stage.start]
        if not await asyncio.to_thread(out.exists):
            await self._trainer.train(
                TrainOrder(
                    stage=stage,
                    data=data,
                    base=Path(self._config.base),
                    out=out,
                    start=start,
                    seed=stage.seed + iteration - 1,
                    version=iteration,
                )
            )
        adapter = read_adapter(out)
        return Stage(
            stage=f"train-{number}",
            told=f"{adapter.name} by {stage.trainer}.",
            result={"adapter": adapter.name, "folder": str(out), "from": str(start or "base")},
        )

    async def _gate(self, iteration: int, candidate: _Trained) -> Stage:
        # Fresh dev tasks for each iteration: what was selected on is not selected on again.
        settings = self._config.gate
        settings = settings.model_copy(update={"seed": settings.seed + iteration - 1})
        request = GateRequest(
            self._config.policy,
            candidate.folder,
            self._practice(iteration),
            settings,
            left=self._left("gate").tokens,
        )
        report = await self._compare(request)
        if isinstance(report, AdapterRefusedError):
            return Stage(stage="gate", told=str(report), result={"status": "refused"})
        result: JsonObject = {
            "gate": report.gate,
            "status": report.status,
            "candidate": report.candidate,
            "looks": report.looks,
            "evidence": report.evidence,
        }
        told = f"{report.reason} {report.learning}"
        return Stage(stage="gate", told=told, result=result, tokens=report.tokens)

    async def _compare(self, request: GateRequest) -> GateReport | AdapterRefusedError:
        """A gate, which goes on when its server was started again; or why it takes no candidate.

        Raises:
            AdapterRefusedError: what serves is not what it was, which is no fault of the candidate.
        """
        left = RESTARTS
        while True:
            async with self._server.kept_up():
                try:
                    with Records.open(self._workspace) as records:
                        return await gate(records, request, self._observers)
                except AdapterRefusedError as error:
                    return error
                except GateInterruptedError:
                    if not left:
                        raise
                    left -= 1


class _Beginning:
    """Writes down which run an iteration's practice is, as soon as it is on record."""

    def __init__(self, stages: Stages, iteration: int) -> None:
        self._stages = stages
        self._iteration = iteration

    def notify(self, event: Event) -> None:
        """Take the run's id from its first event."""
        if isinstance(event, RunStarted):
            self._stages.begin(self._iteration, "practice", event.run_id)


def _view(name: str) -> ViewName | None:
    return name or None  # pyright: ignore[reportReturnType] - export refuses names it does not know

"""A run from its config to its report: `practice`, `evaluate`, `resume`, sync and async.

A run is a directory in the workspace. Its config, seed and versions are on record before the
first attempt, and `resume` asks for nothing but the run. What happens in a round is in `graph`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from agentlab.config import BoxName, IndexName, PracticeConfig, load_config, parse_config
from agentlab.environments.registration import base_name
from agentlab.errors import UsageError
from agentlab.graph.budgets import change, changed, current_config
from agentlab.graph.measuring import Measure, measure, prepared
from agentlab.graph.opening import run_id_of
from agentlab.graph.policies import pinned
from agentlab.graph.preflight import check_practice, check_resumed, refuse_small_budgets
from agentlab.graph.reports import practice_run
from agentlab.graph.run import work_on
from agentlab.graph.workers import refuse_unguarded
from agentlab.protocols import Observer
from agentlab.records import Records, Workspace
from agentlab.types import JsonObject, Split
from agentlab.types.report import EvaluationReport, PracticeReport

T = TypeVar("T")

DEFAULT_WORKSPACE = ".agentlab"
UNSAID = {"model": "search", "embedder": "lexical", "index": "chroma", "box": "auto"}
"""What `evaluate` takes where nothing is said."""


def practice(
    environment: str | PracticeConfig = "babyai",
    *,
    workspace: Path | str | None = None,
    observers: Sequence[Observer] = (),
    **options: Any,
) -> PracticeReport:
    """Practise in an environment until rounds or budget are used up.

    Args:
        environment: a registered name, or a whole config.
        workspace: directory of records, index and runs; `AGENTLAB_WORKSPACE` or `.agentlab`.
        observers: are told what happens.
        **options: fields of `PracticeConfig`; nested ones with a dot, as `budget.attempts`.

    Returns:
        What the run came to. Ctrl-C ends it with the status `stopped`.

    Raises:
        UsageError: the options are wrong.
        RecordsError: the workspace cannot be used.

    Example:
        >>> report = practice("courier", rounds=2, attempts=20)  # doctest: +SKIP
        >>> [skill.signature for skill in report.learnt]  # doctest: +SKIP
        ['unlocked(container: container)', 'holding(item: item)']
    """
    return _run(
        lambda stop: _practice(environment, workspace, observers, options, stop), interruptible=True
    )


async def apractice(
    environment: str | PracticeConfig = "babyai",
    *,
    workspace: Path | str | None = None,
    observers: Sequence[Observer] = (),
    **options: Any,
) -> PracticeReport:
    """As `practice`, from a running event loop; cancelling it leaves a run to resume.

    Example:
        >>> report = await apractice("courier", rounds=1)  # doctest: +SKIP
    """
    return await _practice(environment, workspace, observers, options, _Stop())


def resume(
    run: str | Path,
    *,
    workspace: Path | str | None = None,
    observers: Sequence[Observer] = (),
    **budgets: float,
) -> PracticeReport:
    """Go on with a run where it stopped, with the options it was started with.

    Args:
        run: its id or its directory.
        workspace: where it is; found from the directory where one is given.
        observers: are told what happens.
        **budgets: those that are to be others from now on, as `**{"budget.tokens": 200_000}`
            or `**{"roles.executor.tokens": 50_000}`; put on record as an event.

    Raises:
        UnknownNameError: there is no such run.
        UsageError: there is no such workspace, it is no practice run but keeps what an
            evaluation or an agent tried, or something other than a budget is to be changed.
        RunInUseError: another process works on it.

    Example:
        >>> resume("courier-1-0a1b2c3d")
        Traceback (most recent call last):
        ...
        agentlab.errors.UnknownNameError: There is no run named 'courier-1-0a1b2c3d'. …
    """
    return _run(lambda stop: _resume(run, workspace, observers, budgets, stop), interruptible=True)


async def aresume(
    run: str | Path,
    *,
    workspace: Path | str | None = None,
    observers: Sequence[Observer] = (),
    **budgets: float,
) -> PracticeReport:
    """As `resume`, from a running event loop.

    Example:
        >>> report = await aresume("courier-1-0a1b2c3d")  # doctest: +SKIP
    """
    return await _resume(run, workspace, observers, budgets, _Stop())


def evaluate(
    environment: str | PracticeConfig = "babyai",
    *,
    workspace: Path | str | None = None,
    model: str = "search",
    tasks: int = 120,
    tool_calls: int = 1000,
    seed: int = 0,
    baseline: bool = False,
    split: Split = "heldout",
    library: bool = True,
    arms: Sequence[str] = (),
    observers: Sequence[Observer] = (),
    environment_options: JsonObject | None = None,
    embedder: str = "lexical",
    index: IndexName = "chroma",
    box: BoxName = "auto",
    executor: str = "",
    evaluator: str = "",
    base_url: str = "",
    concurrency: int = 0,
) -> EvaluationReport:
    """Measure success on tasks of a split; nothing is learnt and nothing withheld.

    Args:
        environment: a registered name, or a whole config, whose roles, endpoint, retrieval and
            budgets in tokens and US dollars then hold; its other budgets are practice's.
        workspace: where the library is.
        model: the executor.
        tasks: how many distinct tasks.
        tool_calls: budget of each attempt.
        seed: chooses the tasks.
        baseline: compare with an empty library, on the same tasks.
        split: which tasks.
        library: whether the library is offered.
        arms: further executors on the same tasks.
        observers: are told how far it is.
        environment_options: options of the environment.
        embedder: makes the vectors that skills are found by; see `embeddings`.
        index: keeps the vectors; `exact` keeps nothing on disk.
        box: where skill code runs; `auto` is the first that passes its self-test.
        executor: how a chat model attempts tasks; empty is `react`.
        evaluator: who scores; empty is the verifier, or with a chat model the judge, which asks
            the verifier first.
        base_url: where chat models are; empty is `OPENAI_BASE_URL`.
        concurrency: attempts at a time; 0 chooses.

    Raises:
        SkillRefusedError: the box cannot be used here; says why.

    Example:
        >>> report = evaluate("courier", tasks=20, baseline=True)  # doctest: +SKIP
        >>> report.n, report.success_rate, report.interval  # doctest: +SKIP
        (20, 0.85, (0.64, 0.95))
    """
    return _run(
        lambda _: aevaluate(
            environment,
            workspace=workspace,
            model=model,
            tasks=tasks,
            tool_calls=tool_calls,
            seed=seed,
            baseline=baseline,
            split=split,
            library=library,
            arms=arms,
            observers=observers,
            environment_options=environment_options,
            embedder=embedder,
            index=index,
            box=box,
            executor=executor,
            evaluator=evaluator,
            base_url=base_url,
            concurrency=concurrency,
        )
    )


async def aevaluate(
    environment: str | PracticeConfig = "babyai",
    *,
    workspace: Path | str | None = None,
    model: str = "search",
    tasks: int = 120,
    tool_calls: int = 1000,
    seed: int = 0,
    baseline: bool = False,
    split: Split = "heldout",
    library: bool = True,
    arms: Sequence[str] = (),
    observers: Sequence[Observer] = (),
    environment_options: JsonObject | None = None,
    embedder: str = "lexical",
    index: IndexName = "chroma",
    box: BoxName = "auto",
    executor: str = "",
    evaluator: str = "",
    base_url: str = "",
    concurrency: int = 0,
) -> EvaluationReport:
    """As `evaluate`, from a running event loop.

    Example:
        >>> report = await aevaluate("courier", tasks=20)  # doctest: +SKIP
    """
    refuse_unguarded()
    own = {
        "environment_options": environment_options or {},
        "model": model,
        "executor": executor,
        "evaluator": evaluator,
        "base_url": base_url,
        "concurrency": concurrency,
        "embedder": embedder,
        "index": index,
        "box": box,
    }
    asked = _asked(environment, own)
    wanted = Measure(
        asked,
        split=split,
        tasks=tasks,
        tool_calls=tool_calls,
        seed=seed,
        baseline=baseline,
        library=library,
        arms=tuple(arms),
    )
    ready = prepared(wanted)
    with Records.open(_workspace(workspace)) as records:
        return await measure(records, ready, observers)


def _asked(environment: str | PracticeConfig, own: dict[str, Any]) -> PracticeConfig:
    """What is to be measured, from a whole config or from what was said of it.

    Raises:
        UsageError: both were given.
    """
    said = {name: value for name, value in own.items() if value and value != UNSAID.get(name)}
    if isinstance(environment, PracticeConfig):
        if said:
            raise UsageError("Give the options in the config, or as keywords, not both.")
        return environment
    at = {"base_url": said.pop("base_url", "")}
    return parse_config({"environment": environment, "endpoint": at, **said})


class _Stop:
    """Whether somebody asked the run to end."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked


async def _practice(
    environment: str | PracticeConfig,
    workspace: Path | str | None,
    observers: Sequence[Observer],
    options: dict[str, Any],
    stop: _Stop,
) -> PracticeReport:
    refuse_unguarded()
    if isinstance(environment, PracticeConfig):
        if options:
            raise UsageError("Give the options in the config, or as keywords, not both.")
        config = environment
    else:
        config = load_config(None, environment=environment, **options)
    check_practice(config)
    with Records.open(_workspace(workspace)) as records:
        config = pinned(records, config)
        # What is left as it is says nothing, so a setting that is new renames no run, and packs
        # name the runs that they come from.
        chosen = cast("JsonObject", config.model_dump(mode="json", exclude_defaults=True))
        run_id = run_id_of(records, base_name(config.environment), config.seed, chosen)
        return await work_on(records, run_id, config, observers, stop, resumed=False)


async def _resume(
    run: str | Path,
    workspace: Path | str | None,
    observers: Sequence[Observer],
    budgets: Mapping[str, float],
    stop: _Stop,
) -> PracticeReport:
    refuse_unguarded()
    run_id, place = _locate(run, workspace)
    with Records.open(_workspace(place, create=False)) as records:
        row = practice_run(records, run_id)
        config = changed(current_config(records, row), budgets)
        if budgets:
            refuse_small_budgets(config)
        check_resumed(config)
        if budgets:
            with records.workspace.lock_run(run_id):  # not while another process works on it
                change(records, run_id, budgets)
        return await work_on(records, run_id, config, observers, stop, resumed=True)


def _locate(run: str | Path, workspace: Path | str | None) -> tuple[str, Path | str | None]:
    path = Path(run)
    if path.parent.name == "runs" and path.parent.parent.is_dir():
        return path.name, path.parent.parent if workspace is None else workspace
    return str(run), workspace


def _workspace(place: Path | str | None, *, create: bool = True) -> Workspace:
    place = place or os.environ.get("AGENTLAB_WORKSPACE") or DEFAULT_WORKSPACE
    return Workspace.open(place, create=create)


def _run(work: Callable[[_Stop], Awaitable[T]], *, interruptible: bool = False) -> T:
    """Run to the end; the first Ctrl-C asks the run to stop, the second breaks it off."""
    stop = _Stop()

    async def main() -> T:
        if interruptible:
            loop = asyncio.get_running_loop()

            def ask() -> None:
                stop.asked = True
                loop.remove_signal_handler(signal.SIGINT)

            # Not in the main thread, or no such signals here: Ctrl-C raises as usual.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(signal.SIGINT, ask)
        return await work(stop)

    return asyncio.run(main())

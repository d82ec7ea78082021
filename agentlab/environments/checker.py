"""The public `check` suite: whether an environment keeps its promises, found out by using it.

    report = await check_environment(lambda: MyEnvironment(), tasks=tasks)
    assert report.passed, report.failures

Whatever an environment offers beyond `Environment` (snapshots, state, a grammar, an oracle,
tasks) is checked where it is offered and skipped where it is not. A check that meets an
exception fails and says which; no check stops another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from agentlab.environments import checks, pacing, snapshot_checks, task_checks
from agentlab.environments.report import CheckLine, CheckReport, CheckSkipped
from agentlab.errors import ConfigError
from agentlab.protocols import EnvironmentFactory
from agentlab.types import Task

__all__ = ["CHECKS", "Check", "CheckLine", "CheckReport", "check_environment"]

Check = Callable[[EnvironmentFactory, Sequence[Task]], Awaitable[int]]
"""Gives the number of cases; raises `AssertionError` with what is wrong, or `CheckSkipped`."""

CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        checks.contract,
        checks.determinism,
        checks.tool_schemas,
        checks.refusals,
        checks.reset_cleanliness,
        snapshot_checks.snapshots,
        snapshot_checks.snapshot_keys,
        task_checks.oracle_solves,
        task_checks.empty_fails,
        task_checks.grammar_round_trip,
        task_checks.splits_disjoint,
    )
}
"""By name, in the order in which they run."""


async def check_environment(
    factory: EnvironmentFactory,
    *,
    tasks: Sequence[Task],
    subject: str = "",
    seconds: float | None = None,
) -> CheckReport:
    """Run every check on fresh instances.

    Example:
        >>> from agentlab.envs.burrow import Burrow
        >>> tasks = Burrow().tasks("practice", 2, 0)
        >>> asyncio.run(check_environment(Burrow, tasks=tasks)).passed
        True

    Args:
        factory: makes an instance; called a few times for each task and check.
        tasks: tasks to check with, two or more; the more kinds, the more is found. The time
            grows with their number.
        subject: the name to report under; the class's by default.
        seconds: after which each check takes up no further case, for environments whose steps
            are slow; the lines say where cases were left out. All cases without it.

    Returns:
        One line for each check, in a fixed order.

    Raises:
        ConfigError: there are fewer than two tasks, or no time.
    """
    if len(tasks) < 2:
        raise ConfigError("check_environment needs at least two tasks; give it more.")
    if seconds is not None and seconds <= 0:
        raise ConfigError("check_environment needs more than 0 seconds for each check.")
    lines = [await _run(name, factory, tasks, seconds) for name in CHECKS]
    return CheckReport(subject=subject or _subject(factory), lines=tuple(lines))


async def _run(
    name: str, factory: EnvironmentFactory, tasks: Sequence[Task], seconds: float | None
) -> CheckLine:
    check = CHECKS[name]
    says = (check.__doc__ or name).splitlines()[0]
    try:
        with pacing.paced(seconds) as pace:
            count = await check(factory, tasks)
    except CheckSkipped as skipped:
        return CheckLine(name=name, passed=False, skipped=True, detail=str(skipped))
    except AssertionError as error:
        return CheckLine(name=name, passed=False, detail=str(error) or "it failed", n=1)
    except Exception as error:  # an environment may raise anything; the report says it
        detail = f"It raised {type(error).__name__}: {error}"
        return CheckLine(name=name, passed=False, detail=detail, n=1)
    if count == 0:
        return CheckLine(name=name, passed=False, detail="No case could be checked.")
    if pace.cut:
        says = f"{says} (Cases were left out after {seconds:g} s.)"
    return CheckLine(name=name, passed=True, detail=says, n=count)


def _subject(factory: EnvironmentFactory) -> str:
    try:
        return type(factory()).__name__
    except Exception:  # every line of the report says so already
        return "environment"

"""The public `check` suite: whether an environment keeps its promises, found out by using it.

    report = await check_environment(lambda: MyEnvironment(), tasks=tasks)
    assert report.passed, report.failures

Whatever an environment offers beyond `Environment` (snapshots, state, a grammar, an oracle,
tasks) is checked where it is offered and skipped where it is not. A check that meets an
exception fails and says which; no check stops another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from agentlab.environments import checks, snapshot_checks, task_checks
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
    factory: EnvironmentFactory, *, tasks: Sequence[Task], subject: str = ""
) -> CheckReport:
    """Run every check on fresh instances.

    Args:
        factory: makes an instance; called a few times for each task and check.
        tasks: tasks to check with, two or more; the more kinds, the more is found. The time
            grows with their number.
        subject: the name to report under; the class's by default.

    Returns:
        One line for each check, in a fixed order.

    Raises:
        ConfigError: there are fewer than two tasks.
    """
    if len(tasks) < 2:
        raise ConfigError("check_environment needs at least two tasks; give it more.")
    lines = [await _run(name, factory, tasks) for name in CHECKS]
    return CheckReport(subject=subject or _subject(factory), lines=tuple(lines))


async def _run(name: str, factory: EnvironmentFactory, tasks: Sequence[Task]) -> CheckLine:
    check = CHECKS[name]
    says = (check.__doc__ or name).splitlines()[0]
    try:
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
    return CheckLine(name=name, passed=True, detail=says, n=count)


def _subject(factory: EnvironmentFactory) -> str:
    try:
        return type(factory()).__name__
    except Exception:  # every line of the report says so already
        return "environment"

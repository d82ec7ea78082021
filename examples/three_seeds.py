"""What practice is worth on seeds that nobody looked at before: the README's table.

For each seed: practise in a new workspace, then attempt the same held-out tasks with the
library, with an empty library, by flat search and by the environment's own solution, beside
its bot where it has one. Rates come with n and 95 % intervals; the difference is paired by
task and its interval resamples tasks. The table is Markdown. Run by `make seeds`.
"""

from __future__ import annotations

import argparse
import time
from tempfile import TemporaryDirectory
from typing import Any, Protocol, runtime_checkable

import agentlab
from agentlab.environments.registration import make_environment
from agentlab.graph.evaluation import evaluation_tasks
from agentlab.statistics import proportion
from agentlab.types import EnvironmentRef, Task
from agentlab.types.report import ArmReport, EvaluationReport, Interval

HEADINGS = (
    *("seed", "n", "with the library", "empty library", "difference", "flat search"),
    *("own solution", "bot", "skills", "practice, s"),
)
QUICK: dict[str, Any] = {"rounds": 1, "proposals": 10, "attempts": 10, "tool_calls": 300}


@runtime_checkable
class HasBot(Protocol):
    """An environment that brings a bot of its own."""

    def bot_solves(self, task: Task) -> bool:
        """Whether the bot solves the task within the step cap."""
        ...


def main() -> None:
    """Practise and evaluate for each seed, printing a row each."""
    parser = argparse.ArgumentParser(description="Practice and held-out success, seed by seed.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 202, 303])
    parser.add_argument("--environment", default="babyai")
    parser.add_argument("--tasks", type=int, default=120, help="distinct held-out tasks a seed")
    parser.add_argument("--tool-calls", type=int, default=1000, help="budget of an attempt")
    parser.add_argument("--quick", action="store_true", help="a practice too short to judge by")
    given = parser.parse_args()
    options: dict[str, Any] = QUICK if given.quick else {}
    print("| " + " | ".join(HEADINGS) + " |\n" + "|---" * len(HEADINGS) + "|", flush=True)
    for seed in given.seeds:
        with TemporaryDirectory(prefix="agentlab-seed-") as folder:
            started = time.monotonic()
            practised = agentlab.practice(
                given.environment, workspace=folder, seed=seed, heldout=0, **options
            )
            seconds = time.monotonic() - started
            report = agentlab.evaluate(
                given.environment,
                workspace=folder,
                tasks=given.tasks,
                tool_calls=given.tool_calls,
                seed=seed,
                baseline=True,
                arms=("flat", "oracle"),
            )
        flat, solution = report.arms
        bot = bot_report(given.environment, given.tasks, seed)
        cells = [
            str(seed),
            str(report.n),
            rate(report),
            rate(report.baseline),
            difference(report),
            rate(flat),
            rate(solution),
            rate(bot),
            str(len(practised.learnt)),
            f"{seconds:.0f}",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


def bot_report(environment: str, count: int, seed: int) -> ArmReport | None:
    """How the environment's own bot does on the tasks of that seed; None without one."""
    world = make_environment(EnvironmentRef(name=environment))
    if not isinstance(world, HasBot):
        return None
    tasks = evaluation_tasks(world, "heldout", count, seed)
    found = proportion(world.bot_solves(task) for task in tasks)
    if found is None:
        return None
    interval = Interval(found.low, found.high)
    return ArmReport(name="bot", success_rate=found.value, n=found.n, interval=interval)


def rate(arm: ArmReport | EvaluationReport | None) -> str:
    """A rate in percent with its interval."""
    if arm is None:
        return "-"
    low, high = arm.interval
    return f"{100 * arm.success_rate:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def difference(report: EvaluationReport) -> str:
    """The library less the empty library."""
    if report.difference is None:
        return "-"
    low, high = report.difference.interval
    return f"{report.difference.value:+.2f} ({low:+.2f} to {high:+.2f})"


if __name__ == "__main__":
    main()

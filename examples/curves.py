"""Success on held-out tasks against what may be spent, with the library and without.

One evaluation at the largest budget gives the whole curve, because every attempt notes what it
had spent when it first reached the goal. Arms: the library, the empty library (the same
executor, which too tries what the mission names first), flat search, and two ceilings: the
environment's own solution and, where it has one, its bot. The same curve is drawn over tool
calls, primitive steps and seconds, and once more with the cost of learning shared out among
the tasks. Cells are success in percent with the 95 % interval; a dash means that some attempt
ended too early to tell. Run by `make curves`.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import agentlab
from agentlab.analysis.curve import FirstSuccess, charge, curve_area, success_curve
from agentlab.environments.registration import make_environment
from agentlab.graph.evaluation import ARM_SLOTS
from agentlab.records import Records, Workspace
from agentlab.statistics import Result, compare
from agentlab.types import AttemptOutcome, EnvironmentRef, Task, Usage

ARMS = ("library", "empty library", "flat", "oracle")
BUDGETS = (30, 100, 300, 1_000, 3_000, 10_000)


class Cost(NamedTuple):
    """One way of counting what was spent, and where to look at the curve."""

    name: str
    field: str
    """Of `Usage`."""
    budgets: Sequence[float]

    def of(self, usage: Usage) -> float:
        """As much of it was spent."""
        return float(getattr(usage, self.field))


COSTS = (
    Cost("tool calls", "tool_calls", BUDGETS),
    Cost("primitive steps", "steps", (100, 300, 1_000, 3_000, 10_000, 30_000)),
    # A worker's own; learnt code runs in a process beside it, which wall seconds include.
    Cost("CPU seconds", "cpu_seconds", (0.01, 0.03, 0.1, 0.3, 1, 3)),
    Cost("wall seconds", "wall_seconds", (0.01, 0.03, 0.1, 0.3, 1, 3)),
)


class Tried(NamedTuple):
    """One attempt at one task."""

    task: Task
    outcome: AttemptOutcome


@runtime_checkable
class HasBot(Protocol):
    """An environment that brings a bot of its own."""

    def bot_solves(self, task: Task) -> bool:
        """Whether the bot solves the task within the step cap."""
        ...


def main() -> None:
    """Practise if there is nothing learnt yet, evaluate once, print the curves."""
    parser = argparse.ArgumentParser(description="Held-out success over budgets.")
    parser.add_argument("--workspace", default=os.environ.get("AGENTLAB_WORKSPACE", ".agentlab"))
    parser.add_argument("--environment", default="babyai")
    parser.add_argument("--tasks", type=int, default=120, help="distinct held-out tasks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=BUDGETS[-1], help="tool calls an attempt")
    given = parser.parse_args()

    with Records.open(Workspace.open(given.workspace)) as records:
        learnt = records.items.skills(environment=given.environment, status="active")
    if not learnt:
        print(f"Nothing is learnt in {given.workspace} yet: practising first.", flush=True)
        agentlab.practice(given.environment, workspace=given.workspace, seed=given.seed, heldout=0)
    agentlab.evaluate(
        given.environment,
        workspace=given.workspace,
        tasks=given.tasks,
        tool_calls=given.budget,
        seed=given.seed,
        baseline=True,
        arms=ARMS[2:],
    )
    with Records.open(Workspace.open(given.workspace)) as records:
        arms = last_evaluation(records)
        learning = cost_of_learning(records, given.environment)
    tasks = [tried.task for tried in arms["library"]]
    print(f"{given.environment}, {len(tasks)} held-out tasks, up to {given.budget:,} tool calls")
    for cost in COSTS:
        print_curves(f"all tasks, by {cost.name}", arms, cost, given.budget)
        print_charged(arms["library"], cost, given.budget, learning)
    print_difference(arms, given.budget)
    for family in sorted({family_of(task) for task in tasks}):
        part = {
            name: [tried for tried in found if family_of(tried.task) == family]
            for name, found in arms.items()
        }
        print_curves(f"{family}, by tool calls", part, COSTS[0], given.budget)
    print_bot(make_environment(EnvironmentRef(name=given.environment)), tasks)


def last_evaluation(records: Records) -> dict[str, list[Tried]]:
    """The attempts of the newest evaluation, by arm, in task order."""
    run = [row for row in records.runs.all() if row.config.get("command") == "evaluate"][-1]
    arms: dict[str, list[Tried]] = {name: [] for name in ARMS}
    specs = records.attempts.planned(run.run_id, 0)
    outcomes = records.trajectories.outcomes([spec.id for spec in specs])
    for spec, outcome in zip(specs, outcomes, strict=True):
        if outcome.success is not None:
            arms[ARMS[spec.slot // ARM_SLOTS]].append(Tried(spec.task, outcome))
    return arms


def cost_of_learning(records: Records, environment: str) -> Usage:
    """What all practice in this environment spent: attempts, trials and replays."""
    total = Usage()
    for row in records.runs.all():
        if "command" not in row.config and row.config["environment"] == environment:
            total += records.attempts.spent(row.run_id, kinds=("practice", "shadow"))
            total += records.budgets.charged(row.run_id)
    return total


def family_of(task: Task) -> str:
    """What kind of task it is: as its environment says, otherwise by its number of clauses."""
    clauses = len(task.mission.clauses) if task.mission else 0
    return str(task.parameters.get("family", f"{clauses} clauses"))


def first_success(tried: Tried, cost: Cost, budget: int) -> FirstSuccess:
    """What the attempt tells about smaller budgets; one that ran dry tells about all."""
    outcome = tried.outcome
    first = outcome.first_success if outcome.success else None
    cut_short = first is None and outcome.usage.tool_calls >= budget
    return FirstSuccess(
        tried.task.id,
        None if first is None else cost.of(first),
        cost.of(outcome.usage) if cut_short else math.inf,
    )


def print_curves(title: str, arms: Mapping[str, Sequence[Tried]], cost: Cost, budget: int) -> None:
    """One line for each arm: success at each budget, and the mean over log budgets."""
    print(f"\n{title}")
    print(f"{'':>16} {'n':>4}" + "".join(f"{place:>16,g}" for place in cost.budgets) + "    mean")
    for name, found in arms.items():
        print_line(name, [first_success(tried, cost, budget) for tried in found], cost)


def print_charged(found: Sequence[Tried], cost: Cost, budget: int, learning: Usage) -> None:
    """The library's curve where each task bears its part of the cost of learning."""
    firsts = [first_success(tried, cost, budget) for tried in found]
    print_line("library, charged", charge(firsts, cost.of(learning)), cost)
    share = cost.of(learning) / max(1, len(firsts))
    print(f"{'':>16} learning cost {cost.of(learning):,.6g} {cost.name}, {share:,.4g} a task")


def print_line(name: str, firsts: Sequence[FirstSuccess], cost: Cost) -> None:
    """One arm: a cell for each budget that every attempt can tell about."""
    known = min((first.limit for first in firsts), default=0.0)
    curve = success_curve(firsts, [place for place in cost.budgets if place <= known])
    cells = [
        f"{100 * success.value:.0f} ({100 * success.low:.0f} to {100 * success.high:.0f})"
        for _, success in curve.points
    ]
    cells += ["-"] * (len(cost.budgets) - len(cells))
    height = "-"
    if len(curve.points) == len(cost.budgets):
        height = f"{100 * curve_area(curve, scale='logarithmic').normalised:.0f}"
    shown = "".join(f"{cell:>16}" for cell in cells)
    print(f"{name:>16} {len(firsts):>4}{shown}{height:>8}")


def print_difference(arms: Mapping[str, Sequence[Tried]], budget: int) -> None:
    """The library less the empty library, paired by task, at each budget of tool calls."""
    print("\nlibrary less empty library, by tool calls; the interval resamples tasks")
    for place in (place for place in BUDGETS if place <= budget):
        results = [
            [Result(tried.task.id, solved_within(tried, place)) for tried in arms[name]]
            for name in ARMS[:2]
        ]
        difference = compare(*results).difference
        if difference is not None:
            value, low, high, n = difference
            print(f"{place:>10,}  {value:+.2f} ({low:+.2f} to {high:+.2f}), n={n}")


def solved_within(tried: Tried, calls: int) -> bool:
    """Whether the goal was reached within so many tool calls."""
    first = tried.outcome.first_success
    return bool(tried.outcome.success) and first is not None and first.tool_calls <= calls


def print_bot(environment: object, tasks: Sequence[Task]) -> None:
    """The environment's bot, which knows the rules and plans in primitive steps."""
    if isinstance(environment, HasBot):
        solved = sum(environment.bot_solves(task) for task in tasks)
        print(f"\nthe environment's bot solves {solved} of {len(tasks)}")


if __name__ == "__main__":
    main()

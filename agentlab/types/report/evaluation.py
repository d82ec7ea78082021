"""Success, measured: rates, their differences, and the report of an evaluation.

Each number has its n and its interval beside it.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from agentlab.types.base import Frozen
from agentlab.types.task import Split


class Interval(NamedTuple):
    """A 95 % interval; two numbers in JSON."""

    low: float
    high: float


class Rate(Frozen):
    """A success rate on one side of a random choice, weighted by its probability."""

    value: float
    interval: Interval
    n: int


class ArmReport(Frozen):
    """How one executor with one library did on the tasks of an evaluation."""

    name: str
    success_rate: float
    n: int
    """Distinct tasks with a verdict."""
    interval: Interval
    """Wilson's, of the rate."""
    failed: int = 0
    """Attempts without a verdict: the infrastructure failed, or the score is unknown."""


class Difference(Frozen):
    """A difference of two arms, paired by task, or of two sides of random draws."""

    value: float
    interval: Interval
    """Resamples tasks, or weights draws by their probability."""
    n: int
    """Number of tasks in both arms, or of draws on both sides."""


class EvaluationReport(Frozen):
    """Success on tasks of one split, within one budget, and what it is compared with.

    Example:
        >>> {"success_rate", "interval", "n"} <= EvaluationReport.model_fields.keys()
        True
    """

    run_id: str = ""
    """The run that its attempts are recorded under."""
    success_rate: float
    n: int
    """Distinct tasks with a verdict."""
    interval: Interval
    """Wilson's, of the rate; that of `difference` resamples tasks."""
    failed: int = 0
    """Attempts without a verdict: the infrastructure failed, or the score is unknown."""
    baseline: ArmReport | None = None
    """The same tasks, seeds and budget with an empty library."""
    difference: Difference | None = None
    """With the library less the baseline."""
    arms: tuple[ArmReport, ...] = ()
    """Further executors on the same tasks: flat search, the oracle…"""
    skills_used: tuple[str, ...] = ()
    """Names of the skills in successful trajectories, most used first."""
    steps: float | None = None
    """Mean primitive steps of the successes; None where nothing succeeded."""
    steps_interval: Interval | None = None
    """Resamples the solved tasks."""
    tool_calls: float | None = None
    """Mean tool calls of the successes, search included."""
    tool_calls_interval: Interval | None = None
    """Resamples the solved tasks."""
    split: Split = "heldout"
    budget: int = Field(default=1000, ge=1)
    """Tool calls that each attempt may search with."""
    box: str = ""
    """Where skill code ran, with its version."""
    notes: tuple[str, ...] = ()
    """What else is to be known of how it went, and what to do about it; a sentence or two each."""

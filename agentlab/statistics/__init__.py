"""Intervals, paired tests, effect estimates, pass@k: pure functions over plain numbers.

Nothing here reads a record or draws from a shared generator; what is random (the bootstrap)
takes a seed. Each function has the numeric example of its source as a test.
"""

from __future__ import annotations

from agentlab.statistics.comparison import Comparison, Result, compare
from agentlab.statistics.effects import (
    Draw,
    Effect,
    Weighted,
    effect,
    mean_difference,
    rate_difference,
)
from agentlab.statistics.intervals import (
    Estimate,
    Interval,
    bootstrap_mean,
    proportion,
    student_quantile,
    wilson,
)
from agentlab.statistics.learning import learning_progress
from agentlab.statistics.paired import (
    EProcess,
    McNemar,
    SequentialDecision,
    e_process,
    e_value,
    mcnemar,
)
from agentlab.statistics.passk import Tries, mean_pass_at_k, pass_at_k
from agentlab.statistics.strata import Stratum, stratified_difference

__all__ = [
    "Comparison",
    "Draw",
    "EProcess",
    "Effect",
    "Estimate",
    "Interval",
    "McNemar",
    "Result",
    "SequentialDecision",
    "Stratum",
    "Tries",
    "Weighted",
    "bootstrap_mean",
    "compare",
    "e_process",
    "e_value",
    "effect",
    "learning_progress",
    "mcnemar",
    "mean_difference",
    "mean_pass_at_k",
    "pass_at_k",
    "proportion",
    "rate_difference",
    "stratified_difference",
    "student_quantile",
    "wilson",
]

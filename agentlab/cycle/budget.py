"""What a cycle has left, before each stage and within those that spend it.

Practice and gates are handed what is left as a limit of their own, so that the last of them ends
where the cycle's budget does, and not a whole stage later. Exports and trainings ask no model; a
training is not broken off, so seconds may be passed by one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from agentlab.config import MOST_COUNTED, PracticeConfig
from agentlab.cycle.settings import CycleBudget
from agentlab.cycle.stages import Stage
from agentlab.graph.budgets import LONGEST_SECONDS, current_config
from agentlab.graph.practice import LEAST_TOKENS
from agentlab.graph.run import spent
from agentlab.models.journal import SPENDING, Journal, larger
from agentlab.records import Records

ASKING = ("practice", "gate")
"""Stages that ask models."""


class CycleSpentError(Exception):
    """A budget of the cycle is used up; the text says which. It ends the cycle and is no fault."""


class Left(NamedTuple):
    """What a cycle has left; None is no limit."""

    seconds: float | None = None
    tokens: int | None = None


def left(budget: CycleBudget, done: Iterable[Stage], stage: str) -> Left:
    """What is left for a stage.

    Args:
        budget: of the cycle.
        done: every stage before it.
        stage: its name.

    Raises:
        CycleSpentError: too little to begin it.
    """
    stages = list(done)
    seconds = sum(each.seconds for each in stages)
    tokens = sum(each.tokens for each in stages)
    if budget.seconds is not None and seconds >= budget.seconds:
        raise CycleSpentError(f"its {budget.seconds:g} seconds are used up")
    if budget.tokens is not None and tokens >= budget.tokens:
        raise CycleSpentError(f"its {budget.tokens} tokens are used up")
    rest = Left(
        None if budget.seconds is None else budget.seconds - seconds,
        None if budget.tokens is None else budget.tokens - tokens,
    )
    if stage in ASKING and rest.tokens is not None and rest.tokens < LEAST_TOKENS:
        raise CycleSpentError(
            f"{rest.tokens} of its {budget.tokens} tokens are left, which pay for no attempt"
        )
    return rest


def within(config: PracticeConfig, rest: Left) -> PracticeConfig:
    """Practice that takes no more than is left."""
    own = config.budget
    tokens = [each for each in (own.tokens, rest.tokens) if each is not None]
    seconds = [each for each in (own.seconds, rest.seconds) if each is not None]
    kept = {"tokens": min(tokens, default=None), "seconds": min(seconds, default=None)}
    return config.model_copy(update={"budget": own.model_copy(update=kept)})


def changes(records: Records, run_id: str, config: PracticeConfig) -> dict[str, float]:
    """The budgets of a run that is gone on with, where they are others than a config's by now."""
    now, then = config.budget, current_config(records, records.runs.get(run_id)).budget
    found: dict[str, float] = {}
    if now.tokens != then.tokens:
        found["budget.tokens"] = MOST_COUNTED if now.tokens is None else now.tokens
    if now.seconds != then.seconds:
        found["budget.seconds"] = LONGEST_SECONDS if now.seconds is None else now.seconds
    return found


def taken(records: Records, run_id: str) -> int:
    """Tokens that a run took, its closing comparison and the calls of killed processes included."""
    journal = Journal(records.workspace.run_directory(run_id) / SPENDING)
    paid = larger(spent(records, run_id), journal.spent())
    return sum(each.tokens for each in paid.values())

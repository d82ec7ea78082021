"""The budgets of a run as they are now: what it was started with, and what was changed since.

A budget is the one part of a run's config that may change later, because it decides how far the
run goes and nothing that it has done. The config on record stays as it was; each change is an
event of the run, and whoever goes on with it takes the last of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast, get_args

from agentlab.config import PracticeConfig, parse_config
from agentlab.errors import UsageError
from agentlab.events import BudgetChanged
from agentlab.records import Records, RunRow
from agentlab.types import JsonObject, Role, Usage

KINDS = ("attempts", "steps", "seconds", "tokens", "usd")
"""Of a run's budget."""
ROLE_KINDS = ("tokens", "usd")
"""Of a role's."""
OPTIONS = (
    *(f"budget.{kind}" for kind in KINDS),
    *(f"roles.{role}.{kind}" for role in get_args(Role) for kind in ROLE_KINDS),
)
"""Every budget, by its place in the config."""
USED_UP = " used up"
"""How the reason ends of a run that a budget stopped."""
LONGEST_SECONDS = 1e10
"""No run was at work for longer: three centuries."""


class Budget(NamedTuple):
    """A budget as a config has it."""

    role: str
    """Empty for the run's."""
    kind: str
    cap: float | None

    @property
    def option(self) -> str:
        """Its place in the config."""
        return f"roles.{self.role}.{self.kind}" if self.role else f"budget.{self.kind}"

    def __str__(self) -> str:
        """`the proposer's budget of 5,000 tokens (roles.proposer.tokens)`."""
        whose = f"the {self.role}'s" if self.role else "the run's"
        unit = "US dollars" if self.kind == "usd" else self.kind
        cap = f" of {self.cap:,} {unit}" if self.cap is not None else f" in {unit}"
        return f"{whose} budget{cap} ({self.option})"


def budget_of(config: PracticeConfig, name: str) -> Budget:
    """The budget that a ledger or a run's reason calls `tokens` or `proposer tokens`."""
    role, _, kind = name.rpartition(" ")
    holder: object = getattr(config.roles, role, None) if role else config.budget
    return Budget(role, kind, getattr(holder, kind, None))


def spent_budget(config: PracticeConfig, reason: str) -> Budget | None:
    """The budget that stopped a run, from the run's reason; None where no budget did."""
    name, found, rest = reason.partition(USED_UP)
    if not found or rest:
        return None
    budget = budget_of(config, name)
    return budget if budget.cap is not None else None


def enlarged(config: PracticeConfig, reason: str, spent: Usage) -> dict[str, float]:
    """The budget that stopped a run, twice as large as it is or as what was spent.

    Returns:
        The amount by its place in the config; empty where no budget stopped it.
    """
    budget = spent_budget(config, reason)
    if budget is None:
        return {}
    taken = getattr(spent, budget.kind, 0) if not budget.role else 0
    most = 2 * max(budget.cap or 0, taken)
    return {budget.option: round(most, 6) if budget.kind in ("seconds", "usd") else int(most)}


def changed(config: PracticeConfig, changes: Mapping[str, float]) -> PracticeConfig:
    """The config with other budgets.

    Args:
        config: as it is.
        changes: amounts by their place in the config, such as `budget.tokens`.

    Raises:
        UsageError: something else than a budget is to be changed.
        ConfigError: an amount is wrong.
    """
    values = cast("JsonObject", config.model_dump(mode="json"))
    for option, amount in changes.items():
        if option not in OPTIONS:
            raise UsageError(
                f"A run that goes on may be given other budgets and nothing else, so {option!r} "
                "cannot be set; start a run of its own with it, or give one of: "
                f"{', '.join(OPTIONS)}."
            )
        *parents, kind = option.split(".")
        part = values
        for parent in parents:
            part = cast("JsonObject", part[parent])
        part[kind] = amount
    return parse_config(values, where="the budgets")


def changes_of(records: Records, run_id: str) -> dict[str, float]:
    """The budgets of a run that were set after its start, each as it was set last."""
    found: dict[str, float] = {}
    for event in records.events.of(run_id, BudgetChanged):
        found.update(event.budgets)
    return found


def current_config(records: Records, row: RunRow) -> PracticeConfig:
    """A run's config with its budgets as they are now.

    Raises:
        ConfigError: the config or a change on record cannot be read.
    """
    config = parse_config(row.config, where=f"the config of the run {row.run_id!r}")
    return changed(config, changes_of(records, row.run_id))


def change(records: Records, run_id: str, changes: Mapping[str, float]) -> None:
    """Put a change of budgets on the run's record."""
    records.events.append([BudgetChanged(run_id=run_id, budgets=dict(changes))])


def seconds_before(directory: Path) -> float:
    """Wall-clock seconds of earlier processes; of one that was killed, its complete rounds."""
    try:
        seconds = float((directory / "seconds").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0
    # What is no span of time would make a budget endless, or used up before it began.
    return seconds if 0 <= seconds < LONGEST_SECONDS else 0.0

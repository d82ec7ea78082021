"""One run at a glance: how it stands, success by round with and without the library, budget."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from agentlab.analysis.arms import RoundArms, estimate, round_arms
from agentlab.analysis.runs import run_detail
from agentlab.config import PracticeConfig
from agentlab.errors import UsageError
from agentlab.graph.budgets import KINDS, current_config, seconds_before
from agentlab.records import Records
from agentlab.types import Frozen, Usage
from agentlab.types.report import RoundLine, RunDetail
from agentlab.view.figures import (
    Chart,
    Figure,
    Series,
    arm_figure,
    difference_figure,
    rate_figure,
)
from agentlab.view.following import Followed, Now


class RoundShown(Frozen):
    """A round's row."""

    line: RoundLine
    all: Figure | None
    offered: Figure | None
    withheld: Figure | None


class BudgetShown(Frozen):
    """A budget of the run."""

    kind: str
    cap: float | None
    spent: float
    reserved: float
    share: float | None
    """Of the cap, spent and reserved together; at most 1. None without a cap."""


class OverviewPage(Frozen):
    """The run."""

    detail: RunDetail
    now: Now
    success: Figure | None
    """Over all rounds, of practice attempts with a verdict."""
    rounds: tuple[RoundShown, ...]
    chart: Chart
    effect: Figure | None
    """What offering all that was retrieved did; see `analysis.arms`."""
    heldout: Figure | None
    baseline: Figure | None
    difference: Figure | None
    budgets: tuple[BudgetShown, ...]
    config: tuple[tuple[str, str], ...]
    """Options that are set, by their place."""


def make(records: Records, followed: Followed, run_id: str) -> OverviewPage:
    """The overview of a practice run.

    Raises:
        UnknownNameError: there is no such run.
        UsageError: it is no practice run.
    """
    # Read first: what is counted afterwards may be ahead of its number, and never behind.
    now = followed.now(records)
    detail = run_detail(records, run_id, learnt=False)
    counts = records.browsing.counts(run_id)
    arms = {each.round: each for each in round_arms(counts)}
    drawn = any(each.kind == "practice" and each.arm != "none" for each in counts)
    rounds = tuple(_round(line, arms.get(line.round - 1)) for line in detail.curve)
    report = detail.heldout
    return OverviewPage(
        detail=detail,
        now=now,
        success=rate_figure(estimate(detail.successes, detail.attempts)),
        rounds=rounds,
        chart=_chart(rounds),
        effect=difference_figure(followed.effect(records, detail.rounds) if drawn else None),
        heldout=arm_figure(report),
        baseline=arm_figure(report.baseline if report else None),
        difference=difference_figure(report.difference if report else None),
        budgets=_budgets(records, run_id, detail.usage),
        config=tuple(sorted(_flat(detail.config))),
    )


def _round(line: RoundLine, arms: RoundArms | None) -> RoundShown:
    return RoundShown(
        line=line,
        all=rate_figure(arms.all if arms else None),
        offered=rate_figure(arms.offered if arms else None),
        withheld=rate_figure(arms.withheld if arms else None),
    )


def _chart(rounds: tuple[RoundShown, ...]) -> Chart:
    return Chart(
        id="success",
        title="Success in practice by round",
        x_label="round",
        x=tuple(shown.line.round for shown in rounds),
        series=(
            Series(label="all attempts", figures=tuple(shown.all for shown in rounds)),
            Series(label="with library", figures=tuple(shown.offered for shown in rounds)),
            Series(label="library withheld", figures=tuple(shown.withheld for shown in rounds)),
        ),
        note="Bands are 95 % intervals. “With library” are attempts that were offered all that was "
        "retrieved for them, “library withheld” those from which the draw withheld all of it. "
        "Tasks become harder as practice goes on, so a flat line is no standstill.",
    )


def _budgets(records: Records, run_id: str, spent: Usage) -> tuple[BudgetShown, ...]:
    row = records.runs.get(run_id)
    try:
        config: PracticeConfig | None = current_config(records, row)
    except UsageError:  # a later or earlier version's config is shown, and has no caps here
        config = None
    reserved = records.budgets.reserved(run_id)
    found: list[BudgetShown] = []
    for kind in KINDS:
        cap = getattr(config.budget, kind) if config is not None else None
        if kind == "seconds":
            used, aside = seconds_before(records.workspace.run_directory(run_id)), 0.0
        else:
            used, aside = float(getattr(spent, kind)), float(getattr(reserved, kind))
        share = min(1.0, (used + aside) / cap) if cap else None
        found.append(BudgetShown(kind=kind, cap=cap, spent=used, reserved=aside, share=share))
    return tuple(found)


def _flat(config: Mapping[str, JsonValue], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{key}.")
        elif value not in (None, "", [], {}):
            found.append((prefix + key, str(value)))
    return found

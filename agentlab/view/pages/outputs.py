"""What left for training and what came back: exports of runs, gates, and which weights serve."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import ValidationError

from agentlab.analysis.runs import practice_runs
from agentlab.events import DataExported
from agentlab.records import Records
from agentlab.records.gates import GateRow, Look
from agentlab.records.policies import Policy, PolicyMove
from agentlab.training.promotion.verdict import Contrast, GateReport
from agentlab.types import Frozen
from agentlab.view.figures import (
    Chart,
    Figure,
    Series,
    arm_figure,
    difference_figure,
)
from agentlab.view.pages.attempt import pretty


class ExportLine(Frozen):
    """Data that a run wrote for a trainer, or did not."""

    run_id: str
    round: int
    name: str
    rows: int
    refused: str


class GateLine(Frozen):
    """A gate's row."""

    gate: GateRow
    difference: Figure | None
    """Candidate less what served, on the pairs that decided."""
    looks: int
    reason: str


class PolicyShown(Frozen):
    """What answers to a policy's name."""

    policy: Policy
    serving: str
    """An adapter; empty is the base model."""
    versions: int
    moves: tuple[PolicyMove, ...]
    """Newest first."""


class OutputsPage(Frozen):
    """All of it."""

    exports: tuple[ExportLine, ...]
    gates: tuple[GateLine, ...]
    policies: tuple[PolicyShown, ...]


class ContrastShown(Frozen):
    """Two arms on the same tasks."""

    name: str
    candidate: Figure | None
    control: Figure | None
    difference: Figure | None


class GatePage(Frozen):
    """One gate."""

    gate: GateRow
    report: GateReport | None
    """None while it is not decided, or where another version wrote the verdict."""
    contrasts: tuple[ContrastShown, ...]
    looks: tuple[Look, ...]
    chart: Chart
    plan: str


def make(records: Records, *, only: Collection[str] = ()) -> OutputsPage:
    """Exports, gates and policies; exports of the runs that were named, where some were."""
    exports = [
        ExportLine(
            run_id=row.run_id,
            round=event.round + 1,
            name=event.name,
            rows=event.rows,
            refused=event.refused,
        )
        for row in practice_runs(records)
        if not only or row.run_id in only
        for event in records.events.of(row.run_id, DataExported)
    ]
    return OutputsPage(
        exports=tuple(reversed(exports)),
        gates=tuple(_gate(records, gate) for gate in reversed(records.gates.all())),
        policies=tuple(
            PolicyShown(
                policy=policy,
                serving=records.policies.current(policy.name),
                versions=len(records.policies.versions(policy.name)),
                moves=tuple(reversed(records.policies.moves(policy.name))),
            )
            for policy in records.policies.all()
        ),
    )


def make_gate(records: Records, gate_id: str) -> GatePage:
    """One gate with every look.

    Raises:
        UnknownNameError: there is none.
    """
    gate = records.gates.get(gate_id)
    looks = records.gates.looks(gate_id)
    report = _report(gate)
    return GatePage(
        gate=gate,
        report=report,
        contrasts=_contrasts(report) if report else (),
        looks=tuple(looks),
        chart=_chart(looks),
        plan=pretty(gate.plan),
    )


def _gate(records: Records, gate: GateRow) -> GateLine:
    report = _report(gate)
    return GateLine(
        gate=gate,
        difference=difference_figure(report.deciding.difference if report else None),
        looks=len(records.gates.looks(gate.id)),
        reason=report.reason if report else "",
    )


def _report(gate: GateRow) -> GateReport | None:
    if gate.verdict is None:
        return None
    try:
        return GateReport.model_validate(gate.verdict)
    except ValidationError:
        return None


def _contrasts(report: GateReport) -> tuple[ContrastShown, ...]:
    found = [_contrast(f"dev, {report.decides} (decides)", report.deciding)]
    found += [_contrast(f"dev, {name}", each) for name, each in report.beside.items()]
    found += [
        _contrast(
            f"protected {family.template} {'holds' if family.holds else 'falls'}", family.contrast
        )
        for family in report.families
    ]
    found += [
        _contrast(f"held out, {name} (decides nothing)", each)
        for name, each in report.heldout.items()
    ]
    return tuple(found)


def _contrast(name: str, found: Contrast) -> ContrastShown:
    return ContrastShown(
        name=name,
        candidate=arm_figure(found.candidate),
        control=arm_figure(found.control),
        difference=difference_figure(found.difference),
    )


def _chart(looks: list[Look]) -> Chart:
    """Wins and losses look by look: counts, which have no interval."""

    def counted(number: int) -> Figure:
        return Figure(
            text=f"{number}", spread="a count", n=number, value=number, low=number, high=number
        )

    return Chart(
        id="evidence",
        title="Pairs that only one side solved, look by look",
        x_label="look",
        x=tuple(look.position + 1 for look in looks),
        series=(
            Series(label="candidate alone", figures=tuple(counted(look.wins) for look in looks)),
            Series(label="incumbent alone", figures=tuple(counted(look.losses) for look in looks)),
        ),
        share=False,
        note="The order of the pairs was on record before the first of them.",
    )

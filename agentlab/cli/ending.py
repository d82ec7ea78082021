"""How a run or an evaluation ends on a terminal: the comparison, then what was learnt.

Every rate has its n and its 95 % interval beside it, and what is compared ran on the same
tasks, with the same seeds, within the same budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentlab.analysis.figures import count, duration, percent, signed_span, span
from agentlab.cli.output import Output, Table, shown_path

if TYPE_CHECKING:
    from agentlab.types.report import (
        ArmReport,
        EvaluationReport,
        InsightLine,
        PracticeReport,
        SkillLine,
    )

UNSAFE = "unsafe-local"
"""The box that is none."""
MOST = 20
"""Skills listed at the end of a run; the rest are counted."""


def tell_practice(report: PracticeReport, output: Output) -> None:
    """What a practice run came to."""
    tasks, skills = report.tasks, report.skills
    ended = "is still running" if report.status == "running" else report.status
    why = f" ({report.reason})" if report.reason else ""
    output.line()
    output.line(f"Run {report.run_id} {ended}{why} after {duration(report.seconds)}.")
    rejected = sum(tasks.rejected.values())
    reasons = ", ".join(f"{n} {reason}" for reason, n in _most(tasks.rejected))
    output.line(
        f"{count(report.attempts, 'attempt')}; tasks {tasks.proposed} proposed, "
        f"{tasks.admitted} admitted, {rejected} rejected{f' ({reasons})' if reasons else ''}; "
        f"skills {skills.admitted} admitted, {skills.rejected} rejected, "
        f"{skills.retired} retired{f', {skills.waiting} waiting' if skills.waiting else ''}."
    )
    if report.usage.tokens:
        cost = f", {report.usage.usd:.4f} US dollars" if report.usage.usd else ""
        output.line(f"Models took {report.usage.tokens:,} tokens{cost}, the comparison apart.")
    output.line(f"Everything is recorded in {shown_path(report.run_dir)}.")
    tell_notes(report.notes, output)
    if report.heldout is not None:
        tell_evaluation(report.heldout, output)
    else:
        tell_box(report.box, output)
    tell_skills(report.learnt, output)
    tell_advice(report.advice, output)


def tell_notes(notes: Sequence[str], output: Output) -> None:
    """What went otherwise than meant, each on a line of its own."""
    for note in notes:
        output.line(note, strong=True)


def tell_box(box: str, output: Output) -> None:
    """Label what was found without a box."""
    if box.startswith(UNSAFE):
        output.line(f"Skill code of every origin ran without a box ({box}).", strong=True)


def tell_evaluation(report: EvaluationReport, output: Output) -> None:
    """Success on the tasks of a split, beside what it is compared with."""
    rows = [_row("with the library" if report.baseline else "success", report)]
    if report.baseline is not None:
        rows.append(_row("empty library", report.baseline))
    if report.difference is not None:
        gap = report.difference
        interval = signed_span(*gap.interval)
        rows.append(["difference", f"{gap.value:+.2f}", interval, str(gap.n), ""])
    rows.extend(_row(arm.name, arm) for arm in report.arms)
    failed = any(arm.failed for arm in (report, report.baseline, *report.arms) if arm is not None)
    output.table(
        Table(
            title=f"Success on {_split(report.split)} tasks within "
            f"{count(report.budget, 'tool call')}",
            columns=("", "success", "95% interval", "n", *(["failed"] if failed else [])),
            rows=[row if failed else row[:4] for row in rows],
            right=frozenset({1, 2, 3, 4}),
        )
    )
    if report.baseline is not None:
        output.line(
            "Same tasks, same seeds, same budget; the intervals of the rates are Wilson's, that "
            "of the difference resamples tasks."
        )
    tell_box(report.box, output)
    tell_notes(report.notes, output)
    if failed:
        output.line("What failed has no verdict and counts in no rate.")
    if report.steps is not None and report.steps_interval is not None:
        low, high = report.steps_interval
        successes = round(report.success_rate * report.n)
        output.line(
            f"A success takes {report.steps:.0f} steps in the mean "
            f"({low:.0f} to {high:.0f}, n={successes})."
        )
    if report.skills_used:
        output.line(f"Skills used: {', '.join(report.skills_used)}.")


def tell_skills(skills: Sequence[SkillLine], output: Output) -> None:
    """Learnt skills by name and signature, each with its summary."""
    output.line()
    if not skills:
        output.line("No skill was learnt.")
        return
    output.line(f"Learnt {count(len(skills), 'skill')}:", strong=True)
    for skill in skills[:MOST]:
        output.line(f"  {skill.signature}", strong=True)
        output.line(f"      {first_line(skill.summary)}")
    if len(skills) > MOST:
        output.line(f"  and {len(skills) - MOST} more; `agentlab skills list` has them all.")


def tell_advice(advice: Sequence[InsightLine], output: Output) -> None:
    """Learnt advice: when it holds and what it says; nothing where there is none."""
    if not advice:
        return
    output.line(f"Learnt {count(len(advice), 'piece')} of advice:", strong=True)
    for each in advice[:MOST]:
        output.line(f"  {first_line(each.condition)}", strong=True)
        output.line(f"      {first_line(each.advice)}")
    if len(advice) > MOST:
        output.line(f"  and {len(advice) - MOST} more; `agentlab insights list` has them all.")


def first_line(text: str) -> str:
    """The first line of a text that may have none."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _row(name: str, arm: ArmReport | EvaluationReport) -> list[str]:
    return [name, percent(arm.success_rate), span(*arm.interval), str(arm.n), str(arm.failed)]


def _split(split: str) -> str:
    return "held-out" if split == "heldout" else split


def _most(reasons: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:4]

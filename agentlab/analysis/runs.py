"""Runs as people look at them: a list, one in full, two side by side. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from agentlab.config import PracticeConfig
from agentlab.environments.registration import base_name
from agentlab.errors import UsageError
from agentlab.events import RoundFinished
from agentlab.graph.budgets import changes_of, current_config, enlarged
from agentlab.graph.remarks import remarks
from agentlab.graph.reports import (
    LIBRARY,
    Tried,
    arm_report,
    closing_comparison,
    closing_report,
    paired_difference,
    practice_run,
    run_skills,
    task_counts,
)
from agentlab.library.admission import REJECTED
from agentlab.library.catalogue import skill_counts, skill_lines
from agentlab.records import AttemptRow, ItemRow, Records, RunRow, Workspace
from agentlab.statistics import proportion
from agentlab.types import Insight, JsonObject, Skill
from agentlab.types.report import (
    ArmReport,
    ConfigDifference,
    Interval,
    RoundLine,
    RunComparison,
    RunDetail,
    RunSummary,
)

LONGEST_REASON = 160
"""Characters of a reason that are shown."""


def list_runs(workspace: Path | str) -> list[RunSummary]:
    """The practice runs of a workspace, oldest first.

    Raises:
        UsageError: there is no workspace at that path; none is made.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        return [run_summary(records, row) for row in practice_runs(records)]


def show_run(workspace: Path | str, run: str) -> RunDetail:
    """One run in full, by its id or its directory.

    Raises:
        UnknownNameError: there is no such run; suggests near ones.
        UsageError: there is no such workspace, or it is no practice run but keeps what an
            evaluation or an agent tried.
    """
    workspace, run = located(workspace, run)
    with Records.open(Workspace.open(workspace, create=False)) as records:
        return run_detail(records, run)


def located(workspace: Path | str, run: str) -> tuple[Path | str, str]:
    """A run's workspace and id, where it may be named by its directory."""
    path = Path(run)
    if path.parent.name == "runs" and path.parent.parent.is_dir():
        return path.parent.parent, path.name
    return workspace, run


def run_detail(records: Records, run: str, *, learnt: bool = True) -> RunDetail:
    """One run in full, from records that are open.

    Args:
        records: open.
        run: its id.
        learnt: whether to measure what it learnt, which reads every draw of those skills.

    Raises:
        UnknownNameError: there is no such run; suggests near ones.
        UsageError: it is no practice run.
    """
    row = practice_run(records, run)
    summary = run_summary(records, row)
    skills = run_skills(records, run, base_name(summary.environment))
    active = [item for item in skills if item.status == "active"]
    kinds = ("practice", "shadow")
    usage = records.attempts.spent(run, kinds=kinds) + records.budgets.charged(run)
    config = _config(records, row)
    return RunDetail(
        **summary.model_dump(),
        reason=row.reason,
        config=row.config,
        versions={key: str(value) for key, value in row.versions.items()},
        curve=tuple(_curve(records, run)),
        tasks=task_counts(records, run),
        skill_counts=skill_counts(skills),
        learnt=tuple(skill_lines(records, active)) if learnt else (),
        heldout=closing_report(records, row),
        usage=usage,
        notes=remarks(records, run, config, row.reason) if config is not None else (),
        goes_on_with=enlarged(config, row.reason, usage) if config is not None else {},
        budgets=changes_of(records, run),
        refused_skills=_refused(skills),
        refused_insights=_refused(
            [
                item
                for item in records.items.insights(environment=base_name(summary.environment))
                if item.run_id == run
            ]
        ),
        by_role={
            role: taken
            for role, taken in sorted(records.role_calls.spent(run).items())
            if taken.tokens or taken.usd
        },
    )


def _refused(rows: Sequence[ItemRow[Skill]] | Sequence[ItemRow[Insight]]) -> dict[str, int]:
    """How many admission turned down, by its reason without the particulars."""
    found = Counter(
        row.reason.removeprefix(REJECTED).lstrip(": ").strip()[:LONGEST_REASON]
        for row in rows
        if row.status == "retired" and row.reason.startswith(REJECTED)
    )
    return dict(found.most_common())


def config_for(workspace: Path | str, environment: str) -> JsonObject | None:
    """The config of the last practice run of a library's environment; None where there is none.

    Args:
        workspace: where it is.
        environment: the library's, such as `tools-todo`, which may not be what a run is named.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        for row in reversed(records.runs.all()):
            named = row.config.get("environment")
            if "command" not in row.config and isinstance(named, str):
                if base_name(named) == environment:
                    return row.config
    return None


def compare_runs(workspace: Path | str, a: str, b: str) -> RunComparison:
    """Two runs side by side; differences are B less A, on the held-out tasks that both tried.

    Raises:
        UnknownNameError: one of them does not exist.
        UsageError: there is no such workspace, or one of them is no practice run.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        rows = (practice_run(records, a), practice_run(records, b))
        tries = [records.attempts.all(row.run_id, kind="practice") for row in rows]
        arms = [closing_comparison(records, row)[LIBRARY] for row in rows]
        signatures = [
            {
                item.item.signature
                for item in run_skills(
                    records, row.run_id, base_name(str(row.config["environment"]))
                )
                if item.status == "active"
            }
            for row in rows
        ]
        return RunComparison(
            a=run_summary(records, rows[0]),
            b=run_summary(records, rows[1]),
            config=tuple(_differences(rows[0].config, rows[1].config)),
            practice_a=_practised(tries[0]),
            practice_b=_practised(tries[1]),
            heldout_a=_library_arm(arms[0]),
            heldout_b=_library_arm(arms[1]),
            difference=paired_difference(arms[1], arms[0]),
            skills_a=tuple(sorted(signatures[0] - signatures[1])),
            skills_b=tuple(sorted(signatures[1] - signatures[0])),
            skills_both=tuple(sorted(signatures[0] & signatures[1])),
        )


def practice_runs(records: Records) -> list[RunRow]:
    """The practice runs of a workspace, oldest first."""
    return [row for row in records.runs.all() if "command" not in row.config]


def run_summary(records: Records, row: RunRow) -> RunSummary:
    """One run in a line. The database counts: a long run costs little more than a short one."""
    tried = [
        each
        for each in records.browsing.counts(row.run_id)
        if each.kind == "practice" and each.success is not None
    ]
    environment = str(row.config.get("environment", ""))
    counts = skill_counts(run_skills(records, row.run_id, base_name(environment)))
    return RunSummary(
        run_id=row.run_id,
        run_dir=str(records.workspace.run_directory(row.run_id)),
        status=row.status,
        environment=environment,
        model=str(row.config.get("model", "search")),
        seed=row.seed,
        rounds=len(_round_events(records, row.run_id)),
        attempts=sum(each.n for each in tried),
        successes=sum(each.n for each in tried if each.success),
        skills=counts.admitted,
        created=datetime.fromisoformat(row.created_at),
    )


def _config(records: Records, row: RunRow) -> PracticeConfig | None:
    """The config as it is now; None where an older version's cannot be read, which may be shown."""
    try:
        return current_config(records, row)
    except UsageError:
        return None


def _round_events(records: Records, run: str) -> list[RoundFinished]:
    return sorted(records.events.of(run, RoundFinished), key=lambda event: event.round)


def _curve(records: Records, run: str) -> list[RoundLine]:
    admitted = records.browsing.admitted(run)
    before = 0
    lines: list[RoundLine] = []
    for event in _round_events(records, run):
        estimate = proportion(
            [True] * event.successes + [False] * (event.attempts - event.successes)
        )
        lines.append(
            RoundLine(
                round=event.round + 1,
                attempts=event.attempts,
                successes=event.successes,
                success_rate=estimate.value if estimate else None,
                interval=Interval(estimate.low, estimate.high) if estimate else None,
                tasks_admitted=admitted.get(event.round, 0),
                skills_admitted=max(0, event.active_skills - before),
                active_skills=event.active_skills,
            )
        )
        before = event.active_skills
    return lines


def _practised(attempts: Sequence[AttemptRow]) -> ArmReport | None:
    return arm_report("practice", [row.success for row in attempts]) if attempts else None


def _library_arm(tried: Sequence[Tried]) -> ArmReport | None:
    return arm_report(LIBRARY, [item.outcome.success for item in tried]) if tried else None


def _differences(a: JsonObject, b: JsonObject) -> list[ConfigDifference]:
    left, right = _flat(a), _flat(b)
    return [
        ConfigDifference(option=key, a=left.get(key), b=right.get(key))
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    ]


def _flat(config: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    flat: dict[str, JsonValue] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat

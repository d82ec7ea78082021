"""Learning to use a shop without a language model: practice, held-out tasks, strong to weak.

A strong agent practises in the shop, in a browser, by search alone. Held-out tasks, in worlds
that it never saw, are then attempted at one budget with its library and with an empty one,
paired by task; an attempt notes what it had spent when the shop was first as asked, so one
evaluation tells of every smaller budget too. Last, its skills go as a pack to a weak agent, which
verifies them with its own small budget and is measured with and without them.

    python examples/store.py [--seed 0] [--kinds 'cancelled,shipped'] [--tasks 36] [--json]

What is practised by default are changes that a search needs about twenty calls for and that three
or four calls bring about: where search is as quick without them, no skill is worth serving. A
browser is slow: the defaults take about an hour on two cores. What counts here is success within
so many calls, which does not depend on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import agentlab
from agentlab.config import AdmissionConfig
from agentlab.graph.evaluation import ARM_SLOTS
from agentlab.graph.importing import Verification, verify_pack
from agentlab.library import merging, shelf
from agentlab.library.exporting import Export, export
from agentlab.library.packs.keys import create_key
from agentlab.library.packs.trust import TrustStore
from agentlab.records import Records, Workspace
from agentlab.records.attempts import AttemptRow
from agentlab.statistics import Result, compare
from agentlab.types import JsonObject
from agentlab.types.report import EvaluationReport

PACK = "shop/library"
KINDS = "default_address,cancelled,discounted,shipped,code_ended,arrived"
BUDGETS = (4, 8, 16, 24, 40, 60)
"""Tool calls within which success is told, up to those that an attempt had."""


def main() -> None:
    """Practise, compare, give on, compare again."""
    parser = argparse.ArgumentParser(description="Keyless learning in the shop.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--level", type=int, default=4, help="the hardest tasks, 1 to 5")
    parser.add_argument("--kinds", default=KINDS, help="of tasks; empty for all of the level")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--attempts", type=int, default=18, help="in each round")
    parser.add_argument("--tool-calls", type=int, default=60, help="of the strong one, a task")
    parser.add_argument("--weak-tool-calls", type=int, default=8, help="of the weak one, a task")
    parser.add_argument("--trials", type=int, default=4, help="of each candidate")
    parser.add_argument("--replays", type=int, default=5, help="of each candidate")
    parser.add_argument("--tasks", type=int, default=36, help="held-out tasks")
    parser.add_argument("--concurrency", type=int, default=2, help="browsers at a time")
    parser.add_argument("--workspace", type=Path, help="kept; one that goes away by default")
    parser.add_argument("--json", action="store_true", help="the figures as JSON at the end")
    given = parser.parse_args()
    with TemporaryDirectory() as place:
        found = measured(given.workspace or Path(place), given)
    if given.json:
        print(json.dumps(found, indent=2))


def measured(place: Path, given: argparse.Namespace) -> JsonObject:
    """All of it; the figures."""
    options: JsonObject = {"questions": False, "proofs": False, "level": given.level}
    if given.kinds:
        options["kinds"] = [kind.strip() for kind in given.kinds.split(",")]
    learnt = agentlab.practice(
        "store",
        workspace=place / "strong",
        environment_options=options,
        seed=given.seed,
        rounds=given.rounds,
        attempts=given.attempts,
        proposals=given.attempts,
        tool_calls=given.tool_calls,
        attempt_seconds=900,
        check_seconds=300,
        concurrency=given.concurrency,
        curriculum="uniform",
        heldout=0,
        **{
            "admission.trials": given.trials,
            "admission.replays": given.replays,
            "admission.trial_tool_calls": given.tool_calls,
        },
    )
    print(f"practice: {learnt.attempts} attempts, {learnt.skills.admitted} skills", flush=True)
    skills = skills_of(place / "strong")
    figures: JsonObject = {
        "attempts": learnt.attempts,
        "skills": [*skills],
        "strong": compared(place / "strong", given, options, given.tool_calls),
    }
    if not skills:
        print("nothing was learnt that could be given on; let it practise more")
        return figures
    verified = give_on(place, given, options)
    print(f"pack: {len(verified)} skills verified by the weak agent", flush=True)
    figures["verified"] = [*verified]
    figures["weak"] = compared(place / "weak", given, options, given.weak_tool_calls)
    return figures


def skills_of(workspace: Path) -> list[str]:
    """What is served there, each skill printed."""
    with Records.open(Workspace.open(workspace)) as records:
        served = [row.item for row in records.items.skills(status="active")]
    for skill in served:
        print(f"  {skill.signature}: {skill.summary}", flush=True)
    return [skill.name for skill in served]


def compared(
    workspace: Path, given: argparse.Namespace, options: JsonObject, tool_calls: int
) -> JsonObject:
    """Held-out success with the library and without it, and what a success took."""
    report = agentlab.evaluate(
        "store",
        workspace=workspace,
        environment_options=options,
        tasks=given.tasks,
        tool_calls=tool_calls,
        seed=given.seed,
        baseline=True,
        concurrency=given.concurrency,
    )
    arms = arms_of(workspace, report)
    steps = {name: mean_steps(rows) for name, rows in arms.items()}
    print(f"held-out tasks at {tool_calls} tool calls, n={report.n}")
    baseline, difference = report.baseline, report.difference
    assert baseline is not None and difference is not None
    rows = (("with", report.success_rate, report.interval),
            ("without", baseline.success_rate, baseline.interval))  # fmt: skip
    for name, rate, (low, high) in rows:
        print(f"  {name:<11} {rate:.2f} ({low:.2f} to {high:.2f}), {told(steps[name])} a success")
    low, high = difference.interval
    print(f"  difference {difference.value:+.2f} ({low:+.2f} to {high:+.2f}), paired")
    within = [at(arms, budget) for budget in (*filter(tool_calls.__gt__, BUDGETS), tool_calls)]
    return {
        "n": report.n,
        "within": [*within],
        "failed": report.failed,
        "tool_calls": tool_calls,
        "with": [report.success_rate, *report.interval],
        "without": [baseline.success_rate, *baseline.interval],
        "difference": [difference.value, low, high],
        "steps": cast("JsonObject", steps),
        "used": [*report.skills_used],
    }


def arms_of(workspace: Path, report: EvaluationReport) -> dict[str, list[AttemptRow]]:
    """The attempts with the library and those without."""
    with Records.open(Workspace.open(workspace)) as records:
        rows = records.attempts.all(report.run_id, kind="evaluation")
    found: dict[str, list[AttemptRow]] = {"with": [], "without": []}
    for row in rows:
        found["with" if row.slot < ARM_SLOTS else "without"].append(row)
    return found


def mean_steps(rows: Sequence[AttemptRow]) -> float | None:
    """Of the successes: those of the search, and of going back over known ground."""
    steps = [row.steps for row in rows if row.success]
    return sum(steps) / len(steps) if steps else None


def at(arms: Mapping[str, Sequence[AttemptRow]], budget: int) -> JsonObject:
    """What both arms come to within so many calls."""
    within = {
        name: [Result(row.task_id, _within(row, budget)) for row in rows if row.success is not None]
        for name, rows in arms.items()
    }
    found = compare(within["with"], within["without"])
    success, baseline, difference = found.success, found.baseline, found.difference
    if success is None or baseline is None or difference is None:
        return {"tool_calls": budget, "n": 0}
    told = [f"{e.value:.2f} ({e.low:.2f} to {e.high:.2f})" for e in (success, baseline)]
    between = f"{difference.value:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"
    print(f"  within {budget:>2} calls: {' against '.join(told)}, {between}, n={found.pairs}")
    return {
        "tool_calls": budget,
        "n": found.pairs,
        "with": [success.value, success.low, success.high],
        "without": [baseline.value, baseline.low, baseline.high],
        "difference": [difference.value, difference.low, difference.high],
    }


def _within(row: AttemptRow, budget: int) -> bool:
    spent = row.first_tool_calls
    return row.success is True and spent is not None and spent <= budget


def told(steps: float | None) -> str:
    """Steps for a person."""
    return "no steps" if steps is None else f"{steps:.1f} steps"


def give_on(place: Path, given: argparse.Namespace, options: JsonObject) -> list[str]:
    """Export from the strong agent, import and verify at the weak one; what passed there."""
    wanted = Export(id=PACK, version="1.0.0", environment="store", licence="Apache-2.0")
    with Records.open(Workspace.open(place / "strong")) as records:
        files = export(records, wanted, key=create_key(place / "key"))
    trust = TrustStore(place / "trusted.db")
    admission = AdmissionConfig(
        replays=given.replays, trials=given.trials, trial_tool_calls=given.weak_tool_calls
    )
    how = Verification(
        admission=admission, options=options, seed=given.seed, concurrency=given.concurrency
    )
    with Records.open(Workspace.open(place / "weak")) as records:
        row = shelf.receive(records, files, "the strong agent")
        shelf.approve(records, shelf.judge(records, row.digest, trust), trust)
        found = asyncio.run(verify_pack(records, row.digest, how))
        good = [checked.name for checked in found if checked.passed]
        for checked in found:
            print(f"  {checked.name}: {checked.reason or 'verified here'}", flush=True)
        if good:
            merging.merge(records, row.digest)
    return good


if __name__ == "__main__":
    main()

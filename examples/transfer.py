"""A library learnt by a strong agent, given to a weak one through a pack.

The strong one practises with a large budget and exports what it learnt. The weak one, in a
workspace of its own, imports the pack, verifies it with its own small budget and is measured on
held-out tasks with it and without it, paired by task. The pack is exported once more from where
it was imported: not a byte may differ.

    python examples/transfer.py [--environment babyai] [--tasks 120] [--tool-calls 300]
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import agentlab
from agentlab.config import AdmissionConfig
from agentlab.graph.importing import Verification, verify_pack
from agentlab.library import merging, shelf
from agentlab.library.exporting import Export, export, export_held
from agentlab.library.packs.keys import create_key
from agentlab.library.packs.trust import TrustStore
from agentlab.records import Records, Workspace
from agentlab.types.report import ArmReport, EvaluationReport

PACK = "strong/library"


def main() -> None:
    """Practise, export, import, verify, measure."""
    parser = argparse.ArgumentParser(description="Strong to weak, through a pack.")
    parser.add_argument("--environment", default="babyai")
    parser.add_argument("--tasks", type=int, default=120, help="held-out tasks, at least 100")
    parser.add_argument("--tool-calls", type=int, default=300, help="of the weak one, a task")
    parser.add_argument("--rounds", type=int, default=5, help="that the strong one practises")
    parser.add_argument("--attempts", type=int, default=100, help="in each round")
    parser.add_argument("--trials", type=int, default=8, help="of each skill at the weak one's")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with TemporaryDirectory() as place:
        files = learn(Path(place), given)
        receive(Path(place), files, given)
        report = agentlab.evaluate(
            given.environment,
            workspace=Path(place) / "weak",
            tasks=given.tasks,
            tool_calls=given.tool_calls,
            seed=given.seed,
            baseline=True,
        )
    tell(report, given.tool_calls)


def learn(place: Path, given: argparse.Namespace) -> dict[str, bytes]:
    """What the strong agent learnt, as the files of a signed pack."""
    practised = agentlab.practice(
        given.environment,
        workspace=place / "strong",
        seed=given.seed,
        rounds=given.rounds,
        attempts=given.attempts,
        proposals=given.attempts,
        heldout=0,
    )
    print(f"strong: {practised.attempts} attempts, {practised.skills.admitted} skills", flush=True)
    wanted = Export(id=PACK, version="1.0.0", environment=given.environment, licence="Apache-2.0")
    with Records.open(Workspace.open(place / "strong")) as records:
        return export(records, wanted, key=create_key(place / "key"))


def receive(place: Path, files: dict[str, bytes], given: argparse.Namespace) -> None:
    """Import, approve, verify and serve it at the weak agent's; check that no byte changed."""
    trust = TrustStore(place / "trusted.db")
    admission = AdmissionConfig(trials=given.trials, trial_tool_calls=given.tool_calls)
    with Records.open(Workspace.open(place / "weak")) as records:
        row = shelf.receive(records, files, "the strong agent")
        shelf.approve(records, shelf.judge(records, row.digest, trust), trust)
        found = asyncio.run(
            verify_pack(records, row.digest, Verification(admission=admission, seed=given.seed))
        )
        for checked in found:
            print(f"  {checked.name}: {checked.reason or 'verified here'}")
        good = sum(checked.passed for checked in found)
        print(f"weak: {good} of {len(found)} skills verified", flush=True)
        if good:
            merging.merge(records, row.digest)
        same = export_held(records, PACK) == files
    print(f"exported, imported, exported again: {'the same bytes' if same else 'DIFFERENT'}")


def tell(report: EvaluationReport, tool_calls: int) -> None:
    """The weak agent's held-out success with and without the pack."""
    low, high = report.interval
    print(f"held-out tasks at {tool_calls} tool calls, n={report.n}")
    print(f"  with the pack     {report.success_rate:.2f} ({low:.2f} to {high:.2f})")
    baseline: ArmReport | None = report.baseline
    if baseline is None or report.difference is None:
        return
    low, high = baseline.interval
    print(f"  without           {baseline.success_rate:.2f} ({low:.2f} to {high:.2f})")
    low, high = report.difference.interval
    value, n = report.difference.value, report.difference.n
    print(f"  difference       {value:+.2f} ({low:+.2f} to {high:+.2f}), paired, n={n}")


if __name__ == "__main__":
    main()

"""What each part of practice is worth: the same practice without it, on the same tasks.

Full practice beside no library, no admission (every candidate is served unchecked), a uniform
curriculum, and skills that may not call skills. Each practises with the same seed in a
workspace of its own and is evaluated on the same held-out tasks with the same budget. Prints a
line each: success, and its difference to full practice, paired by task, with 95 % intervals
that resample tasks. Several seeds are pooled; the interval does not say how practice itself
varies from seed to seed, for which the lines by seed are printed as well. Run by
`make ablations`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import agentlab
from agentlab.config import load_config
from agentlab.graph.evaluation import ARM_SLOTS
from agentlab.records import Records, Workspace
from agentlab.statistics import Estimate, Result, compare, proportion

FULL = "full"
NO_LIBRARY = "no library"
ABLATIONS: Mapping[str, Mapping[str, object]] = {
    FULL: {},
    "no admission": {"admission.enabled": False},
    "uniform curriculum": {"curriculum": "uniform"},
    "no skill composition": {"compose": False},
}
QUICK: Mapping[str, object] = {"rounds": 1, "proposals": 10, "attempts": 10, "tool_calls": 300}


def main() -> None:
    """Practise and evaluate each ablation for each seed, then print the table."""
    parser = argparse.ArgumentParser(description="Practice without one part of it at a time.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--environment", default="babyai")
    parser.add_argument("--tasks", type=int, default=120, help="distinct held-out tasks a seed")
    parser.add_argument("--tool-calls", type=int, default=1000, help="budget of an attempt")
    parser.add_argument("--quick", action="store_true", help="a practice too short to judge by")
    given = parser.parse_args()
    options: Mapping[str, object] = QUICK if given.quick else {}
    results: dict[str, list[Result]] = {}
    for seed in given.seeds:
        of_seed: dict[str, list[Result]] = {}
        for name, left_out in ABLATIONS.items():
            print(f"seed {seed}, {name}: practising", flush=True)
            with TemporaryDirectory(prefix="agentlab-ablation-") as folder:
                config = load_config(
                    None,
                    environment=given.environment,
                    seed=seed,
                    heldout=0,
                    **{**options, **left_out},
                )
                report = agentlab.practice(config, workspace=folder)
                print(f"  skills: {', '.join(skill.name for skill in report.learnt) or 'none'}")
                agentlab.evaluate(
                    given.environment,
                    workspace=folder,
                    tasks=given.tasks,
                    tool_calls=given.tool_calls,
                    seed=seed,
                    baseline=name == FULL,
                )
                found = last_evaluation(Path(folder))
            of_seed[name] = found[0]
            if name == FULL:
                of_seed[NO_LIBRARY] = found[1]
        print_table(f"seed {seed}", of_seed)
        for name, found in of_seed.items():
            results.setdefault(name, []).extend(found)
    if len(given.seeds) > 1:
        print_table(f"{len(given.seeds)} seeds together", results)


def last_evaluation(workspace: Path) -> list[list[Result]]:
    """The results of the newest evaluation, by arm; the same task of another seed is another."""
    with Records.open(Workspace.open(workspace)) as records:
        run = [row for row in records.runs.all() if row.config.get("command") == "evaluate"][-1]
        rows = records.attempts.all(run.run_id, kind="evaluation")
        arms = sorted({row.slot // ARM_SLOTS for row in rows})
        return [
            [
                Result(f"{run.seed}/{row.task_id}", row.success)
                for row in rows
                if row.slot // ARM_SLOTS == arm
            ]
            for arm in arms
        ]


def print_table(title: str, results: Mapping[str, Sequence[Result]]) -> None:
    """Success of each ablation, and its difference to full practice."""
    print(f"\n{title}\n{'':>22} {'n':>4}  {'success':<22}less full")
    for name, found in results.items():
        success = proportion(r.success for r in found if r.success is not None)
        difference = compare(found, results[FULL]).difference if name != FULL else None
        print(
            f"{name:>22} {success.n if success else 0:>4}  {shown(success):<22}"
            f"{shown(difference, sign='+')}"
        )
    print(flush=True)


def shown(estimate: Estimate | None, sign: str = "") -> str:
    """A figure with its interval."""
    if estimate is None:
        return ""
    value, low, high, _ = estimate
    return f"{value:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"


if __name__ == "__main__":
    main()

"""How good a policy is, through a server: greedily, at T = 1 and at a low temperature.

    python -m examples.tiny_policy.measure DIR [--adapter NAME=DIR]… [--tasks 120] [--split dev]

It is `agentlab evaluate` on the burrow, once for each policy and temperature, all on the same tasks
with the same seeds; each table row has its n and its 95 % interval. Greedy beside T = 1 tells what
a policy knows from how sharply it says it: a rise at T = 1 alone is sharpening, and so is one that
the base shows too when it is drawn from at a low temperature.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, cast

import agentlab
from agentlab.config import PracticeConfig, load_config
from agentlab.serve.starting import command, environment
from agentlab.types import Split
from agentlab.types.report import EvaluationReport
from examples.tiny_policy.demonstrations import ENVIRONMENT, TOOL_CALLS

TEMPERATURES: Mapping[str, float] = {"greedy": 0.0, "T = 0.3": 0.3, "T = 1": 1.0}
MOST_NEW = 24
"""Tokens of a reply; a call has 6 to 8."""
AT_ONCE = 16


class Measured(NamedTuple):
    """One row."""

    policy: str
    drawn: str
    report: EvaluationReport

    @property
    def row(self) -> str:
        """As Markdown."""
        report = self.report
        low, high = report.interval.low, report.interval.high
        return (
            f"| {self.policy} | {self.drawn} | {report.success_rate:.3f} | "
            f"{low:.3f} to {high:.3f} | {report.n} |"
        )


HEADINGS = "| policy | drawn | success | 95 % interval | n |\n|---|---|---|---|---|"


def config_for(policy: str, url: str, *, temperature: float, seed: int = 0) -> PracticeConfig:
    """How agentlab asks a served policy: within its context, and by calls alone.

    Args:
        policy: its name at the server.
        url: of the server, with `/v1`.
        temperature: of the draws.
        seed: chooses tasks and draws.
    """
    options: dict[str, object] = {
        "environment": ENVIRONMENT,
        "model": f"vllm:{policy}",
        "executor": "react",
        "evaluator": "verifier",
        "endpoint.base_url": url,
        "roles.executor.temperature": temperature,
        "roles.executor.max_tokens": MOST_NEW,
        "tool_calls": TOOL_CALLS,
        "heldout_tool_calls": TOOL_CALLS,
        "concurrency": AT_ONCE,
        "index": "exact",
        "seed": seed,
    }
    return load_config(None, **options)


@contextmanager
def served(folder: Path, options: Sequence[str] = ()) -> Generator[str]:
    """A server for the block; gives its address, with `/v1`."""
    line = command(folder, options)
    process = subprocess.Popen(line, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            raise SystemExit(process.wait() or 1)  # it has said on stderr why
        yield cast("dict[str, str]", json.loads(said))["url"]
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def measure(
    policies: Sequence[str], url: str, *, workspace: Path, tasks: int, split: Split, seed: int = 0
) -> list[Measured]:
    """Every policy at every temperature, on the same tasks."""
    found: list[Measured] = []
    for policy in policies:
        for name, temperature in TEMPERATURES.items():
            report = agentlab.evaluate(
                config_for(policy, url, temperature=temperature, seed=seed),
                workspace=workspace,
                tasks=tasks,
                tool_calls=TOOL_CALLS,
                seed=seed,
                split=split,
                library=False,
            )
            found.append(Measured(policy, name, report))
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Success of a tiny policy and its adapters.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--tasks", type=int, default=120)
    parser.add_argument("--split", choices=("practice", "dev", "heldout"), default="dev")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    adapters: list[str] = given.adapter
    options = [word for pair in adapters for word in ("--adapter", pair)]
    policies = ["base", *(pair.partition("=")[0] for pair in adapters)]
    with TemporaryDirectory() as folder, served(given.folder, ["--name", "base", *options]) as url:
        print(HEADINGS)
        for policy in policies:
            for each in measure(
                [policy], url, workspace=Path(folder), tasks=given.tasks, split=given.split,
                seed=given.seed,
            ):  # fmt: skip
                print(each.row, flush=True)


if __name__ == "__main__":
    main()

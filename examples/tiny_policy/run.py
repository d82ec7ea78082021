"""The whole chain on a CPU: a tiny policy practises, is trained on it, and serves if it wins.

    python -m examples.tiny_policy.run [--seeds 0] [--short] [--worse | --lucky] [--json FILE]

For each training seed: practice in the burrow by the policy itself, served by `agentlab
serve-local`; SFT on its successes, then GRPO replay on its groups with the log-probabilities that
were recorded; and a gate on maps of shapes that were never practised, greedily, with T = 1 and the
base at a low temperature beside it, and held-out maps reported after the verdict. All of it is
`agentlab cycle` on the file that this writes. `--worse` puts weights to the gate that were spoilt
on purpose, by a learning rate far too high; `--lucky` puts there what learnt next to nothing, and
tells how often luck would have passed it had p-values been read after each pair.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from agentlab.analysis.tally import Plan
from agentlab.cli.display import shown
from agentlab.cycle.settings import CycleConfig, load_cycle
from agentlab.cycle.work import CycleReport, cycle
from agentlab.records import Records, Workspace
from agentlab.training.promotion.verdict import Contrast, GateReport
from agentlab.types import JsonObject
from agentlab.types.report import ArmReport
from examples.tiny_policy.lucky import gates_of, luck
from examples.tiny_policy.make import QUICK, Recipe, make

FILE = """policy = "tiny"
base = "{base}"

[practice]
environment = "burrow"
executor = "react"
evaluator = "verifier"
proposer = "grammar"
curator = "generalise"
insights = "none"
curriculum = "uniform"
rounds = {rounds}
attempts = {attempts}
proposals = {attempts}
group = 4
tool_calls = 16
heldout = 0
index = "exact"
concurrency = 16
seed = {seed}

[practice.roles.executor]
temperature = 1.0
max_tokens = 24

[[train]]
trainer = "trl-sft"
format = "trl-sft"
view = "successes"
seed = {seed}
options = {{{course}, batch = 8, lr = {rate}, schedule = "cosine"}}

[[train]]
trainer = "trl-grpo-replay"
format = "trl-grpo-replay"
estimator = "grpo"
seed = {seed}
options = {{epochs = 1, batch = 32, lr = 0.0001}}

[serve]
launch = "local"

[gate]
seed = {seed}
tasks = {tasks}
beside = {beside}
heldout = {heldout}
window = 64  # larger ones wait less for the slowest attempt of each
tolerance = 0.0001  # a CPU serves in the trainer's own float32
"""
FULL = {"rounds": 4, "attempts": 384, "epochs": 2, "tasks": 512, "beside": 128, "heldout": 128}
SHORT = {"rounds": 1, "attempts": 96, "epochs": 2, "tasks": 96, "beside": 24, "heldout": 24}
RATE = 0.001
"""Of SFT, for two passes over some 200 rows: at 0.004 and three passes it came out worse than it
went in."""
SPOILING = 0.1
STEPS_OF_LUCK = 2
RATE_OF_LUCK = 0.004
"""So few steps change a few replies, and teach nothing; by less, the server would not be believed
to serve anything but the base."""
ORDERS = 1000


def main() -> None:
    """One training seed after another, each in a workspace of its own."""
    parser = argparse.ArgumentParser(description="Practise, export, train, serve, gate, on a CPU.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--short", action="store_true", help="minutes, and too little to learn")
    parser.add_argument("--quick", action="store_true", help="a base that plays badly, for tests")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--worse", action="store_true", help="spoil the training on purpose")
    kind.add_argument("--lucky", action="store_true", help="train next to nothing, and tell luck")
    parser.add_argument("--workspace", type=Path, help="kept; one that goes away by default")
    parser.add_argument("--json", type=Path, help="file for the reports")
    given = parser.parse_args()
    found: list[JsonObject] = []
    with TemporaryDirectory() as folder:
        place = given.workspace or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        base = make(place / "base", QUICK if given.quick else Recipe())
        for seed in given.seeds:
            config = written(place / f"seed-{seed}.toml", base, seed, given)
            report = asyncio.run(practised(config, place / f"seed-{seed}"))
            print(f"\nTraining seed {seed}, {report.seconds:.0f} s:", flush=True)
            for number, stage in report.stages:
                print(f"  {number} {stage.stage}: {stage.told} ({stage.seconds:.0f} s)")
            gates = gated(place / f"seed-{seed}")
            for gate in gates:
                print(told(gate), flush=True)
            if given.lucky:
                for pairs in gates_of(place / f"seed-{seed}").values():
                    print(luck(pairs, orders=ORDERS).told, flush=True)
            found.append({"seed": seed, "gates": [gate.model_dump(mode="json") for gate in gates]})
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def written(path: Path, base: Path, seed: int, given: argparse.Namespace) -> CycleConfig:
    """The cycle's file."""
    sizes = SHORT if given.short else FULL
    rate = SPOILING if given.worse else RATE_OF_LUCK if given.lucky else RATE
    course = f"steps = {STEPS_OF_LUCK}" if given.lucky else f"epochs = {sizes['epochs']}"
    text = FILE.format(base=base.absolute(), seed=seed, rate=rate, course=course, **sizes)
    if given.worse or given.lucky:  # what GRPO would mend is not to be mended
        text = text.replace(_second(text), "")
    path.write_text(text, encoding="utf-8")
    return load_cycle(path)


def _second(text: str) -> str:
    start = text.rindex("[[train]]")
    return text[start : text.index("[serve]")]


async def practised(config: CycleConfig, workspace: Path) -> CycleReport:
    """The cycle, shown while it works."""
    with shown(None, Plan.of(config.practice.model_dump(mode="json"))) as watching:
        return await cycle(config, workspace, observers=(watching,))


def gated(workspace: Path) -> list[GateReport]:
    """What the gates of a workspace said."""
    from agentlab.graph.gate_plan import report_of

    with Records.open(Workspace.open(workspace)) as records:
        return [report_of(row) for row in records.gates.all()]


def told(gate: GateReport) -> str:
    """A gate as a table."""
    lines = [
        f"The gate: {gate.status}. {gate.reason}",
        f"  {gate.learning}",
        f"  {gate.looks} pairs read, {gate.wins} won and {gate.losses} lost, evidence "
        f"{gate.evidence:.3g} of {1 / gate.alpha:.0f}",
        "  | tasks | arms | candidate | other | difference |",
        "  |---|---|---|---|---|",
        line("dev, decides", gate.deciding),
        *(line(f"dev, {name}", contrast) for name, contrast in gate.beside.items()),
        *(line(f"held out, {name}", contrast) for name, contrast in gate.heldout.items()),
    ]
    return "\n".join(lines)


def line(tasks: str, contrast: Contrast) -> str:
    """Two arms as a row."""
    between = "-"
    if contrast.difference is not None:
        low, high = contrast.difference.interval
        between = f"{contrast.difference.value:+.3f} ({low:+.3f} to {high:+.3f})"
    both = f"{contrast.candidate.name} | {contrast.control.name}"
    rates = f"{rate(contrast.candidate)} | {rate(contrast.control)}"
    return f"  | {tasks} | {both} | {rates} | {between} |"


def rate(arm: ArmReport) -> str:
    """Success with its interval and n."""
    low, high = arm.interval
    return f"{arm.success_rate:.3f} ({low:.3f} to {high:.3f}), n={arm.n}"


if __name__ == "__main__":
    main()

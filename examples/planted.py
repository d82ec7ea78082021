"""What admission lets through and how long a bad skill stays: measured on planted skills.

Two tables. The first plants candidates in real practice in the small text environment, among
them many that are wrong on purpose, and counts which become active: the bad-skill admission
rate. The second puts items of known effect through the real withholding and retirement rules on
simulated draws, and counts attempts until they are retired. Every rate has its n and Wilson's
95 % interval.

    python examples/planted.py [--seeds 0 1 2] [--simulations 200] [--rounds 40]
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

import agentlab
from agentlab import registry
from agentlab.config import AttributionConfig
from agentlab.envs.courier.environment import TOOLS
from agentlab.graph.practice import toolset_name
from agentlab.library.attribution import withholding_probability
from agentlab.library.retirement import Evidence, judge
from agentlab.protocols import CurationContext
from agentlab.records import Records, Workspace
from agentlab.statistics import Draw, proportion
from agentlab.types import Clause, Parameter, Skill, skill_id

DRAWS = 20
"""Randomised draws of an item in a round, simulated."""

# --- candidates -----------------------------------------------------------------------------

SIGNATURE = "item: dict, container: dict"
HELD = "final['holding'] == item"
LAID = "{'item': item, 'container': container} in final['delivered']"
STEPS = ("walk(to=item)", "take(item=item)", "walk(to=container)", "put_in(container=container)")


def candidate(kind: str, name: str, lines: Sequence[str], check: str = LAID) -> Skill:
    """A candidate that claims to deliver an item to an open container."""
    body = "".join(f"    env.{line}\n" for line in lines)
    source = (
        f"def {name}(env, *, {SIGNATURE}):\n"
        f'    """Bring about delivered(item, container): {kind}.\n\n'
        "    Precondition: the container is not locked.\n"
        "    Effect: the item is in the container.\n"
        f'    """\n{body}'
    )
    return Skill(
        id=skill_id("courier", name, 1, source),
        name=name,
        environment="courier",
        toolset=toolset_name(TOOLS),
        source=source,
        parameters=(
            Parameter(name="item", type="item", requires={"cargo": True}),
            Parameter(
                name="container", type="container", requires={"container": True, "locked": False}
            ),
        ),
        achieves=Clause(
            predicate="delivered", arguments={"item": "item", "container": "container"}
        ),
        summary=f"Bring about delivered(item, container): {kind}.",
        effect_source=f"def check(initial, final, *, {SIGNATURE}):\n    return {check}\n",
        effect=("the item is in the container",),
        tools=("leave", "put_in", "take", "unlock", "walk"),
    )


def bad_candidates() -> dict[str, list[Skill]]:
    """By what is wrong with them; none should serve."""
    red = "{'kind': 'parcel', 'colour': 'red'}"
    lacking = [
        candidate("a step is missing", f"lacks_{n}", [s for m, s in enumerate(STEPS) if m != n])
        for n in range(len(STEPS))
    ]
    turned = [
        candidate("steps are in the wrong order", f"turned_{n}", [STEPS[i] for i in order])
        for n, order in enumerate(((1, 0, 2, 3), (2, 3, 0, 1), (0, 2, 1, 3), (0, 1, 3, 2)))
    ]
    undone = [
        candidate("it drops what it carries", "drops_early", [*STEPS[:2], "leave()", *STEPS[2:]]),
        candidate("it takes it out again", "takes_back", [*STEPS, "walk(to=item)", STEPS[1]]),
        candidate("it unlocks what is open", "unlocks", [STEPS[2], "unlock(container=container)"]),
    ]
    blind = [
        candidate("its check says yes", f"blind_{n}", ["walk(to=item)"], check)
        for n, check in enumerate(
            ("True", "final != initial", "final['at'] is not None", "final['holding'] is None")
        )
    ]
    half = [
        candidate("its check is of something else", "half_0", STEPS[:2], HELD),
        candidate(
            "its check leaves out where to",
            "half_1",
            STEPS[:2],
            "final['holding'] == item or any(p['item'] == item for p in final['delivered'])",
        ),
    ]
    overfit = [
        candidate("it is about one thing", "overfit_0", [STEPS[0].replace("item", red, 1)]),
        candidate(
            "it is about one thing",
            "overfit_1",
            [f"walk(to={red})", f"take(item={red})", *STEPS[2:]],
        ),
    ]
    slow = [
        candidate(
            "it wanders first", "wanders", [*["walk(to=container)", "walk(to=item)"] * 60, *STEPS]
        )
    ]
    return {
        "steps missing": lacking,
        "wrong order": turned,
        "undone or beside the point": undone,
        "check proves nothing": blind + half,
        "about one thing": overfit,
        "true, but slower than none": slow,
    }


GOOD = candidate("by hand", "deliver", STEPS)
ADMISSION: dict[str, Any] = {"admission.trials": 8, "admission.trial_tool_calls": 400}
PLANTED: list[Skill] = []
"""What the curator of this process proposes in its first round."""


class PlantingCurator:
    """Proposes what was planted, once."""

    async def curate(self, context: CurationContext) -> Sequence[Skill]:
        """The planted candidates that the library does not know."""
        known = {skill.id for skill in context.library}
        return [skill for skill in PLANTED if skill.id not in known]


def admitted(planted: Sequence[Skill], seed: int) -> set[str]:
    """Names of the planted candidates that are active after a short practice."""
    PLANTED[:] = planted
    with TemporaryDirectory(prefix="agentlab-planted-") as folder:
        agentlab.practice(
            "courier",
            workspace=folder,
            seed=seed,
            rounds=2,
            attempts=24,
            proposals=24,
            tool_calls=600,
            heldout=0,
            index="exact",
            curator="planted",
            **ADMISSION,
        )
        with Records.open(Workspace.open(Path(folder))) as records:
            rows = records.items.skills(environment="courier")
            return {row.item.name for row in rows if row.status == "active"}


def admission_table(seeds: Sequence[int]) -> list[str]:
    """A line for each kind of candidate."""
    kinds = bad_candidates()
    outcomes: dict[str, list[bool]] = {kind: [] for kind in kinds}
    useful: list[bool] = []
    for seed in seeds:
        bad = [skill for skills in kinds.values() for skill in skills]
        serving = admitted(bad, seed)
        for kind, skills in kinds.items():
            outcomes[kind].extend(skill.name in serving for skill in skills)
        useful.append(GOOD.name in admitted([GOOD], seed))
    lines = [f"{'planted candidate':<32}{'became active':>16}{'95% interval':>16}{'n':>6}"]
    lines.extend(_line(kind, found) for kind, found in outcomes.items())
    everything = [each for found in outcomes.values() for each in found]
    lines.append(_line("all bad ones", everything))
    lines.append(_line("a good one", useful))
    return lines


def _line(name: str, found: Sequence[bool]) -> str:
    rate = proportion(found)
    if rate is None:
        return f"{name:<32}{'none':>16}"
    interval = f"{rate.low:.0%} to {rate.high:.0%}"
    return f"{name:<32}{rate.value:>16.0%}{interval:>16}{len(found):>6}"


# --- retirement -----------------------------------------------------------------------------


class Planted(NamedTuple):
    """An item of known effect."""

    name: str
    base: float
    """Success rate without it."""
    gain: float
    used: float = 0.5
    """Share of the attempts it is offered to that use it."""


ITEMS = (
    Planted("harmful, -0.35 of 0.50", 0.5, -0.35),
    Planted("harmful, -0.25 of 0.50", 0.5, -0.25),
    Planted("useless, used, at 0.95", 0.95, 0.0),
    Planted("useless, used, at 0.50", 0.5, 0.0),
    Planted("useless, never used, at 0.50", 0.5, 0.0, used=0.0),
    Planted("useful, +0.20 on 0.40", 0.4, 0.2),
    Planted("useful, +0.40 on 0.40", 0.4, 0.4),
)


class Retirement(NamedTuple):
    """When an item went, and why; nothing where it stayed."""

    attempts: int | None = None
    reason: str | None = None


def served(item: Planted, seed: int, rounds: int) -> Retirement:
    """Serve an item with the default withholding until it is retired, at most so long."""
    generator = np.random.default_rng(
        [seed, round(1000 * item.base), round(1000 + 100 * item.gain)]
    )
    past: list[Draw] = []
    uses = 0
    for round_ in range(1, rounds + 1):
        probability = withholding_probability(past, AttributionConfig())
        for _ in range(DRAWS):
            withheld = bool(generator.random() < probability)
            success = bool(generator.random() < item.base + (0.0 if withheld else item.gain))
            uses += not withheld and bool(generator.random() < item.used)
            past.append(Draw(withheld, probability, success, float(generator.gamma(2, 100))))
        offered = sum(not draw.withheld for draw in past)
        verdict = judge(
            Evidence(
                "planted",
                tuple(past),
                rounds=round_,
                attempts=round_ * DRAWS,
                retrieved=len(past),
                offered=offered,
                used=uses,
            )
        )
        if verdict.retire:
            return Retirement(len(past), verdict.reason)
    return Retirement()


def retirement_table(simulations: int, rounds: int) -> list[str]:
    """A line for each planted item."""
    limit = rounds * DRAWS
    lines = [
        f"{'planted item':<30}{'retired within':>16}{'95% interval':>16}{'n':>6}"
        f"{'median attempts':>17}{'middle half':>14}  reasons",
        f"{'':<30}{f'{limit} attempts':>16}",
    ]
    for item in ITEMS:
        found = [served(item, seed, rounds) for seed in range(simulations)]
        rate = proportion([each.attempts is not None for each in found])
        if rate is None:
            continue
        when = [each.attempts for each in found if each.attempts is not None]
        quarter = [f"{value:.0f}" for value in np.percentile(when, (25, 50, 75))] if when else []
        middle = f"{quarter[0]} to {quarter[2]}" if quarter else "-"
        reasons = Counter(each.reason for each in found if each.reason is not None)
        named = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        lines.append(
            f"{item.name:<30}{rate.value:>16.0%}{f'{rate.low:.0%} to {rate.high:.0%}':>16}"
            f"{len(found):>6}{quarter[1] if quarter else '-':>17}{middle:>14}  {named}"
        )
    return lines


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Bad-skill admission and retirement, measured.")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of the practice")
    parser.add_argument("--simulations", type=int, default=200, help="of each planted item")
    parser.add_argument("--rounds", type=int, default=40, help=f"of {DRAWS} draws, at most")
    given = parser.parse_args()
    registry.BUILT_IN["curator/planted"] = f"{__name__}:PlantingCurator"
    if given.seeds:
        print("Admission, the whole road, in real practice")
        print("\n".join(admission_table(given.seeds)), flush=True)
        print()
    print(f"Retirement, real rules on simulated draws, looked at after every {DRAWS}")
    print("\n".join(retirement_table(given.simulations, given.rounds)))


if __name__ == "__main__":
    main()

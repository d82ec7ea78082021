"""What Guide and SPEAR say of the loss, in the loss: published examples, and a step by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from agentlab.training.trainers.request import Parameters, TrainRequest
from agentlab.training.views.replayed import ramp, recalibrated
from tests.trainers.checked_jobs import checked_job
from tests.trainers.written_exports import rows_of, write_export

CHECK = Path(__file__).parent / "check_marked.py"
LOSSES = ("dapo", "grpo", "bnpo", "dr_grpo")
CLIP, CAP = 0.2, 4.0
BETA = 0.5

pytestmark = pytest.mark.timeout(300)


class Told(NamedTuple):
    """A row of a step: probabilities of its tokens now, and as they were recorded."""

    new: list[float]
    old: list[float]
    mask: list[int]
    advantage: float
    weight: float = 1.0
    hinted: bool = False
    replay_weight: float | None = None


ROWS = (
    Told([0.5, 0.9, 0.5], [0.25, 1.0, 0.5], [1, 0, 1], 1.0),
    Told([0.1, 0.3032655, 0.5], [0.5, 0.5, 0.5], [1, 1, 1], 2.0, hinted=True),
    Told([0.5, 0.5], [0.05, 0.25], [1, 1], -1.0, weight=0.5),
    Told([0.9, 0.001, 0.5], [0.85, 0.001, 0.2], [1, 1, 1], 6.0, replay_weight=0.25),
    Told([0.001, 0.8], [0.001, 0.9], [1, 1], 0.5, weight=0.5, replay_weight=0.25),
    Told([0.9, 0.3], [0.1, 0.2], [1, 0], -1.0, weight=0.5, hinted=True),
)
"""Of the replayed tokens two are in the band of covariance, and a third that the clip holds."""
CASE: dict[str, Any] = {
    "rows": [row._asdict() for row in ROWS],
    "losses": LOSSES,
    "covariance": {
        "logps": [-9.0, -1.0, -100.0],
        "advantages": [0.0, 2.0, 50.0],
        "replayed": [True, True, False],
    },
    "drawn": [
        # One at least, and the smallest lot of those in the band.
        ([4.0, 4.0, 1.0, 4.0], [], [0.9, 0.4, 0.1, 0.0]),
        # What the clip holds already is none of them.
        ([4.0, 4.0, 1.0, 4.0], [1], [0.9, 0.4, 0.1, 0.0]),
        # Both ends of the band are outside of it.
        ([2.0, 60.0, -5.0, 4.0], [], [0.1, 0.2, 0.3, 0.0]),
        # Two of a hundred replayed tokens, although all are in the band.
        ([3.0] * 101, [], [(at * 37 % 101) / 101 for at in range(101)]),
    ],
    "lots": [(0, 3, 1, 4), (0, 3, 1, 4), (0, 4, 1, 4), (0, 3, 2, 4), (1, 3, 1, 4)],
}


@pytest.fixture(scope="module")
def found(
    base: Path, tmp_path_factory: pytest.TempPathFactory, module_python: Path
) -> dict[str, Any]:
    """What `check_marked.py` says of a job as `agentlab train` writes it."""
    folder = tmp_path_factory.mktemp("marked")
    rows = [{**row, "replay_weight": 0.5} for row in rows_of("trl-grpo-replay")]
    request = TrainRequest(
        trainer="trl-grpo-replay",
        data=(write_export(folder / "data", "trl-grpo-replay", base, rows),),
        base=base,
        out=folder / "out",
        parameters=Parameters(batch=6),
    )
    case = folder / "case.json"
    case.write_text(json.dumps(CASE), encoding="utf-8")
    return checked_job(request, module_python, CHECK, case)


def test_guide_s_published_example(found: dict[str, Any]) -> None:
    # Log-probabilities -2.0 without the hint and -1.5 with it.
    assert found["one"]["gamma"] == pytest.approx(0.606531, abs=1e-6)
    told = found["guide"]
    assert told["gamma"] == pytest.approx(0.921306, abs=1e-6)
    assert told["shaped"] == pytest.approx([0.178363, 0.396987, 0.520479], abs=1e-6)


def test_guide_s_percentile_has_a_floor_and_no_ceiling(found: dict[str, Any]) -> None:
    assert found["floor"]["gamma"] == 1e-4
    assert found["floor"]["shaped"] == pytest.approx(
        [1e-6 / 1.01e-4, 1e-7 / 1.001e-4, 1e-6 / 1.01e-4]
    )
    # Ratios far beyond any clip: 9 / (9 + 8).
    assert found["large"]["gamma"] == pytest.approx(8.0)
    assert found["large"]["shaped"][0] == pytest.approx(9 / 17)
    # Nor does a ratio that is too large a number become none.
    assert all(0 <= each <= 1 for each in found["too_large"])


@pytest.mark.parametrize("name", ["guide", "floor", "large"])
def test_no_gradient_flows_through_guide_s_percentile(name: str, found: dict[str, Any]) -> None:
    told = found[name]
    gamma, shaped = told["gamma"], told["shaped"]
    # d(r / (r + g)) / d(log r) = r g / (r + g)^2 with g held, which is s (1 - s).
    assert told["gradient"] == pytest.approx([each * (1 - each) for each in shaped], rel=1e-6)
    for each, slope in zip(shaped, told["gradient"], strict=True):
        ratio = gamma * each / (1 - each)
        above, below = (ratio * math.exp(step) for step in (1e-5, -1e-5))
        by_difference = (above / (above + gamma) - below / (below + gamma)) / 2e-5
        assert slope == pytest.approx(by_difference, rel=1e-4)


def test_spear_s_published_example(found: dict[str, Any]) -> None:
    # Rewards [1, .4] and P50 .5 keep the first alone; at step 25 the loss weighs .146447.
    assert recalibrated([1.0, 0.4], 0.5) == pytest.approx((0.5, -0.1))
    weight, (held, *_) = ramp(25), found["whole"]["dapo"]["advantages_kept"][3]
    assert weight == pytest.approx(0.146447, abs=1e-6)
    # That weight is what a row's advantage is multiplied with: 6 and .25 here.
    assert held == pytest.approx(6.0 * 0.25)


def test_spear_leaves_out_a_few_tokens_of_the_band(found: dict[str, Any]) -> None:
    # Means -5 and 1 are those of the replayed tokens: (-9 + 5)(0 - 1) and (-1 + 5)(2 - 1).
    assert found["covariance"][:2] == pytest.approx([4.0, 4.0])
    least, unheld, outside, many = found["drawn"]
    assert (least, unheld, outside) == ([1], [0], [])
    lots = CASE["drawn"][3][2]
    assert sorted(many) == sorted(sorted(range(100), key=lambda at: lots[at])[:2])


def test_lots_depend_on_seed_step_and_row_alone(found: dict[str, Any]) -> None:
    first, again, *others = found["lots"]
    assert first == again and len(set(first)) == 4
    assert all(each != first for each in others)
    assert found["lots_of"] == {"same": True, "later": True}


class Frozen(NamedTuple):
    """What no gradient flows through: of each part g, and the tokens that are left out."""

    gammas: list[float]
    without: set[tuple[int, int]]


def frozen(lots: list[list[float]], parts: int) -> Frozen:
    """Both rules anew, over plain numbers."""
    gammas: list[float] = []
    without: set[tuple[int, int]] = set()
    size = len(ROWS) // parts
    for start in range(0, len(ROWS), size):
        mine = range(start, start + size)
        tokens = [(at, n) for at in mine for n, mine_ in enumerate(ROWS[at].mask) if mine_]
        ratios = [ROWS[at].new[n] / ROWS[at].old[n] for at, n in tokens if ROWS[at].hinted]
        gammas.append(max(float(np.quantile(ratios, 0.9)), 1e-4))
        replayed = [(at, n) for at, n in tokens if ROWS[at].replay_weight is not None]
        if not replayed:
            continue
        logps = {key: math.log(ROWS[key[0]].new[key[1]]) for key in replayed}
        mean = sum(logps.values()) / len(logps)
        middle = sum(ROWS[at].advantage for at, _ in replayed) / len(replayed)
        band: list[tuple[int, int]] = []
        for at, n in replayed:
            row = ROWS[at]
            clipped = row.new[n] / row.old[n] > 1 + CLIP and row.advantage > 0
            if 2 < (logps[at, n] - mean) * (row.advantage - middle) < 60 and not clipped:
                band.append((at, n))
        band.sort(key=lambda key: lots[key[0]][key[1]])
        without |= set(band[: max(int(0.02 * len(replayed)), 1)])
    return Frozen(gammas, without)


def by_hand(
    loss: str, parts: int, longest: int, held: Frozen, moved: dict[tuple[int, int], float]
) -> float:
    """The loss token by token; `moved` is added to a token's log-probability."""
    drawn = sum(row.weight * sum(row.mask) for row in ROWS)
    size, whole = len(ROWS) // parts, 0.0
    for part in range(parts):
        sums: list[float] = []
        counts: list[int] = []
        for at in range(part * size, (part + 1) * size):
            row, total = ROWS[at], 0.0
            for n, mine in enumerate(row.mask):
                ratio = row.new[n] * math.exp(moved.get((at, n), 0.0)) / row.old[n]
                if not mine or (at, n) in held.without:
                    continue
                scale = 1.0 if row.replay_weight is None else row.replay_weight
                worth = row.advantage * row.weight * scale
                if row.hinted:
                    total -= worth * ratio / (ratio + held.gammas[part])
                else:
                    kept = min(max(ratio, 1 - CLIP), 1 + CLIP)
                    total -= min(min(ratio, CAP) * worth, kept * worth)
            sums.append(total)
            counts.append(sum(row.mask))
        if loss == "grpo":
            each = [total / count for total, count in zip(sums, counts, strict=True)]
            whole += sum(each) / size / parts
        elif loss == "bnpo":
            whole += sum(sums) / sum(counts) / parts
        elif loss == "dr_grpo":
            whole += sum(sums) / (size * longest) / parts
        else:
            whole += sum(sums) / drawn
    return whole


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("name", "parts"), [("whole", 1), ("parts", 2)])
def test_a_step_of_ordinary_hinted_and_replayed_rows_by_hand(
    name: str, parts: int, loss: str, found: dict[str, Any]
) -> None:
    told = found[name][loss]
    held = frozen(told["lots"], parts)
    # Of (3, 0) and (4, 0) one, by lot; (3, 2) is in the band too, and clipped.
    assert len(held.without) == 1 and held.without < {(3, 0), (4, 0)}
    assert told["hinted/gamma"] == pytest.approx(held.gammas, rel=1e-5)
    # Of the part of the step that has replayed rows, if it comes in two.
    assert told["replayed/left_out"] == pytest.approx([1 / 5])
    # Ratios are told of all tokens, whatever their loss: .5 / .05 is the largest.
    assert max(told["ratio/max"]) == pytest.approx(10.0, rel=1e-5)
    expected = by_hand(loss, parts, found["longest"], held, {})
    assert told["loss"] == pytest.approx(expected, abs=1e-6)
    step = 1e-6
    for at, row in enumerate(ROWS):
        for n in range(len(row.mask)):
            up, down = (
                by_hand(loss, parts, found["longest"], held, {(at, n): by}) for by in (step, -step)
            )
            slope = told["gradient"][at][n]
            assert slope == pytest.approx((up - down) / (2 * step), abs=1e-5), (at, n)
    (left,) = held.without
    assert told["gradient"][left[0]][left[1]] == 0
    # A hinted ratio of 9 with a worse attempt: neither clipped nor capped.
    assert told["gradient"][5][0] > 0


def test_beta_holds_every_drawn_token_and_no_weight_of_replay_scales_it(
    found: dict[str, Any],
) -> None:
    kl = 0.0
    for row in ROWS:
        for new, old, mine in zip(row.new, row.old, row.mask, strict=True):
            apart = math.log(0.5 / new)
            # TRL corrects the estimate by the ratio to what drew the token, but for hinted ones.
            kl += mine * (1 if row.hinted else new / old) * (math.exp(apart) - apart - 1)
    drawn = sum(row.weight * sum(row.mask) for row in ROWS)
    assert found["held"]["loss"] - found["whole"]["dapo"]["loss"] == pytest.approx(
        BETA * kl / drawn, rel=1e-4
    )


def test_a_hinted_token_that_was_all_but_impossible_spoils_no_step(found: dict[str, Any]) -> None:
    told = found["unlikely"]
    assert math.isfinite(told["loss"])
    assert all(math.isfinite(each) for row in told["gradient"] for each in row)

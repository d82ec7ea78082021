# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# It runs under the trainers' Python, where no type checker runs.
"""What the replay trainer's loss makes of marked rows: `check_marked.py JOB PROGRAMS CASE`.

Prints one JSON object: the published examples through the functions that the loss calls, and loss
and gradient of the rows in CASE, for each loss by name, on the device at once and in parts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[2])

import marked_rows as rules
import torch
import train_grpo_replay as program
from trainer_job import Job
from training_session import deterministic
from training_weights import load_base
from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict


def logs(values: list[float]) -> list[float]:
    return torch.tensor(values, dtype=torch.float64).log().tolist()


def guide(ratios: list[float], *others: float) -> dict[str, Any]:
    """Guide's rule of hinted tokens of these ratios, beside tokens of others that are not."""
    apart = torch.tensor(logs([*ratios, *others]), dtype=torch.float64, requires_grad=True)
    hinted = torch.tensor([True] * len(ratios) + [False] * len(others))
    gamma = rules.guide_gamma(apart, hinted)
    shaped = rules.guide_ratios(apart, gamma)
    shaped[hinted].sum().backward()
    assert apart.grad is not None
    return {
        "gamma": float(gamma),
        "shaped": shaped[hinted].tolist(),
        "gradient": apart.grad[hinted].tolist(),
    }


def too_large() -> list[float]:
    """Log-ratios whose exponential is no number, as a recorded -9999 makes them."""
    apart = torch.tensor([9999.0, 9999.0, 0.0])
    everywhere = torch.tensor([True] * 3)
    return rules.guide_ratios(apart, rules.guide_gamma(apart, everywhere)).tolist()


def unlikely(case: dict[str, Any]) -> dict[str, Any]:
    """The rows, where a hinted token was recorded as all but impossible."""
    rows = [{**row, "old": [1e-300, *row["old"][1:]]} if at == 1 else row
            for at, row in enumerate(case["rows"])]  # fmt: skip
    return {**case, "rows": rows}


def drawn(covariance: list[float], held: list[int], lots: list[float]) -> list[int]:
    """Places of what SPEAR leaves out; the last token is of a row that is not replayed."""
    where = torch.zeros(len(covariance), dtype=torch.bool)
    where[held] = True
    replayed = torch.ones_like(where)
    replayed[-1] = False
    found = rules.left_out(torch.tensor(covariance), where, replayed, torch.tensor(lots))
    return found.nonzero().flatten().tolist()


def covariance(told: dict[str, list[Any]]) -> list[float]:
    """Of each token, replayed or not."""
    return rules.covariances(
        torch.tensor(told["logps"]),
        torch.tensor(told["advantages"]),
        torch.tensor(told["replayed"]),
    ).tolist()


def loss_of(
    trainer: Any, case: dict[str, Any], name: str, parts: int, beta: float = 0.0
) -> dict[str, Any]:
    """Loss and gradient of a step in so many parts, whose probabilities are told."""
    rows = [
        program.Recorded(
            [5],
            [6] * len(row["mask"]),
            row["mask"],
            [p if m else 0.0 for p, m in zip(logs(row["old"]), row["mask"], strict=True)],
            [row["advantage"] * m for m in row["mask"]],
            row["weight"],
            row["hinted"],
            row["replay_weight"],
        )
        for row in case["rows"]
    ]
    trainer._recorded = rows
    trainer.loss_type = name
    trainer.beta = 0.0
    trainer.current_gradient_accumulation_steps = parts
    trainer.args.steps_per_generation = parts
    longest = max(len(row.mask) for row in rows)
    told = torch.tensor(
        [logs(row["new"] + [0.5] * (longest - len(row["new"]))) for row in case["rows"]],
        requires_grad=True,
    )
    batch = trainer._generate_and_score_completions([{"row": at} for at in range(len(rows))])
    if beta:
        trainer.beta = beta
        batch["ref_per_token_logps"] = torch.full(told.shape, 0.5).log()
    slices = list(told.split(len(rows) // parts))

    def given(*_: Any, **__: Any) -> Any:
        now = slices.pop(0)
        return now, torch.zeros_like(now), None

    theirs = program.GRPOTrainer._get_per_token_logps_and_entropies
    program.GRPOTrainer._get_per_token_logps_and_entropies = given
    trainer._metrics["train"].clear()
    try:
        losses = [
            trainer._compute_loss(trainer.model, part) for part in split_tensor_dict(batch, parts)
        ]
    finally:
        program.GRPOTrainer._get_per_token_logps_and_entropies = theirs
        trainer.beta = 0.0
    loss = torch.stack(losses).sum()
    loss.backward()
    assert told.grad is not None
    figures = trainer._metrics["train"]
    return {
        "loss": float(loss.detach()),
        "gradient": told.grad.tolist(),
        "lots": batch["lots"].tolist(),
        "advantages_kept": batch["advantages"].tolist(),
        **{
            name: list(figures[name])
            for name in ("hinted/gamma", "hinted/ratio", "replayed/left_out", "ratio/max")
        },
    }


def lots_of(trainer: Any) -> dict[str, bool]:
    """Whether a row has the same lots wherever it lies in a batch, and others in the next step."""
    rows = range(len(trainer._recorded))
    first = trainer._generate_and_score_completions([{"row": at} for at in rows])["lots"]
    torch.rand(7)
    turned = trainer._generate_and_score_completions([{"row": at} for at in reversed(rows)])["lots"]
    mixed = shuffle_sequence_dict({"lots": first, "at": torch.tensor(list(rows))})
    back = mixed["lots"][mixed["at"].argsort()]
    trainer.state.global_step += 1
    later = trainer._generate_and_score_completions([{"row": at} for at in rows])["lots"]
    trainer.state.global_step -= 1
    return {
        "same": bool((first == turned.flip(0)).all() and (back == first).all()),
        "later": not bool((later == first).all()),
    }


def main() -> None:
    case = json.loads(Path(sys.argv[3]).read_text(encoding="utf-8"))
    job = Job(Path(sys.argv[1]))
    deterministic(job)
    trainer = program.prepare(job).build(load_base(job))
    trainer.model.train()
    found: dict[str, Any] = {
        "guide": guide([0.2, 0.606531, 1.0], 50.0, 80.0),
        "one": guide([torch.tensor(0.5).exp().reciprocal().item()]),
        "floor": guide([1e-6, 1e-7, 1e-6]),
        "large": guide([9.0, 1.0, 4.0]),
        "too_large": too_large(),
        "covariance": covariance(case["covariance"]),
        "drawn": [drawn(*each) for each in case["drawn"]],
        "longest": trainer.max_completion_length,
        "whole": {name: loss_of(trainer, case, name, 1) for name in case["losses"]},
        "parts": {name: loss_of(trainer, case, name, 2) for name in case["losses"]},
        "held": loss_of(trainer, case, "dapo", 1, beta=0.5),
        "unlikely": loss_of(trainer, unlikely(case), "dapo", 1, beta=0.5),
        "lots_of": lots_of(trainer),
        "lots": [rules.lots(*each) for each in case["lots"]],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()

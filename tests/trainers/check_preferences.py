# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# It runs under the trainers' Python, where no type checker runs.
"""What the DPO trainer's loss is beside one by hand: `check_preferences.py JOB PROGRAMS`.

Prints one JSON object: the loss of one batch as the trainer has it and as it is by the formula,
pair by pair without a pad; what it would be if what tools said counted too; and the formula's own
value for log-probabilities that are given. The policy is the base with an adapter of noise, so
that policy and reference differ.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[2])

import torch
import train_dpo as program
from trainer_job import Job
from training_session import deterministic
from training_weights import load_base

NOISE = 0.3


def preference(beta: float, chosen: tuple[float, float], rejected: tuple[float, float]) -> float:
    """DPO's loss of a pair, from sums of log-probabilities: each by the policy, by the reference.

    -log sigmoid(beta * ((pi_w - ref_w) - (pi_l - ref_l))), Rafailov et al. 2023, equation 7.
    """
    margin = beta * ((chosen[0] - chosen[1]) - (rejected[0] - rejected[1]))
    return math.log1p(math.exp(-margin))


def said(model: Any, prompt: list[int], reply: list[int], counts: list[int]) -> float:
    """The sum of log-probabilities of the tokens of a reply that count."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + reply])).logits[0].double()
    rows = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
    return sum(float(rows[at][token]) for at, token in enumerate(reply) if counts[at])


def by_hand(model: Any, pair: dict[str, Any], beta: float, *, everything: bool) -> float:
    """The loss of one pair, by four passes."""
    sums: list[tuple[float, float]] = []
    for side in ("chosen", "rejected"):
        reply = pair[f"{side}_ids"]
        counts = [1] * len(reply) if everything else pair[f"{side}_drawn"]
        own = said(model, pair["prompt_ids"], reply, counts)
        with model.disable_adapter():
            sums.append((own, said(model, pair["prompt_ids"], reply, counts)))
    return preference(beta, *sums)


def main() -> None:
    job = Job(Path(sys.argv[1]))
    deterministic(job)
    trainer = program.prepare(job).build(load_base(job))
    model = trainer.model
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(std=NOISE)
    pairs = list(trainer.train_dataset)
    batch = trainer.data_collator(pairs)
    trainer.current_gradient_accumulation_steps = 1
    loss = float(trainer.compute_loss(model.train(), batch).detach())
    model.eval()
    beta = float(job["beta"])
    found = {
        name: sum(by_hand(model, pair, beta, everything=everything) for pair in pairs) / len(pairs)
        for name, everything in (("by_hand", False), ("unmasked", True))
    }
    example = preference(0.1, (-10.0, -12.0), (-15.0, -14.0))
    print(json.dumps({"trainer": loss, **found, "example": example}))


if __name__ == "__main__":
    main()

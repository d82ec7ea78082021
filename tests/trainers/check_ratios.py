# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# It runs under the trainers' Python, where no type checker runs.
"""What the replay trainer's loss is beside one by hand: `check_ratios.py JOB PROGRAMS CHAT`.

Prints one JSON object: for the recorded log-probabilities and for wrong ones, the loss of one step
as the trainer has it, as it is by the formula, and as it would be if the recorded
log-probabilities were not used (what TRL alone does); and for four drawn tokens whose
probabilities are given, the loss and the ratios; and of a conversation, what counts in a loss.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[2])

import torch
import train_grpo_replay as program
from chat_tokens import Conversations
from trainer_job import Job
from training_session import deterministic
from training_weights import load_base, load_tokenizer


def by_hand(model: Any, rows: list[Any], *, clip: float, cap: float, recorded: bool) -> float:
    """The loss of PPO's ratio, row by row and token by token, without a batch or a pad.

    -1/N * sum over drawn tokens of w * min(min(r, cap) * A, clamp(r, 1 - clip, 1 + clip) * A),
    where r = exp(log p - recorded log p) and N is the sum of w over drawn tokens.
    """
    total = weights = 0.0
    for row in rows:
        ids = torch.tensor([row.prompt + row.completion])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0].double()
        start = len(row.prompt)
        for at, token in enumerate(row.completion):
            if not row.mask[at]:
                continue
            now = float(torch.log_softmax(logits[start + at - 1], dim=-1)[token])
            before = row.logprobs[at] if recorded else now
            ratio = torch.tensor(now - before, dtype=torch.float64).exp().item()
            value = row.advantages[at]
            kept = min(max(ratio, 1 - clip), 1 + clip)
            total -= row.weight * min(min(ratio, cap) * value, kept * value)
            weights += row.weight
    return total / weights


NEW = [[0.5, 0.9, 0.5], [0.5, 0.5, 0.1]]
"""Probabilities of tokens under the weights; the last one of the second row is padding."""


def of_numbers(trainer: Any) -> dict[str, Any]:
    """Two rows whose probabilities are told; see the test for what they come to."""
    rows = [
        program.Recorded([5], [6, 7, 8], [1, 0, 1], logs([0.25, 1.0, 0.5]), [1.0, 0.0, 1.0], 1.0),
        program.Recorded([5, 6], [7, 8], [1, 1], logs([0.05, 0.25]), [-1.0, -1.0], 0.5),
    ]
    trainer._recorded = rows
    told = torch.tensor([logs(row) for row in NEW], requires_grad=True)

    def given(*_: Any, **__: Any) -> Any:
        return told, torch.zeros_like(told), None

    theirs = program.GRPOTrainer._get_per_token_logps_and_entropies
    program.GRPOTrainer._get_per_token_logps_and_entropies = given
    try:
        batch = trainer._generate_and_score_completions([{"row": 0}, {"row": 1}])
        trainer._metrics["train"].clear()
        loss = trainer._compute_loss(trainer.model, batch)
        loss.backward()
    finally:
        program.GRPOTrainer._get_per_token_logps_and_entropies = theirs
    figures = trainer._metrics["train"]
    return {
        "loss": float(loss.detach()),
        "gradient": told.grad.tolist(),
        **{name: figures[name][0] for name in ("ratio/mean", "ratio/max", "ratio/p50")},
    }


def of_chat(job: Any) -> dict[str, Any]:
    """What of a conversation counts, in words: whole, and after its first message."""
    tokenizer = load_tokenizer(job)
    chats = Conversations(tokenizer)
    told = json.loads(Path(sys.argv[3]).read_text(encoding="utf-8"))
    whole = chats.whole(told["messages"], told["tools"], number=1)
    prompt, rest = chats.split(told["messages"][:1], told["messages"][1:], told["tools"], number=1)
    return {
        "drawn": tokenizer.decode(
            [i for i, mine in zip(whole.ids, whole.drawn, strict=True) if mine]
        ),
        "all": tokenizer.decode(whole.ids),
        "prompt": tokenizer.decode(prompt),
        "rest": tokenizer.decode([i for i, mine in zip(rest.ids, rest.drawn, strict=True) if mine]),
    }


def logs(values: list[float]) -> list[float]:
    return torch.tensor(values, dtype=torch.float64).log().tolist()


def main() -> None:
    job = Job(Path(sys.argv[1]))
    deterministic(job)
    prepared = program.prepare(job)
    found: dict[str, dict[str, Any]] = {}
    model = load_base(job)
    trainer = prepared.build(model)
    told: list[Any] = trainer._recorded
    for name, shift in (("recorded", 0.0), ("wrong", -3.0)):
        rows = [
            row._replace(
                logprobs=[
                    p + shift if m else 0.0 for p, m in zip(row.logprobs, row.mask, strict=True)
                ]
            )
            for row in told
        ]
        trainer._recorded = rows
        batch = trainer._generate_and_score_completions([{"row": at} for at in range(len(rows))])
        trainer.current_gradient_accumulation_steps = 1
        trainer.args.steps_per_generation = 1
        model.train()
        trainer._metrics["train"].clear()
        loss = float(trainer._compute_loss(model, batch).detach())
        plain = model.eval()
        options = {"clip": float(job["clip"]), "cap": float(job["ratio_cap"])}
        figures = trainer._metrics["train"]
        found[name] = {
            "trainer": loss,
            "by_hand": by_hand(plain, rows, recorded=True, **options),
            "unused": by_hand(plain, rows, recorded=False, **options),
            "clipped": figures["clip_ratio/high_mean"][0],
            "ratio_p50": figures["ratio/p50"][0],
        }
    print(json.dumps({**found, "numbers": of_numbers(trainer), "chat": of_chat(job)}))


if __name__ == "__main__":
    main()

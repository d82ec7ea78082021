"""What the speed of training and serving is measured on: a model of an asked size, rows, prompts.

The model is the trainers' tests' own, with random weights from a seed and as wide and deep as its
parameters ask for. Every row of an export has exactly as many tokens as was asked, so no order of
rows pads more than another, and both sides of a comparison see the same number of tokens.
"""

from __future__ import annotations

import math
import random
import re
from pathlib import Path
from typing import Literal, NamedTuple

from agentlab.training.trainers.request import Method, TrainerName
from tests.trainers.tiny_model import (
    SPECIAL,
    Shape,
    ids_of,
    tensor_shapes,
    write_model,
)
from tests.trainers.written_exports import Row, write_export

VOCABULARY = 4096
"""Ids of the model. Its tokenizer knows the first 259; the others only make its head as dear as
that of other models of a few million parameters."""
CONTEXT = 1024
STEP = 128
"""Widths are multiples of it."""
SLIMMEST = 48
"""At most one layer for so many units of width."""
REPLY = 0.5
"""Share of a row's tokens that count in the loss."""
LETTERS = "abcdefghijklmnopqrstuvwxyz "
BEGUN = "<|im_start|>user\n"
ANSWERED = "<|im_end|>\n<|im_start|>assistant\n"
ENDED = "<|im_end|>"
_SCALES = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}

CaseName = Literal["sft-lora", "sft-full", "dpo-lora", "replay-lora"]


class Case(NamedTuple):
    """A training that is timed."""

    trainer: TrainerName
    form: str
    method: Method
    plain: bool
    """Whether plain TRL has the like of it."""


CASES: dict[CaseName, Case] = {
    "sft-lora": Case("trl-sft", "trl-sft", "lora", plain=True),
    "sft-full": Case("trl-sft", "trl-sft", "full", plain=True),
    "dpo-lora": Case("trl-dpo", "trl-dpo", "lora", plain=True),
    "replay-lora": Case("trl-grpo-replay", "trl-grpo-replay", "lora", plain=False),
}


def parameters_asked(text: str) -> int:
    """A number of parameters such as `30M`, `500k` or `1.5B`.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmb]?)", text.strip().lower())
    if match is None or not float(match[1]):
        raise ValueError(f"{text!r} is no number of parameters; write for instance 30M.")
    return int(float(match[1]) * _SCALES[match[2]])


def parameters_of(shape: Shape) -> int:
    """How many weights a model has, its embedding counted once as it is tied to the head."""
    return sum(math.prod(size) for size in tensor_shapes(VOCABULARY, shape).values())


def shape_for(parameters: int) -> Shape:
    """The slimmest shape with at least so many parameters that is no deeper than it is wide."""
    width = STEP
    while True:
        layers = 1
        while parameters_of(_shape(width, layers)) < parameters:
            layers += 1
            if layers > max(1, width // SLIMMEST):
                break
        else:
            return _shape(width, layers)
        width += STEP


def _shape(width: int, layers: int) -> Shape:
    # Sizes of a head that vLLM takes, on a CPU and on graphics cards.
    head = 32 if width < 4 * STEP else 64
    heads = width // head
    return Shape(width, 3 * width, layers, head, heads, heads // 2)


def make_model(folder: Path, shape: Shape, *, seed: int) -> Path:
    """A model folder as transformers saves one."""
    known = len(SPECIAL) + 256
    return write_model(folder, seed=seed, unused=VOCABULARY - known, context=CONTEXT, shape=shape)


def make_export(
    folder: Path, name: CaseName, base: Path, *, rows: int, length: int, seed: int
) -> Path:
    """An export of rows that have so many tokens each; of pairs, each of the two has them."""
    draws = random.Random(f"{seed} {name}")
    make = {"trl-sft": _labelled, "trl-dpo": _paired, "trl-grpo-replay": _replayed}
    form = CASES[name].form
    found = [make[form](at, length, draws) for at in range(rows)]
    return write_export(folder, form, base, found)


def prompts(count: int, length: int, *, seed: str) -> list[list[int]]:
    """Prompts of so many tokens, most of them random letters."""
    draws = random.Random(seed)
    return [
        ids_of(BEGUN + _text(length - len(ids_of(BEGUN + ANSWERED)), draws) + ANSWERED)
        for _ in range(count)
    ]


def tokens_of(form: str, row: Row) -> int:
    """Tokens of a row that a trainer computes: of a pair, those of both sides."""
    match form:
        case "trl-sft":
            return len(row["input_ids"])
        case "trl-grpo-replay":
            return len(row["prompt_ids"]) + len(row["completion_ids"])
        case _:
            asked = row["prompt"][0]["content"]
            said = [row[side][0]["content"] for side in ("chosen", "rejected")]
            return sum(len(ids_of(BEGUN + asked + ANSWERED + each + ENDED)) for each in said)


def _parts(length: int, draws: random.Random) -> tuple[str, str]:
    """What is asked, and what is answered: together so many tokens with all marks."""
    free = length - len(ids_of(BEGUN + ANSWERED + ENDED))
    if free < 2:
        raise ValueError(f"A row of {length} tokens has no room; ask for more with --length.")
    reply = max(1, int(free * REPLY))
    return _text(free - reply, draws), _text(reply, draws)


def _labelled(_: int, length: int, draws: random.Random) -> Row:
    asked, said = _parts(length, draws)
    before, after = ids_of(BEGUN + asked + ANSWERED), ids_of(said + ENDED)
    return {"input_ids": before + after, "labels": [-100] * len(before) + after}


def _paired(_: int, length: int, draws: random.Random) -> Row:
    asked, better = _parts(length, draws)
    worse = _text(len(better), draws)
    return {
        "prompt": [{"role": "user", "content": asked}],
        "chosen": [{"role": "assistant", "content": better}],
        "rejected": [{"role": "assistant", "content": worse}],
    }


def _replayed(at: int, length: int, draws: random.Random) -> Row:
    """One of two attempts at a task, of which the second succeeds."""
    asked, said = _parts(length, draws)
    completion = ids_of(said + ENDED)
    return {
        "prompt_ids": ids_of(BEGUN + asked + ANSWERED),
        "completion_ids": completion,
        "env_mask": [1] * len(completion),
        "logprobs": [-math.log(VOCABULARY)] * len(completion),
        "reward": float(at % 2),
        "group_id": f"group-{at // 2}",
        "rollout_id": f"attempt-{at}",
        "weight": 1.0,
    }


def _text(length: int, draws: random.Random) -> str:
    """Letters, each of which is a token."""
    return "".join(draws.choices(LETTERS, k=length))

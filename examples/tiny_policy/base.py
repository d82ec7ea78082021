"""Trains the tiny policy from nothing on demonstrations: a small Qwen3, nothing downloaded.

The loss is on what the player meant to say and, weighted less, on what it is shown next: predicting
the world is what teaches a model of this size to look back at what it saw. Where the player
strayed, and what the conversation begins with, is context alone.

    python -m examples.tiny_policy.base --demonstrations FILE --out DIR [--steps N] [--seed N]

Runs under the trainers' Python; imports nothing of agentlab. It writes a folder as transformers
saves models, with `policy.json` beside the weights, and one line of figures every 25 steps.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

from examples.tiny_policy import vocabulary

HEAD = 32
"""Size of an attention head: vLLM on a CPU takes 32, and not 24."""
PEAK = 2e-3
WARM_UP = 40
SEEN = 0.3
"""Weight of a token of what is shown, beside 1 of what is said."""


class Size(NamedTuple):
    """How large a model is; as it stands, 0.7 million parameters."""

    hidden: int = 128
    """A multiple of `HEAD`."""
    layers: int = 3


class Course(NamedTuple):
    """How it is trained."""

    steps: int = 900
    batch: int = 8
    """Conversations a step."""
    seed: int = 0


class Example(NamedTuple):
    """A conversation in tokens."""

    ids: list[int]
    weights: list[float]
    """Of predicting the token at that place."""


def examples_of(tokenizer: Any, conversations: list[dict[str, Any]]) -> list[Example]:
    """Conversations as tokens; those that do not fit the context are left out."""
    found: list[Example] = []
    for conversation in conversations:
        given = vocabulary.for_template(conversation)
        made = tokenizer.apply_chat_template(
            given["messages"],
            tools=given["tools"],
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        ids = cast("list[int]", made["input_ids"])
        said = cast("list[int]", made["assistant_masks"])
        if len(ids) > vocabulary.CONTEXT or 1 not in said:
            continue
        found.append(Example(ids, _weights(said, cast("list[bool]", conversation["meant"]))))
    return found


def _weights(said: list[int], meant: list[bool]) -> list[float]:
    """1 for what was said and meant, nothing for what was not, `SEEN` for what was shown."""
    weights: list[float] = []
    turn, before = -1, 0
    for own in said:
        turn += own > before
        before = own
        if own:
            weights.append(1.0 if meant[turn] else 0.0)
        else:
            weights.append(SEEN if turn >= 0 else 0.0)
    return weights


def batches(examples: list[Example], count: int, rng: random.Random) -> Iterator[list[Example]]:
    """Batches of `count` conversations of like length, without end."""
    while True:
        order = rng.sample(range(len(examples)), len(examples))
        pools = [order[at : at + 16 * count] for at in range(0, len(order), 16 * count)]
        drawn: list[list[int]] = []
        for pool in pools:
            pool.sort(key=lambda index: len(examples[index].ids))
            drawn += [pool[at : at + count] for at in range(0, len(pool), count)]
        rng.shuffle(drawn)
        for batch in drawn:
            yield [examples[index] for index in batch]


def make_model(tokenizer: Any, size: Size) -> Any:
    """A model with random weights, drawn from torch's generator."""
    transformers = cast("Any", import_module("transformers"))
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=3 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.hidden // HEAD,
        num_key_value_heads=size.hidden // HEAD,
        head_dim=HEAD,
        max_position_embeddings=vocabulary.CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return transformers.Qwen3ForCausalLM(config)


def loss_of(torch: Any, model: Any, batch: list[Example]) -> Any:
    """The weighted mean negative log-likelihood, in nats a token."""
    longest = max(len(each.ids) for each in batch)
    pad = model.config.pad_token_id
    ids = torch.tensor([each.ids + [pad] * (longest - len(each.ids)) for each in batch])
    weights = torch.tensor([each.weights + [0.0] * (longest - len(each.weights)) for each in batch])
    # Padding stands to the right, where no real token can see it.
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return (losses * weights[:, 1:]).sum() / weights[:, 1:].sum()


def rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: a linear start, then half a cosine down to a tenth."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def train(demonstrations: Path, out: Path, *, size: Size, course: Course) -> None:
    """Make tokenizer and model and save them into `out`."""
    torch = cast("Any", import_module("torch"))
    torch.manual_seed(course.seed)
    tokenizer = vocabulary.make_tokenizer(demonstrations)
    examples = examples_of(tokenizer, vocabulary.read(demonstrations))
    model = make_model(tokenizer, size).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, betas=(0.9, 0.95), weight_decay=0.05)
    source = batches(examples, course.batch, random.Random(course.seed))
    began, shown = time.process_time(), 0.0
    for step in range(course.steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK * rate(step, course.steps)
        loss = loss_of(torch, model, next(source))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        shown += float(loss.detach())
        if (step + 1) % 25 == 0:
            line = {"step": step + 1, "loss": round(shown / 25, 4)}
            print(json.dumps(line | {"cpu_s": round(time.process_time() - began)}), flush=True)
            shown = 0.0
    model.eval()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    parameters = sum(each.numel() for each in model.parameters())
    figures = {**course._asdict(), "examples": len(examples), "parameters": parameters}
    (out / "policy.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the tiny policy from nothing.")
    parser.add_argument("--demonstrations", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    for name, default in (*Course()._asdict().items(), *Size()._asdict().items()):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    course = Course(given.steps, given.batch, given.seed)
    train(given.demonstrations, given.out, size=Size(given.hidden, given.layers), course=course)


if __name__ == "__main__":
    main()

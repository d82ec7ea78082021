# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# torch, transformers and peft are in the trainers' environment, where no type checker runs.
"""Weights on their way in and out: the base, an adapter to go on from, the result, the probe.

The probe is what proves later that a server serves these weights: for fixed prompts, the
log-probability of each token of fixed outputs under the base and under what was trained, float32
and at temperature 1.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from peft import LoraConfig, PeftModel
from trainer_job import Job, Refused
from transformers import AutoModelForCausalLM, AutoTokenizer

_LOCAL = {"local_files_only": True, "trust_remote_code": False}
PROBES = 4
"""Fixed prompts that are kept."""
CANDIDATES = 32
"""Prompts that they are chosen from."""
PROBED_PROMPT = 512
PROBED_OUTPUT = 16
"""Tokens of each at most; of a longer prompt the end, which proves the weights as well."""
_OF_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)


class Probe(NamedTuple):
    """A prompt, and an output whose tokens are asked after."""

    prompt_ids: list[int]
    output_ids: list[int]


def load_tokenizer(job: Job) -> Any:
    """The base's tokenizer.

    Raises:
        Refused: its chat template is not the one whose hash was written down.
    """
    tokenizer = AutoTokenizer.from_pretrained(job.base, **_LOCAL)
    template = cast("str", tokenizer.chat_template or "")
    wanted = job.told["chat_template_sha256"]
    if wanted and hashlib.sha256(template.encode()).hexdigest() != wanted:
        raise Refused(
            f"The chat template that transformers reads from {str(job.base)!r} is not the one "
            "that its files state; keep one of chat_template.jinja and tokenizer_config.json."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(job: Job) -> Any:
    """The base alone, from safetensors and no other file."""
    return _loaded(job, job.base)


def _loaded(job: Job, folder: Path) -> Any:
    dtype = getattr(torch, cast("str", job["dtype"]))
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, **_LOCAL
    )
    return model.to(job["device"])


def to_train(job: Job, base: Any) -> Any:
    """What is trained: the base, or what was trained of it before and goes on."""
    if job.adapter is None:
        return base
    if job.method == "full":
        return _loaded(job, job.adapter)
    return PeftModel.from_pretrained(base, job.adapter, is_trainable=True)


def lora(job: Job) -> Any:
    """The adapter to begin with; None where the base itself, or an adapter, is trained."""
    if job.method != "lora" or job.adapter is not None:
        return None
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=job["rank"],
        lora_alpha=job["alpha"],
        lora_dropout=0.0,
        target_modules="all-linear",
        base_model_name_or_path=str(job.base),
    )


def probes_of(sequences: Sequence[tuple[Sequence[int], Sequence[bool]]]) -> list[Probe]:
    """Prompts out of training data where a reply begins, the shortest first.

    Which of them become probes is seen after training, see `save`.

    Args:
        sequences: token ids, and of each token whether the policy wrote it.
    """
    found: dict[tuple[int, ...], Probe] = {}
    for ids, drawn in sequences:
        start = next((at for at, mine in enumerate(drawn) if mine), 0)
        if not start or not any(drawn):
            continue
        end = start
        while end < len(ids) and drawn[end] and end - start < PROBED_OUTPUT:
            end += 1
        prompt = list(ids[max(0, start - PROBED_PROMPT) : start])
        found.setdefault(tuple(prompt), Probe(prompt, list(ids[start:end])))
    return sorted(found.values(), key=lambda probe: (len(probe.prompt_ids), probe))[:CANDIDATES]


class Before(NamedTuple):
    """Log-probabilities of the probes before the first step."""

    base: list[list[float]]
    started: list[list[float]]
    """Of the weights that training began with: the base's, or those of an adapter upon it."""


def log_probabilities(model: Any, probes: Sequence[Probe]) -> list[list[float]]:
    """Of each output token of each probe, at temperature 1."""
    with torch.no_grad():
        return _log_probabilities(model, probes)


def _log_probabilities(model: Any, probes: Sequence[Probe]) -> list[list[float]]:
    was_training = model.training
    model.eval()
    found: list[list[float]] = []
    for probe in probes:
        ids = torch.tensor([[*probe.prompt_ids, *probe.output_ids]], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[0].float()
        start = len(probe.prompt_ids)
        chosen = torch.log_softmax(logits[start - 1 : -1], dim=-1)
        picked = chosen.gather(1, ids[0, start:].unsqueeze(1)).squeeze(1)
        found.append([float(value) for value in picked.tolist()])
    model.train(was_training)
    return found


def save(
    job: Job, model: Any, probes: Sequence[Probe], before: Before, steps: int, folder: Path
) -> None:
    """Write the result, which appears whole or not at all.

    The probes kept are those that training moved most: a server is asked them to prove that it
    serves these weights and not the base, and where a reply begins, most tokens are as certain
    before as after.

    Raises:
        Refused: a weight is not a number, or training left every probed probability as it was.
    """
    for name, tensor in model.named_parameters():
        if tensor.requires_grad and not bool(torch.isfinite(tensor).all()):
            raise Refused(
                f"After {steps} steps the weight {name!r} holds a value that is no number; train "
                "with a smaller --lr."
            )
    after = log_probabilities(model, probes)
    if after == before.started:
        raise Refused(
            f"After {steps} steps every probed probability is what it was before: nothing was "
            "learnt; look at the rewards and at --lr."
        )
    told = list(zip(probes, before.base, after, strict=True))
    told.sort(key=lambda each: -_apart(each[1], each[2]))
    probe = [
        {
            "prompt_ids": each.prompt_ids,
            "output_ids": each.output_ids,
            "base_logprobs": base,
            "trained_logprobs": trained,
        }
        for each, base, trained in told[:PROBES]
    ]
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    if job.method == "lora":
        model.save_pretrained(part, selected_adapters=["default"])
        # The card says nothing that agentlab.json does not say better.
        (part / "README.md").unlink(missing_ok=True)
    else:
        model.save_pretrained(part)
        for name in _OF_TOKENIZER:
            if (job.base / name).is_file():
                shutil.copyfile(job.base / name, part / name)
    (part / "trained.json").write_text(
        json.dumps({"probe": probe, "steps": steps, "versions": versions()}), encoding="utf-8"
    )
    part.rename(folder)


def _apart(base: Sequence[float], trained: Sequence[float]) -> float:
    """Nats a token, on average."""
    return sum(abs(one - other) for one, other in zip(base, trained, strict=True)) / len(base)


def versions() -> dict[str, str]:
    """What trained: Python and the libraries."""
    import platform
    from importlib.metadata import version

    names = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "tokenizers")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}

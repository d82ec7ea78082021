"""What is asked of a trainer: data, base, where to, and the figures of the training.

A request is compared with what an unfinished training was begun with, so that the same command
goes on and another one does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from agentlab.types import Frozen, JsonObject

TrainerName = Literal["trl-sft", "trl-dpo", "trl-kto", "trl-grpo-replay", "trl-grpo-live"]
Method = Literal["lora", "full"]
LossName = Literal["dapo", "grpo", "bnpo", "dr_grpo"]


class Trainer(NamedTuple):
    """A trainer: the formats that it reads, and what it takes where nothing is said."""

    formats: tuple[str, ...]
    lr: float
    """Of an adapter; weights in full get a tenth."""
    beta: float = 0.0
    """How strongly the weights are held to those that training began with."""


TRAINERS: dict[TrainerName, Trainer] = {
    "trl-sft": Trainer(("trl-sft", "trl-chat"), 2e-4),
    "trl-dpo": Trainer(("trl-dpo",), 5e-6, beta=0.1),
    "trl-kto": Trainer(("trl-kto",), 5e-6, beta=0.1),
    "trl-grpo-replay": Trainer(("trl-grpo-replay",), 1e-5),
    "trl-grpo-live": Trainer((), 1e-5),
}


class Parameters(Frozen):
    """Figures of a training. What is None the trainer has a value of its own for."""

    epochs: float = Field(default=1.0, gt=0)
    """Passes over the data; where `steps` is given, that decides."""
    steps: int | None = Field(default=None, ge=1)
    lr: float | None = Field(default=None, gt=0)
    batch: int = Field(default=8, ge=1)
    """Rows of a step."""
    device_batch: int | None = Field(default=None, ge=1)
    """Rows that are on the device at a time; None for all of a step."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: int = Field(default=0, ge=0)
    """Steps."""
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    """Of the gradient."""
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    """Of LoRA."""
    beta: float | None = Field(default=None, ge=0)
    """See `Trainer`; of the replay trainers it holds every token that the policy drew, whatever
    rule its loss follows."""
    estimator: str = "grpo"
    """Of advantages, where the export brings none."""
    clip: float = Field(default=0.2, gt=0)
    """PPO's: how far a ratio may go from 1 and still move the weights."""
    clip_high: float | None = Field(default=None, gt=0)
    """The same upwards, where it differs (DAPO)."""
    ratio_cap: float = Field(default=4.0, gt=1)
    """The largest ratio that a worse attempt counts with: old rows would otherwise explode
    (INTELLECT-2's delta)."""
    temperature: float = Field(default=1.0, gt=0)
    """At which the recorded log-probabilities were taken."""
    loss: LossName = "dapo"
    """What the sum over tokens is divided by, in TRL's names."""
    save_every: int | None = Field(default=None, ge=1)
    """Steps between checkpoints; None for ten of them."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1)
    """Of torch on a CPU. One gives the same weights on any number of cores."""
    gradient_checkpointing: bool = False


class TrainRequest(Frozen):
    """One training."""

    trainer: TrainerName
    data: tuple[Path, ...] = ()
    """Folders of exports; none for a trainer that draws its own attempts."""
    base: Path
    out: Path
    adapter: Path | None = None
    """A trained adapter to go on from."""
    method: Method = "lora"
    seed: int = Field(default=0, ge=0, lt=2**32)
    version: int | None = Field(default=None, ge=1)
    """In the name of the result; None for the next after the adapter's."""
    parameters: Parameters = Field(default_factory=Parameters)


def settled(request: TrainRequest) -> JsonObject:
    """The parameters with the trainer's own values where nothing was said."""
    trainer = TRAINERS[request.trainer]
    told = request.parameters.model_dump(mode="json")
    if told["lr"] is None:
        told["lr"] = trainer.lr if request.method == "lora" else trainer.lr / 10
    if told["beta"] is None:
        told["beta"] = trainer.beta
    return told

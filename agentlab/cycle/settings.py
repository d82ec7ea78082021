"""What a cycle is asked to do: one TOML file, which `agentlab gate` reads its part of too.

policy = "lab"                  # what practice asks, as `policy:lab`
base = "models/tiny"            # the folder of the base model
iterations = 3

[practice]                      # as in a run's own file; its model is the policy
environment = "courier"

[[train]]                       # stages, one after another
trainer = "trl-sft"
format = "trl-sft"

[serve]
launch = "local"                # or `vllm`; `none` where `base_url` says where it is

[gate]
tasks = 768
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, ValidationError

from agentlab.config import MOST_COUNTED, Part, PracticeConfig, parse_config, shown
from agentlab.errors import ConfigError
from agentlab.training.promotion.settings import GateConfig
from agentlab.types import JsonObject


class TrainStage(Part):
    """One training, and the export that it is fed."""

    trainer: str
    """As `agentlab train` knows it, such as `trl-sft`."""
    format: str
    """Of the export."""
    view: str = ""
    estimator: str = ""
    start: Literal["served", "before", "base"] = "before"
    """From which weights: those that serve, what the stage before made (for the first stage those
    that serve), or the base model."""
    method: Literal["lora", "full"] = "lora"
    seed: int = Field(default=0, ge=0)
    options: JsonObject = Field(default_factory=dict)
    """Further options of `agentlab train`, such as `{"steps": 100, "lr": 1e-4}`."""


class ExportSettings(Part):
    """What of practice is trained on."""

    runs: int = Field(default=1, ge=1, le=MOST_COUNTED)
    """The cycle's last runs whose attempts are exported."""
    terms: JsonObject = Field(default_factory=dict)
    """Model to the terms under which its output may be trained on; the policy's own versions have
    those of `own_terms`."""
    own_terms: str = "own weights"
    judged: bool = False


class ServeSettings(Part):
    """Where the policy is served."""

    launch: Literal["none", "vllm", "local"] = "none"
    base_url: str = ""
    """The server's address where none is launched."""
    python: str = ""
    """The Python of the server's environment; empty is this one's."""
    port: int = Field(default=0, ge=0, le=65535)
    options: tuple[str, ...] = ()
    """Further words of the server's command."""
    seconds: float = Field(default=600.0, gt=0, le=1e6)
    """That a server may take until it answers."""


class CycleBudget(Part):
    """What a cycle may spend. None means no limit.

    What is left is the limit of each practice and gate, and a stage for which nothing is left does
    not begin.
    """

    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """A training or gate that is under way by then is not broken off."""
    tokens: int | None = Field(default=None, ge=1, le=MOST_COUNTED)
    """Of practice and gates together."""


class CycleConfig(Part):
    """A whole cycle."""

    policy: str = "lab"
    base: str
    iterations: int = Field(default=1, ge=1, le=MOST_COUNTED)
    practice: PracticeConfig = Field(default_factory=PracticeConfig)
    export: ExportSettings = Field(default_factory=ExportSettings)
    train: tuple[TrainStage, ...] = ()
    serve: ServeSettings = Field(default_factory=ServeSettings)
    gate: GateConfig = Field(default_factory=GateConfig)
    budget: CycleBudget = Field(default_factory=CycleBudget)


def load_cycle(path: Path, **more: object) -> CycleConfig:
    """A cycle from its file; relative folders are the file's.

    Args:
        path: a TOML file.
        **more: replace what stands at its top.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    where = f"config file {str(path)!r}"
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {where}; write one: TOML with 'base', which names the base model's "
            "folder, and the tables [practice], [[train]], [serve] and [gate]."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"The {where} cannot be read: {error}.") from error
    values |= {name: value for name, value in more.items() if value is not None}
    policy = values.get("policy", "lab")
    practice: object = values.get("practice", {})
    if isinstance(practice, dict):
        asked = {"model": f"policy:{policy}", **cast("dict[str, Any]", practice)}
        values["practice"] = parse_config(asked, where=f"[practice] of the {where}")
    base = values.get("base")
    if isinstance(base, str) and base:
        values["base"] = str((path.parent / base).absolute())
    try:
        return CycleConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"In the {where}, {shown(name)} is wrong: {message[:1].lower()}{message[1:]}."
        ) from None

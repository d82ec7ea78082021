"""What a run is asked to do: one frozen model, from TOML file, environment and flags.

Later sources win: file, then `AGENTLAB_<OPTION>` variables, then flags. Unknown keys are
refused with the nearest known one. The config of a run is written into its directory before
the first attempt and is all that `resume` reads.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, Field, ValidationError

from agentlab.errors import ConfigError
from agentlab.types import Frozen, JsonObject

IndexName = Literal["chroma", "exact"]


class BudgetConfig(Frozen):
    """What a run may spend, all roles together. None means no limit.

    The closing comparison on held-out tasks measures the run and is not charged to it.
    """

    attempts: int | None = Field(default=None, ge=0)
    steps: int | None = Field(default=None, ge=0)
    """Primitive environment steps."""
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tokens: int | None = Field(default=None, ge=0)
    usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class RetrievalConfig(Frozen):
    """What an attempt may be offered from the library."""

    k: int = Field(default=16, ge=0)
    floor: float = Field(default=0.05, ge=-1, le=1)
    """Items whose best similarity is below this are not offered: "none" is an answer."""
    tokens: int = Field(default=4000, ge=0)
    """Cap on the offered text, in tokens of four characters."""


class AdmissionConfig(Frozen):
    """What a candidate must show."""

    enabled: bool = True
    """False serves every candidate unchecked: an ablation, labelled as such."""
    replays: int = Field(default=5, ge=1)
    trials: int = Field(default=16, ge=2)
    """Practice tasks on which a candidate must prove useful, paired with and without."""
    trial_tool_calls: int = Field(default=500, ge=1)
    """Tool calls that each search of a trial may make."""


class AttributionConfig(Frozen):
    """How the effect of offering an item is measured."""

    start: float = Field(default=0.5, ge=0, le=1)
    floor: float = Field(default=0.1, ge=0, le=1)
    decided: int = Field(default=20, ge=2)
    """Draws after which the probability starts to fall."""


class PracticeConfig(Frozen):
    """Everything that a practice run depends on."""

    environment: str = "babyai"
    environment_options: JsonObject = Field(default_factory=dict)
    model: str = "search"
    seed: int = Field(default=0, ge=0)
    rounds: int = Field(default=5, ge=1)
    proposals: int = Field(default=100, ge=1)
    """Tasks proposed a round."""
    attempts: int = Field(default=100, ge=1)
    """Attempts a round."""
    tool_calls: int = Field(default=600, ge=1)
    """Tool calls an attempt may search with, in practice."""
    attempt_seconds: float = Field(default=120.0, gt=0, le=1e6)
    """Wall clock of an attempt, and of a candidate's replays; runs in which it strikes are not
    reproducible."""
    check_seconds: float = Field(default=20.0, gt=0, le=1e6)
    """A proposal that has not been checked by then, verifier included, is rejected."""
    concurrency: int = Field(default=0, ge=0)
    """Attempts at a time; 0 means one for each core."""
    proposer: str = "grammar"
    curriculum: str = "learning_progress"
    curator: str = "generalise"
    evaluator: str = "verifier"
    compose: bool = True
    """Whether skills may call skills."""
    index: IndexName = "chroma"
    embedder: str = "lexical"
    heldout: int = Field(default=120, ge=0)
    """Held-out tasks for the closing comparison; 0 leaves it out."""
    heldout_tool_calls: int = Field(default=1000, ge=1)
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    retrieval: RetrievalConfig = Field(default_factory=RetrievalConfig)
    admission: AdmissionConfig = Field(default_factory=AdmissionConfig)
    attribution: AttributionConfig = Field(default_factory=AttributionConfig)


def load_config(path: Path | None = None, **overrides: Any) -> PracticeConfig:
    """A config from a TOML file (optional) and overrides; None overrides are left out.

    Nested options are written with a dot: `**{"budget.attempts": 100}`.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is wrong.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"There is no config file {str(path)!r}.") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"The config file {str(path)!r} cannot be read: {error}.") from error
    for name, value in overrides.items():
        if value is None:
            continue
        target = values
        *parents, leaf = name.split(".")
        for parent in parents:
            inner = target.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    f"{parent!r} is given as {inner!r}, so {name!r} cannot be set in it."
                )
            target = cast("dict[str, Any]", inner)
        target[leaf] = value
    return parse_config(values, where=f"config file {str(path)!r}" if path else "the options")


def parse_config(values: Mapping[str, Any], where: str = "the options") -> PracticeConfig:
    """A config from plain data.

    Raises:
        ConfigError: a key is unknown or a value is wrong; one sentence that names the fix.
    """
    try:
        return PracticeConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        location = [str(part) for part in first["loc"]]
        name = ".".join(location)
        if first["type"] == "extra_forbidden":
            near = get_close_matches(location[-1], _keys(location[:-1]), n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"In {where}, {name!r} is not an option.{hint}") from None
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise ConfigError(
            f"In {where}, {name!r} cannot be {first['input']!r}: {message}."
        ) from None


def _keys(parents: list[str]) -> list[str]:
    model: type[BaseModel] = PracticeConfig
    for parent in parents:
        annotation = model.model_fields[parent].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)

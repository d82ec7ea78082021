"""What a gate fixes in advance. All of it is on record before the gate's first task."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from agentlab.config import MOST_COUNTED, Part

Decides = Literal["greedy", "sampled"]


class GateConfig(Part):
    """A comparison of trained weights with those that serve."""

    seed: int = Field(default=0, ge=0)
    """Chooses the tasks and their order."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """The chance that weights which are no better are ever promoted, however often one looks."""
    tasks: int = Field(default=768, ge=1, le=50_000)
    """Pairs that are read at most; undecided by then is not promoted."""
    decides: Decides = "greedy"
    """How replies are drawn where it is decided. Weights that only sharpened win at T = 1 and not
    greedily: whoever wants what sharpening gives can lower the temperature."""
    temperature: float = Field(default=1.0, gt=0, le=2)
    """Of the sampled arms."""
    low_temperature: float = Field(default=0.3, gt=0, le=2)
    """Of the base's arm that shows what a lower temperature alone would give."""
    unseen: Literal["structure", "seed"] = "structure"
    """Whether tasks must be of templates that are never practised, or only of reserved seeds."""
    beside: int = Field(default=96, ge=0, le=MOST_COUNTED)
    """Tasks, the first of the order, on which the arms that decide nothing are attempted."""
    heldout: int = Field(default=120, ge=0, le=20_000)
    """Held-out tasks that are reported after the verdict."""
    protected: tuple[str, ...] = Field(default=(), max_length=20)
    """Templates whose success may not drop, each by a text that they hold."""
    protected_tasks: int = Field(default=64, ge=8, le=1_000)
    """Dev tasks of each protected template; all are attempted, and looked at once."""
    protected_margin: float = Field(default=0.1, gt=0, le=1)
    """A protected template holds if the lower end of the paired difference is above minus this."""
    cost_ratio: float | None = Field(default=1.5, gt=0, allow_inf_nan=False)
    """Tokens that the candidate may take for a task that it solves, over those of the incumbent."""
    tokens: int | None = Field(default=None, ge=1, le=MOST_COUNTED)
    """Tokens that all attempts of a gate may take; no call is made that might not fit. The pairs
    that decide and the protected templates come first; where it does not suffice for them, the gate
    is undecided, and what decides nothing is left out."""
    failures: float = Field(default=0.1, ge=0, lt=1)
    """Share of pairs without a verdict above which the gate says nothing at all."""
    window: int = Field(default=16, ge=1, le=1024)
    """Pairs attempted together; each is looked at in its order."""
    library: bool = True
    """Whether both arms are offered the library."""
    judged: bool = False
    """Whether a judge's verdicts count where no verifier scored."""
    tolerance: float = Field(default=0.005, gt=0, le=1)
    """Nats per token by which the served weights may differ from the trained ones."""
    patience: float = Field(default=60.0, gt=0, le=1e6)
    """Seconds that a server which went away is waited for before the gate stops, to go on later."""

    @model_validator(mode="after")
    def _temperatures(self) -> GateConfig:
        if self.low_temperature >= self.temperature:
            raise ValueError("'low_temperature' must be below 'temperature'")
        return self

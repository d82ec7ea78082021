"""What models cost, from a table that ships and one of the user's own that comes before it.

The table of a user is TOML or a mapping, USD per million tokens, by the model's whole name in a
config or by the endpoint's name for it:

    "vllm:my-model" = { input = 0, output = 0 }
    "gpt-5" = { input = 1.25, cached = 0.125, output = 10.0 }
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import cast

from pydantic import Field, TypeAdapter, ValidationError

from agentlab.errors import ConfigError
from agentlab.models.counting import Tokens
from agentlab.models.routes import POLICY
from agentlab.types import Frozen

_MILLION = 1_000_000
_FREE_KINDS = frozenset({"local", "scripted"})
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")
"""The end of a name that pins a model's version, such as `gpt-4o-2024-08-06`."""


class Price(Frozen):
    """USD per million tokens."""

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    cached: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Of input that the endpoint had in its cache; None: as other input."""

    def usd(self, tokens: Tokens) -> float:
        """What a call costs."""
        cached = self.input if self.cached is None else self.cached
        fresh = tokens.prompt - tokens.cached
        parts = fresh * self.input + tokens.cached * cached + tokens.output * self.output
        return parts / _MILLION


FREE = Price(input=0, output=0)
_TABLE: TypeAdapter[dict[str, Price]] = TypeAdapter(dict[str, Price])


class Prices:
    """Prices by model. The user's own come first."""

    def __init__(self, own: Mapping[str, Price] | None = None) -> None:
        self._own = dict(own or {})

    def of(self, spec: str) -> Price | None:
        """The price of a model as a config names it, such as `openai:gpt-5`; None if unknown.

        What runs on this machine, `local:` and `scripted:`, costs nothing. The table that ships
        holds list prices of a provider and is for `openai:` alone; a server of one's own
        (`vllm:`) has a price only where the user says one. What is said of a policy holds for each
        of its versions, `policy:lab@VERSION`.
        """
        kind, _, model = spec.partition(":")
        if kind == POLICY and spec not in self._own:
            spec, _, _ = spec.partition("@")
            model, _, _ = model.partition("@")
        undated = _DATED.sub("", model)
        for name in (spec, model, f"{kind}:{undated}", undated):
            if name and name in self._own:
                return self._own[name]
        if kind in _FREE_KINDS:
            return FREE
        if kind != "openai":
            return None
        shipped = _shipped()
        return shipped.get(model) or shipped.get(undated)

    def require(self, spec: str) -> Price:
        """The price of a model whose calls count against a cap in USD.

        Raises:
            ConfigError: it is unknown, so that the cap could not be kept.
        """
        price = self.of(spec)
        if price is None:
            raise ConfigError(
                f"The price of {spec!r} is unknown, so a budget in USD cannot be kept; give it in "
                f"a price table, as in '\"{spec}\" = {{ input = 1.0, output = 2.0 }}' (USD per "
                "million tokens) under [endpoint.prices] in a --config file, or cap tokens instead."
            )
        return price


def load_prices(own: Path | Mapping[str, object] | None = None) -> Prices:
    """Prices, with a table of the user's own.

    Args:
        own: a TOML file or a mapping from a model to `input`, `output` and perhaps `cached`.

    Raises:
        ConfigError: the table cannot be read, or a price in it is none.
    """
    if own is None:
        return Prices()
    where = f"file {str(own)!r}" if isinstance(own, Path) else "given"
    try:
        table = tomllib.loads(own.read_text(encoding="utf-8")) if isinstance(own, Path) else own
        return Prices(_TABLE.validate_python(table))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"In the price table {where}, {place!r} is wrong: {first['msg']}; a price is "
            "{ input = 1.0, output = 2.0 } in USD per million tokens."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"The price table {where} cannot be read: {error}.") from None


@cache
def _shipped() -> dict[str, Price]:
    text = (files("agentlab.models") / "prices.toml").read_text(encoding="utf-8")
    return _TABLE.validate_python(cast("dict[str, object]", tomllib.loads(text)["models"]))

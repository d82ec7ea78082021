"""Prices: the table that ships, a user's own, and what has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentlab.errors import ConfigError
from agentlab.models.counting import Tokens
from agentlab.models.prices import FREE, Price, load_prices


def test_a_call_costs_its_parts() -> None:
    price = Price(input=2.0, cached=0.5, output=8.0)
    assert price.usd(Tokens(1_000_000, 400_000, 250_000)) == pytest.approx(1.2 + 0.2 + 2.0)
    without = price.model_copy(update={"cached": None})
    assert without.usd(Tokens(1_000_000, 400_000, 0)) == pytest.approx(2.0)


def test_the_table_that_ships_is_for_openai_alone() -> None:
    prices = load_prices()
    listed = Price(input=2.5, cached=1.25, output=10.0)
    assert prices.of("openai:gpt-4o") == listed
    assert prices.of("openai:gpt-4o-2024-08-06") == listed
    assert prices.of("openai:gpt-4o-audio") is None
    assert prices.of("vllm:gpt-4o") is None
    assert prices.of("openai:models") is None
    assert prices.of("local:some/folder") == prices.of("scripted:x.json") == FREE


def test_a_user_s_own_table_comes_first(tmp_path: Path) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(
        '"vllm:mine" = { input = 0, output = 0 }\n"gpt-4o" = { input = 1, output = 2 }\n'
    )
    prices = load_prices(table)
    assert prices.of("vllm:mine") == FREE
    assert prices.of("openai:gpt-4o-2024-08-06") == Price(input=1, output=2)
    assert load_prices({"m": {"input": 1, "output": 1}}).of("vllm:m") == Price(input=1, output=1)


def test_an_unknown_price_refuses_with_the_fix() -> None:
    with pytest.raises(ConfigError, match=r"price of 'vllm:mine' is unknown.*\"vllm:mine\" = "):
        load_prices().require("vllm:mine")


def test_a_price_of_a_policy_holds_for_its_versions() -> None:
    price = {"input": 1.0, "output": 2.0}
    prices = load_prices({"policy:lab": price, "policy:lab@v2": {"input": 3.0, "output": 4.0}})
    assert prices.require("policy:lab@v1") == prices.require("policy:lab")
    assert prices.require("policy:lab@v2").input == 3.0
    assert prices.of("policy:other@v1") is None


@pytest.mark.parametrize(
    "text",
    [
        "a = ",
        "m = { input = 1 }",
        "m = { input = -1, output = 1 }",
        "m = { input = nan, output = 1 }",
        "m = { input = inf, output = 1 }",
        'm = { input = 1, output = 1, per = "day" }',
        "m = 3",
    ],
)
def test_a_wrong_table_is_an_error(tmp_path: Path, text: str) -> None:
    table = tmp_path / "prices.toml"
    table.write_text(text)
    with pytest.raises(ConfigError, match=r"prices\.toml"):
        load_prices(table)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_prices(tmp_path / "none.toml")

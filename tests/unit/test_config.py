"""Configs from file and overrides: what wins, and one sentence for what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agentlab.config import PracticeConfig, load_config, parse_config
from agentlab.errors import ConfigError


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _refusal(path: Path | None = None, **overrides: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, **overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_alone() -> None:
    assert load_config() == PracticeConfig()
    assert PracticeConfig().budget.attempts is None


def test_file_then_overrides(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        'environment = "courier"\nseed = 3\nrounds = 2\n[budget]\nattempts = 9\nusd = 1.5\n'
        "[environment_options]\nplaces = 6\n",
    )
    config = load_config(path, seed=4, rounds=None, **{"budget.attempts": 11})
    assert (config.environment, config.seed, config.rounds) == ("courier", 4, 2)
    assert (config.budget.attempts, config.budget.usd) == (11, 1.5)
    assert config.environment_options == {"places": 6}


def test_nested_overrides_without_a_file() -> None:
    config = load_config(None, **{"retrieval.k": 3, "admission.enabled": False})
    assert config.retrieval.k == 3
    assert not config.admission.enabled


def test_a_config_is_its_own_json() -> None:
    config = load_config(None, environment="courier", **{"budget.steps": 5})
    assert parse_config(config.model_dump(mode="json")) == config


def test_configs_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PracticeConfig().seed = 3  # type: ignore[misc]


def test_unknown_keys_say_what_is_near(tmp_path: Path) -> None:
    message = _refusal(_file(tmp_path, "sed = 3\n"))
    assert "'sed' is not an option. Did you mean 'seed'?" in message
    assert "run.toml" in message
    assert "Did you mean 'attempts'?" in _refusal(None, atempts=3)


def test_unknown_nested_keys_say_what_is_near(tmp_path: Path) -> None:
    message = _refusal(_file(tmp_path, "[budget]\natempts = 3\n"))
    assert "'budget.atempts' is not an option. Did you mean 'attempts'?" in message
    assert "Did you mean 'trials'?" in _refusal(None, **{"admission.trails": 3})


def test_unknown_keys_that_are_near_nothing() -> None:
    message = _refusal(None, zzzzz=1)
    assert message == "In the options, 'zzzzz' is not an option."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "abc"),
        ("seed", -1),
        ("rounds", 0),
        ("rounds", 2.5),
        ("index", "faiss"),
        ("compose", "perhaps"),
        ("budget", 3),
        ("budget.attempts", -1),
        ("budget.seconds", 0),
        ("budget.seconds.more", 1),
        ("retrieval.floor", 7),
        ("attribution.start", 1.5),
        ("environment_options", [1]),
        ("environment", 3),
    ],
)
def test_wrong_values_in_one_sentence(name: str, value: object) -> None:
    message = _refusal(None, **{name: value})
    assert name.rpartition(".")[0] in message or name in message
    assert message.endswith(".")
    assert repr(value) in message


def test_an_override_inside_what_is_no_table(tmp_path: Path) -> None:
    path = _file(tmp_path, "budget = 3\n")
    message = _refusal(path, **{"budget.attempts": 5})
    assert message == "'budget' is given as 3, so 'budget.attempts' cannot be set in it."


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    none = _refusal(tmp_path / "none.toml")
    assert "There is no config file" in none and "name one that is there" in none
    assert "cannot be read" in _refusal(_file(tmp_path, "seed = = 3"))
    assert "cannot be read" in _refusal(tmp_path)
    bad = tmp_path / "latin.toml"
    bad.write_bytes(b'environment = "\xff"')
    assert "cannot be read" in _refusal(bad)


def test_the_first_of_several_mistakes() -> None:
    assert "'seed'" in _refusal(None, seed="x", rounds="y")

"""Options with values nobody would type: one sentence that names the option, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from agentlab.cli.main import cli
from agentlab.cli.options import LONGEST, MOST, Whole, gather_options
from agentlab.config import MOST as LARGEST
from agentlab.config import parse_config, value_fault
from agentlab.types import digest

NESTED = "[" * 10_000 + "]" * 10_000
DIGITS = "9" * 5_000
HOSTILE = [
    NESTED,
    '{"a":' * 10_000 + "1" + "}" * 10_000,
    "[" * 40 + "]" * 40,
    DIGITS,
    "-" + DIGITS,
    "1" + "0" * 30,
    "1e999",
    "NaN",
    "-Infinity",
    r'"\u0000"',
    r'"\ud800"',
    r'{"\udfff": 1}',
    "[1, [NaN]]",
    "\udcff",
    "a\0b",
]


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def sentence(result: Result) -> str:
    assert (result.exit_code, result.stdout) == (2, ""), result.exception
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert len(line) < 400
    return line


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
@pytest.mark.parametrize("command", ["practice", "evaluate"])
def test_an_environment_option_that_no_run_can_keep(command: str, text: str) -> None:
    assert "--option" in sentence(invoke(command, "courier", "--option", f"places={text}"))


@pytest.mark.parametrize("key", ["a\0b", "\udcff"])
def test_the_name_of_an_option_that_cannot_be_written_down(key: str) -> None:
    assert "--option" in sentence(invoke("practice", "courier", "--option", f"{key}=1"))


@pytest.mark.parametrize("number", [DIGITS, "-" + DIGITS, str(2**63), "1e308", "0x10", "\udcff"])
@pytest.mark.parametrize("flag", ["--seed", "--rounds", "--budget-steps"])
def test_numbers_that_no_record_can_hold(flag: str, number: str) -> None:
    assert flag in sentence(invoke("practice", "courier", flag, number))


@pytest.mark.parametrize(
    "flag", ["--rounds", "--tool-calls", "--attempts", "--heldout", "--budget-steps"]
)
def test_counts_whose_sum_no_record_could_hold(flag: str) -> None:
    line = sentence(invoke("practice", "courier", flag, str(10**13)))
    assert "less than or equal to 1000000000000" in line


@pytest.mark.parametrize(
    "words",
    [
        ("practice", "\udcff"),
        ("evaluate", "babyai:\udcff"),
        ("envs", "check", "\udcff"),
        ("runs", "show", "\udcff"),
        ("skills", "show", "\udcff"),
        ("skills", "remove", "\udcff"),
        ("skills", "search", "\udcff"),
        ("skills", "list", "--environment", "\udcff"),
        ("practice", "courier", "--model", "\udcff"),
    ],
    ids=lambda words: ascii(" ".join(words)),
)
def test_bytes_that_are_no_text(words: tuple[str, ...]) -> None:
    assert r"\udcff' is not UTF-8" in sentence(invoke(*words))


@pytest.mark.parametrize("number", ["nan", "inf", "-1e308", "1e999"])
@pytest.mark.parametrize("flag", ["--budget-seconds", "--budget-usd"])
def test_amounts_that_are_none(flag: str, number: str) -> None:
    name = flag.removeprefix("--").replace("-", ".")
    assert name in sentence(invoke("practice", "courier", flag, number))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"[environment_options]\nplaces = {NESTED}\n", "run.toml"),
        (f"seed = {DIGITS}\n", "run.toml"),
        (f"seed = {2**63}\n", "'seed'"),
        (f"seed = 0x{'f' * 5_000}\n", "'seed'"),
        ("attempts = 1e308\n", "'attempts'"),
        ("attempts = inf\n", "'attempts'"),
        ("[budget]\nseconds = inf\n", "'budget.seconds'"),
        ("[budget]\nusd = nan\n", "'budget.usd'"),
        (f"[environment_options]\nplaces = 0x{'f' * 5_000}\n", "'places'"),
        ("[environment_options]\nplaces = nan\n", "'places'"),
        ("[environment_options]\nplaces = 2020-01-01\n", "environment_options"),
        ('curriculum = "uni\\u0000form"\n', "'curriculum'"),
        ('model = "\\u0000"\n', "'model'"),
        ('embedder = "\\ud800"\n', "run.toml"),
        ("seed = \0\n", "run.toml"),
        (f"{'a.' * 5_000}b = 1\n", "run.toml"),
        (f'"{"x" * 5_000}" = 1\n', "is not an option"),
    ],
)
def test_a_config_file_that_no_run_can_keep(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text, encoding="utf-8")
    line = sentence(invoke("practice", "courier", "--config", str(file)))
    assert says in line


def test_both_say_the_same_of_the_largest_number() -> None:
    assert MOST == LARGEST
    assert len(str(MOST)) < LONGEST


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
surrogates = st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE00F) | st.just("\0"))


@given(st.lists(st.text() | st.builds("{}={}".format, st.text(), st.text() | surrogates)))
def test_any_words(pairs: list[str]) -> None:
    _gathered(pairs)


@given(st.text(min_size=1).filter(lambda key: "=" not in key), values | surrogates)
def test_any_json(key: str, value: Any) -> None:
    _gathered([f"{key}={json.dumps(value)}"])


def _gathered(pairs: list[str]) -> None:
    """Either one sentence about `--option`, or what can be written down with a run."""
    try:
        found = gather_options(pairs)
    except click.BadParameter as error:
        assert error.param_hint == "'--option'"
        assert "\n" not in error.message
        return
    digest(found)
    kept = parse_config({"environment_options": found}).model_dump_json()
    assert json.loads(kept)["environment_options"] == found


@given(values | surrogates | st.integers(min_value=2**62))
def test_what_has_no_fault_can_be_written_down(value: Any) -> None:
    if value_fault(value) is None:
        digest(value)


@given(st.text() | surrogates | st.integers().map(str) | st.floats().map(str))
def test_any_whole_number(text: str) -> None:
    try:
        number = Whole().convert(text, None, None)
    except click.BadParameter:
        return
    assert 0 <= number <= MOST

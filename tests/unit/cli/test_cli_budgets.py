"""What cannot begin is refused before anything is written, and budgets have one spelling each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from agentlab.cli import budgets
from agentlab.cli.budgets import budget_flags, given_budgets, preflight
from agentlab.cli.main import cli
from agentlab.cli.practice import resume
from agentlab.config import load_config
from agentlab.errors import UsageError
from agentlab.graph.budgets import OPTIONS
from agentlab.graph.preflight import refuse_small_budgets
from tests.required import installed

MODEL = ("--model", "openai:m", "--base-url", "http://127.0.0.1:9/v1")
CHAT: dict[str, Any] = {"model": "openai:m", "endpoint.base_url": "http://127.0.0.1:9/v1"}


@pytest.mark.parametrize("command", ["practice", "evaluate"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*MODEL, "--budget-tokens=0"), "budget of 0 tokens (budget.tokens) is too small"),
        ((*MODEL, "--budget-tokens=4000"), "may take 4,096 tokens; give it more"),
        ((*MODEL, "--budget-role=executor.tokens=100"), "(roles.executor.tokens) is too small"),
        ((*MODEL, "--budget-role=actor.tokens=1"), "'actor.tokens=1' is not ROLE.KIND=N"),
        ((*MODEL, "--budget-role=executor.tokens=x"), "executor.tokens=50000"),
        (("--executor=react",), "The executor 'react' asks a chat model"),
        (("--executor=reflect:search",), "The executor 'reflect:search' asks a chat model"),
        (("--model=openai:m", "--base-url=localhost:8000"), "'localhost:8000' is not an address"),
        (("--model=openai:m",), "No model endpoint is named"),
        (("--model=openai:", "--base-url=http://127.0.0.1:9/v1"), "'openai:' has no name"),
        (("--model=local:/no/such/folder",), "There is no folder '/no/such/folder'"),
        (("--model=scripted:no_such_module:rule",), "cannot be imported"),
    ],
)
def test_what_cannot_begin_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, words: tuple[str, ...], says: str
) -> None:
    _refused(tmp_path, monkeypatch, (command, "courier", *words), says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--budget-attempts=0",), "(budget.attempts) is too small for an attempt"),
        (("--budget-steps=199",), "may take 200 steps"),
        ((*MODEL, "--budget-role=proposer.tokens=4000"), "(roles.proposer.tokens) is too small"),
        (("--proposer=context",), "The proposer 'context' asks a chat model"),
        (("--proposer=mixture:grammar+context",), "asks a chat model"),
        (("--curator=skills",), "The curator 'skills' asks a chat model"),
        (("--insights=ace",), "written by a chat model and this run has none for 'ace'"),
    ],
)
def test_what_cannot_be_practised_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    _refused(tmp_path, monkeypatch, ("practice", "courier", *words), says)


def test_an_environment_without_a_grammar_names_what_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("miniwob", "REQUIRE_BROWSER")
    says = "'miniwob' has not; practise on one page, as in `miniwob:click-test`"
    _refused(tmp_path, monkeypatch, ("practice", "miniwob"), says)
    says = "'web:http://127.0.0.1:1' has not; name a chat model with --model"
    _refused(tmp_path, monkeypatch, ("practice", "web:http://127.0.0.1:1"), says)


def _refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    place = tmp_path / "ws"
    result = CliRunner().invoke(cli, [*words, "--workspace", str(place)])
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ") and says in line
    assert not place.exists()


def test_a_dollar_is_judged_by_the_price_of_a_reply() -> None:
    prices = {"endpoint.prices": {"openai:m": {"input": 1.0, "output": 10.0}}}
    for usd in (0.0, 0.005):  # 512 tokens at 10 dollars a million are 0.00512
        with pytest.raises(
            UsageError, match=r"budget of .* US dollars \(budget.usd\) is too small"
        ):
            refuse_small_budgets(load_config(None, **CHAT, **prices, **{"budget.usd": usd}))
    refuse_small_budgets(load_config(None, **CHAT, **prices, **{"budget.usd": 0.006}))
    # What asks no model spends neither tokens nor dollars, whatever the cap.
    refuse_small_budgets(load_config(None, **{"budget.usd": 0.0, "budget.tokens": 0}))


@given(
    st.dictionaries(
        st.sampled_from(OPTIONS),
        st.integers(0, 10**12),
        max_size=6,
    )
)
def test_a_budget_survives_its_spelling_as_a_flag(amounts: dict[str, float]) -> None:
    context = resume.make_context("resume", ["run", *budget_flags(amounts)])
    assert given_budgets(dict(context.params)) == amounts


@given(st.sampled_from(["budget.usd", "budget.seconds", "roles.judge.usd"]), st.floats(1e-6, 1e12))
def test_fractions_survive_it_too(place: str, amount: float) -> None:
    place = place.replace("judge", "evaluator")
    context = resume.make_context("resume", ["run", *budget_flags({place: amount})])
    assert given_budgets(dict(context.params)) == {place: amount}


def test_the_command_knows_the_roles_and_kinds_that_there_are() -> None:
    places = {f"budget.{kind}" for kind in budgets.KINDS}
    places |= {f"roles.{role}.{kind}" for role in budgets.ROLES for kind in budgets.MODEL_KINDS}
    assert places == set(OPTIONS)


def test_a_role_that_has_no_such_budget_is_told_a_right_one() -> None:
    with pytest.raises(click.BadParameter, match="stronger"):
        given_budgets({"budget_roles": ("stronger.tokens=1",)})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "No budget is set. Nothing caps what the model may cost; --budget-tokens does."),
        ({"roles.executor.tokens": 9000}, "The only budgets are of roles (9,000 tokens for the "
         "executor). Nothing caps what the model of proposer, evaluator and curator may cost; "
         "--budget-tokens does."),
        ({"roles.executor.tokens": 9000, "budget.attempts": 3}, "The budget (3 attempts, 9,000 "
         "tokens for the executor) pays for at most 3 attempts. Nothing caps what the model of "
         "proposer, evaluator and curator may cost; --budget-tokens does."),
        ({"budget.tokens": 90_000}, "The budget (90,000 tokens) pays for at most 500 attempts."),
    ],
)  # fmt: skip
def test_budgets_of_roles_are_told_before(options: dict[str, Any], said: str) -> None:
    told = preflight(load_config(None, heldout=0, **CHAT, **options))
    assert told.partition("tool calls. ")[2] == said

"""Budgets on the command line: their options, what they pay for, and how to give a run more.

A budget has one place in a config (`budget.tokens`, `roles.executor.usd`) and one spelling as a
flag; the two are turned into each other here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentlab.analysis.figures import count
from agentlab.cli.options import Whole, option

if TYPE_CHECKING:
    from agentlab.config import PracticeConfig

F = TypeVar("F", bound=Callable[..., Any])

KINDS = ("attempts", "steps", "seconds", "tokens", "usd")
MODEL_KINDS = ("tokens", "usd")
"""Those that only a model spends; a role has no others."""
ROLES = ("proposer", "executor", "evaluator", "curator")
ROLE_FLAG = "--budget-role"


def budget_options(function: F) -> F:
    """Add `--budget-…` for each kind, and `--budget-role`; see `given_budgets`."""
    for add in reversed(
        [
            option("--budget-attempts", type=Whole(), help="Attempts in all."),
            option("--budget-steps", type=Whole(), help="Environment steps in all."),
            option("--budget-seconds", type=float, help="Wall clock in all."),
            *_model_options(),
        ]
    ):
        function = add(function)
    return function


def model_budget_options(function: F) -> F:
    """Add those budgets that only a model spends; see `given_budgets`."""
    for add in reversed(_model_options()):
        function = add(function)
    return function


def _model_options() -> list[Callable[[Any], Any]]:
    return [
        option("--budget-tokens", type=Whole(), help="Model tokens in all."),
        option("--budget-usd", type=float, help="US dollars in all."),
        option(
            ROLE_FLAG,
            "budget_roles",
            multiple=True,
            metavar="ROLE.KIND=N",
            help="Tokens or usd of one role's model, as executor.tokens=50000; may be repeated.",
        ),
    ]


def given_budgets(options: dict[str, Any]) -> dict[str, float]:
    """The budgets among a command's parameters, which are taken out, by their place in a config.

    Raises:
        click.BadParameter: a role's budget is not of the form that the help shows.
    """
    found: dict[str, float] = {}
    for kind in KINDS:
        amount = options.pop(f"budget_{kind}", None)
        if amount is not None:
            found[f"budget.{kind}"] = amount
    pairs: tuple[str, ...] = options.pop("budget_roles", ())
    for pair in pairs:
        place, _, text = pair.partition("=")
        role, _, kind = place.partition(".")
        try:
            amount = int(text) if kind == "tokens" else float(text)
        except ValueError:
            amount = None
        if role not in ROLES or kind not in MODEL_KINDS or amount is None:
            raise click.BadParameter(
                f"{pair[:80]!r} is not ROLE.KIND=N, where ROLE is one of {', '.join(ROLES)} and "
                f"KIND is tokens or usd; write for instance {ROLE_FLAG} executor.tokens=50000.",
                param_hint=f"'{ROLE_FLAG}'",
            )
        found[f"roles.{role}.{kind}"] = amount
    return found


def budget_flags(budgets: Mapping[str, float]) -> list[str]:
    """The words that give these budgets to a command, from their places in a config."""
    words: list[str] = []
    for place, value in budgets.items():
        amount = int(value) if value == int(value) else value
        first, _, rest = place.partition(".")
        if first == "budget":
            words += [f"--budget-{rest}", f"{amount}"]
        else:
            words += [ROLE_FLAG, f"{rest}={amount}"]
    return words


def preflight(config: PracticeConfig) -> str:
    """What a run may take at most and what its budget pays for, in a sentence or two."""
    from agentlab.graph.practice import LEAST_STEPS

    most = config.rounds * config.attempts
    plan = (
        f"At most {count(most, 'attempt')} in {count(config.rounds, 'round')}, each of up to "
        f"{count(config.tool_calls, 'tool call')}"
    )
    if config.heldout:
        plan += f", then {count(config.heldout, 'held-out task')} with and without the library"
    warning = _uncapped(config)
    caps = config.budget.model_dump(exclude_none=True)
    told = [f"{value:,} {name}" for name, value in caps.items()]
    for role in ROLES:
        own = getattr(config.roles, role).model_dump(include=set(MODEL_KINDS), exclude_none=True)
        told += [f"{value:,} {name} for the {role}" for name, value in own.items()]
    if not told:
        return f"{plan}. No budget is set.{warning}"
    if not caps:
        return f"{plan}. The only budgets are of roles ({', '.join(told)}).{warning}"
    paid = most
    if config.budget.attempts is not None:
        paid = min(paid, config.budget.attempts)
    if config.budget.steps is not None:
        paid = min(paid, config.budget.steps // LEAST_STEPS)
    return (
        f"{plan}. The budget ({', '.join(told)}) pays for at most {count(paid, 'attempt')}."
        f"{warning}"
    )


def _uncapped(config: PracticeConfig) -> str:
    """A warning that names the roles whose models may cost anything; empty where none may."""
    if config.budget.tokens is not None or config.budget.usd is not None:
        return ""
    asked = [role for role in ROLES if config.chat_model(role)]
    free = [
        role
        for role in asked
        if getattr(config.roles, role).tokens is None and getattr(config.roles, role).usd is None
    ]
    if not free:
        return ""
    whose = "the model" if len(free) == len(asked) else f"the model of {_listed(free)}"
    return f" Nothing caps what {whose} may cost; --budget-tokens does."


def _listed(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last

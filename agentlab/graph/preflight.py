"""What can be known to be wrong with a run before anything of it is written.

A run that could only fail leaves a failed run behind, and the sentence that says why at its end
and not where it was asked for. So names, models, endpoints and budgets are looked at here, in the
order in which a person would put them right. Nothing is sent anywhere, and no model is loaded.
"""

from __future__ import annotations

from pathlib import Path

from agentlab.config import CHAT_KINDS, BudgetConfig, PracticeConfig, RoleConfig, is_chat_model
from agentlab.embeddings import uses_model
from agentlab.environments.registration import check_machine, make_environment
from agentlab.errors import ConfigError, UnknownNameError, UsageError
from agentlab.executors.wrapping import make_executor
from agentlab.graph.budgets import Budget
from agentlab.graph.demonstrating import read_demonstrations
from agentlab.graph.opening import refuse_secrets, refuse_unknown_price
from agentlab.graph.practice import LEAST_STEPS, LEAST_TOKENS
from agentlab.graph.seats import ROLES, STRONGER, Endpoints, asks_models, open_seat
from agentlab.models.counting import Tokens
from agentlab.models.prices import load_prices
from agentlab.models.routes import POLICY
from agentlab.proposers.desk import MOST_TOKENS
from agentlab.proposers.making import make_proposer
from agentlab.protocols import Environment, HasGrammar
from agentlab.registry import names, resolve
from agentlab.types import EnvironmentRef

LEAST_REPLY = 512
"""Tokens of the shortest reply that a strategy asks for, where the config does not say."""
KEYLESS = "name a chat model, as in `--model openai:NAME`"


def check_practice(config: PracticeConfig) -> None:
    """Return where a practice run of this config can begin.

    Raises:
        UsageError: a name, a role, an endpoint or a budget cannot be used; says what to do.
        AgentLabError: the environment cannot be made.
    """
    refuse_secrets(config)
    check_executor(config)
    proposer = make_proposer(config.proposer)
    if getattr(proposer, "needs_model", False) and not config.chat_model("proposer"):
        raise UsageError(
            f"The proposer {config.proposer!r} asks a chat model and this run has none; {KEYLESS} "
            "or 'model' of 'roles.proposer' in a --config file, or choose the proposer 'grammar'."
        )
    resolve("curriculum", config.curriculum)
    curator = resolve("curator", config.curator)
    asks = bool(config.chat_model("curator"))
    if getattr(curator, "needs_model", False) and not asks:
        raise UsageError(
            f"The curator {config.curator!r} asks a chat model and this run has none; {KEYLESS} "
            "or 'model' of 'roles.curator' in a --config file, or choose the curator 'generalise'."
        )
    if config.insights != "none":
        resolve("insights", config.insights)
        if not asks:
            raise UsageError(
                f"Insights are written by a chat model and this run has none for "
                f"{config.insights!r}; {KEYLESS} or 'model' of 'roles.curator' in a --config "
                "file, or leave --insights out."
            )
    resolve("evaluator", config.evaluator)
    # Before the endpoints: it refuses options that would put a key on record.
    world = make_environment(
        EnvironmentRef(name=config.environment, options=config.environment_options)
    )
    check_endpoints(config)
    refuse_unknown_price(config)
    refuse_small_budgets(config)
    _check_grammar(config, world, needed=getattr(proposer, "needs_grammar", False))
    read_demonstrations(config, world)
    check_machine(world)


def check_resumed(config: PracticeConfig) -> None:
    """Return where a run that began, maybe elsewhere, can go on here.

    Raises:
        UsageError: the environment is not to be had, or this machine lacks what it needs.
        AgentLabError: the environment cannot be made.
    """
    check_machine(
        make_environment(
            EnvironmentRef(name=config.environment, options=config.environment_options)
        )
    )


def check_evaluation(config: PracticeConfig) -> None:
    """Return where an evaluation with these roles, endpoint and budgets can begin.

    Raises:
        UsageError: it cannot; says what to do.
    """
    refuse_secrets(config)
    check_executor(config)
    resolve("evaluator", config.evaluator)
    check_endpoints(config)
    refuse_unknown_price(config)
    # What limits attempts, steps and time limits practice; tasks and tool calls do here.
    spends = BudgetConfig(tokens=config.budget.tokens, usd=config.budget.usd)
    refuse_small_budgets(config.model_copy(update={"budget": spends}))


def check_executor(config: PracticeConfig) -> None:
    """Return where a config's executor can be made and has the model that it asks.

    Raises:
        UsageError: it cannot, or has none.
    """
    if is_chat_model(config.acting):
        raise UsageError(f"The model {config.acting!r} needs an executor; name one, as 'react'.")
    if config.acting == config.model and (kind := config.model.partition(":")[0]) not in (
        known := names("executor")
    ):
        raise UnknownNameError("model", kind, [*known, *(f"{each}:NAME" for each in CHAT_KINDS)])
    executor = make_executor(config.acting, config.executor_options)
    if getattr(executor, "needs_model", False) and not config.chat_model("executor"):
        raise UsageError(
            f"The executor {config.acting!r} asks a chat model and the model {config.model!r} is "
            f"none; {KEYLESS}, or leave --executor out."
        )


def check_endpoints(config: PracticeConfig) -> None:
    """Return where each role's model can be opened; nothing is sent, and no weights are loaded.

    Raises:
        UsageError: one cannot.
    """
    for role in (*ROLES, STRONGER):
        spec = config.chat_model(role)
        kind, _, name = spec.partition(":")
        if kind == "local":
            if not Path(name).is_dir():
                raise ConfigError(f"There is no folder {name!r} for the model {spec!r}; name one.")
        elif spec and kind != POLICY:  # where that goes, the records of the workspace say
            open_seat(config, spec, Endpoints())


def _check_grammar(config: PracticeConfig, world: Environment, *, needed: bool) -> None:
    if isinstance(world, HasGrammar):
        return
    if not needed and is_chat_model(config.model):
        return
    remedy = getattr(world, "without_grammar", "choose an environment that has one")
    raise UsageError(
        f"Practice with the model {config.model!r} and the proposer {config.proposer!r} needs an "
        f"environment with grammar(), which {config.environment!r} has not; {remedy}."
    )


def refuse_small_budgets(config: PracticeConfig) -> None:
    """Return, unless a budget is so small that it would end the run before it began.

    Raises:
        UsageError: one is; names it and what is needed.
    """
    budget = config.budget
    if budget.attempts is not None and budget.attempts < 1:
        raise _too_small(Budget("", "attempts", budget.attempts), "an attempt", 1)
    if budget.steps is not None and budget.steps < LEAST_STEPS:
        raise _too_small(Budget("", "steps", budget.steps), "an attempt", LEAST_STEPS)
    asked = asks_models(config)
    if asked or uses_model(config.embedder):
        least = LEAST_TOKENS if asked else 1
        if budget.tokens is not None and budget.tokens < least:
            raise _too_small(Budget("", "tokens", budget.tokens), "a call to a model", least)
    for role in ROLES:
        if not config.chat_model(role):
            continue
        own: RoleConfig = getattr(config.roles, role)
        least = {"proposer": own.max_tokens or MOST_TOKENS, "curator": own.max_tokens or 1}.get(
            role, LEAST_TOKENS
        )
        if role == "proposer" and not getattr(make_proposer(config.proposer), "needs_model", False):
            least = 0
        if own.tokens is not None and own.tokens < least:
            raise _too_small(Budget(role, "tokens", own.tokens), "a call to its model", least)
        price = load_prices(config.endpoint.prices or None).of(config.chat_model(role))
        reply = price.usd(Tokens(0, 0, own.max_tokens or LEAST_REPLY)) if price else 0.0
        for holder, cap in (("", budget.usd), (role, own.usd)):
            if cap is not None and price is not None and (cap < reply or cap == 0 < price.input):
                raise _too_small(Budget(holder, "usd", cap), "a call to a model", reply)


def _too_small(budget: Budget, what: str, least: float) -> UsageError:
    told = str(budget)
    need = f"{least:.6f} US dollars" if budget.kind == "usd" else f"{least:,} {budget.kind}"
    return UsageError(
        f"{told[:1].upper()}{told[1:]} is too small for {what}, which may take {need}; give it "
        "more, or leave it out."
    )

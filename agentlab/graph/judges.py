"""A run's judge outside of it: with what it is opened to be measured, and whether it is trusted.

A judge is its evaluator, its models, its prompts and how its models are drawn from. The run that
asks whether its judge was measured and the command that measures one find all four here, so that
what was measured is what is trusted and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from agentlab.config import PracticeConfig, RoleConfig
from agentlab.environments.registration import base_name
from agentlab.errors import ConfigError
from agentlab.graph import jobs
from agentlab.graph.seats import STRONGER, Seats, open_seat, said_of, sampling_of
from agentlab.models.opening import Endpoints, sampling_for
from agentlab.models.sampled import Sampled
from agentlab.protocols import ChatModel
from agentlab.records import Workspace
from agentlab.records.calibrations import Calibrations, judge_digest, with_sampling
from agentlab.types import JsonObject


class Bench(NamedTuple):
    """The models of a judge outside a run, opened and drawn from as a run would. Close it."""

    model: ChatModel
    stronger: ChatModel | None
    options: JsonObject
    """Of an evaluator that asks a model: what the user set for it."""
    sampling: JsonObject
    """`judge_sampling` of the config."""
    endpoints: Endpoints

    async def close(self) -> None:
        """Close all connections. Safe to call twice."""
        await self.endpoints.close()


def open_bench(config: PracticeConfig) -> Bench:
    """The models that a run of this config would judge with; its budgets are the run's alone.

    Raises:
        ConfigError: the config names no chat model to judge with, or one cannot be opened.
    """
    if not config.chat_model("evaluator"):
        raise ConfigError(
            "The config names no chat model that judges; set 'model' in 'roles.evaluator', or "
            "give --model."
        )
    at = config.endpoint
    endpoints = Endpoints(at_once=at.concurrency, timeout=at.timeout)

    def opened(spec: str, own: RoleConfig) -> ChatModel:
        model = open_seat(config, spec, endpoints)
        return Sampled(model, sampling_for(spec, sampling_of(own)))

    stronger = config.chat_model(STRONGER)
    return Bench(
        opened(config.chat_model("evaluator"), config.roles.evaluator),
        opened(stronger, config.roles.stronger) if stronger else None,
        said_of(config.roles.evaluator),
        judge_sampling(config),
        endpoints,
    )


def judge_sampling(config: PracticeConfig) -> JsonObject:
    """What the user set for the models that judge, by role: with it, it is another judge."""
    said = {
        "evaluator": said_of(config.roles.evaluator),
        STRONGER: said_of(config.roles.stronger),
    }
    return {name: own for name, own in said.items() if own and config.chat_model(name)}


def judge_refusal(config: PracticeConfig, seats: Seats | None, workspace: Workspace) -> str | None:
    """Why a judge's verdict may admit nothing in runs of this config; None where it may.

    Args:
        config: of the run.
        seats: its chat models; None where it has none.
        workspace: where calibrations are kept.
    """
    if config.trust_judge:
        return None
    judge = jobs.evaluator_of(config.evaluator, seats.judging if seats else None)
    identity: Callable[..., JsonObject] | None = getattr(judge, "identity", None)
    model = seats.name("evaluator") if seats is not None else None
    if identity is None or model is None or seats is None:
        return "Only a verifier's verdict or that of a calibrated judge admits an item."
    said = identity(model, seats.name(STRONGER))
    whose = judge_digest(with_sampling(said, judge_sampling(config)))
    return Calibrations(workspace).allowed(
        whose, base_name(config.environment), floor=config.judge_floor
    )

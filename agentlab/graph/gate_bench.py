"""What the arms of a gate need: weights' models, workers and library, opened and closed together.

Practice's own budgets do not hold here: what a gate may take is its own (`gate_tokens`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from agentlab.config import BudgetConfig, PracticeConfig, RoleConfig
from agentlab.environments.registration import base_name, make_environment
from agentlab.graph.evaluation import Arm, Bench
from agentlab.graph.gate_arms import Arms
from agentlab.graph.gate_tokens import GateTokens
from agentlab.graph.opening import cores
from agentlab.graph.policies import route_of
from agentlab.graph.practice import toolset_name
from agentlab.graph.seats import ROLES, STRONGER, Seats
from agentlab.graph.watching import Watchers
from agentlab.graph.workers import WorkerPool
from agentlab.library.insights import InsightLibrary
from agentlab.library.skills import SkillLibrary
from agentlab.models.routes import POLICY
from agentlab.protocols import Observer
from agentlab.records import Records
from agentlab.records.leases import held
from agentlab.sandbox import settle_box
from agentlab.training.serving.client import ModelServerClient
from agentlab.types import EnvironmentRef

_OTHERS = ("proposer", "evaluator", "stronger", "curator")


class Weights(NamedTuple):
    """Who is asked in an arm, and how replies are drawn."""

    name: str
    version: str
    """As a policy is pinned to it: an adapter, or `base`."""
    temperature: float


@asynccontextmanager
async def at_work(
    records: Records,
    run_id: str,
    config: PracticeConfig,
    policy: str,
    weights: Sequence[Weights],
    server: ModelServerClient,
    observers: Sequence[Observer],
    *,
    library: bool,
    judged: bool,
    patience: float,
    limit: int | None,
) -> AsyncGenerator[Arms]:
    """The arms of a gate, with workers, library and models; closed at the end.

    Args:
        records: of the workspace.
        run_id: under which attempts are recorded.
        config: how attempts are made; pinned, so that no other role's model changes meanwhile.
        policy: whose versions are compared.
        weights: the arms.
        server: where they are served.
        observers: are told how far it is.
        library: whether arms are offered the library.
        judged: whether a judge's verdicts count.
        patience: seconds that a server which is away is waited for.
        limit: tokens that all of it may take; None is no limit.
    """
    tokens = GateTokens(records, run_id, limit)
    ref = EnvironmentRef(name=config.environment, options=config.environment_options)
    world = make_environment(ref)
    home = base_name(config.environment)
    box = settle_box(config.box)
    routes = {
        f"{policy}@{each.version}": route_of(records, f"{policy}@{each.version}")
        for each in weights
    }
    others = [getattr(config.roles, role).model for role in _OTHERS]
    for name in [config.model, *others]:
        if name.startswith(f"{POLICY}:"):
            spec = name.partition(":")[2]
            routes.setdefault(spec, route_of(records, spec))
    async with AsyncExitStack() as closing:
        claims = (route.adapter or "" for route in routes.values())
        closing.enter_context(held(records.workspace, claims))
        pool = WorkerPool(cores(config.concurrency), box=box.name, blobs=records.workspace.blobs)
        closing.callback(pool.close)
        skills: SkillLibrary | None = None
        told: InsightLibrary | None = None
        if library:
            skills = SkillLibrary(
                records,
                home,
                toolset=toolset_name(world.tools),
                embedder=config.embedder,
                backend=config.index,
                foreign=box.takes_foreign_code,
            )
            closing.callback(skills.close)
            told = InsightLibrary(records, home, embedder=config.embedder, backend=config.index)
            closing.callback(told.close)
        seats: dict[str, Seats] = {}
        arms: dict[str, Arm] = {}
        for each in weights:
            own = Seats(
                _asking(config, f"{POLICY}:{policy}@{each.version}", each.temperature),
                routes=routes,
                journal=tokens,
                patience=0.0,  # the gate itself waits for a server that is away
            )
            closing.push_async_callback(own.close)
            seats[each.name] = own
            arms[each.name] = Arm(each.name, config.acting, skills, told, config.executor_options)
        bench = Bench(
            run_id,
            0,
            records,
            pool,
            ref,
            config.evaluator,
            config.retrieval,
            (Watchers(observers),),
            None,
            config.advice,
        )
        needed = [route.model for route in routes.values()]
        yield Arms(
            bench, config, seats, arms, server, needed, tokens, judged=judged, patience=patience
        )


def _asking(config: PracticeConfig, model: str, temperature: float) -> PracticeConfig:
    """The config, with an executor that asks these weights, and without practice's budgets."""
    free: dict[str, RoleConfig] = {
        role: getattr(config.roles, role).model_copy(update={"tokens": None, "usd": None})
        for role in (*ROLES, STRONGER)
    }
    asked = {"model": model, "temperature": temperature}
    free["executor"] = free["executor"].model_copy(update=asked)
    roles = config.roles.model_copy(update=free)
    return config.model_copy(update={"roles": roles, "budget": BudgetConfig()})

"""The chat models of a run, by role: opened once, charged to one ledger, recorded by piece of work.

A role is given a `ChatModel` and knows nothing of what stands around it: the cache, the meter
that reserves before a call and settles after it, the recorder that keeps every call. Endpoints
are shared, so that two roles at one endpoint are one customer to it. This is the one place that
puts these wrappers together.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from agentlab.config import PracticeConfig, RoleConfig
from agentlab.errors import BudgetSpentError, ConfigError
from agentlab.graph.policies import about_of, vocabulary_of
from agentlab.models.cache import Cache, Cached
from agentlab.models.circuit import PATIENCE, Circuit, Pause
from agentlab.models.journal import Notes
from agentlab.models.ledger import Caps, Ledger
from agentlab.models.metered import Metered
from agentlab.models.opening import Endpoints, open_model, sampling_for, unsaid_for
from agentlab.models.prices import Price, load_prices
from agentlab.models.recorded import Recorded
from agentlab.models.redaction import name_secret
from agentlab.models.routes import POLICY, Route
from agentlab.models.sampled import Sampled
from agentlab.models.vocabulary import Vocabulary
from agentlab.protocols import ChatModel
from agentlab.types import (
    Allotment,
    AttemptSpec,
    ChatReply,
    ChatRequest,
    JsonObject,
    ModelCall,
    Role,
    Sampling,
    Usage,
)

STRONGER = "stronger"
ROLES: tuple[Role, ...] = get_args(Role)
ENDS = ("tokens", "usd", "executor tokens", "executor usd")
"""Budgets that end a run when they do not allow a call."""
AT_A_TIME = 8
"""Attempts under way at a time where nothing else is said: they mostly wait for an endpoint."""


class _Seat(NamedTuple):
    """One role's model, metered, and how it is asked and paid for."""

    model: ChatModel
    price: Price | None
    sampling: Sampling
    endpoints: Endpoints
    refused: set[str]
    unsaid: Sampling
    terms: str | None = None
    vocabulary: Vocabulary | None = None
    route: Route | None = None

    def recorded(
        self, role: Role, part: Ledger | None = None, library_version: str | None = None
    ) -> _Asked:
        """The seat for one piece of work, and the part of the budget that is set aside for it."""
        recorder = Recorded(
            self.model,
            role=role,
            price=self.price,
            library_version=library_version,
            terms=self.terms,
            vocabulary=self.vocabulary,
            adapter=self.route.adapter if self.route else None,
            asked=self.route.model if self.route else None,
        )
        model: ChatModel = _Refused(recorder, self.refused)
        if part is not None:
            model = Metered(model, part, role=role, price=self.price)
        # Sampling stands outside of them, so that meter and record see what is sent.
        sampled = Sampled(model, self.sampling, self.unsaid)
        return _Asked(_Patient(sampled, self.endpoints), recorder)


class _Patient:
    """A chat model that tells how long its endpoint was waited for.

    An outage pauses a run and is nobody's fault: attempts do not count it as their time.
    """

    def __init__(self, model: ChatModel, endpoints: Endpoints) -> None:
        self._model = model
        self._endpoints = endpoints

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    @property
    def paused_seconds(self) -> float:
        """Seconds that calls of this run waited for endpoints that were down."""
        return self._endpoints.paused_seconds

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The model's reply."""
        return await self._model.chat(request)


class _Refused:
    """A chat model that remembers which budget of the run did not allow a call."""

    def __init__(self, model: ChatModel, refused: set[str]) -> None:
        self._model = model
        self._refused = refused

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The model's reply; which budget did not allow it is remembered."""
        try:
            return await self._model.chat(request)
        except BudgetSpentError as error:
            self._refused.add(error.budget)
            raise


class _Asked(NamedTuple):
    """A model as a role sees it, and the recorder in it."""

    model: ChatModel
    recorder: Recorded


class AttemptSeats:
    """The models of one attempt; what they were asked is the attempt's record."""

    def __init__(
        self,
        seats: Mapping[str, _Seat],
        judging: JsonObject | None = None,
        part: Ledger | None = None,
        library_version: str | None = None,
    ) -> None:
        asked = {
            name: seats[name].recorded(
                "executor" if name == "executor" else "evaluator", part, library_version
            )
            for name in ("executor", "evaluator", STRONGER)
            if name in seats
        }
        self.judging: JsonObject = judging or {}
        """Options of an evaluator that asks a model: what the user set for it."""
        self._recorders = [each.recorder for each in asked.values()]
        models = {name: each.model for name, each in asked.items()}
        self.executor: ChatModel | None = models.get("executor")
        self.evaluator: ChatModel | None = models.get("evaluator")
        self.stronger: ChatModel | None = models.get(STRONGER)

    @property
    def calls(self) -> tuple[ModelCall, ...]:
        """Every call so far: the executor's, then the evaluator's."""
        return tuple(call for recorder in self._recorders for call in recorder.calls)


class Seats:
    """The chat models of a run. Close them when done.

    Args:
        config: says which model each role has, and the caps.
        spent: what the run has taken before, by role.
        journal: where each call's cost is written down, for a run that may be killed.
        pause: told when the run pauses because an endpoint is down, and when it goes on.
        routes: where policies' requests go.
        patience: seconds of an outage after which calls fail; else a run waits for hours.

    Raises:
        ConfigError: a price is not known and dollars are capped, or no endpoint is named.
        UnknownNameError: there is no such kind of model.
    """

    def __init__(
        self,
        config: PracticeConfig,
        spent: Mapping[Role, Usage] | None = None,
        pause: Pause | None = None,
        journal: Notes | None = None,
        routes: Mapping[str, Route] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        if config.roles.stronger.tokens is not None or config.roles.stronger.usd is not None:
            raise ConfigError(
                "'roles.stronger' has no budget of its own; set it in 'roles.evaluator', whose "
                "calls it makes."
            )
        self.concurrency = config.concurrency or AT_A_TIME
        self.reads_advice = bool(config.chat_model("executor"))
        at = config.endpoint
        self.judging: JsonObject = said_of(config.roles.evaluator)
        """Options of an evaluator that asks a model."""
        self._refused: set[str] = set()
        self._cut: set[str] = set()
        proven = any(usage.tokens for usage in (spent or {}).values())
        self._endpoints = Endpoints(
            at_once=at.concurrency,
            timeout=at.timeout,
            routes=routes,
            circuit=lambda: Circuit(proven=proven, pause=pause, patience=patience),
        )
        whole = Caps(tokens=config.budget.tokens, usd=config.budget.usd)
        roles: dict[Role, Caps] = {
            role: Caps(tokens=own.tokens, usd=own.usd)
            for role in ROLES
            for own in [_own(config, role)]
            if own.tokens is not None or own.usd is not None
        }
        # Of those that attempts spend from; the others are asked one call after another.
        self._caps: dict[Role | Literal[""], Caps] = {
            **({"": whole} if whole != Caps() else {}),
            **{role: caps for role, caps in roles.items() if role in ("executor", "evaluator")},
        }
        self._ledger = ledger = Ledger(
            whole,
            roles=roles,
            spent=spent,
            note=journal.note if journal is not None else None,
        )
        prices = load_prices(at.prices or None)
        self._seats: dict[str, _Seat] = {}
        for name in (*ROLES, STRONGER):
            spec = config.chat_model(name)
            if not spec:
                continue
            own = _own(config, name)
            model = open_seat(config, spec, self._endpoints)
            price = prices.of(spec)
            about = about_of(config, spec)
            route = _route(spec, self._endpoints)
            role: Role = "evaluator" if name == STRONGER else name
            self._seats[name] = _Seat(
                Metered(model, ledger, role=role, price=price),
                price,
                sampling_for(spec, sampling_of(own)),
                self._endpoints,
                self._refused,
                unsaid_for(spec),
                about.terms or None,
                vocabulary_of(about, route),
                route,
            )
        self._outside = self._recorders()

    def model(self, role: Role) -> ChatModel | None:
        """The model of a role outside attempts; None where it has none."""
        asked = self._outside.get(role)
        return asked.model if asked else None

    @property
    def spent_out(self) -> str | None:
        """Which budget no longer allowed a call without which a run cannot go on, or None.

        That is the run's (`tokens`, `usd`) or the executor's (`executor tokens`); a proposer or
        a curator without means makes nothing, and the others go on.
        """
        ends = [name for name in self._refused if name in ENDS]
        return min(ends, key=ENDS.index) if ends else None

    @property
    def refused(self) -> tuple[str, ...]:
        """Every budget that did not allow a call in this process: such as `usd`."""
        return tuple(sorted(self._refused))

    @property
    def paused_seconds(self) -> float:
        """Seconds that calls waited for endpoints that were down."""
        return self._endpoints.paused_seconds

    def name(self, role: str) -> str | None:
        """What the model of a role is called; None where it has none."""
        seat = self._seats.get(role)
        return seat.model.name if seat else None

    def take_calls(self) -> tuple[ModelCall, ...]:
        """The calls outside attempts since this was last asked, by role."""
        calls = tuple(call for each in self._outside.values() for call in each.recorder.calls)
        self._outside = self._recorders()
        return calls

    def attempt(self, spec: AttemptSpec) -> AttemptSeats:
        """The models of one attempt."""
        part = _ledger_of(spec.allotted, lambda: self._cut.add(spec.id))
        return AttemptSeats(self._seats, self.judging, part, spec.library_version)

    def was_cut(self, attempt: str) -> bool:
        """Whether an attempt's part did not allow a call of its; told once."""
        cut = attempt in self._cut
        self._cut.discard(attempt)
        return cut

    def share(self, attempts: int, least: Usage | None = None) -> tuple[int, tuple[Allotment, ...]]:
        """How many of these attempts the budgets pay for, and the equal part of each.

        Which call is the first that a budget does not allow then depends on the attempt alone,
        and not on whose answers came first.

        Args:
            attempts: that are wanted.
            least: what an attempt must be able to take, where fewer may be made; a budget that
                pays for none has ended the run.
        """
        allotted: list[Allotment] = []
        for scope, caps in self._caps.items():
            spent = self._ledger.spent(scope or None)
            tokens = None if caps.tokens is None else max(0, caps.tokens - spent.tokens)
            usd = None if caps.usd is None else max(0.0, caps.usd - spent.usd)
            if least is not None:
                if tokens is not None and least.tokens:
                    attempts = min(attempts, tokens // least.tokens)
                if usd is not None and least.usd:
                    attempts = min(attempts, int(usd / least.usd))
                if not attempts:
                    what = "tokens" if tokens is not None else "usd"
                    self._refused.add(f"{scope} {what}" if scope else what)
                    return 0, ()
            allotted.append(Allotment(role=scope, tokens=tokens, usd=usd))
        return attempts, tuple(_part(each, attempts) for each in allotted) if attempts else ()

    async def close(self) -> None:
        """Close all connections. Safe to call twice."""
        await self._endpoints.close()

    def _recorders(self) -> dict[Role, _Asked]:
        return {role: self._seats[role].recorded(role) for role in ROLES if role in self._seats}


def _ledger_of(allotted: Sequence[Allotment], refused: Callable[[], None]) -> Ledger | None:
    """What holds an attempt to its part of each budget; None where nothing is capped."""
    if not allotted:
        return None
    caps = {each.role: Caps(tokens=each.tokens, usd=each.usd) for each in allotted}
    roles: dict[Role, Caps] = {role: caps[role] for role in ROLES if role in caps}
    return Ledger(caps.get(""), roles=roles, whole="the attempt", refused=refused)


def _part(whole: Allotment, attempts: int) -> Allotment:
    return Allotment(
        role=whole.role,
        tokens=None if whole.tokens is None else whole.tokens // attempts,
        usd=None if whole.usd is None else whole.usd / attempts,
    )


def asks_models(config: PracticeConfig) -> bool:
    """Whether any role of the run has a chat model."""
    return any(config.chat_model(name) for name in (*ROLES, STRONGER))


def open_seats(
    config: PracticeConfig,
    spent: Mapping[Role, Usage] | None = None,
    pause: Pause | None = None,
    journal: Notes | None = None,
    routes: Mapping[str, Route] | None = None,
) -> Seats | None:
    """The chat models of a run; None where no role has one.

    Raises:
        ConfigError: one cannot be opened, or its price is needed and not known.
    """
    if not asks_models(config):
        return None
    return Seats(config, spent, pause, journal, routes)


@asynccontextmanager
async def seated(
    config: PracticeConfig, routes: Mapping[str, Route] | None = None
) -> AsyncGenerator[Seats | None]:
    """The chat models of a config, closed at the end; None where it names none."""
    seats = open_seats(config, routes=routes)
    try:
        yield seats
    finally:
        if seats is not None:
            await seats.close()


def _route(spec: str, endpoints: Endpoints) -> Route | None:
    """Where a policy's requests go; None for other models."""
    kind, _, name = spec.partition(":")
    return endpoints.route(name) if kind == POLICY else None


def total(calls: Sequence[ModelCall]) -> Usage:
    """What calls took together."""
    return Usage(tokens=sum(call.tokens for call in calls), usd=sum(call.usd for call in calls))


def said_of(own: RoleConfig) -> JsonObject:
    """The sampling that the user set for a role; everything else is the strategy's choice."""
    said = {"temperature": own.temperature, "max_tokens": own.max_tokens}
    return {name: value for name, value in said.items() if value is not None}


def open_seat(config: PracticeConfig, spec: str, endpoints: Endpoints) -> ChatModel:
    """A chat model as the config reaches it, nothing of it charged or recorded."""
    at = config.endpoint
    name_secret(at.key_variable)
    model = open_model(
        spec,
        base_url=at.base_url or None,
        key=os.environ.get(at.key_variable) or None,
        key_variable=at.key_variable,
        seed=config.seed,
        endpoints=endpoints,
        schemas=at.schemas,
    )
    return Cached(model, Cache(Path(at.cache))) if at.cache else model


def _own(config: PracticeConfig, name: str) -> RoleConfig:
    own: RoleConfig = getattr(config.roles, name)
    return own


def sampling_of(own: RoleConfig) -> Sampling | None:
    """`said_of` as a request has it; None where nothing was set.

    Raises:
        ConfigError: it cannot be used.
    """
    said = said_of(own)
    try:
        return Sampling.model_validate(said) if said else None
    except ValueError as error:
        raise ConfigError(f"The sampling {said} cannot be used: {error}.") from None

"""Attempts and their full record: steps, invocations, model calls, what was offered."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError, field_validator

from agentlab.errors import EnvironmentFaultError
from agentlab.types.base import Frozen, JsonObject, derive_id
from agentlab.types.insight import Insight
from agentlab.types.message import Role
from agentlab.types.scope import Scope
from agentlab.types.score import Score
from agentlab.types.skill import Invocation, Skill
from agentlab.types.task import Task
from agentlab.types.tool import Observation, StepResult, ToolCall
from agentlab.types.usage import Allotment, Limits, Usage

AttemptKind = Literal["practice", "shadow", "evaluation", "production"]
AttemptStatus = Literal["completed", "infrastructure_failure"]


class Step(Frozen):
    """One tool call of the trajectory and what it did."""

    call: ToolCall
    result: StepResult
    state: JsonObject | None = None
    """The environment's JSON state afterwards, where it can be read."""

    @field_validator("result", mode="before")
    @classmethod
    def _is_a_result(cls, value: object) -> object:
        return _as_typed(value, "step")


class ModelCall(Frozen):
    """One request to a model, as sent and as answered. See DESIGN, "Model call record"."""

    model: str
    role: Role = "executor"
    request: JsonObject
    response: JsonObject
    prompt_token_ids: tuple[int, ...] | None = None
    output_token_ids: tuple[int, ...] | None = None
    log_probabilities: tuple[float, ...] | None = None
    ids_verified: bool | None = None
    """As `ChatReply` has it; checked with the tokenizer where that is at hand."""
    sampling: JsonObject = Field(default_factory=dict)
    prompt_hash: str | None = None
    policy_start: str | None = None
    """The model or adapter that was asked, as the endpoint is told its name."""
    policy_end: str | None = None
    """The same as the endpoint named it when it had answered."""
    tokenizer_sha256: str | None = None
    chat_template_sha256: str | None = None
    tools_sha256: str | None = None
    """Of the tools' schemas as they were sent; None where there were none."""
    constrained: bool | None = None
    """As `ChatReply` has it."""
    redacted: bool = False
    """Whether a secret was taken out. Its ids and log-probabilities are then not kept either: they
    would spell it."""
    agentlab: str | None = None
    """The version that recorded it."""
    adapter: str | None = None
    library_version: str | None = None
    tokens: int = 0
    usd: float = 0.0
    terms: str | None = None
    began: float | None = None
    """When it was asked, in seconds since 1970; for people, and nothing sorts or compares by it."""
    seconds: float | None = None
    """Until it had answered, what it waited for included."""


class Trajectory(Frozen):
    """What happened, from reset to the last step."""

    initial: Observation
    initial_state: JsonObject | None = None
    steps: tuple[Step, ...] = ()
    invocations: tuple[Invocation, ...] = ()
    model_calls: tuple[ModelCall, ...] = ()
    answer: str | None = None

    @field_validator("initial", mode="before")
    @classmethod
    def _is_an_observation(cls, value: object) -> object:
        return _as_typed(value, "reset")

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls alone."""
        return tuple(step.call for step in self.steps)


class EnvironmentRef(Frozen):
    """How to make an environment again in another process: a registered name and options."""

    name: str
    options: JsonObject = Field(default_factory=dict)


class Offer(Frozen):
    """A retrieved item and the draw that decided whether the attempt was offered it."""

    item_id: str
    name: str
    probability: float
    """Probability of being withheld, before the draw."""
    withheld: bool
    score: float = 0.0
    """Retrieval score."""


class AttemptSpec(Frozen):
    """Everything that an attempt depends on, fixed before its first step."""

    id: str
    run_id: str
    round: int
    slot: int
    kind: AttemptKind = "practice"
    task: Task
    group_id: str
    seed: int
    environment: EnvironmentRef
    executor: str
    executor_options: JsonObject = Field(default_factory=dict)
    limits: Limits = Field(default_factory=Limits)
    allotted: tuple[Allotment, ...] = ()
    """What its calls to models may take, where a budget caps them: set aside before it begins."""
    skills: tuple[Skill, ...] = ()
    """The offered skills, and the skills those call."""
    insights: tuple[Insight, ...] = ()
    """The offered insights."""
    unverified: tuple[str, ...] = ()
    """Ids of those among them that are on trial; code that search did not make then gets a box
    for each call."""
    offers: tuple[Offer, ...] = ()
    library_version: str | None = None
    """Of the library from which the offers were drawn: `environment@number`."""
    scope: str = ""
    """Path of the scope in which it is made; what it tells stays there."""

    @field_validator("scope")
    @classmethod
    def _is_a_scope(cls, value: str) -> str:
        return Scope.parse(value).path


class Times(Frozen):
    """When an attempt was made, by the clock of the machine that made it; not part of what it gave.

    A trajectory has no times, so that the same attempt made twice is the same.
    """

    began: float
    """Seconds since 1970."""
    ended: float
    """After it was scored."""
    steps: tuple[tuple[float, float] | None, ...] = ()
    """Of each step of the trajectory, when it began and ended, in seconds after `began`; None
    where the executor does not tell."""


class AttemptOutcome(Frozen):
    """What an attempt gave. Infrastructure failures count in no rate."""

    attempt_id: str
    status: AttemptStatus = "completed"
    error: str | None = None
    trajectory: Trajectory | None = None
    score: Score = Field(default_factory=Score)
    usage: Usage = Field(default_factory=Usage)
    first_success: Usage | None = None
    """What had been spent when the goal was first reached (search keeps it for curves)."""
    skills_used: tuple[str, ...] = ()
    """Ids of the skills in the final trajectory."""
    ending: str = ""
    """How the executor says that it ended, where it does: answer, limits, budget, malformed…"""
    reason: str = ""
    """The same in a sentence."""
    assisted: bool = False
    """Whether it was helped beyond its own means, by a retry that knew of a failure, say."""
    files: dict[str, str] = Field(default_factory=dict[str, str])
    """What the environment kept of the attempt, by name: digests of blobs."""
    times: Times | None = None
    """None where nobody knows, as of one that hung."""

    @property
    def success(self) -> bool | None:
        """What counts in rates: the score's verdict.

        None for infrastructure failures, unknown scores, and successes that had help: those
        count in no success rate and in no learning progress.
        """
        if self.status != "completed" or (self.assisted and self.score.success):
            return None
        return self.score.success


def attempt_id(run_id: str, round_: int, slot: int, kind: str = "practice") -> str:
    """The id of the attempt at a place in a run."""
    return derive_id("attempt", run_id, round_, slot, kind)


def _as_typed(value: object, method: str) -> object:
    """The value, if it is what its type says.

    An environment can give one that is not: `model_copy` and `model_construct` look at nothing.
    Anything else is left to the validation that follows.

    Raises:
        EnvironmentFaultError: it is not; the text names the method that gave it.
    """
    if not isinstance(value, StepResult | Observation):
        return value
    kind = type(value)
    try:
        # Much the fastest way; what JSON finds hard, such as an infinity, takes the other one.
        if kind.model_validate_json(value.model_dump_json(warnings=False)) == value:
            return value
    except (ValueError, TypeError, RecursionError):
        pass
    try:
        kind.model_validate(value.model_dump(warnings=False))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise EnvironmentFaultError(
            f"The environment's {method}() gave what is no {kind.__name__}: {place} is "
            f"{repr(first['input'])[:80]}: {first['msg']}."
        ) from None
    return value

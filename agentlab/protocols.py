"""Every extension point, on one page. At most four methods each.

An implementation needs no base class: it fits by its methods. Register it under `kind/name` (see
`registry`) or pass the object itself. What an environment can do beyond `Environment` is said by
further small protocols, tested with `isinstance`; nothing here asks for the environment's name.
"""

from __future__ import annotations  # noqa: I001 - one name a line would not leave one page

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from agentlab.events import Event
from agentlab.types import (
    AttemptSpec, ChatReply, ChatRequest, Clause, Demonstration, GrammarSpec, Insight,
    InsightChange, JsonObject, Mission, Observation, Origin, PastAttempt, PastProposal, Replay,
    Score, Skill, Split, SplitRule, StepResult, Survey, Task, Template, ToolCall, ToolSpec,
    Trajectory, Usage,
)  # fmt: skip

# --- environments ---------------------------------------------------------------------------


class Environment(Protocol):
    """A place to act in. One instance serves one attempt at a time."""

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """The tools, the same for the instance's whole life."""
        ...

    async def reset(self, task: Task, seed: int) -> Observation:
        """Start the task afresh; nothing of an earlier attempt remains."""
        ...

    async def step(self, call: ToolCall) -> StepResult:
        """Carry out one call. A call that makes no sense gives a result with `error`."""
        ...

    async def close(self) -> None:
        """Release what the instance holds. Safe to call twice."""
        ...


class Snapshot(Protocol):
    """A saved state; opaque but for its key."""

    @property
    def key(self) -> Hashable:
        """Equal for states that behave alike from here on, verifier state included."""
        ...


@runtime_checkable
class HasSnapshots(Protocol):
    """An environment that can be put back into an earlier state of the same episode."""

    async def snapshot(self) -> Snapshot:
        """Save the state, the verifier's own included."""
        ...

    async def restore(self, snapshot: Snapshot) -> Observation:
        """Return to a saved state and show it."""
        ...


@runtime_checkable
class HasState(Protocol):
    """An environment whose state can be read as JSON, for verifiers and effect checks."""

    async def state(self) -> JsonObject:
        """The state now. A top-level value is a fact; a top-level list is a set of facts."""
        ...


@runtime_checkable
class HasDescription(Protocol):
    """An environment that can tell a proposer what it is."""

    def describe(self) -> str:
        """A page of text: what is here, what can be done, what a task looks like."""
        ...


@runtime_checkable
class HasSurvey(Protocol):
    """An environment that can look around by itself before anything is proposed there."""

    def start(self, seed: int) -> Task: ...  # noqa: D102 - without a goal, where it has no grammar

    async def survey(self, task: Task) -> Survey | None:
        """What is found from the start of a task, bounded; None where it was told not to look."""


@runtime_checkable
class ReadsRecordings(Protocol):
    """Understands a recording of somebody's use of it; one of nothing raises ConfigError."""

    def recorded(self, name: str, data: bytes) -> Demonstration: ...  # noqa: D102 - see above


class Grammar(Protocol):
    """Typed templates that build tasks, parse instructions and name achievements."""

    @property
    def spec(self) -> GrammarSpec:
        """The predicates, start-state families and limits."""
        ...

    def compose(self, mission: Mission | None, setup: str, seed: int) -> Task:
        """A task that states the mission in the start state of `setup` and `seed`.

        None composes a task without a goal, to look at the start state.

        Raises:
            InvalidTaskError: the mission cannot be stated there; the text says why.
        """
        ...

    def parse(self, instruction: str) -> Mission:
        """The clauses of an instruction.

        Raises:
            InvalidTaskError: the instruction is not of this grammar.
        """
        ...

    def achieved(self, before: JsonObject, after: JsonObject) -> Sequence[Clause]:
        """The clauses, fully described, that hold after and did not hold before."""
        ...


@runtime_checkable
class HasGrammar(Protocol):
    """An environment whose tasks can be composed and parsed."""

    def grammar(self) -> Grammar:
        """The grammar; pure, needs no reset."""
        ...


@runtime_checkable
class HasOracle(Protocol):
    """An environment that knows a solution, for `agentlab envs check` and as a ceiling."""

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        """Calls that solve the task from its start, or None where it knows none."""
        ...


@runtime_checkable
class HasTasks(Protocol):
    """An environment that brings tasks of its own, split by rule."""

    @property
    def split_rule(self) -> SplitRule:
        """Which seeds and templates are reserved."""
        ...

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        """`count` distinct tasks of the split, the same for the same seed."""
        ...


@runtime_checkable
class HasClues(Protocol):
    """An environment whose words tell where to look first; search asks, skilled or not."""

    def clues(self, calls: Sequence[ToolCall]) -> Sequence[float]:
        """For each call, minus the logarithm of what speaks for it here; empty for no clue."""
        ...


@runtime_checkable
class HasModel(Protocol):
    """An environment that shows part of itself and can simulate that, for search to plan in."""

    async def model(self) -> Environment:
        """A simulator with snapshots, in the state now, built from what was shown alone."""
        ...


# --- models and roles -----------------------------------------------------------------------


class ChatModel(Protocol):
    """A chat model. Wrappers that retry, meter, cache or record are chat models too."""

    @property
    def name(self) -> str:
        """As the run's config names it, such as `openai:gpt-5`."""
        ...

    async def chat(self, request: ChatRequest) -> ChatReply:
        """One reply.

        Raises:
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow the call, which was not made.
        """
        ...


EnvironmentFactory = Callable[[], Environment]


@dataclass(frozen=True)
class ProposalContext:
    """What a proposer works from."""

    environment: EnvironmentFactory
    split_rule: SplitRule
    count: int
    seed: int
    round: int
    templates: Sequence[Template]
    """Unassisted outcomes by template so far."""
    recent: Sequence[PastAttempt]
    """The last round's attempts, in slot order."""
    model: ChatModel | None = None
    library: Sequence[Skill] = ()
    """What is served."""
    archive: Sequence[PastProposal] = ()
    """Earlier proposals, oldest first."""
    surveys: Sequence[Survey] = ()  # of looking around, one for each family of start states


class Proposer(Protocol):
    """Makes tasks."""

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        """At most `count` tasks, for practice; whether they are admitted is not its choice."""
        ...


class Curriculum(Protocol):
    """Chooses among templates."""

    def probabilities(self, templates: Sequence[Template]) -> Sequence[float]:
        """One probability each, summing to 1; templates are in a fixed order."""
        ...


@dataclass(frozen=True)
class ExecutionContext:
    """What an executor works with; live objects, used by one attempt."""

    spec: AttemptSpec
    environment: Environment
    runtime: SkillRuntime
    model: ChatModel | None = None


class Execution(NamedTuple):
    """What an executor gives back."""

    trajectory: Trajectory
    usage: Usage
    first_success: Usage | None = None
    assisted: bool = False
    """Whether the executor was told of a failure on the way: its success counts in no rate."""


class Executor(Protocol):
    """Attempts a task.

    One whose `cpu_bound` is true is run in worker processes, where there are no models; of a
    wrapper whose `needs_model` is true only what it wraps goes there, try by try.
    """

    async def execute(self, context: ExecutionContext) -> Execution:
        """Try `context.spec.task` within `context.spec.limits`."""
        ...


@dataclass(frozen=True)
class EvaluationContext:
    """What an evaluator may look at."""

    task: Task
    trajectory: Trajectory
    runtime: SkillRuntime
    model: ChatModel | None = None
    stronger: ChatModel | None = None
    """Asked where `model` disagrees with itself."""
    picture: Callable[[str], bytes] | None = None
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """A picture by its digest, where there are any; and digests of what was kept, by name."""


class Evaluator(Protocol):
    """Scores an attempt."""

    async def evaluate(self, context: EvaluationContext) -> Score:
        """The verdict; unknown where it cannot tell."""
        ...


@dataclass(frozen=True)
class CurationContext:
    """What a curator works from: solved attempts and the library as it is."""

    environment: str
    toolset: str
    attempts: Sequence[PastAttempt]
    library: Sequence[Skill]
    """Every skill ever proposed here, newest version of each name last."""
    refused: Sequence[Skill]
    """Those of them that admission turned down."""
    tools: Sequence[ToolSpec]
    grammar: Grammar | None = None
    compose: bool = True
    """Whether a skill may call skills."""
    model: ChatModel | None = None


class Curator(Protocol):
    """Distils attempts into candidates."""

    async def curate(self, context: CurationContext) -> Sequence[Skill]:
        """Candidates, best supported first; each is admitted or refused elsewhere."""
        ...


@dataclass(frozen=True)
class HoningContext:
    """A candidate that admission turned down, and what is known of its failure."""

    skill: Skill
    reason: str
    """What admission said, `<gate>: <what happened>`."""
    replays: Sequence[Replay]
    """All its replays, those that passed too; what failed differs from them."""
    starts: Sequence[JsonObject]
    """The states in which the attempts began that it was derived from."""
    tools: Sequence[ToolSpec]
    grammar: Grammar | None = None
    model: ChatModel | None = None


@runtime_checkable
class Honer(Protocol):
    """A curator that can mend a candidate."""

    async def hone(self, context: HoningContext) -> Skill | None:
        """The candidate's next version, with `parent` set, or None where it knows no remedy.

        It keeps name, environment and sources, and starts over: it is judged like any other.
        """
        ...


@dataclass(frozen=True)
class InsightContext:
    """What an insight curator works from."""

    environment: str
    attempts: Sequence[PastAttempt]
    """The last round's, solved or not, in slot order."""
    library: Sequence[Insight]
    """The served insights, by id."""
    model: ChatModel
    embedder: Embedder
    seed: int = 0


class InsightCurator(Protocol):
    """Distils attempts into advice."""

    async def curate(self, context: InsightContext) -> Sequence[InsightChange]:
        """Changes to the library of insights; each is admitted or refused elsewhere."""
        ...


# --- where skill code runs ------------------------------------------------------------------

Perform = Callable[[ToolCall], Awaitable[StepResult]]


class SkillReturn(NamedTuple):
    """How a skill call ended."""

    completed: bool
    """It returned; False when it raised, was stopped, or hit a limit."""
    value: JsonValue = None
    error: str | None = None


class SkillRuntime(Protocol):
    """Runs skill code outside the agent's process. Each call has a fresh namespace.

    Skill code sees `env` alone. `env.<tool>(…)` is sent to the host, which performs it as an
    ordinary step through `perform` and answers; a refused call raises in the skill. When
    `perform` raises `EpisodeOver` the skill is stopped and the call returns not completed.
    """

    async def open(self, skills: Sequence[Skill], tools: Sequence[ToolSpec]) -> None:
        """Make these skills callable, for one attempt.

        Raises:
            SkillRefusedError: one of them may not run here.
        """
        ...

    async def call(self, name: str, arguments: JsonObject, perform: Perform) -> SkillReturn:
        """Call a skill; its tool calls go to `perform`, one at a time."""
        ...

    async def evaluate(
        self, source: str, function: str, arguments: JsonObject, *, origin: Origin = "search"
    ) -> JsonValue:
        """Call a pure function of generated code, such as an effect check or a verifier.

        Raises:
            SkillRefusedError: code of that origin may not run here.
            SkillFaultError: it raised, or did not end in time.
        """
        ...

    async def close(self) -> None:
        """End whatever runs. Safe to call twice."""
        ...


class EpisodeOver(Exception):
    """Raised by `perform` when the episode or the budget ended inside a skill."""


# --- library, and looking on ----------------------------------------------------------------

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def name(self) -> str:
        """Stored with every vector; a vector of another embedder is never compared."""
        ...

    @property
    def dimension(self) -> int:
        """Length of each vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row each, shape `(len(texts), dimension)`, float32, length 1 or all zero."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """An embedder behind which is a model that somebody may have to pay for."""

    @property
    def tokens(self) -> int:
        """What this instance has sent so far, in the model's tokens."""
        ...


class Match(NamedTuple):
    """A found item."""

    id: str
    similarity: float
    """Cosine, in [-1, 1]."""


class VectorIndex(Protocol):
    """Nearest vectors within one collection; derived, never the only copy."""

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Take out; unknown ids are ignored."""
        ...

    def search(self, vector: Vectors, k: int) -> Sequence[Match]:
        """The k nearest by cosine, best first, ties by id."""
        ...

    def ids(self) -> Sequence[str]:
        """Everything it holds, sorted."""
        ...


class Observer(Protocol):
    """Is told what happens. One that raises is logged and dropped."""

    def notify(self, event: Event) -> None:
        """Called after what the event reports is recorded."""
        ...

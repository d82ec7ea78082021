"""Tasks composed over BFCL's APIs: effects on their state, for search and for models.

An episode has one API in one of the package's own scenarios, and a note of values to use. The
task asks for one to three effects on the API's state (`effects.EffectGrammar`) and is solved at
the first step after which they all hold. A call may be given only what is shown: values in the
state, state words, and the note. There is no step limit; attempts bring theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.environments.bfcl import schemas
from agentlab.environments.bfcl.options import chosen
from agentlab.environments.bfcl.practising import ApiGrammar, Solved, composed_tasks
from agentlab.environments.bfcl.starts import SUBJECTS, Start, start
from agentlab.environments.bfcl.vocabulary import Domain, Seen
from agentlab.environments.bfcl.world import World
from agentlab.environments.effects import LOOK_AROUND
from agentlab.errors import InvalidTaskError, UsageError
from agentlab.types import (
    Entity,
    JsonObject,
    Mission,
    Observation,
    Split,
    SplitRule,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
)

ENVIRONMENT = "bfcl"
KEPT_VIEWS = 5_000
"""Observations kept; search comes back to the same states again and again."""


class Moment(NamedTuple):
    """A saved state; its key is all of it."""

    world: World
    over: bool

    @property
    def key(self) -> tuple[str, bool]:
        """Equal for states that behave alike from here on."""
        return (self.world.key, self.over)


class Composed:
    """Tasks composed over the APIs' state, for practice without a model as well as with one.

    Args:
        apis: which of the APIs there are; those of
            `starts.SUBJECTS` by default. Each is a family of start states.
    """

    def __init__(self, *, apis: str | Sequence[str] = tuple(SUBJECTS)) -> None:
        self._apis = chosen("apis", apis, tuple(SUBJECTS))
        self._tools = tuple(
            _pointing(tool, SUBJECTS[api].takes.get(tool.name))
            for api in self._apis
            for tool in schemas.tools_of((api,))
        )
        self._specs = {tool.name: tool for tool in self._tools}
        self._owner = {t.name: api for api in self._apis for t in schemas.tools_of((api,))}
        self._grammar = ApiGrammar(ENVIRONMENT, self._apis)
        self._api = ""
        self._start: Start | None = None
        self._mission: Mission | None = None
        self._now = Moment(World({}), over=True)
        self._views: dict[str, Observation] = {}

    @classmethod
    def from_argument(cls, argument: str, **options: object) -> Composed:
        """`bfcl:TicketAPI`: that API alone; several are separated by commas."""
        return cls(apis=argument, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]  # checked before

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """Every function of the chosen APIs."""
        return self._tools

    async def reset(self, task: Task, seed: int) -> Observation:
        """Start the task; its start state comes from the task's own seed.

        Raises:
            InvalidTaskError: the task is not of these APIs.
        """
        api = task.setup.get("setup")
        if not isinstance(api, str) or api not in self._apis:
            raise InvalidTaskError(f"A start state is one of {self._apis}, not {api!r}.")
        mission = task.mission
        if mission is None and task.instruction != LOOK_AROUND:
            mission = self._grammar.parse(task.instruction)
        begun = start(api, task.seed)
        if begun is not self._start:
            self._views = {}
        self._api, self._start, self._mission = api, begun, mission
        self._now = Moment(begun.world, over=False)
        return self._view()

    async def step(self, call: ToolCall) -> StepResult:
        """Carry out one call; what cannot be done is refused with a sentence."""
        self._current()
        refusal = self._refusal(call)
        if refusal is not None:
            return self._refused(refusal)
        answer = self._now.world.call(call.tool, call.arguments)
        if answer.error is not None:
            return self._refused(answer.error)
        solved = self._mission is not None and self._grammar.met(
            self._mission, facts_of(self._api, answer.world)
        )
        self._now = Moment(answer.world, solved)
        view = self._view()
        return StepResult.model_construct(
            observation=Observation.model_construct(
                text=f"{answer.text}\n{view.text}", entities=view.entities
            ),
            reward=float(solved),
            terminated=solved,
        )

    async def close(self) -> None:
        """Nothing is held but memory."""
        self._start = None
        self._views = {}

    async def snapshot(self) -> Moment:
        """The state, which is a value: saving it costs nothing."""
        self._current()
        return self._now

    async def restore(self, snapshot: object) -> Observation:
        """Return to a state of this episode."""
        self._current()
        if not isinstance(snapshot, Moment):
            raise UsageError("bfcl: only a snapshot that this environment made can be restored.")
        self._now = snapshot
        return self._view()

    async def state(self) -> JsonObject:
        """The API's attributes as facts; see `vocabulary.Subject.facts`."""
        self._current()
        return facts_of(self._api, self._now.world)

    def describe(self) -> str:
        """What is here, for a proposer."""
        lines = [
            "One of several APIs is there, with a state that can be read and values to use.",
            "A task names effects on that state: Bring it about that …, and that ….",
            "",
            *(f"- {tool.name}: {tool.description}" for tool in self._tools),
        ]
        return "\n".join(lines)

    def grammar(self) -> ApiGrammar:
        """The grammar over these APIs."""
        return self._grammar

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        """The solution that the task was made from; None for other tasks."""
        return task.solution

    @property
    def split_rule(self) -> SplitRule:
        """Seeds by residue; three effects, and some pairs, only in evaluation."""
        return self._grammar.split_rule

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        """Distinct tasks that random calls solved; see `practising.composed_tasks`."""
        return composed_tasks(self._grammar, self, split, count, seed)

    def offers(self, now: Solved) -> tuple[Entity, ...]:
        """What is shown in a state that random calls led to."""
        return entities_of(now.api, now.world, start(now.api, now.seed).notes)

    def _refusal(self, call: ToolCall) -> str | None:
        if self._now.over:
            return "The episode is over."
        tool = self._specs.get(call.tool)
        if tool is None:
            return f"There is no tool named {call.tool[:80]!r}."
        if self._owner[call.tool] != self._api:
            return f"The tool {call.tool!r} belongs to an API that is not there now."
        why = schemas.fault(tool, call.arguments)
        if why is not None:
            return f"The tool {call.tool!r} cannot be called so: {why[:200]}."
        takes = SUBJECTS[self._api].takes.get(call.tool, {})
        for name, value in call.arguments.items():
            wanted = takes.get(name)
            if isinstance(wanted, str) and not any(
                _same(entity.reference, value)
                for entity in self._view().entities
                if entity.type == wanted
            ):
                return f"There is no {wanted} {str(value)[:80]!r} here to give as {name!r}."
        return None

    def _refused(self, reason: str) -> StepResult:
        return StepResult.model_construct(observation=self._view(), error=reason, steps=0)

    def _view(self) -> Observation:
        begun, world = self._current(), self._now.world
        known = self._views.get(world.key)
        if known is None:
            if len(self._views) >= KEPT_VIEWS:
                self._views.clear()
            entities = entities_of(self._api, world, begun.notes)
            known = self._views[world.key] = Observation(text=_text(entities), entities=entities)
        return known

    def _current(self) -> Start:
        if self._start is None:
            raise UsageError("bfcl: call reset() before anything else.")
        return self._start


def facts_of(api: str, world: World) -> JsonObject:
    """The facts of an API in a world. Do not change what is returned."""
    return SUBJECTS[api].facts(world.kept[api].attributes)


def entities_of(api: str, world: World, notes: Sequence[Seen]) -> tuple[Entity, ...]:
    """What can be given to calls: the state's values first, each value once."""
    found: list[Entity] = []
    seen: set[tuple[bool, JsonValue]] = set()
    for thing in (*SUBJECTS[api].seen(world.kept[api].attributes), *notes):
        value = thing.value
        if not isinstance(value, str | int | float) or (isinstance(value, bool), value) in seen:
            continue
        seen.add((isinstance(value, bool), value))
        kinds: list[JsonValue] = [thing.type, *thing.kinds]
        found.append(
            Entity.model_construct(
                type=thing.type, reference=value, properties={"kind": kinds, "value": value}
            )
        )
    return tuple(found)


def _same(reference: JsonValue, value: JsonValue) -> bool:
    return reference == value and isinstance(reference, bool) == isinstance(value, bool)


def _text(entities: Sequence[Entity]) -> str:
    lines: dict[str, list[str]] = {}
    for entity in entities:
        lines.setdefault(entity.type, []).append(repr(entity.reference))
    return "\n".join(f"{kind}: {', '.join(values)}" for kind, values in lines.items())


def _pointing(tool: ToolSpec, takes: Mapping[str, Domain] | None) -> ToolSpec:
    """The tool with, in its schema, what its parameters take here."""
    properties = dict(cast("dict[str, JsonObject]", tool.parameters["properties"]))
    for name, domain in (takes or {}).items():
        if isinstance(domain, str):
            # Which type a reference has is the scenario's business: some ids are text.
            said = {key: value for key, value in properties[name].items() if key != "type"}
            properties[name] = {**said, "x-entity": domain}
        else:
            properties[name] = {**properties[name], "enum": list(domain)}
    parameters: JsonObject = {**tool.parameters, "properties": {**properties}}
    return tool.model_copy(update={"parameters": parameters})

"""One episode in which somebody else chooses the calls.

Every call is looked at before it is made: its name, its arguments, and what the skill says that
it needs. What a caller did wrong is told in the answer and raises nothing, because mostly a model
made the call and can put it right. Steps are recorded as in any attempt, and after a skill its own
effect check is asked, in a box, whether it did what it says. Nothing here reads or writes records.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import cast

from pydantic import JsonValue

from agentlab.errors import AgentLabError, EnvironmentFaultError, SkillFaultError
from agentlab.executors.acting import Acting, offered_skills, shown, told
from agentlab.executors.fitting import unfit
from agentlab.executors.toolbox import Fault, Toolbox
from agentlab.graph.jobs import scored
from agentlab.graph.replays import effect_after
from agentlab.models.prompts import DATA, quoted
from agentlab.models.redaction import known
from agentlab.protocols import (
    Environment,
    EpisodeOver,
    ExecutionContext,
    HasState,
    SkillReturn,
    SkillRuntime,
)
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    Frozen,
    JsonObject,
    Score,
    Skill,
    ToolCall,
    ToolUse,
)

OVER = "The episode is over, so nothing was done; begin another."
BROKEN = "The call before was broken off, so what there is now is not known; begin another episode."
OUT = (
    "The skill {name!r}, or one that it calls, was taken out of service, so it was not run; begin "
    "another episode and ask for the tools again."
)


class CallResult(Frozen):
    """What came of one call.

    Example:
        >>> CallResult(name="go", text="Done.", effect=True).worked
        True
    """

    name: str
    """As it was called."""
    text: str
    """All of it for a model; what others wrote stands between marks of quoted data."""
    completed: bool = True
    """Whether the call was carried out to its end."""
    effect: bool | None = None
    """What the skill's own effect check said afterwards; None of a tool, or where the environment
    tells no state."""
    error: str | None = None
    """Why it was not carried out, or how it failed."""
    value: JsonValue = None
    """What the skill returned."""
    observation: str = ""
    """What the environment shows now."""
    tool_calls: int = 0
    """Calls of the environment's tools that it made, refused ones too."""
    over: bool = False
    """Whether the episode is over."""
    solved: bool = False
    """Whether the task's own verifier ended it as a success."""

    @property
    def worked(self) -> bool:
        """Whether it was carried out and no effect check says otherwise."""
        return self.completed and self.effect is not False


class Visit:
    """One episode. Begin it with `begin`, end it with `end`; calls wait for one another.

    Args:
        spec: what is attempted, with which skills.
        environment: reset for this; used by nobody else meanwhile.
        runtime: where the skills' code runs; they are open in it.
        acting: records what is done.
        toolbox: what may be called, by which name.
        serves: whether a skill still serves, by its id, with what it calls.
        goal: whether the task asks for anything.
    """

    def __init__(
        self,
        spec: AttemptSpec,
        environment: Environment,
        runtime: SkillRuntime,
        acting: Acting,
        toolbox: Toolbox,
        serves: Callable[[str], bool],
        *,
        goal: bool,
    ) -> None:
        self.spec = spec
        self.toolbox = toolbox
        self._environment = environment
        self._runtime = runtime
        self._acting = acting
        self._serves = serves
        self._goal = goal
        self._lock = asyncio.Lock()
        self._solved = False
        self._broken = False
        self._fault = ""
        self._effects: list[JsonValue] = []

    @classmethod
    async def begin(
        cls,
        spec: AttemptSpec,
        environment: Environment,
        runtime: SkillRuntime,
        serves: Callable[[str], bool],
        *,
        goal: bool,
        tools: bool,
    ) -> Visit:
        """Reset the environment and open the skills.

        Raises:
            SkillRefusedError: the box does not take the code of one of them.
            EnvironmentFaultError: the environment cannot be reset.
        """
        await runtime.open(spec.skills, environment.tools)
        acting = await Acting.begin(ExecutionContext(spec, environment, runtime), None)
        own = environment.tools if tools else ()
        toolbox = Toolbox(own, offered_skills(spec))
        return cls(spec, environment, runtime, acting, toolbox, serves, goal=goal)

    @property
    def observation(self) -> str:
        """What the environment shows now, for a model: quoted, with what calls can refer to."""
        return shown(self._acting.seen)

    @property
    def opening(self) -> str:
        """The task and what there is, for the first message to a model."""
        asked = f"Your task: {quoted(self.spec.task.instruction)}\n" if self._goal else ""
        return f"{DATA}\n{asked}What there is now: {self.observation}"

    async def call(self, name: str, arguments: Mapping[str, object] | str) -> CallResult:
        """Make one call; whatever is wrong with it is in the answer.

        Raises:
            EnvironmentFaultError: the environment broke; the episode is over with it.
        """
        async with self._lock:
            wanted = self.toolbox.read(ToolUse(id="", name=name, arguments=_spelt(arguments)))
            if isinstance(wanted, Fault):
                return self._told(name, error=wanted.text)
            if self._broken or self._acting.over:
                return self._told(name, error=BROKEN if self._broken else OVER)
            if wanted.skill is not None and not self._serves(wanted.skill.id):
                return self._told(name, error=OUT.format(name=wanted.skill.name))
            try:
                if wanted.skill is None:
                    return await self._tool(
                        name, ToolCall(tool=wanted.name, arguments=wanted.arguments)
                    )
                return await self._skill(name, wanted.skill, wanted.arguments)
            except asyncio.CancelledError:
                self._broken = True
                raise
            except EnvironmentFaultError as error:
                self._broken, self._fault = True, str(error)
                raise
            except AgentLabError:
                self._broken = True
                raise
            except Exception as error:  # an environment is foreign code, which may raise anything
                self._broken = True
                self._fault = known().text(f"{type(error).__name__} in a call: {error}")
                raise EnvironmentFaultError(
                    f"The environment {self.spec.environment.name!r} broke, {self._fault}; begin "
                    "another episode."
                ) from error

    async def end(self) -> AttemptOutcome:
        """What the episode came to; it takes no further call."""
        async with self._lock:
            self._broken = True
            done = self._acting.finish("episode")
            if self._fault:
                return AttemptOutcome(
                    attempt_id=self.spec.id,
                    status="infrastructure_failure",
                    error=self._fault,
                    usage=done.usage,
                )
            trajectory = done.trajectory
            # Scored though nothing was called: who is denied a skill may have nothing to call.
            score = Score(explanation="nothing was asked for")
            if self._goal:
                score = await scored(self.spec, trajectory, "verifier", self._runtime)
            evidence: JsonObject = {**score.evidence, "effects": list(self._effects)}
            return AttemptOutcome(
                attempt_id=self.spec.id,
                trajectory=trajectory,
                score=score.model_copy(update={"evidence": evidence}),
                usage=done.usage,
                first_success=done.first_success,
                skills_used=tuple(dict.fromkeys(i.skill_id for i in trajectory.invocations)),
                ending="episode" if self._acting.over else "left",
            )

    async def _tool(self, name: str, call: ToolCall) -> CallResult:
        before = self._acting.steps
        try:
            result = await self._acting.use_tool(call)
        except EpisodeOver:
            return self._told(name, error="The episode's limit of tool calls is reached.")
        self._solved = self._solved or result.succeeded
        now = f"What there is now: {self.observation}"
        text = now if result.error is None else f"Refused: {quoted(result.error)}\n{now}"
        return self._told(name, text=text, error=result.error, since=before)

    async def _skill(self, name: str, skill: Skill, arguments: JsonObject) -> CallResult:
        initial = await self._state()
        why = unfit(skill, arguments, initial, self._acting.seen.entities)
        if why is not None:
            return self._told(name, error=f"Not run: {quoted(why)}")
        before = self._acting.steps
        try:
            returned = await self._acting.use_skill(skill, arguments)
        except SkillFaultError as error:
            returned = SkillReturn(False, error=str(error))
        self._solved = self._solved or self._acting.meter.first_success is not None
        effect = await self._effect(skill, initial, arguments)
        # A skill is stopped where the episode ends inside it: what it was called for is done.
        ended = self._acting.over and self._solved and not returned.completed
        text = told(returned, self._acting)
        if ended:
            text = (
                f"The skill ran until the task was solved.\nWhat there is now: {self.observation}"
            )
        if effect is not None:
            text += f"\nIts effect check says that it {'worked' if effect else 'did not work'}."
        error = None if returned.completed or ended else (returned.error or "it was stopped")
        return self._told(
            name,
            text=text,
            error=error,
            since=before,
            effect=effect,
            value=returned.value,
        )

    async def _effect(
        self, skill: Skill, initial: JsonObject | None, arguments: JsonObject
    ) -> bool | None:
        final = await self._state()
        effect = (await effect_after(skill, initial, final, arguments, self._runtime)).effect
        if effect is not None:
            self._effects.append({"skill": skill.id, "shown": effect})
        return effect

    async def _state(self) -> JsonObject | None:
        if not isinstance(self._environment, HasState):
            return None
        return await cast("HasState", self._environment).state()

    def _told(
        self,
        name: str,
        *,
        text: str = "",
        error: str | None = None,
        since: int | None = None,
        effect: bool | None = None,
        value: JsonValue = None,
    ) -> CallResult:
        acting = self._acting
        text = text or error or ""
        if acting.over and error != OVER:
            text += "\nThe episode is over" + ("; the task is solved." if self._solved else ".")
        return CallResult(
            name=name,
            text=text,
            completed=error is None,
            effect=effect,
            error=error,
            value=value,
            observation=acting.seen.text,
            tool_calls=0 if since is None else acting.steps - since,
            over=acting.over,
            solved=self._solved,
        )


def _spelt(arguments: Mapping[str, object] | str) -> str:
    """Arguments as JSON; what cannot be spelt so is told as the fault that it is."""
    if isinstance(arguments, str):
        return arguments
    try:
        return json.dumps(dict(arguments), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return f"arguments of {type(arguments).__name__}"

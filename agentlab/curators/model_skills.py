"""Skills that a model writes: a function from one or more solved attempts at a kind of task.

Several attempts are contrasted: what differs becomes a parameter. The reply is a function with
typed parameters, docstring, effect check and tests; what does not parse, reaches past its tools,
calls no known tool or holds a task's constants goes back to the model with the reason, at most
twice, and is then dropped with the reason in the log. A candidate's origin is `model`, so that its
code runs only in a box, and admission is the same as for what search found.

The procedure-from-solved-attempts idea is that of Voyager (MineDojo/Voyager) and of ASI
(zorazrw/agent-skill-induction); that several attempts are contrasted is after ReasoningBank
(google-research/reasoning-bank). Unlike these, nothing here decides that the code works.

Works without a grammar, or where what a function does has no name in one that was derived:
`achieves` is then None, every parameter is the caller's to fill, and admission asks more of the
effect check (`library.controls`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from pydantic import model_validator

from agentlab.curators.generalise import identity
from agentlab.curators.skill_reply import Ground, SkillReply, skill_of
from agentlab.curators.telling import cut, practised, told, tool_lines
from agentlab.errors import UsageError
from agentlab.library.constants import particulars
from agentlab.models.prompts import Prompt
from agentlab.models.structured import ask
from agentlab.protocols import ChatModel, CurationContext, HoningContext
from agentlab.types import (
    ChatRequest,
    Frozen,
    GrammarSpec,
    PastAttempt,
    Replay,
    Sampling,
    Skill,
    canonical_json,
)

log = logging.getLogger(__name__)

REPLAYS = 5
"""Replays of each kind that a model is told of when it mends."""


UNNAMED = "anything else; leave `achieves` null, and the effect check alone tells what it does"
"""Said where the grammar was derived, so that not everything worth doing has a name."""


class _Write(Frozen):
    attempts: tuple[str, ...]
    tools: tuple[str, ...]
    skills: tuple[str, ...]
    clauses: tuple[str, ...]
    taken: tuple[str, ...]
    kind: str


class _Mend(Frozen):
    source: str
    effect_source: str
    reason: str
    failed: tuple[str, ...]
    passed: tuple[str, ...]
    shown: str
    achieves: str
    starts: tuple[str, ...]
    parameters: tuple[str, ...]
    tools: tuple[str, ...]
    clauses: tuple[str, ...]


WRITE = Prompt("agentlab.curators", "skill_write", _Write)
MEND = Prompt("agentlab.curators", "skill_mend", _Mend)


class Dropped(NamedTuple):
    """What a model could not make a skill of."""

    attempts: tuple[str, ...]
    """Ids of the attempts."""
    reason: str


class SkillCurator:
    """Implements `protocols.Curator` and `protocols.Honer` with a model. See the module.

    Args:
        proposals: kinds of task for which a function is asked in a round, those with the most
            solved tasks first.
        shown: attempts, at different tasks, that the model is shown for each.
        sampling: how replies are drawn.
    """

    needs_model = True

    def __init__(
        self, *, proposals: int = 4, shown: int = 3, sampling: Sampling | None = None
    ) -> None:
        self._proposals = proposals
        self._shown = shown
        self._sampling = sampling or Sampling(max_tokens=4096)
        self.dropped: tuple[Dropped, ...] = ()
        """What the last `curate` came to nothing with."""

    async def curate(self, context: CurationContext) -> Sequence[Skill]:
        """Candidates, best supported first. See `protocols.Curator`.

        An attempt is learnt from once: one that a model's skill was derived from, whatever became
        of that, only stands beside new ones.

        Raises:
            UsageError: there is no model.
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
        """
        model = _model(context.model)
        known = {identity(skill): skill for skill in context.library}
        refused = {skill.id for skill in context.refused}
        helpers = {s.name: s for s in context.library if s.id not in refused}
        taken = {skill.name for skill in context.library}
        dropped: list[Dropped] = []
        candidates: list[Skill] = []
        for kind, attempts in self._kinds(context):
            ground = _ground(context, attempts, helpers, frozenset(taken))
            inputs = _Write(
                attempts=tuple(
                    f"Attempt {number}\n{told(attempt, states=True)}"
                    for number, attempt in enumerate(attempts, start=1)
                ),
                tools=tool_lines(context.tools),
                skills=_skill_lines(helpers, context.compose),
                clauses=_clauses(ground.spec),
                taken=tuple(sorted(taken)) or ("none",),
                kind=kind,
            )
            request = ChatRequest(
                messages=WRITE.messages(inputs),
                schema_name="skill",
                sampling=self._sampling,
                prompt=WRITE.ref,
            )
            skill, reason = await _written(model, request, ground)
            if skill is not None and identity(skill) in known:
                skill, reason = None, f"{known[identity(skill)].name!r} is the same"
            if skill is None:
                log.info("No skill was made for %r: %s", kind, reason)
                dropped.append(Dropped(tuple(a.attempt_id for a in attempts), reason))
                continue
            known[identity(skill)] = skill
            taken.add(skill.name)
            candidates.append(skill)
        self.dropped = tuple(dropped)
        return candidates

    async def hone(self, context: HoningContext) -> Skill | None:
        """The candidate's next version, from what failed. See `protocols.Honer`.

        Code that a model did not write is left to others: a version made here under their origin
        would be run as theirs.

        Raises:
            UsageError: there is no model.
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
        """
        skill = context.skill
        if skill.origin != "model":
            return None
        model = _model(context.model)
        ground = Ground(
            environment=skill.environment,
            toolset=skill.toolset,
            tools={tool.name: tool for tool in context.tools},
            callable=frozenset(skill.skills),
            taken=frozenset(),
            attempts=(),
            spec=context.grammar.spec if context.grammar is not None else None,
            particulars=None,
            before=skill,
        )
        failed = [replay for replay in context.replays if not _worked(replay)]
        passed = [replay for replay in context.replays if _worked(replay)]
        inputs = _Mend(
            source=skill.source,
            effect_source=skill.effect_source,
            reason=cut(context.reason),
            failed=tuple(map(_replay_line, failed[:REPLAYS])) or ("none on record",),
            passed=tuple(map(_replay_line, passed[:REPLAYS])) or ("nowhere",),
            shown=next((replay.shown for replay in failed if replay.shown), "not known"),
            achieves=_achieved(skill),
            starts=tuple(cut(canonical_json(s), 1000) for s in context.starts[:2]) or ("unknown",),
            parameters=tuple(
                f"{p.name}: {p.type}, requires {canonical_json(p.requires)}"
                for p in skill.parameters
            )
            or ("none",),
            tools=tool_lines(context.tools),
            clauses=_clauses(ground.spec),
        )
        request = ChatRequest(
            messages=MEND.messages(inputs),
            schema_name="skill",
            sampling=self._sampling,
            prompt=MEND.ref,
        )
        mended, reason = await _written(model, request, ground)
        if mended is None:
            log.info("The skill %r was not mended: %s", skill.name, reason)
        elif _unchanged(mended, skill):
            return None
        return mended

    def _kinds(self, context: CurationContext) -> list[tuple[str, list[PastAttempt]]]:
        """Templates with something new to learn from, and the attempts to show for each."""
        learnt = {
            attempt
            for skill in context.library
            if skill.origin == "model"
            for attempt in skill.source_attempts
        }
        by_kind: dict[str, dict[str, PastAttempt]] = {}
        solved = [a for a in practised(context.attempts) if a.success and a.tool_calls]
        # New attempts go before old ones, and short solutions before long ones.
        for attempt in sorted(solved, key=lambda a: (a.attempt_id in learnt, a.tool_calls)):
            by_kind.setdefault(attempt.task.template, {}).setdefault(attempt.task.id, attempt)
        kinds = [
            (kind, list(by_task.values()))
            for kind, by_task in by_kind.items()
            if any(attempt.attempt_id not in learnt for attempt in by_task.values())
        ]
        kinds.sort(key=lambda pair: (-len(pair[1]), pair[0]))
        return [(kind, attempts[: self._shown]) for kind, attempts in kinds[: self._proposals]]


def _model(model: ChatModel | None) -> ChatModel:
    if model is None:
        raise UsageError(
            "The curator 'skills' asks a chat model and there is none; name one, such as "
            "`--model openai:<model>`, or use the curator 'generalise'."
        )
    return model


def _ground(
    context: CurationContext,
    attempts: Sequence[PastAttempt],
    helpers: Mapping[str, Skill],
    taken: frozenset[str],
) -> Ground:
    spec = context.grammar.spec if context.grammar is not None else None
    trajectories = [a.trajectory for a in attempts if a.trajectory is not None]
    states = [t.initial_state for t in trajectories if t.initial_state is not None]
    return Ground(
        environment=context.environment,
        toolset=context.toolset,
        tools={tool.name: tool for tool in context.tools},
        callable=frozenset(helpers) if context.compose else frozenset(),
        taken=taken,
        attempts=attempts,
        spec=spec,
        particulars=particulars(
            [attempt.task for attempt in attempts],
            [trajectory.initial.entities for trajectory in trajectories],
            states,
            tools=context.tools,
            spec=spec,
        ),
    )


async def _written(
    model: ChatModel, request: ChatRequest, ground: Ground
) -> tuple[Skill | None, str]:
    """The skill that the model writes in at most three replies, or the reason why there is none."""
    made: list[Skill] = []
    reasons = ["no reply could be used"]

    class Judged(SkillReply):
        """A reply that is valid only where it can be a skill, so that `ask` sends it back."""

        @model_validator(mode="after")
        def _can_be_a_skill(self) -> Self:
            try:
                made.append(skill_of(self, ground))
            except ValueError as error:
                reasons.append(str(error))
                raise
            return self

    reply = await ask(model, request, Judged)
    return (None, reasons[-1]) if reply is None else (made[-1], "")


def _skill_lines(skills: Mapping[str, Skill], compose: bool) -> tuple[str, ...]:
    if not skills or not compose:
        return ("none",)
    return tuple(f"{s.signature}: {cut(s.summary)}" for _, s in sorted(skills.items()))


def _clauses(spec: GrammarSpec | None) -> tuple[str, ...]:
    if spec is None or not (spec.templates or spec.complete):
        return ("nothing; leave `achieves` null",)
    named = tuple(f"{t.predicate}({', '.join(t.parameters)})" for t in spec.templates)
    return named if spec.complete else (*named, UNNAMED)


def _achieved(skill: Skill) -> str:
    """What a skill says it achieves, as `achieves` spells it."""
    if skill.achieves is None:
        return "null"
    clause = {"predicate": skill.achieves.predicate, "arguments": skill.achieves.arguments}
    return canonical_json(clause)


def _worked(replay: Replay) -> bool:
    return (
        replay.completed and replay.used and replay.effect and replay.success is not False
    ) and not any(control.passed for control in replay.controls)


def _replay_line(replay: Replay) -> str:
    """What came of a replay, in a line."""
    said = [
        f"arguments {cut(canonical_json(replay.arguments))}",
        f"things {cut(canonical_json(replay.bound))}" if replay.bound else "",
        "it returned" if replay.completed else f"it broke off: {cut(replay.error or 'unknown')}",
        "" if replay.used else "no tool call was carried out",
        "the effect check held" if replay.effect else "the effect check did not hold",
        "the task's verifier was not satisfied" if replay.success is False else "",
        *(
            f"the effect check held although {_wrong(control.wrong)}"
            for control in replay.controls
            if control.passed
        ),
    ]
    return "; ".join(part for part in said if part)


def _wrong(wrong: str) -> str:
    if not wrong:
        return "nothing had been done yet"
    return "all arguments were others" if wrong == "*" else f"{wrong} was another"


def _unchanged(mended: Skill, skill: Skill) -> bool:
    """Whether nothing that is judged is different."""
    same = ("source", "effect_source", "parameters", "precondition", "achieves")
    return all(getattr(mended, name) == getattr(skill, name) for name in same)

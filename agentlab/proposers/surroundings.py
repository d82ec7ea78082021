"""What a model is told before it proposes: a start state, the tools, the library, what came of it.

Every text here is bounded, and says what it leaves out. It all goes into prompts as quoted data:
an observation, a description or a task may hold what somebody else planted.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.errors import AgentLabError, EnvironmentFaultError, InvalidTaskError, UsageError
from agentlab.proposers.grammar import SEED_SPACE, practice_seed
from agentlab.proposers.learnability import Measured
from agentlab.protocols import (
    Environment,
    Grammar,
    HasDescription,
    HasGrammar,
    HasState,
    HasSurvey,
    HasTasks,
    ProposalContext,
)
from agentlab.types import (
    JsonObject,
    Observation,
    PastAttempt,
    Skill,
    SplitRule,
    Task,
    Template,
    ToolCall,
    ToolSpec,
    Trajectory,
    canonical_json,
    derive_seed,
)

LONGEST_PAGE = 6_000
"""Characters of a description, an observation or a state."""
LONGEST_LINE = 600
MOST_LINES = 24
"""Tools, skills or templates that are listed."""
MOST_DEMONSTRATIONS = 3
MOST_CALLS = 30
"""Calls of a trajectory that are shown."""


class Scene(NamedTuple):
    """A start state as a proposer sees it."""

    bare: Task
    """A task without a goal that starts there."""
    family: str
    """The family of start states, as the grammar names it; empty where there is none."""
    observation: Observation
    state: JsonObject | None
    """None where no state can be read."""
    grammar: Grammar | None = None
    shown_only: bool = False
    """Whether the state is only what is shown, so that a judge may be asked instead."""


async def look(environment: Environment, context: ProposalContext, *labels: object) -> Scene:
    """A start state of the practice split, reset and looked at.

    It is drawn from the families of the grammar, else from the environment's own tasks, else
    from tasks that were attempted or proposed before. The same labels give the same one.

    Raises:
        UsageError: the environment offers none of these.
        EnvironmentFaultError: its reset raised.
    """
    seed = derive_seed(context.seed, context.round, *labels, "scene")
    grammar = environment.grammar() if isinstance(environment, HasGrammar) else None
    bare = _start(environment, grammar, context, random.Random(seed))
    family = bare.template.partition(": ")[0] if grammar is not None else ""
    observation = await begin(environment, bare)
    shown_only = getattr(environment, "shown_only", False) is True
    return Scene(bare, family, observation, await read_state(environment), grammar, shown_only)


def families_of(grammar: Grammar, rule: SplitRule) -> list[str]:
    """The families of start states in which something may be practised."""
    return [each for each in grammar.spec.setups if not rule.reserved_template(f"{each}: _")]


def _start(
    environment: Environment,
    grammar: Grammar | None,
    context: ProposalContext,
    rng: random.Random,
) -> Task:
    rule = context.split_rule
    if grammar is not None:
        families = families_of(grammar, rule)
        if not families:
            raise UsageError(
                "Every start-state family of the grammar is reserved; nothing to propose."
            )
        family = rng.choice(families)
        layout = practice_seed(rng.randrange(SEED_SPACE), rule)
        bare = grammar.compose(None, family, layout)
        return bare.model_copy(update={"template": f"{family}: "})
    if isinstance(environment, HasTasks):
        known = list(environment.tasks("practice", 1, rng.randrange(SEED_SPACE)))
    elif isinstance(environment, HasSurvey):
        known = [environment.start(practice_seed(rng.randrange(SEED_SPACE), rule))]
    else:
        known = [past.task for past in (*context.recent, *context.archive)]
    known = [task for task in known if rule.split_of_seed(task.seed) == "practice"]
    if not known:
        raise UsageError(
            "A proposer that asks a model needs start states, and this environment tells of none; "
            "give it a method tasks() or grammar()."
        )
    return without_goal(rng.choice(known))


def without_goal(task: Task) -> Task:
    """The start of a task, with nothing to reach."""
    return task.model_copy(
        update={
            "mission": None,
            "solution": None,
            "failing": (),
            "parameters": {},
            "parent_skills": (),
            "derived_from": (),
        }
    )


def scene_of(environment: Environment, past: PastAttempt, trajectory: Trajectory) -> Scene:
    """The start state of an attempt, from its record; nothing is reset."""
    grammar = environment.grammar() if isinstance(environment, HasGrammar) else None
    family = past.task.template.partition(": ")[0] if grammar is not None else ""
    bare = without_goal(past.task)
    if grammar is not None:
        with contextlib.suppress(InvalidTaskError):  # a start of its own: what was asked stays in
            bare = grammar.compose(None, family, past.task.seed)
    return Scene(bare, family, trajectory.initial, trajectory.initial_state, grammar)


async def begin(environment: Environment, task: Task) -> Observation:
    """Reset to a task.

    Raises:
        EnvironmentFaultError: the environment raised something of its own.
        InvalidTaskError: the environment does not take the task.
    """
    try:
        return await environment.reset(task, 0)
    except AgentLabError:
        raise
    except Exception as error:  # foreign code, which may fail in any way
        raise EnvironmentFaultError(f"reset() raised {type(error).__name__}: {error}") from error


async def read_state(environment: Environment) -> JsonObject | None:
    """The state now, or None where none can be read."""
    return await environment.state() if isinstance(environment, HasState) else None


def clip(text: str, longest: int = LONGEST_LINE) -> str:
    """A text of at most so many characters, and how many more there are."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest} more characters left out)"


def listed(lines: Sequence[str], *, most: int = MOST_LINES) -> str:
    """One line each, and how many more there are; `none` where there are none."""
    shown = [f"- {clip(' '.join(line.split()))}" for line in lines[:most]]
    if len(lines) > most:
        shown.append(f"- … and {len(lines) - most} more, left out")
    return "\n".join(shown) or "none"


def described(
    environment: Environment, context: ProposalContext | None = None, family: str = ""
) -> str:
    """What the environment says of itself, and what was found by looking around in it.

    Args:
        environment: an instance.
        context: with surveys, where there were any.
        family: of start states; that of the survey that is told.
    """
    said = "It does not describe itself."
    if isinstance(environment, HasDescription):
        said = clip(environment.describe(), LONGEST_PAGE)
    surveys = context.surveys if context is not None else ()
    found = [survey for survey in surveys if survey.start == family] or list(surveys[:1])
    if not found:
        return said
    where = f", begun in another start state ({found[0].start})" if found[0].start else ""
    where = "" if found[0].start == family else where
    return f"{said}\n\nLooking around{where}:\n{clip(found[0].text, LONGEST_PAGE)}"


def shown_state(state: JsonObject | None) -> str:
    """A state as JSON."""
    return "It cannot be read." if state is None else clip(canonical_json(state), LONGEST_PAGE)


def shown_tools(tools: Sequence[ToolSpec]) -> str:
    """Each tool with the schema of its arguments."""
    return listed(
        [
            f"{tool.name} {canonical_json(tool.parameters.get('properties', {}))} "
            f"({tool.effect}): {tool.description}"
            for tool in tools
        ],
        most=2 * MOST_LINES,
    )


def shown_skills(skills: Sequence[Skill]) -> str:
    """Signature and summary of each."""
    return listed([f"{skill.signature}: {skill.summary}" for skill in skills])


def shown_templates(templates: Sequence[Template]) -> str:
    """What came of each kind of task, most attempted first, each rate with its n."""
    order = sorted(templates, key=lambda each: (-each.attempts, each.name))
    return listed([str(Measured(t.successes, t.attempts, t.name)) for t in order])


def shown_calls(calls: Sequence[ToolCall]) -> str:
    """Calls as `tool {arguments}`, one after another."""
    shown = [f"{call.tool} {canonical_json(call.arguments)}" for call in calls[:MOST_CALLS]]
    if len(calls) > MOST_CALLS:
        shown.append(f"… and {len(calls) - MOST_CALLS} more calls, left out")
    return clip("; ".join(shown), LONGEST_PAGE // 3) or "no call"


def demonstrations(attempts: Sequence[PastAttempt]) -> str:
    """The shortest solved attempts, one for each kind of task."""
    best: dict[str, PastAttempt] = {}
    for past in attempts:
        if past.success is not True or past.trajectory is None:
            continue
        known = best.get(past.task.template)
        if known is None or past.tool_calls < known.tool_calls:
            best[past.task.template] = past
    lines = [
        f"{clip(past.task.instruction)} Solved by: {shown_calls(past.trajectory.calls)}"
        for past in best.values()
        if past.trajectory is not None
    ]
    return "\n".join(f"- {line}" for line in lines[:MOST_DEMONSTRATIONS]) or "none"

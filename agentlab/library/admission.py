"""The rules by which a candidate becomes a served skill. They fail closed, each with a reason.

The order is `road.ORDER`: static checks, a run in the runtime, replays from fresh starts with
unseen arguments, the effect check, negative controls (`controls`), regression, duplicates, and
proof of use on two different practice tasks. What runs the replays and trials is the graph's
business; here is only what counts as passing. Peers admit after one run without an exception
(SkillWeaver even when every check has failed); of our prototype's candidates two replays let 17
bad ones of 44 through, so five are asked for, and usefulness on top, because true but useless
skills make a search slower than none.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from agentlab.library.constants import Particulars, task_constant
from agentlab.library.controls import untouched
from agentlab.library.fleeting import fleeting
from agentlab.library.syntax import beyond, is_env_skills
from agentlab.types import GrammarSpec, JsonObject, Replay, Skill, ToolSpec

REJECTED = "rejected: "
"""How the reason of a candidate that never served begins."""


EACH_SHAPE = 2
"""Replays that must pass for each shape: each choice of types that the arguments may have."""
TASKS = 2
"""Different tasks on which a candidate must have been useful to leave quarantine."""


class Trial(NamedTuple):
    """One practice task searched twice at one budget: with the candidate, and without it."""

    task_id: str
    solved_without: bool
    solved_with: bool
    calls_without: int
    """Tool calls until the goal, or the whole budget."""
    calls_with: int
    used: bool = True
    """Whether the solution with the candidate calls it."""

    @property
    def useful(self) -> bool:
        """Whether the candidate took part in a solution that was dearer, or missing, without."""
        better = not self.solved_without or self.calls_with < self.calls_without
        return self.used and self.solved_with and better


def static_check(
    skill: Skill,
    tools: Collection[str],
    skills: Collection[str],
    found: Particulars | None = None,
    clauses: Collection[str] | None = None,
    *,
    specs: Sequence[ToolSpec] = (),
) -> str | None:
    """Why the source cannot be a skill, or None.

    It must parse to one function of the skill's name over `env` and keyword-only, annotated
    parameters; have a docstring with precondition and effect; reach nothing but declared tools
    and skills through `env`; consist of what `syntax` allows; and hold no constant that belongs
    to its source tasks. It must say which clause it achieves where there are some and they are all
    that can be asked for; one that achieves what has no name must at least change something.

    Args:
        skill: the candidate.
        tools: names of the environment's tools.
        skills: names of the skills that it may call.
        found: what is particular to its source tasks, see `constants`.
        clauses: predicates by one of which it must say what it achieves; None where what it does
            need have no name there, because there is no grammar or only one that was derived.
        specs: the tools with their schemas, which say what is fleeting, see `fleeting`.
    """
    unnamed = _achievement(skill, clauses, specs)
    if unnamed is not None:
        return unnamed
    try:
        tree = ast.parse(skill.source)
        effect = ast.parse(skill.effect_source)
    except (SyntaxError, ValueError, RecursionError) as error:
        return f"static: it does not parse ({error})"
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef):
        return "static: it is not exactly one function"
    function = tree.body[0]
    arguments = function.args
    if function.name != skill.name:
        return f"static: the function is called {function.name!r}, the skill {skill.name!r}"
    others = (*arguments.posonlyargs, arguments.vararg, arguments.kwarg)
    if [a.arg for a in arguments.args] != ["env"] or any(others):
        return "static: it must take env and keyword-only parameters"
    if [a.arg for a in arguments.kwonlyargs] != [p.name for p in skill.parameters]:
        return "static: its parameters are not the declared ones"
    if any(a.annotation is None for a in arguments.kwonlyargs):
        return "static: a parameter has no type"
    docstring = ast.get_docstring(function) or ""
    if "Precondition:" not in docstring or "Effect:" not in docstring:
        return "static: the docstring lacks a precondition or an effect"
    if len(effect.body) != 1 or not _is_check(effect.body[0]):
        return "static: the effect is not exactly one function 'check'"
    reason = (
        beyond(skill.source, tree, check=False)
        or beyond(skill.effect_source, effect, check=True)
        or _reach(function, skill, tools, skills)
        or fleeting(skill.source, specs)
    )
    constant = task_constant(skill, found) if reason is None and found is not None else None
    return f"static: it is about one task's {constant}" if constant else reason


def _achievement(
    skill: Skill, clauses: Collection[str] | None, specs: Sequence[ToolSpec]
) -> str | None:
    """Why there is nothing that it can bring about, as far as its declarations tell."""
    if clauses is not None and skill.achieves is None:
        return f"static: `achieves` is missing; it must be one of {sorted(clauses)}"
    if clauses is not None and skill.achieves and skill.achieves.predicate not in clauses:
        return f"static: nothing is achieved by the name {skill.achieves.predicate!r} here"
    changing = {spec.name for spec in specs if spec.effect == "changes"}
    if skill.achieves is None and specs and not (skill.skills or changing & set(skill.tools)):
        return "static: it calls no tool that changes anything, so no effect is its own"
    return None


def nameable(skill: Skill, spec: GrammarSpec | None) -> frozenset[str] | None:
    """What a skill may say it achieves there; None where it need not say so. See `static_check`."""
    if spec is None or (skill.achieves is None and not spec.complete):
        return None
    return frozenset(template.predicate for template in spec.templates)


def _is_check(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "check"


def _reach(
    function: ast.FunctionDef, skill: Skill, tools: Collection[str], skills: Collection[str]
) -> str | None:
    called_tools: set[str] = set()
    called_skills: set[str] = set()
    for node in ast.walk(function):
        if not isinstance(node, ast.Attribute):
            continue
        if isinstance(node.value, ast.Name) and node.value.id == "env" and node.attr != "skills":
            called_tools.add(node.attr)
        elif is_env_skills(node.value):
            called_skills.add(node.attr)
    if called_tools - set(skill.tools) or called_skills - set(skill.skills):
        return "static: it calls tools or skills that it does not declare"
    if unknown := called_tools - set(tools):
        return f"static: there is no tool {sorted(unknown)[0]!r}"
    if unknown := called_skills - set(skills):
        return f"static: it calls {sorted(unknown)[0]!r}, which is not in the library"
    return None


def fingerprint(skill: Skill) -> str:
    """The clause and the code without names, docstring and formatting."""
    tree = ast.parse(skill.source)
    renamed = {p.name: f"p{i}" for i, p in enumerate(skill.parameters)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.name = "_"
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, ast.Name | ast.arg):
            if isinstance(node, ast.Name):
                node.id = renamed.get(node.id, node.id)
            else:
                node.arg = renamed.get(node.arg, node.arg)
    achieves = skill.achieves.predicate if skill.achieves else ""
    return f"{achieves}\n{ast.dump(tree)}"


def promise(skill: Skill) -> tuple[object, ...]:
    """What the skill says it does and when: its clause, effects and conditions."""
    achieves = skill.achieves.predicate if skill.achieves else None
    requires = tuple(sorted((p.name, str(sorted(p.requires.items()))) for p in skill.parameters))
    return (achieves, skill.effect, requires, str(sorted(skill.precondition.items())))


def exact_duplicate(skill: Skill, library: Sequence[Skill]) -> Skill | None:
    """The skill of the library that is the same function, if there is one."""
    mine = fingerprint(skill)
    return next((other for other in library if fingerprint(other) == mine), None)


def near_duplicate(skill: Skill, library: Sequence[Skill]) -> Skill | None:
    """The skill of the library that promises the same under the same conditions."""
    mine = promise(skill)
    return next((other for other in library if promise(other) == mine), None)


def passed(replay: Replay) -> bool:
    """Whether a replay vouches for the skill."""
    return replay.completed and replay.used and replay.effect and replay.success is not False


def inapplicable(replay: Replay) -> bool:
    """Whether the first thing it did was refused, so that nothing happened at all."""
    return not replay.used and not replay.completed


def broke_off(replay: Replay) -> bool:
    """Whether it was refused midway and stopped."""
    return replay.used and not replay.completed and not replay.effect


def enough(replays: Sequence[Replay], needed: int) -> bool:
    """Whether more replays cannot change the verdict."""
    if judge_replays(replays, needed, 0) is not None:
        return True
    return sum(map(passed, replays)) >= needed and _thin_shape(replays, needed) is None


def _thin_shape(replays: Sequence[Replay], needed: int) -> str | None:
    """A shape that was tried and has too few replays that passed."""
    for shape in sorted({replay.shape for replay in replays}):
        good = sum(passed(replay) for replay in replays if replay.shape == shape)
        if good < min(EACH_SHAPE, needed):
            return f"only {good} of {min(EACH_SHAPE, needed)} passed with {' and '.join(shape)}"
    return None


def judge_replays(replays: Sequence[Replay], needed: int, found: int | None = None) -> str | None:
    """Why the replays do not vouch for the skill, or None.

    `needed` of them must complete, use the skill, show the effect and satisfy the verifier. A
    replay that completes without its effect is final. In one start state the skill may break
    off midway (a thing out of reach); a skill that works less often is not reliable. Where its
    very first call is refused nothing has happened and the start state was not one for it;
    there may be as many of those as are needed to pass. Two must pass for each shape of
    arguments that was tried. Too few start states found counts as failure; one where the effect
    held already is none.

    Args:
        replays: in the order in which they ran.
        needed: replays that must pass.
        found: passes to insist on, where that is not `needed` (yet).
    """
    replays = [replay for replay in replays if not untouched(replay)]
    for number, replay in enumerate(replays, start=1):
        if passed(replay) or inapplicable(replay) or broke_off(replay):
            continue
        if not replay.effect:
            return f"effect: the effect did not show on replay {number}"
        if not replay.completed:
            return f"replay: it broke off on replay {number}: {replay.error}"
        if not replay.used:
            return f"replay: it made no call of its own on replay {number}"
        return f"replay: the task's verifier was not satisfied on replay {number}"
    broken = [replay for replay in replays if broke_off(replay)]
    if len(broken) > 1:
        return f"replay: it broke off in {len(broken)} of {len(replays)}: {broken[-1].error}"
    idle = [replay for replay in replays if inapplicable(replay)]
    if len(idle) > needed:
        return f"replay: it did nothing in {len(idle)} of {len(replays)}: {idle[-1].error}"
    good = sum(map(passed, replays))
    if good < (needed if found is None else found):
        why = f"; it broke off in another: {broken[-1].error}" if broken else ""
        return f"replay: only {good} of {needed} unseen argument sets were found{why}"
    thin = _thin_shape(replays, needed) if found is None else None
    return f"replay: {thin}" if thin else None


LEAST_SAVING = 0.1
"""Mean logarithm of calls without over calls with, from which a skill is worth serving."""


def judge_trials(trials: Sequence[Trial]) -> str | None:
    """Why the candidate is not worth serving, or None.

    It must break no more tasks than it solves; one counts as broken that was solved with less
    than half of the budget and no longer is (nearer to the edge is chance). It must have been
    useful in two different tasks, see `Trial.useful`, and save a tenth of the calls on the
    geometric mean over all of them. No trials is failure.
    """
    if not trials:
        return "use: there was no practice task to prove it on"
    budget = max(max(t.calls_without, t.calls_with) for t in trials)
    lost = sum(
        t.solved_without and not t.solved_with and t.calls_without <= budget / 2 for t in trials
    )
    won = sum(t.solved_with and not t.solved_without for t in trials)
    if lost > won:
        return f"use: it broke {lost} of {len(trials)} practice tasks and solved {won} more"
    useful = len({t.task_id for t in trials if t.useful})
    saving = mean_saving(trials)
    if useful < TASKS or saving < LEAST_SAVING:
        percent = 100 * (1 - math.exp(-saving))
        return f"use: it saved {percent:.0f} % of the calls, on {useful} of {len(trials)} tasks"
    return None


def mean_saving(trials: Sequence[Trial]) -> float:
    """Mean natural logarithm of calls without over calls with; positive is a saving."""
    ratios = [math.log((t.calls_without + 1) / (t.calls_with + 1)) for t in trials]
    return sum(ratios) / len(ratios) if ratios else 0.0


class Regression(NamedTuple):
    """A task that a callee helped to solve, searched again with the candidate."""

    task_id: str
    solved_with: bool
    solved_without: bool | None = None
    """Asked only where it was not solved with the candidate; otherwise the record says yes."""
    calls_without: int | None = None

    def broken(self, budget: int) -> bool:
        """Whether the candidate is to blame: well within the budget it is solved without."""
        calls = self.calls_without
        return bool(self.solved_without) and calls is not None and calls <= budget / 2


def judge_regression(tasks: Sequence[Regression], budget: int) -> str | None:
    """Why the candidate breaks what its callees did, or None; one task is enough."""
    lost = [task for task in tasks if not task.solved_with and task.broken(budget)]
    if lost:
        return f"regression: it breaks {len(lost)} of {len(tasks)} tasks that its callees solved"
    return None


def evidence(replays: Sequence[Replay], trials: Sequence[Trial]) -> JsonObject:
    """What a verdict rests on, for the record."""
    return {
        "replays": [
            r.model_dump(mode="json", exclude_defaults=True, exclude={"shown"}) for r in replays
        ],
        "trials": [dict(t._asdict()) for t in trials],
        "mean_log_saving": round(mean_saving(trials), 6),
    }

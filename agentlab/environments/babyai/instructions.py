"""Between goals and minigrid's instruction objects, which carry BabyAI's own verifiers."""

# minigrid is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import Protocol, cast

from minigrid.envs.babyai.core import verifier as rules

from agentlab.environments.babyai.goal import (
    NO_GOAL,
    Action,
    Description,
    Goal,
    Joined,
    Relation,
)
from agentlab.errors import ConfigError


class _Named(Protocol):
    """minigrid's `ObjDesc`, as far as it is read here."""

    type: str | None
    color: str | None
    loc: str | None


class NoInstruction(rules.ActionInstr):
    """The instruction of a task without a goal: never met."""

    def surface(self, env: object) -> str:
        """The sentence shown instead of a mission."""
        return NO_GOAL

    def verify_action(self, action: object = None) -> str:
        """Never success and never failure."""
        return "continue"


def require_plain_verifiers() -> None:
    """Check that minigrid judges by what happened, not by the `done` action.

    Raises:
        ConfigError: the variable that changes its verifiers is set.
    """
    if rules.use_done_actions:
        raise ConfigError(
            "BABYAI_DONE_ACTIONS is set, which changes minigrid's verifiers; unset it."
        )


def instruction_of(goal: Goal | None) -> rules.Instr:
    """A goal as minigrid's own instruction, verifier included."""
    if goal is None:
        return NoInstruction()
    if isinstance(goal, Joined):
        joined = {"and": rules.AndInstr, "before": rules.BeforeInstr, "after": rules.AfterInstr}
        return joined[goal.relation](
            instruction_of(goal.first), instruction_of(goal.second), strict=goal.strict
        )
    x = _their_description(goal.x)
    if goal.verb == "go_to":
        return rules.GoToInstr(x)
    if goal.verb == "open":
        return rules.OpenInstr(x, strict=goal.strict)
    if goal.y is None:
        return rules.PickupInstr(x, strict=goal.strict)
    return rules.PutNextInstr(x, _their_description(goal.y), strict=goal.strict)


def goal_of_instruction(instruction: object) -> Goal:
    """The goal that one of minigrid's instructions states.

    Raises:
        TypeError: it is of a kind that minigrid did not have when this was written.
    """
    if isinstance(instruction, rules.SeqInstr):
        relation: Relation = "and"
        if isinstance(instruction, rules.BeforeInstr):
            relation = "before"
        elif isinstance(instruction, rules.AfterInstr):
            relation = "after"
        return Joined(
            relation,
            goal_of_instruction(instruction.instr_a),
            goal_of_instruction(instruction.instr_b),
            strict=bool(instruction.strict),
        )
    if isinstance(instruction, rules.PutNextInstr):
        return Action(
            "put_next",
            _our_description(instruction.desc_move),
            _our_description(instruction.desc_fixed),
            strict=bool(instruction.strict),
        )
    if isinstance(instruction, rules.GoToInstr):
        return Action("go_to", _our_description(instruction.desc))
    if isinstance(instruction, rules.OpenInstr):
        x = _our_description(instruction.desc)
        return Action("open", x, strict=bool(instruction.strict))
    if isinstance(instruction, rules.PickupInstr):
        x = _our_description(instruction.desc)
        return Action("pick_up", x, strict=bool(instruction.strict))
    raise TypeError(f"minigrid has an instruction that is not known here: {instruction!r}")


def _their_description(description: Description) -> rules.ObjDesc:
    return rules.ObjDesc(description.kind, description.color, description.location)


def _our_description(description: object) -> Description:
    named = cast("_Named", description)
    return Description(color=named.color, kind=named.type, location=named.loc)

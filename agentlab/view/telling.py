"""Each event in a few words. What it quotes of tasks, skills and reasons is others' text."""

from __future__ import annotations

from typing import Literal, NamedTuple

from agentlab.analysis.arms import estimate
from agentlab.analysis.figures import count
from agentlab.analysis.foreign import one_line
from agentlab.events import (
    AttemptFinished,
    AttemptsPlanned,
    BudgetChanged,
    DataExported,
    Event,
    InsightMoved,
    InsightProposed,
    RoundFinished,
    RunPaused,
    SkillMoved,
    SkillProposed,
    TaskAdmitted,
    TaskRejected,
)
from agentlab.view.figures import rate_figure

LONGEST = 160


class Told(NamedTuple):
    """Words for an event, whether it is welcome, and the attempt that it is about."""

    text: str
    tone: Literal["good", "bad", "plain"] = "plain"
    attempt_id: str = ""


def told(event: Event) -> Told:
    """The event in words."""
    said = _of_attempts(event) or _of_items(event) or _of_the_run(event)
    return said or Told(event.kind)


def shortened(text: str, most: int = LONGEST) -> str:
    """On one line, and cut where it is long."""
    line = one_line(text)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _of_attempts(event: Event) -> Told | None:
    match event:
        case TaskAdmitted():
            return Told(f"Task admitted: {shortened(event.instruction)}")
        case TaskRejected():
            why = shortened(event.reason, 80)
            return Told(f"Task rejected ({why}): {shortened(event.instruction)}")
        case AttemptsPlanned():
            shadow = f" and {count(event.shadow, 'shadow attempt')}" if event.shadow else ""
            return Told(f"{count(event.attempts, 'attempt')}{shadow} planned")
        case AttemptFinished():
            names: dict[bool | None, tuple[str, Literal["good", "bad", "plain"]]] = {
                True: ("succeeded", "good"),
                False: ("failed", "bad"),
                None: ("ended without a verdict", "plain"),
            }
            word, tone = names[event.success]
            if event.status != "completed":
                word, tone = "was lost to its infrastructure", "bad"
            kind = event.attempt_kind.capitalize()
            text = f"{kind} attempt {word}: {shortened(event.instruction)}"
            return Told(text, tone, event.attempt_id)
        case _:
            return None


def _of_items(event: Event) -> Told | None:
    match event:
        case SkillProposed():
            return Told(f"Skill proposed: {shortened(event.name)}")
        case SkillMoved() | InsightMoved():
            skill = isinstance(event, SkillMoved)
            named = event.name if isinstance(event, SkillMoved) else event.condition
            noun = "Skill" if skill else "Insight"
            why = f" ({shortened(event.reason)})" if event.reason else ""
            tone = {"active": "good", "retired": "bad"}.get(event.after, "plain")
            text = f"{noun} {shortened(named)} is {event.after}{why}"
            return Told(text, "good" if tone == "good" else "bad" if tone == "bad" else "plain")
        case InsightProposed():
            return Told(f"Insight proposed: {shortened(event.condition)}")
        case _:
            return None


def _of_the_run(event: Event) -> Told | None:
    match event:
        case RoundFinished():
            found = rate_figure(estimate(event.successes, event.attempts))
            told_n = f"{found.text} ({found.spread}, n={found.n})" if found else "no verdict"
            return Told(f"Round done: success {told_n}; {event.active_skills} skills active")
        case DataExported():
            what = f"{event.rows:,} rows" if event.rows else f"nothing: {event.refused}"
            return Told(f"Exported {shortened(event.name)}: {shortened(what)}")
        case RunPaused():
            return Told(f"Paused: {shortened(event.reason)}" if event.reason else "Going on")
        case BudgetChanged():
            return Told(
                "Budgets changed: " + ", ".join(f"{k} {v:,g}" for k, v in event.budgets.items())
            )
        case _:
            return None

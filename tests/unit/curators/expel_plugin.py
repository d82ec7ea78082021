"""ExpeL as a plugin, in one file: what somebody outside of agentlab has to write for a curator.

After ExpeL (LeapLabTHU/ExpeL, `agent/expel.py`): a list of rules with strengths, changed by REMOVE,
AGREE, EDIT and ADD, in this order. A rule starts at 2; AGREE and EDIT add 1; REMOVE takes 1, or 3
when the list is 5 over its capacity; at 0 a rule goes. Contrasted are solved and failed attempts.

A strength is 2 and the tasks that agreed less those that spoke against it, so that it is kept in
the outcomes of an insight. It registers as `insights/expel` by an entry point of the group
`agentlab`, and its prompt needs no file: a request is only messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from agentlab.library.road import static_insight
from agentlab.models.prompts import DATA, quoted
from agentlab.models.structured import ask
from agentlab.protocols import InsightContext
from agentlab.types import (
    ChatRequest,
    Frozen,
    Insight,
    InsightChange,
    Message,
    Outcomes,
    Sampling,
    derive_id,
)

START, CAPACITY, OVER, STRONG = 2, 20, 5, 3
ORDER = ("REMOVE", "AGREE", "EDIT", "ADD")
TASK = (
    "Compare the attempts. Reply with a JSON object: operations, a list of objects with operation "
    "(REMOVE, AGREE, EDIT or ADD), rule (the text of the rule that is meant; empty for ADD), text "
    "(the new text, for EDIT and ADD) and condition (when it applies, for ADD)."
)


class Operation(Frozen):
    operation: Literal["REMOVE", "AGREE", "EDIT", "ADD"]
    rule: str = ""
    text: str = ""
    condition: str = ""


class Operations(Frozen):
    operations: tuple[Operation, ...]


class Rule(NamedTuple):
    text: str
    strength: int


def applied(rules: Sequence[Rule], operations: Sequence[Operation]) -> list[Rule]:
    """The rules after the operations, strongest first; what matches no rule does nothing."""
    strengths = dict(rules)
    weight = STRONG if len(rules) >= CAPACITY + OVER else 1
    for each in sorted(operations, key=lambda o: ORDER.index(o.operation)):
        known = each.rule in strengths
        if each.operation == "REMOVE" and known:
            strengths[each.rule] -= weight
        elif each.operation == "AGREE" and known:
            strengths[each.rule] += 1
        elif each.operation == "EDIT" and known and proper(each.text):
            if each.text in strengths:
                strengths[each.text] += each.text != each.rule
            else:
                strengths = {
                    (each.text if text == each.rule else text): value + (text == each.rule)
                    for text, value in strengths.items()
                }
        elif each.operation == "ADD" and proper(each.text):
            strengths[each.text] = strengths[each.text] + 1 if each.text in strengths else START
    left = [Rule(text, strength) for text, strength in strengths.items() if strength > 0]
    return sorted(left, key=lambda rule: -rule.strength)


def proper(text: str) -> bool:
    """A rule is a sentence and holds no operation's word."""
    return text.endswith(".") and not any(word in text for word in ORDER)


def strength(rule: Insight) -> int:
    return START + len(rule.outcomes.positive) - len(rule.outcomes.negative)


class ExpelCurator:
    """Implements `agentlab.protocols.InsightCurator`."""

    async def curate(self, context: InsightContext) -> Sequence[InsightChange]:
        """What the operations of one reply come to."""
        tried = [a for a in context.attempts if a.success is not None]
        rules = [Rule(insight.advice, strength(insight)) for insight in context.library]
        by_text = {insight.advice: insight for insight in context.library}
        told = "\n".join(
            f"{a.task.instruction}: {'solved' if a.success else 'failed'}" for a in tried
        )
        known = "\n".join(f"{rule.strength} {rule.text}" for rule in rules)
        messages = (
            Message(role="system", text=f"{TASK}\n\n{DATA}"),
            Message(role="user", text=f"Attempts:\n{quoted(told)}\n\nRules:\n{quoted(known)}"),
        )
        request = ChatRequest(messages=messages, sampling=Sampling(max_tokens=1024))
        reply = await ask(context.model, request, Operations) if tried else None
        if reply is None:
            return ()
        after = dict(applied(rules, reply.operations))
        sources = tuple(dict.fromkeys(a.task.id for a in tried))
        edited = {o.text: o.rule for o in reply.operations if o.operation == "EDIT"}
        conditions = {o.text: o.condition for o in reply.operations if o.operation == "ADD"}
        changes: list[InsightChange] = []
        for text, value in after.items():
            if text in by_text:
                changes.extend(_noted(by_text[text], value, sources))
                continue
            old = by_text.get(edited.get(text, ""))
            insight = Insight(
                id=derive_id("insight", context.environment, text, *sources),
                version=old.version + 1 if old else 1,
                environment=context.environment,
                condition=old.condition if old else conditions.get(text) or "Any task.",
                advice=text,
                taxonomy=("expel",),
                source_tasks=(*old.source_tasks, *sources) if old else sources,
                outcomes=_shifted(old, value, sources) if old else Outcomes(),
                parent=old.id if old else None,
            )
            if static_insight(insight) is None:
                of = (old.id,) if old else ()
                operation = "revise" if old else "add"
                changes.append(InsightChange(operation=operation, insight=insight, of=of))
        kept = {*after, *(edited[text] for text in after if text in edited)}
        changes.extend(
            InsightChange(operation="remove", of=(insight.id,), reason="its strength is 0")
            for text, insight in by_text.items()
            if text not in kept
        )
        return changes


def _noted(rule: Insight, value: int, tasks: Sequence[str]) -> list[InsightChange]:
    """The same rule with another strength."""
    if value == strength(rule):
        return []
    same = rule.model_copy(update={"outcomes": _shifted(rule, value, tasks)})
    return [InsightChange(operation="revise", insight=same, of=(rule.id,), reason="strength")]


def _shifted(rule: Insight, value: int, tasks: Sequence[str]) -> Outcomes:
    """Outcomes that give the strength, as far as there are tasks to say so."""
    shift, outcomes = value - strength(rule), rule.outcomes
    if shift > 0:
        more = [t for t in tasks if t not in outcomes.positive][:shift]
        return outcomes.model_copy(update={"positive": (*outcomes.positive, *more)})
    less = [t for t in tasks if t not in outcomes.negative][:-shift]
    return outcomes.model_copy(update={"negative": (*outcomes.negative, *less)})

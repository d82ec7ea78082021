"""BabyAI's English: a goal as the sentence BabyAI states it with, and the way back.

The sentence says "the" where a description fits one thing and "a" where it fits several, so
writing needs the start state and reading does not.
"""

from __future__ import annotations

import re

from agentlab.environments.babyai.goal import (
    COLORS,
    KINDS,
    Action,
    Description,
    Goal,
    Joined,
    Verb,
)
from agentlab.environments.babyai.layout import Layout
from agentlab.errors import InvalidTaskError

_PLACES = {
    "front": " in front of you",
    "behind": " behind you",
    "left": " on your left",
    "right": " on your right",
}
_WORDS = {phrase.strip(): word for word, phrase in _PLACES.items()}
_THING = re.compile(
    rf"(?:the|a) (?:(?P<color>{'|'.join(COLORS)}) )?(?P<kind>{'|'.join((*KINDS, 'object'))})"
    rf"(?: (?P<place>{'|'.join(_WORDS)}))?"
)
_VERBS: dict[str, Verb] = {"go to ": "go_to", "open ": "open", "pick up ": "pick_up"}
_SAID: dict[Verb, str] = {verb: words for words, verb in _VERBS.items()}


def write(goal: Goal, layout: Layout) -> str:
    """The instruction, as BabyAI words it in this start state."""
    if isinstance(goal, Joined):
        link = {"and": " and ", "before": ", then ", "after": " after you "}[goal.relation]
        return write(goal.first, layout) + link + write(goal.second, layout)
    if goal.y is not None:
        return f"put {_thing(goal.x, layout)} next to {_thing(goal.y, layout)}"
    return _SAID[goal.verb] + _thing(goal.x, layout)


def read(instruction: str) -> Goal:
    """The goal an instruction states.

    Raises:
        InvalidTaskError: it is not a sentence of BabyAI's.
    """
    for link, relation in ((" after you ", "after"), (", then ", "before")):
        first, found, second = instruction.partition(link)
        if found:
            return Joined(
                "after" if relation == "after" else "before", _group(first), _group(second)
            )
    return _group(instruction)


def _group(text: str) -> Goal:
    first, found, second = text.partition(" and ")
    if found:
        return Joined("and", _action(first), _action(second))
    return _action(text)


def _action(text: str) -> Action:
    if text.startswith("put "):
        moved, found, fixed = text.removeprefix("put ").partition(" next to ")
        if found:
            return Action("put_next", _description(moved, text), _description(fixed, text))
    for words, verb in _VERBS.items():
        if text.startswith(words):
            return Action(verb, _description(text.removeprefix(words), text))
    raise InvalidTaskError(
        f"{text!r} is not BabyAI's English; write for instance 'put the red ball next to the box'."
    )


def _thing(description: Description, layout: Layout) -> str:
    article = "a" if len(layout.matches(description)) > 1 else "the"
    color = f"{description.color} " if description.color else ""
    place = _PLACES[description.location] if description.location else ""
    return f"{article} {color}{description.kind or 'object'}{place}"


def _description(text: str, where: str) -> Description:
    match = _THING.fullmatch(text)
    if match is None:
        raise InvalidTaskError(
            f"In {where!r}, {text!r} names no thing; write for instance 'the red ball'."
        )
    kind, place = match["kind"], match["place"]
    return Description(
        color=match["color"],
        kind=None if kind == "object" else kind,
        location=_WORDS[place] if place else None,
    )

"""An executor that explores a burrow from what it was shown, one chamber at a time.

It draws a map of the chambers that it has been in, goes to the nearest tunnel that it does not
know when it does not know where a thing is, and otherwise takes the shortest way that it knows.
It knows no map that it was not shown, so what it does can be learnt from what it saw. The tiny
policy's demonstrations are made with it; there it is made to stray.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from agentlab.testing.rules.reading import Call, acting, arguments_of, calls_made, given
from agentlab.types import ChatRequest, Message, ToolUse

VIEW = re.compile(
    r"You are in the (?P<at>\w+) chamber\. Ways: (?P<ways>[\w, ]+)\. "
    r"Here: (?P<here>[\w,() ]+)\. You carry: (?P<carried>[\w, ]+)\."
)
CLAUSE = re.compile(
    r"(?P<at>go to) the (?P<chamber>\w+) chamber|(?P<holding>take) the (?P<thing>[\w ]+)"
    r"|(?P<opened>open) the (?P<chest>\w+) chest"
)
BACK = {"north": "south", "south": "north", "east": "west", "west": "east"}


class Goal(NamedTuple):
    """One thing that is asked for."""

    predicate: str
    value: str


class View(NamedTuple):
    """What one observation shows."""

    at: str
    ways: tuple[str, ...]
    things: tuple[str, ...]
    """That can be taken here."""
    chests: dict[str, bool]
    """Colour to whether it is open, of the chests here."""
    carried: tuple[str, ...]


@dataclass
class Known:
    """What is known after some views and the calls between them."""

    view: View
    ways: dict[str, dict[str, str | None]] = field(default_factory=dict[str, dict[str, str | None]])
    """Chamber to its ways, each with the chamber it leads to where that was seen."""
    things: dict[str, str] = field(default_factory=dict[str, str])
    """Thing to the chamber where it lies."""
    chests: dict[str, str] = field(default_factory=dict[str, str])

    def see(self, view: View, way: str | None) -> None:
        """Add what is shown after a call; `way` is that of a walk."""
        before = self.view.at
        if way is not None and before != view.at:
            self.ways[before][way] = view.at
        self.view = view
        self.ways.setdefault(view.at, dict.fromkeys(view.ways))
        if way is not None and before != view.at:
            self.ways[view.at][BACK[way]] = before
        self.things = {t: where for t, where in self.things.items() if t not in view.carried}
        self.things |= dict.fromkeys(view.things, view.at)
        self.chests |= dict.fromkeys(view.chests, view.at)

    def toward(self, chamber: str | None) -> str | None:
        """The first way of a shortest walk to a chamber, or to the nearest unknown tunnel."""
        first: dict[str, str | None] = {self.view.at: None}
        frontier = deque([self.view.at])
        while frontier:
            here = frontier.popleft()
            if here == chamber:
                return first[here]
            for way, other in self.ways.get(here, {}).items():
                step = first[here] or way
                if other is None and chamber is None:
                    return step
                if other is not None and other not in first:
                    first[other] = step
                    frontier.append(other)
        return None


def play(request: ChatRequest) -> Message:
    """The next call, or last words."""
    asked = next((goals for piece in given(request) if (goals := parse(piece))), ())
    views = views_of(request)
    if not asked or not views:
        return Message(role="assistant", text="I do not see what to do here.")
    call = _next(asked, views)
    if call is None:
        return Message(role="assistant", text="I am done.")
    return acting(request, [call])


def parse(text: str) -> tuple[Goal, ...]:
    """What an instruction asks for, in order; empty if it is none."""
    goals: list[Goal] = []
    for part in text.strip().rstrip(".").split(", then "):
        found = CLAUSE.fullmatch(part[:1].lower() + part[1:])
        if found is None:
            return ()
        predicate = next(name for name in ("at", "holding", "opened") if found[name])
        goals.append(Goal(predicate, found["chamber"] or found["thing"] or found["chest"]))
    return tuple(goals)


def views_of(request: ChatRequest) -> list[tuple[View, str | None]]:
    """What was shown, first to last, each with the way of the walk that led to it."""
    start = next((view for piece in given(request) if (view := read(piece))), None)
    if start is None:
        return []
    found: list[tuple[View, str | None]] = [(start, None)]
    for use, answer in calls_made(request):
        view = read(answer)
        if view is not None:
            found.append((view, _way(use)))
    return found


def read(text: str) -> View | None:
    """The view that a text shows."""
    found = VIEW.search(text)
    if found is None:
        return None
    here = [] if found["here"] == "nothing" else found["here"].split(", ")
    chests = {each.split()[0]: "(open)" in each for each in here if " chest " in f"{each} "}
    things = tuple(each for each in here if " chest " not in f"{each} ")
    carried = () if found["carried"] == "nothing" else tuple(found["carried"].split(", "))
    return View(found["at"], tuple(found["ways"].split(", ")), things, chests, carried)


def _way(use: ToolUse) -> str | None:
    way = arguments_of(use).get("way") if use.name == "go" else None
    return way if isinstance(way, str) and way in BACK else None


def _next(asked: tuple[Goal, ...], views: list[tuple[View, str | None]]) -> Call | None:
    known = Known(views[0][0])
    met = 0
    for view, way in views:
        known.see(view, way)
        while met < len(asked) and _holds(asked[met], view):
            met += 1
    if met == len(asked):
        return None
    goal = asked[met]
    match goal.predicate:
        case "at":
            return _go(known, goal.value if goal.value in known.ways else None)
        case "holding":
            return _take(known, goal.value)
        case _:
            key = f"{goal.value} key"
            if key not in known.view.carried:
                return _take(known, key)
            if goal.value in known.view.chests:
                return "open", {"chest": goal.value}
            return _go(known, known.chests.get(goal.value))


def _take(known: Known, thing: str) -> Call | None:
    if thing in known.view.things:
        return "take", {"thing": thing}
    return _go(known, known.things.get(thing))


def _go(known: Known, chamber: str | None) -> Call | None:
    way = known.toward(chamber)
    return ("go", {"way": way}) if way else None


def _holds(goal: Goal, view: View) -> bool:
    match goal.predicate:
        case "at":
            return view.at == goal.value
        case "holding":
            return goal.value in view.carried
        case _:
            return view.chests.get(goal.value, False)

"""A solution of any mission in a burrow, by one who knows the whole map.

Every mission can be met, because nothing that is done cuts anything off: tunnels stay open, and
each chest has its key. What acts on what it has seen alone is `agentlab.testing.rules.burrow`.
"""

from __future__ import annotations

from agentlab.envs.burrow import world
from agentlab.envs.burrow.grammar import Progress, advance, read_state
from agentlab.envs.burrow.world import CARRIED, Layout, Refused
from agentlab.types import Clause, Mission, ToolCall


def solve(layout: Layout, mission: Mission) -> tuple[ToolCall, ...]:
    """Calls that solve the mission from the layout's start; the last one completes it."""
    walker = _Walker(layout, mission)
    while not walker.done:
        walker.bring_about(mission.clauses[walker.progress.met])
    return tuple(walker.calls)


def solved_by(layout: Layout, mission: Mission, calls: tuple[ToolCall, ...]) -> bool:
    """Whether calls meet the mission; those that are refused do nothing."""
    walker = _Walker(layout, mission)
    for call in calls:
        walker.do(call)
    return walker.done


class _Walker:
    """The calls so far and where they lead; nothing is done once the mission is met."""

    def __init__(self, layout: Layout, mission: Mission) -> None:
        self.layout = layout
        self.mission = mission
        self.position = layout.start
        self.progress, self.done = advance(mission, Progress(), read_state(layout, layout.start))
        self.calls: list[ToolCall] = []

    def do(self, call: ToolCall) -> None:
        act = {"go": world.go, "take": world.take, "open": world.unlock}[call.tool]
        (argument,) = call.arguments.values()
        outcome = act(self.layout, self.position, str(argument))
        if self.done or isinstance(outcome, Refused):
            return
        self.position = outcome
        self.calls.append(call)
        facts = read_state(self.layout, outcome)
        self.progress, self.done = advance(self.mission, self.progress, facts)

    def bring_about(self, clause: Clause) -> None:
        """Make a clause hold that does not hold now."""
        (value,) = (str(each) for each in clause.arguments.values())
        match clause.predicate:
            case "at":
                self.go(self.layout.names.index(value))
            case "holding":
                self.take(value)
            case _:
                self.take(f"{value} key")
                self.go(next(place for colour, place in self.layout.chests if colour == value))
                self.do(ToolCall(tool="open", arguments={"chest": value}))

    def take(self, thing: str) -> None:
        """Come to carry a thing."""
        where = self.position.where[self.layout.things.index(thing)]
        if where != CARRIED:
            self.go(where)
            self.do(ToolCall(tool="take", arguments={"thing": thing}))

    def go(self, chamber: int) -> None:
        """Walk to a chamber."""
        for way in self.layout.route(self.position.at, chamber):
            self.do(ToolCall(tool="go", arguments={"way": way}))

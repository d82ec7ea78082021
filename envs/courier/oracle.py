"""A solution of any courier mission, found by doing what is asked one clause after the other.

Every mission that can be composed can be solved, because nothing that a courier does cuts off
anything: items can be taken out of containers again, and each lock has its token.
"""

from __future__ import annotations

from pydantic import JsonValue

from agentlab.envs.courier import world
from agentlab.envs.courier.grammar import Progress, advance, fits, read_state
from agentlab.envs.courier.world import Done, Layout, Position, Refused, Thing
from agentlab.types import Clause, JsonObject, Mission, ToolCall


def solve(layout: Layout, mission: Mission) -> tuple[ToolCall, ...]:
    """Calls that solve the mission from the layout's start; the last one completes it."""
    walker = _Walker(layout)
    progress = Progress()
    seen = 0
    while True:
        group = mission.groups[progress.group]
        walker.bring_about(next(c for i, c in enumerate(group) if i not in progress.met))
        for count, position in enumerate(walker.positions[seen:], start=seen + 1):
            progress, success = advance(mission, progress, read_state(layout, position))
            if success:
                return tuple(walker.calls[:count])
        seen = len(walker.positions)


class _Walker:
    """The calls so far and where they lead."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.position: Position = layout.start
        self.calls: list[ToolCall] = []
        self.positions: list[Position] = []
        """After each call."""

    def do(self, tool: str, outcome: Done | Refused, arguments: JsonObject) -> None:
        """Append a call that the rules allow, unless it changes nothing."""
        assert isinstance(outcome, Done), outcome
        if outcome.position != self.position:
            self.position = outcome.position
            self.positions.append(outcome.position)
            self.calls.append(ToolCall(tool=tool, arguments=arguments))

    def bring_about(self, clause: Clause) -> None:
        """Make a clause hold that does not hold now, with the first things that fit it."""
        layout, wanted = self.layout, clause.arguments
        cargo = layout.items[: len(layout.cargo)]
        item = _first(cargo, wanted.get("item"))
        container = _first(layout.container_references, wanted.get("container"))
        match clause.predicate:
            case "at":
                place = _first(layout.place_references, wanted["place"])
                self.go(Thing("place", place), layout.place_references[place])
            case "holding":
                self.fetch(item)
            case "unlocked":
                self.unlock(container)
            case _:
                self.deliver(item, container)

    def go(self, thing: Thing, reference: JsonObject) -> None:
        """Walk to a thing."""
        self.do("walk", world.walk(self.layout, self.position, thing), {"to": reference})

    def fetch(self, item: int) -> None:
        """Come to hold an item."""
        held = self.position.holding
        if held == item:
            return
        if held is not None:
            self.do("leave", world.leave(self.position), {})
        reference = self.layout.items[item]
        self.go(Thing("item", item), reference)
        self.do("take", world.take(self.position, item), {"item": reference})

    def unlock(self, container: int) -> None:
        """Unlock a container, if it is locked."""
        if not self.position.locked[container]:
            return
        self.fetch(self.layout.token_for(container))
        reference = self.layout.container_references[container]
        self.go(Thing("container", container), reference)
        outcome = world.unlock(self.layout, self.position, container)
        self.do("unlock", outcome, {"container": reference})

    def deliver(self, item: int, container: int) -> None:
        """Put an item into a container."""
        self.unlock(container)
        self.fetch(item)
        reference = self.layout.container_references[container]
        self.go(Thing("container", container), reference)
        outcome = world.put_in(self.layout, self.position, container)
        self.do("put_in", outcome, {"container": reference})


def _first(references: tuple[JsonObject, ...], description: JsonValue) -> int:
    return next((i for i, reference in enumerate(references) if fits(reference, description)), -1)

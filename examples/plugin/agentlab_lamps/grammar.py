"""What can be asked for in the house, in words and as clauses over its state."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentlab.errors import InvalidTaskError
from agentlab.types import (
    Clause,
    ClauseTemplate,
    GrammarSpec,
    JsonObject,
    Mission,
    SplitRule,
    Task,
    task_id,
)
from agentlab_lamps.house import COLOURS, SIZES, House, Now, build

NAME = "lamps"
LOOK_AROUND = "Look around."
SPLIT_RULE = SplitRule(heldout_templates=("lit & lit",))
"""Two lamps at once are never practised; of the seeds, one in ten is kept for each split."""


def lamp(colour: str) -> JsonObject:
    """How calls and clauses point at a lamp."""
    return {"kind": "lamp", "colour": colour}


def facts(house: House, now: Now) -> JsonObject:
    """The state as JSON: a single fact, and two sets of them."""
    return {
        "room": now.room,
        "uncovered": [lamp(colour) for colour in sorted(now.uncovered)],
        "lit": [lamp(colour) for colour in sorted(now.lit)],
    }


class LampGrammar:
    """Implements `agentlab.protocols.Grammar`."""

    @property
    def spec(self) -> GrammarSpec:
        """One predicate, in missions of one or two."""
        lit = ClauseTemplate(
            predicate="lit", parameters={"lamp": {"kind": "lamp"}}, descriptors=("kind", "colour")
        )
        return GrammarSpec(templates=(lit,), setups=tuple(SIZES), max_group_size=2)

    def compose(self, mission: Mission | None, setup: str, seed: int) -> Task:
        """A task that states the mission in a house; raises `InvalidTaskError` where it cannot."""
        if setup not in SIZES:
            raise InvalidTaskError(f"There is no start state {setup!r}; use one of {[*SIZES]}.")
        there = {colour for colour, _ in build(setup, seed).lamps}
        asked = colours(mission) if mission else ()
        if not set(asked) <= there:
            raise InvalidTaskError(f"Not all of {asked} are lamps of that house.")
        said = " and ".join(f"light the {colour} lamp" for colour in asked)
        instruction = f"{said[:1].upper()}{said[1:]}." if said else LOOK_AROUND
        template = f"{setup}: {mission.structure if mission else ''}"
        values: JsonObject = {"setup": setup}
        return Task(
            id=task_id(NAME, instruction, values, seed),
            environment=NAME,
            instruction=instruction,
            setup=values,
            seed=seed,
            template=template,
            mission=mission,
            split=SPLIT_RULE.split_of(seed, template),
        )

    def parse(self, instruction: str) -> Mission:
        """The clauses of an instruction; raises `InvalidTaskError` where it has none."""
        found = re.findall(r"light the (\w+) lamp", instruction.lower())
        mission = Mission(groups=(tuple(lit(colour) for colour in found),))
        colours(mission)
        return mission

    def achieved(self, before: JsonObject, after: JsonObject) -> Sequence[Clause]:
        """What is lit now and was not."""
        was, now = (state["lit"] for state in (before, after))
        assert isinstance(was, list) and isinstance(now, list)
        return [Clause(predicate="lit", arguments={"lamp": x}) for x in now if x not in was]


def lit(colour: str) -> Clause:
    """The clause that a lamp is lit."""
    return Clause(predicate="lit", arguments={"lamp": lamp(colour)})


def colours(mission: Mission) -> tuple[str, ...]:
    """The lamps that a mission asks for; raises `InvalidTaskError` where it asks for others."""
    found: list[str] = []
    for clause in mission.clauses:
        match clause.arguments.get("lamp"):
            case {"colour": str(colour)} if clause.predicate == "lit" and colour in COLOURS:
                found.append(colour)
            case _:
                raise InvalidTaskError(f"{clause.predicate!r} cannot be asked for here.")
    if len(set(found)) != len(mission.clauses) or not 1 <= len(found) <= 2 != len(mission.groups):
        raise InvalidTaskError("Ask for one lamp, or for two different ones.")
    return tuple(found)

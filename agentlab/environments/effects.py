"""A grammar that is derived and not written: what a state can become is what can be asked for.

`EffectGrammar` builds tasks over the predicates of `shapes`, states them in plain words that it
reads back, and names what a change of state achieved. A task asks for one to three effects, in
any order; it is met at the first step after which all of them hold, and none of them may hold at
the start. Nothing here runs a tool: start states come from whoever made the grammar.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from pydantic import JsonValue

from agentlab.environments.shapes import (
    Predicate,
    Row,
    Scalar,
    achieved,
    holds,
    is_scalar,
    widened,
)
from agentlab.errors import InvalidTaskError
from agentlab.types import (
    Clause,
    ClauseTemplate,
    GrammarSpec,
    JsonObject,
    Mission,
    SplitRule,
    Task,
    derive_seed,
    task_id,
)

LOOK_AROUND = "Look around."
MOST_CLAUSES = 3
SPLIT_RULE = SplitRule(dev_templates=(), heldout_templates=(r"&.*&",))
"""Three effects together are never practised; seeds are kept by residue."""
DEV_SHARE = 5
"""One in so many pairs of different predicates is kept for `dev`."""

_OPENING = "Bring it about that "
_JOINT = ", and that "
_VALUE = r'("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)'

StartState = Callable[[str, int], JsonObject]
"""A start-state family and a seed to the state there, plain or widened; pure."""


def split_rule_of(predicates: Sequence[Predicate]) -> SplitRule:
    """Which templates are kept: every triple is held out, one pair in five is for `dev`.

    Which pairs those are depends on the predicates' names alone.
    """
    names = sorted(predicate.name for predicate in predicates)
    pairs = [
        f": {one} & {two}$"
        for index, one in enumerate(names)
        for two in names[index + 1 :]
        if derive_seed("dev pair", one, two) % DEV_SHARE == 0
    ]
    return SPLIT_RULE.model_copy(update={"dev_templates": tuple(pairs)})


class EffectGrammar:
    """Implements `protocols.Grammar` over predicates that were learnt.

    Args:
        environment: the name that tasks are made for.
        predicates: what can be asked for; see `shapes.learn`.
        setups: start-state families, easier ones first.
        start: the state in which a family and a seed begin.
        standing: where every seed begins alike, the values that are there then.
    """

    def __init__(
        self,
        environment: str,
        predicates: Sequence[Predicate],
        setups: Sequence[str],
        start: StartState,
        standing: Sequence[Scalar] = (),
    ) -> None:
        self._environment = environment
        self._predicates = {predicate.name: predicate for predicate in predicates}
        self._start = start
        self.split_rule = split_rule_of(predicates)
        self._spec = GrammarSpec(
            templates=tuple(_template(predicate) for predicate in predicates),
            setups=tuple(setups),
            max_groups=1,
            max_group_size=MOST_CLAUSES,
            complete=False,
            standing=tuple(standing),
            nothing=""
            if predicates
            else f"The tools of {environment!r} were not seen to change any fact that a task can "
            "name, so there is nothing to practise: name a function or read-only tools with the "
            "option 'state', or have a chat model write tasks with code that checks them.",
        )
        self._phrases = [
            (each, re.compile(_phrase(each, [_VALUE] * len(each.fields), re.escape)))
            for each in predicates
        ]

    @property
    def spec(self) -> GrammarSpec:
        """The predicates, start-state families and limits."""
        return self._spec

    def compose(self, mission: Mission | None, setup: str, seed: int) -> Task:
        """A task that states the mission in the start state of `setup` and `seed`.

        Descriptions `{"value": v}` become the value itself: the words name nothing else.

        Raises:
            InvalidTaskError: no such setup or predicate, a value that cannot be named, an
                effect that is there from the start, or two that exclude each other.
        """
        if setup not in self._spec.setups:
            raise InvalidTaskError(
                f"There is no start state {setup!r}; use one of {list(self._spec.setups)}."
            )
        instruction = LOOK_AROUND
        if mission is not None:
            mission = self._plain(mission)
            state = widened(self._start(setup, seed), list(self._predicates.values()))
            for clause in mission.clauses:
                if self.holds(clause, state):
                    raise InvalidTaskError(f"It holds from the start that {self._say(clause)}.")
            instruction = f"{_OPENING}{_JOINT.join(map(self._say, mission.clauses))}."
        template = f"{setup}: {mission.structure if mission else ''}"
        values: JsonObject = {"setup": setup}
        return Task(
            id=task_id(self._environment, instruction, values, seed),
            environment=self._environment,
            instruction=instruction,
            setup=values,
            seed=seed,
            template=template,
            mission=mission,
            split=self.split_rule.split_of(seed, template),
        )

    def parse(self, instruction: str) -> Mission:
        """The clauses of an instruction.

        Raises:
            InvalidTaskError: it is not in this grammar's words.
        """
        text = instruction.strip()
        if not text.startswith(_OPENING):
            raise InvalidTaskError(f"{text[:80]!r} does not begin with {_OPENING.strip()!r}.")
        place, clauses = len(_OPENING), list[Clause]()
        while True:
            clause, place = self._read(text, place)
            clauses.append(clause)
            if text[place:] == ".":
                break
            if not text.startswith(_JOINT, place):
                raise InvalidTaskError(f"{text[place : place + 80]!r} is not understood.")
            place += len(_JOINT)
        return self._plain(Mission(groups=(tuple(clauses),)))

    def achieved(self, before: JsonObject, after: JsonObject) -> Sequence[Clause]:
        """The effects that hold after and did not hold before."""
        predicates = list(self._predicates.values())
        return list(achieved(predicates, widened(before, predicates), widened(after, predicates)))

    def holds(self, clause: Clause, state: JsonObject) -> bool:
        """Whether a clause of plain values holds in a widened state."""
        predicate = self._known(clause)
        return holds(predicate, _row(predicate, clause), state)

    def met(self, mission: Mission, state: JsonObject) -> bool:
        """Whether all of it holds in a widened state."""
        return all(self.holds(clause, state) for clause in mission.clauses)

    def _known(self, clause: Clause) -> Predicate:
        predicate = self._predicates.get(clause.predicate)
        if predicate is None:
            raise InvalidTaskError(
                f"Nothing here is called {clause.predicate!r}; there are "
                f"{sorted(self._predicates)}."
            )
        if {field.parameter for field in predicate.fields} != set(clause.arguments):
            raise InvalidTaskError(
                f"{clause.predicate!r} is not said of {sorted(clause.arguments)}."
            )
        return predicate

    def _plain(self, mission: Mission) -> Mission:
        """The mission over values, as one group without repetition."""
        clauses: list[Clause] = []
        for clause in mission.clauses:
            arguments = {name: _value(given) for name, given in clause.arguments.items()}
            plain = Clause(predicate=clause.predicate, arguments=arguments)
            self._known(plain)
            clauses.append(plain)
        if not 1 <= len(clauses) <= MOST_CLAUSES or len(mission.groups) != 1:
            raise InvalidTaskError(f"A mission is one group of 1 to {MOST_CLAUSES} effects.")
        if any(clause in clauses[:index] for index, clause in enumerate(clauses)):
            raise InvalidTaskError("A mission does not ask for the same thing twice.")
        self._refuse_contradictions(clauses)
        return Mission(groups=(tuple(clauses),))

    def _refuse_contradictions(self, clauses: Sequence[Clause]) -> None:
        """A single fact has one value, and what is in a set is not missing from it."""
        facts: set[str] = set()
        said: dict[tuple[str, Row], str] = {}
        for clause in clauses:
            predicate = self._predicates[clause.predicate]
            if predicate.form == "fact":
                if predicate.key in facts:
                    raise InvalidTaskError(f"{predicate.key!r} cannot be two things at once.")
                facts.add(predicate.key)
            for field, value in zip(predicate.fields, _row(predicate, clause), strict=True):
                if predicate.form == "fact":
                    continue
                place = (f"{predicate.said} {field.parameter}", (value,))
                if said.setdefault(place, predicate.form) != predicate.form:
                    raise InvalidTaskError(f"{value!r} cannot be there and be missing.")

    def _say(self, clause: Clause) -> str:
        predicate = self._known(clause)
        values = [json.dumps(value, ensure_ascii=False) for value in _row(predicate, clause)]
        return _phrase(predicate, values, str)

    def _read(self, text: str, place: int) -> tuple[Clause, int]:
        best: tuple[Clause, int] | None = None
        for predicate, pattern in self._phrases:
            found = pattern.match(text, place)
            if found is not None and (best is None or found.end() > best[1]):
                try:
                    values: list[JsonValue] = [json.loads(part) for part in found.groups()]
                except ValueError:
                    continue
                arguments = {
                    field.parameter: value
                    for field, value in zip(predicate.fields, values, strict=True)
                }
                best = Clause(predicate=predicate.name, arguments=arguments), found.end()
        if best is None:
            raise InvalidTaskError(f"{text[place : place + 80]!r} is nothing that can be asked.")
        return best


def _template(predicate: Predicate) -> ClauseTemplate:
    present = {f"in_{predicate.key}": True} if predicate.form == "absent" else {}
    return ClauseTemplate(
        predicate=predicate.name,
        parameters={field.parameter: {"kind": field.kind, **present} for field in predicate.fields},
        descriptors=("value",),
    )


def _phrase(predicate: Predicate, values: Sequence[str], plain: Callable[[str], str]) -> str:
    """A clause in words; `plain` is applied to all but the values."""
    part = predicate.key[len(predicate.said) + 1 :]
    if predicate.form == "fact":
        if predicate.flag is not None:
            return plain(f"it is {'' if predicate.flag[1] else 'not '}so: {predicate.said}")
        opening = f"{predicate.said} is"
    else:
        there = "an" if predicate.form == "member" else "no"
        opening = f"there is {there} entry in {predicate.said}"
    said: list[str] = []
    for field, value in zip(predicate.fields, values, strict=True):
        name = field.name or part
        said.append(f"{plain(f'{name} ' if name else '')}{value}")
    named = bool(part) or any(field.name for field in predicate.fields)
    joint = "" if predicate.form == "fact" else "with " if named else "that is "
    text = f"{plain(f'{opening} {joint}')}{plain(' and ').join(said)}"
    if predicate.flag is not None:
        name, wanted = predicate.flag
        text += plain(f", for which {name} is {'true' if wanted else 'false'}")
    return text


def _value(given: JsonValue) -> JsonValue:
    value = given["value"] if isinstance(given, dict) and set(given) == {"value"} else given
    if not is_scalar(value):
        raise InvalidTaskError(f"{str(value)[:80]!r} is not a value that a task can name.")
    return value


def _row(predicate: Predicate, clause: Clause) -> Row:
    values = [_value(clause.arguments[field.parameter]) for field in predicate.fields]
    return tuple(value for value in values if isinstance(value, str | int | float))

"""BabyAI's verifiers, compiled: whether the last primitive action met the goal.

The same rules as `minigrid.envs.babyai.core.verifier`, over cell numbers and thing indices, so
that a step costs a microsecond and the verifier's memory is a tuple that a snapshot can keep.
A test holds them against minigrid's own step by step, and `referee` replays every success in
minigrid before it is reported.

Two of those rules surprise: going to a thing succeeds by facing where it lay at the last drop
(minigrid looks again only then), and opening needs a toggle even where the door stands open.
"""

from __future__ import annotations

from typing import Protocol

from agentlab.environments.babyai.goal import Action, Goal
from agentlab.environments.babyai.layout import OPEN, Layout

CONTINUE = 0
SUCCESS = 1
FAILURE = 2

PICKUP = 3
DROP = 4
TOGGLE = 5

NOTHING = -1
"""In a memory slot: nothing was carried."""


class Scene(Protocol):
    """What a verifier looks at, just after a primitive action."""

    front: int
    """The cell ahead of the agent."""
    carrying: int
    cells: tuple[int, ...]
    where: tuple[int, ...]
    placed: tuple[int, ...]
    """Cells of the things as minigrid's descriptions last looked them up."""
    doors: tuple[int, ...]
    memory: tuple[int, ...]


class Check(Protocol):
    """One node of a compiled goal."""

    def verify(self, scene: Scene, action: int) -> int:
        """`CONTINUE`, `SUCCESS` or `FAILURE` after a primitive action."""
        ...


def _remember(scene: Scene, slot: int, value: int) -> None:
    memory = scene.memory
    if memory[slot] != value:
        scene.memory = (*memory[:slot], value, *memory[slot + 1 :])


class _GoTo:
    def __init__(self, targets: tuple[int, ...]) -> None:
        self.targets = targets

    def verify(self, scene: Scene, action: int) -> int:
        placed = scene.placed
        front = scene.front
        for target in self.targets:
            if placed[target] == front:
                return SUCCESS
        return CONTINUE


class _Open:
    def __init__(self, targets: tuple[int, ...], things: frozenset[int], strict: bool) -> None:
        self.targets = targets
        self.every_door = things
        self.strict = strict

    def verify(self, scene: Scene, action: int) -> int:
        if action != TOGGLE:
            return CONTINUE
        ahead = scene.cells[scene.front]
        if ahead in self.targets and scene.doors[ahead] == OPEN:
            return SUCCESS
        if self.strict and ahead in self.every_door:
            return FAILURE
        return CONTINUE


class _PickUp:
    def __init__(self, targets: tuple[int, ...], slot: int, strict: bool) -> None:
        self.targets = targets
        self.slot = slot
        self.strict = strict

    def verify(self, scene: Scene, action: int) -> int:
        before = scene.memory[self.slot]
        carrying = scene.carrying
        if before != carrying:
            _remember(scene, self.slot, carrying)
        if action != PICKUP:
            return CONTINUE
        if before == NOTHING and carrying in self.targets:
            return SUCCESS
        if self.strict and carrying != NOTHING:
            return FAILURE
        return CONTINUE


class _PutNext:
    def __init__(
        self,
        moved: tuple[int, ...],
        fixed: tuple[int, ...],
        slot: int,
        strict: bool,
        offsets: tuple[int, ...],
    ) -> None:
        self.moved = moved
        self.fixed = fixed
        self.slot = slot
        self.strict = strict
        self.offsets = offsets

    def verify(self, scene: Scene, action: int) -> int:
        before = scene.memory[self.slot]
        carrying = scene.carrying
        if before != carrying:
            _remember(scene, self.slot, carrying)
        if self.strict and action == PICKUP and carrying != NOTHING:
            return FAILURE
        if action != DROP or before not in self.moved:
            return CONTINUE
        cell = scene.where[before]
        if cell >= 0:
            for other in self.fixed:
                there = scene.placed[other]
                if there >= 0 and there - cell in self.offsets:
                    return SUCCESS
        return CONTINUE


class _And:
    """Each part is checked at every step until it was met once."""

    def __init__(self, parts: tuple[_Part, _Part]) -> None:
        self.parts = parts

    def verify(self, scene: Scene, action: int) -> int:
        missing = False
        for part in self.parts:
            if not scene.memory[part.done]:
                if part.check.verify(scene, action) == SUCCESS:
                    part.finish(scene)
                else:
                    missing = True
        return CONTINUE if missing else SUCCESS


class _Then:
    """The second part is looked at from the very step that meets the first."""

    def __init__(self, parts: tuple[_Part, _Part], strict: bool) -> None:
        self.first, self.second = parts
        self.strict = strict

    def verify(self, scene: Scene, action: int) -> int:
        if not scene.memory[self.first.done]:
            verdict = self.first.check.verify(scene, action)
            if verdict == CONTINUE:
                if self.strict and self.second.check.verify(scene, action) == SUCCESS:
                    return FAILURE
                return CONTINUE
            if verdict == FAILURE:
                return FAILURE
            self.first.finish(scene)
        return self.second.check.verify(scene, action)


class _Part:
    """A node below a joined one, with the slot that says it was met and the slots it owns."""

    def __init__(self, check: Check, done: int, owned: range) -> None:
        self.check = check
        self.done = done
        self.owned = owned

    def finish(self, scene: Scene) -> None:
        # What a met part remembers is never read again; wiping it makes states that behave
        # alike equal.
        memory = list(scene.memory)
        for slot in self.owned:
            memory[slot] = NOTHING
        memory[self.done] = 1
        scene.memory = tuple(memory)


class _Never:
    def verify(self, scene: Scene, action: int) -> int:
        return CONTINUE


class Verifier:
    """A goal compiled for one layout.

    Attributes:
        initial: the memory at the start of an episode.
        carries: the memory slots that hold the index of a carried thing.
        looks_back: whether success can depend on where things lay at the last drop.
    """

    def __init__(self, layout: Layout, goal: Goal | None) -> None:
        self._layout = layout
        self._slots: list[int] = []
        self.carries: list[int] = []
        self.looks_back = False
        self._root: Check = _Never() if goal is None else self._compile(goal)
        self.initial: tuple[int, ...] = tuple(self._slots)

    def verify(self, scene: Scene, action: int) -> int:
        """`CONTINUE`, `SUCCESS` or `FAILURE` after a primitive action."""
        return self._root.verify(scene, action)

    def _slot(self, value: int) -> int:
        self._slots.append(value)
        return len(self._slots) - 1

    def _carry_slot(self) -> int:
        slot = self._slot(NOTHING)
        self.carries.append(slot)
        return slot

    def _compile(self, goal: Goal) -> Check:
        if isinstance(goal, Action):
            return self._action(goal)
        parts = (self._part(goal.ordered[0]), self._part(goal.ordered[1]))
        return _And(parts) if goal.relation == "and" else _Then(parts, goal.strict)

    def _part(self, goal: Goal) -> _Part:
        done = self._slot(0)
        check = self._compile(goal)
        return _Part(check, done, range(done + 1, len(self._slots)))

    def _action(self, action: Action) -> Check:
        targets = self._layout.matches(action.x)
        if action.verb == "go_to":
            self.looks_back = True
            return _GoTo(targets)
        if action.verb == "open":
            return _Open(targets, frozenset(self._layout.doors), action.strict)
        slot = self._carry_slot()
        if action.y is None:
            return _PickUp(targets, slot, action.strict)
        fixed = self._layout.matches(action.y)
        return _PutNext(targets, fixed, slot, action.strict, self._layout.offsets)

"""Tasks, the missions they state, and the splits that keep some of them unseen.

A mission is the parsed form of an instruction: clauses, and the order in which groups of them
must be met. Its structure without particulars is the template, by which curricula count and
by which whole shapes of task are reserved for evaluation.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from agentlab.types.base import Frozen, JsonObject, derive_id
from agentlab.types.tool import ToolCall

Scalar = str | int | float
Split = Literal["practice", "dev", "heldout"]


class Clause(Frozen):
    """One thing to bring about: a predicate over described entities or plain values."""

    predicate: str
    arguments: JsonObject
    """Parameter name to description (see `satisfies`)."""


class Mission(Frozen):
    """Clauses in groups: groups in sequence, the clauses of one group in any order."""

    groups: tuple[tuple[Clause, ...], ...]

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """All clauses, in the order in which they are to be met."""
        return tuple(clause for group in self.groups for clause in group)

    @property
    def structure(self) -> str:
        """The mission without particulars: `put_next & open > go_to`."""
        return " > ".join(
            " & ".join(sorted(clause.predicate for clause in group)) for group in self.groups
        )


class ClauseTemplate(Frozen):
    """A predicate that an environment can verify, and what its parameters may be."""

    predicate: str
    parameters: dict[str, JsonObject]
    """Parameter name to the properties that every entity there must have, e.g.
    `{"thing": {"kind": "door"}}`; an empty object means any entity."""
    descriptors: tuple[str, ...] = ()
    """Entity properties that an instruction can say, e.g. `("color", "kind")`."""


class GrammarSpec(Frozen):
    """What missions an environment can be given."""

    templates: tuple[ClauseTemplate, ...]
    setups: tuple[str, ...]
    """Names of start-state families, easier ones first."""
    max_groups: int = 1
    max_group_size: int = 1
    complete: bool = True
    """False where it was derived from what was seen: what a skill brings about may then have no
    name among `templates`, and its effect check alone tells it."""
    standing: tuple[Scalar, ...] = ()
    """Where all start states are alike: the values in them, which belong to no one task."""
    nothing: str = ""
    """Where there are no templates: a sentence that says why, and what would mend it."""
    composable: bool = True
    """False where the environment's own tasks are all that can be asked for: `compose` then takes
    only the mission that a start state is given by the environment itself."""


class CodeVerifier(Frozen):
    """Generated code that defines `verify(initial, final, answer) -> bool` over JSON state."""

    kind: Literal["code"] = "code"
    source: str
    origin: Literal["search", "model", "import", "human"]
    """Who wrote it. Without a box, only what this project's own search made is run."""


class EnvironmentVerifier(Frozen):
    """The environment's own check: success is an episode that terminated with a reward."""

    kind: Literal["environment"] = "environment"


JUDGED = "judged"
"""The parameter that says of a task that only a judge can score it."""


class Task(Frozen):
    """One instruction with a start state and a verifier.

    Example:
        >>> with agentlab.Library("courier") as library:
        ...     (task,) = library.tasks(1, seed=5)
        >>> task.instruction, task.template
        ('Unlock the silver chest.', 'locked: unlocked')
    """

    id: str
    environment: str
    instruction: str
    setup: JsonObject
    """What `reset` needs, seed apart; the environment's own business."""
    seed: int
    template: str
    mission: Mission | None = None
    split: Split = "practice"
    verifier: EnvironmentVerifier | CodeVerifier = Field(
        default_factory=EnvironmentVerifier, discriminator="kind"
    )
    solution: tuple[ToolCall, ...] | None = None
    """A reference solution, where one is known."""
    failing: tuple[tuple[ToolCall, ...], ...] = ()
    """Trajectories that must not pass; the empty one is always added."""
    parameters: JsonObject = Field(default_factory=dict)
    source: str = "environment"
    """The proposer that made it."""
    parent_skills: tuple[str, ...] = ()
    derived_from: tuple[str, ...] = ()
    """Ids of the tasks whose attempts it was made from."""


def is_judged(task: Task) -> bool:
    """Whether nothing can verify the task, so that only a judge can say how it went."""
    return task.parameters.get(JUDGED) is True and isinstance(task.verifier, EnvironmentVerifier)


def task_id(environment: str, instruction: str, setup: JsonObject, seed: int) -> str:
    """The id of a task: the same instruction in the same start state is the same task."""
    return derive_id("task", environment, instruction, setup, seed)


class SplitRule(Frozen):
    """Which seeds and templates are reserved. Written down once, with the environment.

    A seed belongs to `heldout` or `dev` by its residue. A template that matches one of the
    patterns (regular expressions, searched) is never practised at all; one that matches both
    kinds is held out, so the two are disjoint.
    """

    modulus: int = 10
    dev: frozenset[int] = frozenset({8})
    heldout: frozenset[int] = frozenset({9})
    dev_templates: tuple[str, ...] = ()
    heldout_templates: tuple[str, ...] = ()

    def split_of_seed(self, seed: int) -> Split:
        """The split to which a seed belongs."""
        residue = seed % self.modulus
        if residue in self.heldout:
            return "heldout"
        return "dev" if residue in self.dev else "practice"

    def split_of_template(self, template: str) -> Split:
        """The split for which a template is kept; `practice` when for none."""
        if any(re.search(pattern, template) for pattern in self.heldout_templates):
            return "heldout"
        kept = any(re.search(pattern, template) for pattern in self.dev_templates)
        return "dev" if kept else "practice"

    def split_of(self, seed: int, template: str) -> Split:
        """The split of a task: what is reserved by either is reserved, held out before dev."""
        kept: tuple[Split, ...] = (self.split_of_template(template), self.split_of_seed(seed))
        return "heldout" if "heldout" in kept else "dev" if "dev" in kept else "practice"

    def reserved_template(self, template: str) -> bool:
        """Whether a template may appear only in evaluation."""
        return self.split_of_template(template) != "practice"

    def refusal(self, task: Task) -> str | None:
        """Why a task may not be practised or learnt from, or None when it may."""
        seed_split = self.split_of_seed(task.seed)
        if seed_split != "practice":
            return f"reserved seed: {task.seed} belongs to {seed_split}"
        templates = [task.template]
        if task.mission is not None:
            # What the mission states counts, whatever the proposer calls it.
            setup = task.template.partition(": ")[0]
            templates.append(f"{setup}: {task.mission.structure}")
        for template in templates:
            kept = self.split_of_template(template)
            if kept != "practice":
                return f"reserved template: {template!r} is kept for {kept}"
        if task.split != "practice":
            return f"reserved split: {task.split}"
        return None


class Template(Frozen):
    """A curriculum's category: how often it was tried and what came of it."""

    name: str
    outcomes: tuple[bool, ...] = ()
    """Unassisted outcomes in slot order, oldest first."""

    @property
    def attempts(self) -> int:
        """How many unassisted attempts there were."""
        return len(self.outcomes)

    @property
    def successes(self) -> int:
        """How many of them succeeded."""
        return sum(self.outcomes)

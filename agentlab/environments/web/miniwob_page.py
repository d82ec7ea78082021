"""One of MiniWoB's pages with a grammar: its instructions read back, its verdicts as facts.

A page words its own tasks, one for each seed, so the grammar reads and does not write: what a page
asks for with a seed is all that can be asked for there. The sentences are learnt from practice
seeds (`utterances`). That the page was content with what was done is a fact of the state, with the
particulars that it had asked for, and by that effects are checked and skills are told apart.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from agentlab.environments.web.miniwob import (
    NAME,
    SPLIT_RULE,
    MiniWoB,
    page_task,
    said_by,
    worded_by,
)
from agentlab.environments.web.utterances import Sentences
from agentlab.errors import InvalidTaskError
from agentlab.types import (
    Clause,
    ClauseTemplate,
    GrammarSpec,
    JsonObject,
    Mission,
    Observation,
    Split,
    Task,
    derive_seed,
    task_id,
)

EXAMPLES = 60
"""Practice seeds whose instructions the sentences are learnt from."""
LOOK_AROUND = "Look around."
DONE = "done"
"""The fact that says what the page has accepted."""


class PageGrammar:
    """Implements `protocols.Grammar` for a page that words its own tasks.

    Args:
        page: its name, which is also its only family of start states.
        sentences: what it asks for.
        said: the instruction for a seed.
    """

    def __init__(self, page: str, sentences: Sentences, said: Callable[[int], str]) -> None:
        self._page = page
        self._sentences = sentences
        self._said = said

    @property
    def spec(self) -> GrammarSpec:
        """One predicate for each sentence; nothing can be composed."""
        return GrammarSpec(
            templates=tuple(
                ClauseTemplate(
                    predicate=sentence.predicate,
                    parameters={gap: {} for gap in sentence.gaps},
                    descriptors=("called",),
                )
                for sentence in self._sentences.known
            ),
            setups=(self._page,),
            composable=False,
        )

    def compose(self, mission: Mission | None, setup: str, seed: int) -> Task:
        """The task that the page sets with a seed, if it states this mission.

        Raises:
            InvalidTaskError: the page asks for something else with that seed.
        """
        if setup != self._page:
            raise InvalidTaskError(f"The page here is {self._page!r}, not {setup!r}.")
        if mission is None:
            values: JsonObject = {"page": self._page, "free": True}
            return Task(
                id=task_id(NAME, LOOK_AROUND, values, seed),
                environment=NAME,
                instruction=LOOK_AROUND,
                setup=values,
                seed=seed,
                template=f"{self._page}: ",
                split=SPLIT_RULE.split_of_seed(seed),
            )
        said = self._said(seed)
        if self.parse(said) != _plain(mission):
            raise InvalidTaskError(f"With seed {seed} the page asks for {said[:80]!r} instead.")
        return self.task(seed, said, SPLIT_RULE.split_of_seed(seed))

    def task(self, seed: int, instruction: str, split: Split) -> Task:
        """The page's task for a seed; without a mission where its sentence is not known."""
        try:
            mission = self.parse(instruction)
        except InvalidTaskError:
            return page_task(self._page, seed, instruction, split)
        task = page_task(self._page, seed, instruction, split)
        template = f"{self._page}: {mission.structure}"
        return task.model_copy(update={"mission": mission, "template": template})

    def parse(self, instruction: str) -> Mission:
        """The sentence, with what stands in its gaps.

        Raises:
            InvalidTaskError: it is none of the page's sentences.
        """
        return self._sentences.parse(instruction)

    def achieved(self, before: JsonObject, after: JsonObject) -> Sequence[Clause]:
        """What the page has accepted since."""
        known = cast("list[JsonObject]", before.get(DONE) or [])
        new = [
            each for each in cast("list[JsonObject]", after.get(DONE) or []) if each not in known
        ]
        return [
            Clause(
                predicate=str(each["asked"]),
                arguments={name: value for name, value in each.items() if name != "asked"},
            )
            for each in new
        ]


def _plain(mission: Mission) -> Mission:
    """The mission over names: what is called so is meant."""

    def named(clause: Clause) -> Clause:
        arguments = {
            name: given["called"] if isinstance(given, dict) and set(given) == {"called"} else given
            for name, given in clause.arguments.items()
        }
        return Clause(predicate=clause.predicate, arguments=arguments)

    return Mission(groups=tuple(tuple(map(named, group)) for group in mission.groups))


@functools.cache
def grammar_of(page: str) -> PageGrammar:
    """The page's grammar, learnt once in a process."""
    rng = random.Random(derive_seed("miniwob sentences", page))
    seeds: list[int] = []
    while len(seeds) < EXAMPLES:
        seed = rng.randrange(10**9)
        if SPLIT_RULE.split_of_seed(seed) == "practice":
            seeds.append(seed)
    sentences = Sentences(page, worded_by(page, seeds))
    return PageGrammar(page, sentences, lambda seed: said_by(page, [seed])[0])


class MiniWoBPage(MiniWoB):
    """One page, whose instructions are understood: `miniwob:click-button`."""

    _won: Clause | None = None

    @property
    def _page(self) -> str:
        return self._pages[0]

    def grammar(self) -> PageGrammar:
        """What the page asks for."""
        return grammar_of(self._page)

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        """Distinct tasks of the page. See `MiniWoB.tasks`."""
        grammar = self.grammar()
        return [
            grammar.task(task.seed, task.instruction, split)
            for task in super().tasks(split, count, seed)
        ]

    async def reset(self, task: Task, seed: int) -> Observation:
        """Begin the page's episode for the task's seed."""
        self._won = None
        # Learnt here and not where the page is opened: that is the browser's thread, which the
        # learning has to wait for.
        await asyncio.to_thread(self.grammar)
        return await super().reset(task, seed)

    def _sayable(self, said: str) -> Mapping[str, Sequence[str]]:
        try:
            clauses = self.grammar().parse(said).clauses
        except InvalidTaskError:
            return super()._sayable(said)
        return {str(v): (name,) for c in clauses for name, v in c.arguments.items()}

    async def _judged(self) -> tuple[float, bool]:
        reward, over = await super()._judged()
        assert self._task is not None
        if self._task.setup.get("free"):
            return 0.0, over  # nothing was asked for
        if over and reward > 0 and self._task.mission is not None:
            self._won = self._task.mission.clauses[0]
        return reward, over

    def _observed(
        self,
        images: tuple[bytes, ...] = (),
        text: str = "",
        files: tuple[tuple[str, bytes], ...] = (),
    ) -> Observation:
        observation = super()._observed(images, text, files)
        entities = tuple(
            e.model_copy(update={"properties": {**e.properties, "called": e.reference}})
            for e in observation.entities
        )
        return observation.model_copy(update={"entities": entities})

    async def state(self) -> JsonObject:
        """What the page shows, and what it has accepted."""
        won = self._won
        done: list[JsonObject] = [{"asked": won.predicate, **won.arguments}] if won else []
        return {**await super().state(), DONE: list(done)}

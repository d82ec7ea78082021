"""From what a user says to a task that can be attempted.

Where the environment has a grammar and the words are of it, the task has a verifier. Any other
words are a task for a chat model in a start state of the environment's own, and only a judge or a
person can say how that went.
"""

from __future__ import annotations

from functools import lru_cache

from agentlab.environments.registration import base_name
from agentlab.errors import InvalidTaskError, UsageError
from agentlab.protocols import Environment, Grammar, HasGrammar, HasTasks
from agentlab.types import (
    EnvironmentVerifier,
    Mission,
    SplitRule,
    Task,
    derive_seed,
    is_judged,
    task_id,
)

JUDGED = "judged"
"""The parameter of a task that only a judge can score; see `types.is_judged`."""
SEEDS = 2**31
TRIES = 300
"""Start states of each family that are looked at for one in which the words make sense."""
REMEMBERED = 1_024
"""Instructions whose tasks are remembered, the last used."""
LONGEST = 20_000
"""Characters of an instruction."""
ASKED = "asked"
"""Source and template of what a user said in words of their own."""


class Asking:
    """Makes tasks of words, for one environment.

    Args:
        environment: an instance to ask for its grammar and splits; it is not reset.
        name: as it was registered, with options.
        free: whether words that are of no grammar can be attempted: a chat model is there.
    """

    def __init__(self, environment: Environment, name: str, *, free: bool) -> None:
        self._environment = environment
        self._name = base_name(name)
        self._free = free
        self._grammar: Grammar | None = None
        self._looked = False
        self._made = lru_cache(REMEMBERED)(self._make)

    def task(self, instruction: str, seed: int) -> Task:
        """The task; for the same words and seed the same.

        Raises:
            UsageError: there are no words, they are too long, or nothing here can attempt them.
        """
        words = instruction.strip()
        if not words or len(words) > LONGEST:
            raise UsageError(
                f"An instruction has 1 to {LONGEST} characters, and this one has {len(words)}."
            )
        return self._made(words, seed)

    def understands(self, instruction: str) -> bool:
        """Whether the words are of the environment's grammar, so that what they mean is known."""
        grammar = self._known()
        if grammar is None:
            return False
        try:
            grammar.parse(instruction.strip())
        except InvalidTaskError:
            return False
        return True

    def _make(self, words: str, seed: int) -> Task:
        grammar = self._known()
        if grammar is None:
            return self._plain(words)
        try:
            mission = grammar.parse(words)
        except InvalidTaskError as error:
            return self._freely(words, grammar, seed, str(error))
        return self._composed(grammar, mission, words, seed)

    def _known(self) -> Grammar | None:
        if not self._looked:
            if isinstance(self._environment, HasGrammar):
                self._grammar = self._environment.grammar()
            self._looked = True
        return self._grammar

    def _composed(self, grammar: Grammar, mission: Mission, words: str, seed: int) -> Task:
        """The mission in the first start state that has what it names and is not reserved."""
        why = ""
        for setup in grammar.spec.setups:
            for number in range(TRIES):
                start = derive_seed("asked", seed, words, number) % SEEDS
                try:
                    task = grammar.compose(mission, setup, start)
                except InvalidTaskError as error:
                    why = str(error)
                    continue
                if self._rule.refusal(task) is None:
                    return task
                why = why or "every start state that was tried is reserved"
        raise UsageError(
            f"{words[:80]!r} cannot be asked for in {self._name!r} ({why}); say something that is "
            "there, or hand in a task."
        )

    def _freely(self, words: str, grammar: Grammar, seed: int, why: str) -> Task:
        """Words of no grammar, in a start state of the first family."""
        if not self._free:
            raise UsageError(
                f"{words[:80]!r} is not in the words of {self._name!r} ({why}), and search can "
                "attempt nothing else; say it in those words, hand in a task, or name a chat model."
            )
        for number in range(TRIES):
            start = derive_seed("asked", seed, words, number) % SEEDS
            try:
                base = grammar.compose(None, next(iter(grammar.spec.setups), ""), start)
            except InvalidTaskError:
                continue
            if self._rule.refusal(base) is None:
                return self._judged(base, words)
        return self._plain(words)

    def _plain(self, words: str) -> Task:
        """Words where the environment begins as it does."""
        if not self._free:
            raise UsageError(
                f"The environment {self._name!r} has no words of its own that search could "
                "understand; hand in a task, or name a chat model."
            )
        base = Task(
            id="",
            environment=self._name,
            instruction=words,
            setup={},
            seed=0,
            template=ASKED,
            source=ASKED,
        )
        return self._judged(base, words)

    def _judged(self, base: Task, words: str) -> Task:
        task = base.model_copy(
            update={
                "id": task_id(base.environment, words, base.setup, base.seed),
                "instruction": words,
                "template": ASKED,
                "source": ASKED,
                "mission": None,
                "solution": None,
                "failing": (),
                "verifier": EnvironmentVerifier(),
                "parameters": {JUDGED: True},
            }
        )
        assert is_judged(task)
        return task

    @property
    def _rule(self) -> SplitRule:
        if isinstance(self._environment, HasTasks):
            return self._environment.split_rule
        return SplitRule()

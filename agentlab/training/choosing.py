"""Which samples a view makes of the rollouts of runs.

Each view is one published rule in a file of its own under `views`; here it is given what it reads:
rollouts in order, groups, and what the records know of skills, advice and proposals besides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple, Protocol

from agentlab.errors import UnknownNameError
from agentlab.records import Records
from agentlab.records.trajectories import Outline
from agentlab.training.formats.trl import TrlGrpoReplay
from agentlab.training.refusals import Refusal, RefusedError
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Demonstration, Group, Kind, Sample
from agentlab.training.tries import single
from agentlab.training.views.chains import chains
from agentlab.training.views.groups import groups
from agentlab.training.views.hinted import hinted
from agentlab.training.views.masked import masked
from agentlab.training.views.pairs import pairs
from agentlab.training.views.proposed import Unfit, proposed_groups
from agentlab.training.views.reflections import reflectors, repairs, retries
from agentlab.training.views.replayed import replayed
from agentlab.training.views.splices import splices
from agentlab.training.views.successes import short_enough, successes
from agentlab.training.views.verdicts import verdicts
from agentlab.training.views.verifier import verifier_pairs
from agentlab.types import SHARED, Scope

ViewName = Literal[
    "successes",
    "masked",
    "repairs",
    "reflectors",
    "splices",
    "pairs",
    "verifier",
    "verdicts",
    "groups",
    "retries",
    "replayed",
    "hinted",
    "chains",
    "proposals",
    "levels",
]
VIEWS: dict[ViewName, Kind] = {
    "successes": "demonstration",
    "masked": "demonstration",
    "repairs": "demonstration",
    "reflectors": "demonstration",
    "splices": "composed",
    "pairs": "preference",
    "verifier": "preference",
    "verdicts": "verdict",
    "groups": "group",
    "retries": "group",
    "replayed": "group",
    "hinted": "group",
    "chains": "group",
    "proposals": "group",
    "levels": "group",
}
"""Each view with the kind of sample that it gives; a format takes the first that suits it."""


class ToKnow(NamedTuple):
    """What of a view's published rule a training on its rows leaves undone."""

    always: str = ""
    elsewhere: str = ""
    """The same of every format but `trl-grpo-replay`, whose trainer does it."""


TO_KNOW: dict[ViewName, ToKnow] = {
    "hinted": ToKnow(
        elsewhere="Guide shapes the ratio of rows whose hint was taken out and does not clip it; "
        "only rows of `trl-grpo-replay` are marked for that, and its trainer does it.",
    ),
    "replayed": ToKnow(
        "SPEAR adds a bonus for turns to the rewards of its first 200 steps; here they are the "
        "evaluator's. Its weight of the replay loss is 0 in a run's first round and whole after "
        "100.",
        "SPEAR scales the loss of replayed rows and leaves out tokens whose probability goes with "
        "the advantage; only rows of `trl-grpo-replay` are marked for that, and its trainer does "
        "it.",
    ),
}
"""What is the trainer's part of a view's published rule, and not done."""

STEPLESS: frozenset[ViewName] = frozenset(
    (
        "successes",
        "verifier",
        "verdicts",
        "groups",
        "retries",
        "replayed",
        "hinted",
        "chains",
        "levels",
    )
)
"""Views that look at calls and scores alone."""


def to_know(view: ViewName, form: str) -> tuple[str, ...]:
    """What is to be said of a view's rows in a format, in sentences."""
    told = TO_KNOW.get(view, ToKnow())
    both = (told.always, "" if form == TrlGrpoReplay.name else told.elsewhere)
    return tuple(each for each in both if each)


class RolloutsOf(Protocol):
    """Rollouts in order, as often as they are asked for."""

    def __call__(self, among: Collection[str] | None = None) -> Iterator[Rollout]:
        """All, or those of these ids."""
        ...


class Choosing:
    """The samples of one export.

    Args:
        records: of the workspace.
        run_ids: whose rollouts.
        rollouts: gives those that may be trained on, anew each time: all, or those named.
        unfit: why something may not be trained on.
        refusals: what a view leaves out is added to.
        rounds: see `rollouts`.
        scope: the same.
    """

    def __init__(
        self,
        records: Records,
        run_ids: Sequence[str],
        rollouts: RolloutsOf,
        unfit: Unfit,
        refusals: list[Refusal],
        rounds: tuple[int, int] | None = None,
        scope: Scope = SHARED,
    ) -> None:
        self._rounds = rounds
        self._scope = scope
        self._records = records
        self._run_ids = run_ids
        self._rollouts = rollouts
        self._unfit = unfit
        self._refusals = refusals

    def samples(self, view: ViewName) -> Iterator[Sample]:
        """The view's samples, as rollouts are read."""
        makers: dict[ViewName, Callable[[], Iterator[Sample]]] = {
            "successes": self._successes,
            "masked": lambda: masked(self._successes()),
            "repairs": lambda: repairs(self._rollouts(), self._refusals),
            "reflectors": lambda: reflectors(self._rollouts()),
            "splices": lambda: self._each(lambda group: splices(group, self._refusals)),
            "pairs": lambda: self._each(pairs),
            "verifier": self._verifier,
            "verdicts": lambda: verdicts(self._rollouts()),
            "groups": lambda: self._untried(self._groups()),
            "retries": lambda: self._each(retries),
            "replayed": lambda: replayed(self._untried(self._groups())),
            "hinted": lambda: self._each(lambda group: hinted(group, self._refusals, self._advice)),
            "chains": self._chains,
            "proposals": self._proposals,
            "levels": lambda: chain(self._untried(self._groups()), self._proposals()),
        }
        return makers[view]()

    def _outline(self) -> Iterator[Outline]:
        for run_id in self._run_ids:
            yield from self._records.trajectories.outline(
                run_id, rounds=self._rounds, scope=self._scope
            )

    def _successes(self) -> Iterator[Demonstration]:
        solved = [row for row in self._outline() if row.solved]
        asked = self._records.trajectories.asked([row.attempt_id for row in solved])
        # What is refused sets no length: a task would lose its one example to it.
        fit = [
            row
            for row in solved
            if (calls := asked.get(row.attempt_id)) is not None
            and self._unfit(row.source, calls.unsaid) is None
        ]
        refused = {row.attempt_id for row in solved} - {row.attempt_id for row in fit}
        # Read all the same, and refused there, so that the reason is told.
        return successes(self._rollouts(short_enough(fit) | refused))

    def _groups(self) -> Iterator[Group]:
        return groups(self._rollouts(), Counter(row.group_id for row in self._outline()))

    def _each(self, view: Callable[[Group], Iterable[Sample]]) -> Iterator[Sample]:
        for group in self._groups():
            yield from view(group)

    def _untried(self, found: Iterable[Group]) -> Iterator[Group]:
        """The groups of which no attempt was tried again: a reward belongs to one try."""
        for group in found:
            try:
                for rollout in group.rollouts:
                    single(rollout)
            except RefusedError as refused:
                self._refusals.append(Refusal(group.id, refused.reason, refused.detail))
                continue
            yield group

    def _proposals(self) -> Iterator[Group]:
        return proposed_groups(
            self._records, self._run_ids, self._refusals, self._unfit, self._rounds, self._scope
        )

    def _verifier(self) -> Iterator[Sample]:
        return verifier_pairs(self._rollouts(), Counter(row.task_id for row in self._outline()))

    def _chains(self) -> Iterator[Sample]:
        sources = {
            row.item.id: row.item.source_attempts
            for row in self._records.items.skills(scope=self._scope)
        }
        return self._untried(chains(self._rollouts(), sources))

    def _advice(self, insight: str) -> str | None:
        try:
            return self._records.items.insight(insight).item.advice
        except UnknownNameError:
            return None

"""When a run exports, and what: from its config and its records alone.

A process that resumes a run comes to the same answer, so that what was exported is exported under
the same name, with the same bytes, however often the node runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentlab.config import ExportConfig, PracticeConfig
from agentlab.errors import ConfigError, UnknownNameError
from agentlab.records import AttemptRow
from agentlab.training.choosing import VIEWS, ViewName
from agentlab.training.estimating import ESTIMATORS
from agentlab.training.formats.catalogue import format_of


class Wanted(NamedTuple):
    """One export of a config."""

    format: str
    view: ViewName
    estimator: str | None
    """None where the view has no groups."""

    def name(self, round_: int) -> str:
        """The folder's, for an export after this round (from 0)."""
        return f"round-{round_ + 1:04}-{self.format}-{self.view}"


def check_export(config: PracticeConfig) -> None:
    """Return, unless a run could not write what its config asks for.

    Raises:
        UnknownNameError: there is no such format, view or estimator.
        ConfigError: a view does not suit its format, or nothing says when.
    """
    chosen = config.export
    wanted(chosen)
    if chosen.formats and not (chosen.rounds or chosen.attempts):
        raise ConfigError(
            "'export.formats' names what to write and nothing says when; set 'export.rounds' or "
            "'export.attempts'."
        )


def wanted(chosen: ExportConfig) -> tuple[Wanted, ...]:
    """The exports of a config.

    Raises:
        UnknownNameError: there is no such format, view or estimator.
        ConfigError: a view does not suit its format.
    """
    if chosen.estimator and chosen.estimator not in ESTIMATORS:
        raise UnknownNameError("estimator", chosen.estimator, ESTIMATORS)
    found: list[Wanted] = []
    for each in chosen.formats:
        name, _, view = each.partition(":")
        spelling = format_of(name)
        fitting: list[ViewName] = [known for known, kind in VIEWS.items() if kind in spelling.takes]
        if view and view not in VIEWS:
            raise UnknownNameError("view", view, VIEWS)
        if view and view not in fitting:
            raise ConfigError(
                f"'export.formats' names {each!r}, and the format {name!r} cannot hold that view; "
                f"take {' or '.join(repr(known) for known in fitting)}."
            )
        taken = view if view else fitting[0]
        compared = VIEWS[taken] == "group" and taken != "replayed"
        found.append(Wanted(name, taken, chosen.estimator or None if compared else None))
    return tuple(found)


def due(chosen: ExportConfig, round_: int, attempts: Sequence[AttemptRow]) -> bool:
    """Whether the run exports after this round.

    Args:
        chosen: of the run.
        round_: from 0.
        attempts: the run's practice attempts, those of later rounds included.
    """
    if chosen.rounds and (round_ + 1) % chosen.rounds == 0:
        return True
    if not chosen.attempts:
        return False
    completed = [row.round for row in attempts if row.status == "completed"]
    now = sum(each <= round_ for each in completed)
    before = sum(each < round_ for each in completed)
    return now // chosen.attempts > before // chosen.attempts


def covered(chosen: ExportConfig, round_: int, attempts: Sequence[AttemptRow]) -> tuple[int, int]:
    """The rounds that an export after this one holds: from the first up to, without, the second."""
    first = 0
    if chosen.only_new:
        earlier = [each for each in range(round_) if due(chosen, each, attempts)]
        first = earlier[-1] + 1 if earlier else 0
    return first, round_ + 1

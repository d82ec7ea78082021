"""Which attempts and proposals a person wants to see, and which rows those are.

Text is looked for as it is written: what means something in a pattern does not here.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from sqlalchemy import JSON, ColumnElement, Select, or_, select, type_coerce

from agentlab.records.tables import ATTEMPTS, DOCUMENTS, PLANS, PROPOSALS, TASKS
from agentlab.types import AttemptKind

Outcome = Literal["verdict", "success", "failure", "unknown", "infrastructure"]
LibraryArm = Literal["offered", "partly", "withheld", "none"]
"""Of what was retrieved for an attempt: all offered, some withheld, all withheld, nothing found."""
INSTRUCTION: ColumnElement[str] = type_coerce(DOCUMENTS.c.body, JSON)["instruction"].as_string()
"""Of a task whose document is joined."""


class AttemptFilter(NamedTuple):
    """Which attempts; what is None does not matter."""

    kind: AttemptKind | None = None
    outcome: Outcome | None = None
    round: int | None = None
    library: LibraryArm | None = None
    task_id: str | None = None
    scope: str | None = None
    """Path of the scope in which they were made; empty for the shared one."""
    text: str = ""
    """Is in the instruction, the template, the error, or begins an id."""


class ProposalFilter(NamedTuple):
    """Which proposals; what is None does not matter."""

    admitted: bool | None = None
    round: int | None = None
    reason: str | None = None
    """A kind of reason, the text before its first colon."""
    text: str = ""


def attempts_like(wanted: AttemptFilter) -> list[ColumnElement[bool]]:
    """Conditions on a query of `ATTEMPTS`; all must hold."""
    found: list[ColumnElement[bool]] = []
    if wanted.kind is not None:
        found.append(ATTEMPTS.c.kind == wanted.kind)
    if wanted.round is not None:
        found.append(ATTEMPTS.c.round == wanted.round)
    if wanted.task_id is not None:
        found.append(ATTEMPTS.c.task_id == wanted.task_id)
    if wanted.scope is not None:
        found.append(ATTEMPTS.c.scope == wanted.scope)
    if wanted.outcome is not None:
        found += _outcome(wanted.outcome)
    if wanted.library is not None:
        some = wanted.library in ("offered", "partly")
        none = wanted.library in ("withheld", "partly")
        found.append(ATTEMPTS.c.offered > 0 if some else ATTEMPTS.c.offered == 0)
        found.append(ATTEMPTS.c.withheld > 0 if none else ATTEMPTS.c.withheld == 0)
    if wanted.text:
        found.append(
            or_(
                ATTEMPTS.c.template.icontains(wanted.text, autoescape=True),
                ATTEMPTS.c.error.icontains(wanted.text, autoescape=True),
                ATTEMPTS.c.id.startswith(wanted.text, autoescape=True),
                ATTEMPTS.c.task_id.startswith(wanted.text, autoescape=True),
                ATTEMPTS.c.id.in_(_asked(wanted.text)),
            )
        )
    return found


def _asked(text: str) -> Select[Any]:
    """Attempts that were asked for in such words.

    Each table is read once from its beginning to its end. To look up the plan and the task of
    attempt after attempt takes three times as long where few or none fit.
    """
    tasks = select(DOCUMENTS.c.digest).where(INSTRUCTION.icontains(text, autoescape=True))
    return select(PLANS.c.attempt_id).where(PLANS.c.task.in_(tasks.correlate(None))).correlate(None)


def _outcome(outcome: Outcome) -> list[ColumnElement[bool]]:
    match outcome:
        case "verdict":
            return [ATTEMPTS.c.success.is_not(None)]
        case "success":
            return [ATTEMPTS.c.success.is_(True)]
        case "failure":
            return [ATTEMPTS.c.success.is_(False)]
        case "unknown":
            return [ATTEMPTS.c.success.is_(None), ATTEMPTS.c.status == "completed"]
        case "infrastructure":
            return [ATTEMPTS.c.status == "infrastructure_failure"]


def proposals_like(wanted: ProposalFilter) -> list[ColumnElement[bool]]:
    """Conditions on a query of `PROPOSALS`, joined to its tasks and their documents."""
    found: list[ColumnElement[bool]] = []
    if wanted.admitted is not None:
        found.append(PROPOSALS.c.admitted.is_(wanted.admitted))
    if wanted.round is not None:
        found.append(PROPOSALS.c.round == wanted.round)
    if wanted.reason is not None:
        found.append(PROPOSALS.c.reason_kind == wanted.reason)
    if wanted.text:
        found.append(
            or_(
                TASKS.c.template.icontains(wanted.text, autoescape=True),
                PROPOSALS.c.reason.icontains(wanted.text, autoescape=True),
                PROPOSALS.c.task_id.startswith(wanted.text, autoescape=True),
                INSTRUCTION.icontains(wanted.text, autoescape=True),
            )
        )
    return found

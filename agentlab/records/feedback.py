"""What people say of an attempt afterwards, and how that changes what is known of its success.

A verifier outranks a person, and a person outranks a judge: where a verifier decided, what is said
is kept and changes nothing; anywhere else it becomes the attempt's score, with the one before it
as evidence, and with that the outcome of every draw of the attempt. Nothing is overwritten that
was said; the newest counts. Only attempts in use can be named: what was practised or held out
measures the library, and ids can be guessed.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select, update

from agentlab.errors import UnknownNameError
from agentlab.records.database import Session, add, now
from agentlab.records.encoding import decode, encode, plain
from agentlab.records.tables import ATTEMPTS, FEEDBACK, OUTCOMES, SCORES
from agentlab.types import SHARED, AttemptOutcome, JsonObject, Scope, Score

BEFORE = "before"
"""In the evidence of a person's score: the score that it took the place of."""
LONGEST_COMMENT = 4_000
"""Characters that are kept of a comment."""


class FeedbackRow(NamedTuple):
    """What somebody said of an attempt."""

    attempt_id: str
    success: bool | None
    """None where only a comment was left."""
    comment: str
    created_at: str


class FeedbackStore:
    """What people said, by attempt."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self,
        attempt_id: str,
        *,
        success: bool | None = None,
        comment: str = "",
        scope: Scope = SHARED,
    ) -> bool:
        """Keep what somebody says of a recorded attempt; False when the last said the same.

        Args:
            attempt_id: the attempt in use (`production`), of any process and however long ago.
            success: whether it did what was wanted; None leaves the score as it is.
            comment: why; cut after `LONGEST_COMMENT` characters.
            scope: in which it was made; nobody else's attempts can be named.

        Raises:
            UnknownNameError: no such attempt in use was recorded in that scope.
        """
        said = plain(comment[:LONGEST_COMMENT])
        with self._session.write() as connection:
            where = (
                ATTEMPTS.c.id == attempt_id,
                ATTEMPTS.c.scope == scope.path,
                ATTEMPTS.c.kind == "production",
            )
            status = connection.scalar(select(ATTEMPTS.c.status).where(*where))
            if status is None:
                raise UnknownNameError("recorded attempt of this scope", attempt_id, ())
            newest = (
                select(FEEDBACK.c.success, FEEDBACK.c.comment)
                .where(FEEDBACK.c.attempt_id == attempt_id)
                .order_by(FEEDBACK.c.serial.desc())
                .limit(1)
            )
            last = connection.execute(newest).one_or_none()
            if last is not None and (last.success, last.comment) == (success, said):
                return False
            row = {
                "attempt_id": attempt_id,
                "success": success,
                "comment": said,
                "created_at": now(),
            }
            add(connection, FEEDBACK, [row])
            if success is not None and status == "completed":
                _rescore(connection, attempt_id, success, said)
            return True

    def of(self, attempt_id: str) -> list[FeedbackRow]:
        """What was said of an attempt, oldest first."""
        query = (
            select(*(FEEDBACK.c[name] for name in FeedbackRow._fields))
            .where(FEEDBACK.c.attempt_id == attempt_id)
            .order_by(FEEDBACK.c.serial)
        )
        with self._session.read() as connection:
            return [FeedbackRow._make(row) for row in connection.execute(query)]


def _rescore(connection: Connection, attempt_id: str, success: bool, comment: str) -> None:
    """Let a person's verdict take the place of a judge's, or of none."""
    key = attempt_id
    body = connection.scalar(select(SCORES.c.body).where(SCORES.c.attempt_id == key))
    old = decode(Score, body or "", table="scores", key=key)
    if old.source == "verifier" and old.success is not None:
        return
    before = old.evidence.get(BEFORE) if old.source == "human" else None
    evidence: JsonObject = {BEFORE: before or old.model_dump(mode="json")}
    score = Score(
        value=float(success),
        success=success,
        explanation=comment or "said by a person",
        evidence=evidence,
        source="human",
    )
    values = {
        "value": score.value,
        "success": score.success,
        "source": score.source,
        "confidence": score.confidence,
        "body": encode(score),
    }
    connection.execute(update(SCORES).where(SCORES.c.attempt_id == key).values(values))
    text = connection.scalar(select(OUTCOMES.c.body).where(OUTCOMES.c.attempt_id == key))
    outcome = decode(AttemptOutcome, text or "", table="outcomes", key=key)
    counted = outcome.model_copy(update={"score": score}).success
    connection.execute(update(ATTEMPTS).where(ATTEMPTS.c.id == key).values(success=counted))

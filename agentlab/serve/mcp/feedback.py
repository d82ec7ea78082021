"""What a user says of a call, kept beside it.

It is the user's word and no verifier's: it changes no score by itself.
"""

from __future__ import annotations

from agentlab.records import Records
from agentlab.types import digest


def keep_feedback(
    records: Records, run_id: str, round_: int, attempt: str, *, success: bool, comment: str
) -> bool:
    """Put feedback on record; False where the same was said before, and nothing changes."""
    said = digest(success, comment)[:16]
    return records.nodes.finish(
        run_id,
        round_,
        f"feedback {attempt} {said}",
        {"attempt": attempt, "success": success, "comment": comment},
    )

"""Model calls of an attempt are kept by what each adds to the one before.

Rows that are there hold whole calls, which are read as before; there is nothing to rewrite.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

CALLS: sa.TableClause = sa.table(
    "model_calls",
    sa.column("attempt_id", sa.String),
    sa.column("position", sa.Integer),
    sa.column("body", sa.Text),
)


def upgrade() -> None:
    """Nothing: only what is recorded from now on is spelt in the new way."""


def downgrade() -> None:
    """Spell each call out as a whole, since older versions know no other."""
    bind = op.get_bind()
    attempts = bind.scalars(sa.select(CALLS.c.attempt_id).distinct()).all()
    for attempt in attempts:
        query = sa.select(CALLS.c.position, CALLS.c.body).where(CALLS.c.attempt_id == attempt)
        before: dict[str, Any] = {}
        for position, body in bind.execute(query.order_by(CALLS.c.position)).all():
            call = json.loads(body)
            told = call.pop("continues", None)
            if told is not None:
                _spell_out(before, call, told)
                here = (CALLS.c.attempt_id == attempt, CALLS.c.position == position)
                text = json.dumps(call, separators=(",", ":"))
                bind.execute(sa.update(CALLS).where(*here).values(body=text))
            before = call


def _spell_out(before: dict[str, Any], call: dict[str, Any], told: dict[str, Any]) -> None:
    own, held = call["request"], before["request"]
    call["request"] = {name: own[name] if name in own else held[name] for name in told["request"]}
    if told["messages"]:
        call["request"]["messages"] = [*held["messages"][: told["messages"]], *own["messages"]]
    if told["tokens"]:
        ids = [*(before.get("prompt_token_ids") or ()), *(before.get("output_token_ids") or ())]
        call["prompt_token_ids"] = [*ids[: told["tokens"]], *call["prompt_token_ids"]]

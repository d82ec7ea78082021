"""What Alembic runs for each command: it uses the connection it is given, and no ini file."""

from __future__ import annotations

from alembic import context

from agentlab.records.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()

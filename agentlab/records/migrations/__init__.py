"""Alembic's environment and the revisions; run by `records.migration`, never by hand."""

"""The LangGraph graph of a practice run; the one place that knows the edges."""

from __future__ import annotations

import os

# Read by LangGraph when it is imported: a checkpoint may then name no types to be built but
# LangGraph's own, so that a run directory from somewhere else cannot run code on `resume`.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

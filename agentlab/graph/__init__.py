"""The LangGraph graph of a practice run; the one place that knows the edges."""

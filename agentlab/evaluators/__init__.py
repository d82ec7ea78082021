"""Evaluators: how an attempt is scored. One strategy a file."""

"""Executors: how a task is attempted. One strategy a file."""

"""Proposers: who makes tasks. One strategy a file."""

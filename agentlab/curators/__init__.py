"""Curators: what is distilled from attempts. One strategy a file."""

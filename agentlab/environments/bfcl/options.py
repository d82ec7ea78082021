"""Options that choose some of a list of names."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from agentlab.errors import ConfigError


def chosen(option: str, given: str | Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The names given, in the known order.

    Args:
        option: its name, for the sentence.
        given: one name, several separated by commas, or a list of them.
        known: all there are.

    Raises:
        ConfigError: a name that is not known, or none at all.
    """
    names = given.split(",") if isinstance(given, str) else list(given)
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
            raise ConfigError(f"bfcl: {option!r} has no {str(name)[:80]!r}; {hint}")
    if not names:
        raise ConfigError(f"bfcl: {option!r} names nothing; known are {', '.join(known)}.")
    return tuple(name for name in known if name in names)

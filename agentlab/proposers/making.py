"""From a name to a proposer: `context`, or several in one as `mixture:context+challenger`."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from agentlab.errors import UsageError
from agentlab.proposers.mixture import NAME as MIXTURE
from agentlab.proposers.mixture import MixtureProposer
from agentlab.protocols import Proposer
from agentlab.registry import resolve

EXAMPLE = f"{MIXTURE}:context+challenger"


def make_proposer(name: str, *, box: str = "auto") -> Proposer:
    """The proposer of that name.

    Args:
        name: a registered name, or `mixture:` and registered names with `+` between them.
        box: where what it writes is tried, if it writes code.

    Raises:
        UnknownNameError: there is no such proposer; suggests near ones.
        MissingExtraError: it needs an optional dependency.
        UsageError: the name takes nothing after a colon, or names no mixture.
    """
    kind, colon, argument = name.partition(":")
    if kind != MIXTURE:
        if colon:
            raise UsageError(
                f"The proposer {kind!r} takes nothing after a colon: write {kind!r}, not {name!r}."
            )
        made = cast("Callable[..., Proposer]", resolve("proposer", kind))
        return made(box=box) if getattr(made, "writes_code", False) else made()
    inner = [part.strip() for part in argument.split("+")] if argument.strip() else []
    if not inner or not all(inner):
        raise UsageError(f"The proposer {name!r} names no proposers to mix; write {EXAMPLE!r}.")
    if len(set(inner)) < len(inner):
        raise UsageError(f"The proposer {name!r} names one proposer twice; name each once.")
    if any(part.partition(":")[0] == MIXTURE for part in inner):
        raise UsageError(f"The proposer {name!r} holds a mixture; name its proposers instead.")
    return MixtureProposer({part: make_proposer(part, box=box) for part in inner})

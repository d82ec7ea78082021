"""Embedders, chosen by name: `lexical`, `endpoint:MODEL`, `sentence-transformers:MODEL`.

The default, `lexical`, works offline without a download. Nothing here falls back to another
embedder by itself: vectors of two embedders are never compared, so a change is the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from agentlab.errors import UsageError
from agentlab.protocols import Embedder
from agentlab.registry import resolve

__all__ = ["open_embedder", "uses_model"]


def uses_model(name: str) -> bool:
    """Whether a model that somebody may have to pay for is behind the embedder of that name.

    Raises:
        UnknownNameError: there is no such embedder.
    """
    return hasattr(resolve("embedder", name.partition(":")[0]), "tokens")


def open_embedder(name: str = "lexical") -> Embedder:
    """The embedder of that name; what follows a colon is the model that it should use.

    Raises:
        UnknownNameError: there is no such embedder.
        MissingExtraError: it needs an optional dependency.
        UsageError: the name lacks a model, or has one that the embedder cannot take.
    """
    kind, colon, model = name.partition(":")
    factory = cast("Callable[..., Embedder]", resolve("embedder", kind))
    if not colon:
        return factory()
    if not model:
        raise UsageError(f"The embedder {name!r} names no model; write '{kind}:MODEL'.")
    try:
        return factory(model=model)
    except TypeError as error:
        if "model" not in str(error):
            raise
        raise UsageError(f"The embedder {kind!r} takes no model; write just {kind!r}.") from error

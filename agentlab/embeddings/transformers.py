"""An embedder that runs a sentence-transformers model here: `sentence-transformers:MODEL`.

It needs the extra `transformers`. It loads a folder, or a model that is in the local cache
already, and never downloads by itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from agentlab.errors import ConfigError, MissingExtraError
from agentlab.protocols import Vectors

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BATCH = 32
"""Texts at a time."""


class _Model(Protocol):
    """The part of `SentenceTransformer` that is used here."""

    def encode(
        self,
        sentences: list[str],
        *,
        batch_size: int,
        show_progress_bar: bool,
        convert_to_numpy: bool,
    ) -> NDArray[np.float32]: ...


class TransformersEmbedder:
    """Vectors of a sentence-transformers model, scaled to length 1."""

    def __init__(self, *, model: str = MODEL, device: str | None = None) -> None:
        """Load the model.

        Args:
            model: a folder, or the name of a model in the local cache.
            device: such as `cpu` or `cuda`; None lets the library choose.

        Raises:
            MissingExtraError: sentence-transformers is not installed.
            ConfigError: the model is not on this machine.
        """
        try:
            library = cast("Any", importlib.import_module("sentence_transformers"))
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "The embedder 'sentence-transformers'", "transformers"
            ) from error
        self._name = model
        try:
            loaded = library.SentenceTransformer(model, device=device, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"The model {model!r} is not on this machine; download it first, or name the "
                "folder that holds it."
            ) from error
        self._model = cast("_Model", loaded)
        self._dimension = int(self._encode(["length"]).shape[1])

    @property
    def name(self) -> str:
        """`sentence-transformers:<model>`; of a folder, its last part."""
        folder = Path(self._name)
        return f"sentence-transformers:{folder.name if folder.is_dir() else self._name}"

    @property
    def dimension(self) -> int:
        """Length of each vector."""
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row each, shape `(len(texts), dimension)`, float32, length 1 or all zero.

        A text of blanks is all zero: a model would give it a direction that means nothing.
        """
        rows = np.zeros((len(texts), self._dimension), dtype=np.float32)
        places = [place for place, text in enumerate(texts) if text.strip()]
        if places:
            vectors = self._encode([texts[place] for place in places])
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            norms[norms == 0.0] = 1.0
            rows[places] = vectors / norms
        return rows

    def _encode(self, texts: list[str]) -> Vectors:
        answer = self._model.encode(
            texts, batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(answer, dtype=np.float32)

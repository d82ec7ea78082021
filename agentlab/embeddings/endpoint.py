"""An embedder behind an OpenAI-compatible endpoint: `endpoint:MODEL`.

Texts leave the machine for the endpoint that the user named in `OPENAI_BASE_URL`. It never
falls back to another embedder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from agentlab.errors import ModelFaultError, UsageError
from agentlab.models.openai_client import model_faults, open_client
from agentlab.protocols import Vectors

BATCH = 64
"""Texts a request."""
CHARACTERS_A_TOKEN = 4
"""Taken where the endpoint does not say how many tokens it counted."""


class EndpointEmbedder:
    """Vectors from `POST /embeddings`, scaled to length 1."""

    def __init__(
        self,
        *,
        model: str = "",
        dimension: int | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
    ) -> None:
        """Name the endpoint and the model; nothing is sent yet.

        Args:
            model: the endpoint's name for it.
            dimension: asked of the endpoint where given, for models that can shorten their
                vectors; else the model's own, found out by a first request.
            base_url: else `OPENAI_BASE_URL`.
            api_key: else `OPENAI_API_KEY`.
            timeout: seconds a request may take.
            retries: see `open_client`.

        Raises:
            UsageError: no model is named.
            ConfigError: no endpoint is named.
        """
        if not model:
            raise UsageError(
                "The embedder 'endpoint' needs a model; name it as in 'endpoint:MODEL'."
            )
        self._model = model
        self._asked = dimension
        self._found = dimension
        self._tokens = 0
        self._client = open_client(
            base_url=base_url, api_key=api_key, timeout=timeout, retries=retries
        )

    @property
    def name(self) -> str:
        """`endpoint:<model>`, with `@<dimension>` where one was asked for."""
        return f"endpoint:{self._model}" + (f"@{self._asked}" if self._asked else "")

    @property
    def dimension(self) -> int:
        """Length of each vector; may ask the endpoint once.

        Raises:
            ModelFaultError: the endpoint failed.
        """
        if self._found is None:
            self._found = self._request(["length"]).shape[1]
        return self._found

    @property
    def tokens(self) -> int:
        """What was sent so far, as the endpoint counts it, else a token for four characters."""
        return self._tokens

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row each, shape `(len(texts), dimension)`, float32, length 1 or all zero.

        A text of blanks is all zero and is not sent: endpoints refuse it.

        Raises:
            ModelFaultError: the endpoint failed, or answered with other than it was asked for.
        """
        places = [place for place, text in enumerate(texts) if text.strip()]
        parts = [
            self._request([texts[place] for place in places[start : start + BATCH]])
            for start in range(0, len(places), BATCH)
        ]
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for start, part in zip(range(0, len(places), BATCH), parts, strict=True):
            rows[places[start : start + BATCH]] = part
        return rows

    def _request(self, texts: list[str]) -> Vectors:
        what = f"embedding with {self._model!r}"
        with model_faults(self._client, what):
            answer = self._client.embeddings.create(
                model=self._model,
                input=texts,
                encoding_format="float",
                extra_body={"dimensions": self._asked} if self._asked else None,
            )
        told = answer.usage.total_tokens if answer.usage else 0
        guessed = sum(math.ceil(len(text) / CHARACTERS_A_TOKEN) for text in texts)
        self._tokens += told if told > 0 else guessed
        ordered = sorted(answer.data, key=lambda item: item.index)
        if [item.index for item in ordered] != list(range(len(texts))):
            raise self._odd(f"{len(ordered)} vectors for {len(texts)} texts")
        lengths = {len(item.embedding) for item in ordered}
        if len(lengths) != 1 or 0 in lengths or not lengths <= {self._found or max(lengths)}:
            raise self._odd(f"vectors of length {sorted(lengths)}")
        rows = np.array([item.embedding for item in ordered], dtype=np.float32)
        if not np.isfinite(rows).all():
            raise self._odd("numbers that are not finite")
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        norms[norms == 0.0] = 1.0
        self._found = rows.shape[1]
        return rows / norms

    def _odd(self, got: str) -> ModelFaultError:
        return ModelFaultError(
            f"The endpoint gave {got} when asked to embed with {self._model!r}; "
            "check that the model is an embedding model."
        )

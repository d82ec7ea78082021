"""Embeddings without a model: words hashed into a vector, so that like texts lie near each other.

The trick is feature hashing (Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask
Learning"): each word adds 1 or -1 to one place. Nothing is claimed of it but that it is the same
for the same text and has the length 1.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from typing import Annotated, Literal, cast
from zlib import crc32

from pydantic import BaseModel, Field, JsonValue, ValidationError

from agentlab.testing.model_server.tokens import pieces
from agentlab.testing.model_server.wire import WireError
from agentlab.types import JsonObject

DIMENSIONS = 64


class _Body(BaseModel):
    model: str
    input: str | Annotated[list[str], Field(min_length=1)]
    dimensions: int = Field(default=DIMENSIONS, ge=1, le=4096)
    encoding_format: Literal["float", "base64"] = "float"


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A vector of the length 1; the first axis for a text without a word."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        number = crc32(word.encode("utf-8", "surrogatepass"))
        vector[number % dimensions] += 1.0 if number & 0x80000000 else -1.0
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0.0:
        return [1.0] + [0.0] * (dimensions - 1)
    return [value / length for value in vector]


def answer_embeddings(body: bytes) -> tuple[JsonObject, int]:
    """The answer to `POST /v1/embeddings`, and how many tokens were read.

    Raises:
        WireError: an endpoint would refuse the request.
    """
    try:
        asked = _Body.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise WireError(f"Invalid body at {first['loc']}: {first['msg']}.") from None
    texts = asked.input if isinstance(asked.input, list) else [asked.input]
    data: list[JsonValue] = []
    for index, text in enumerate(texts):
        vector = embed(text, asked.dimensions)
        told: JsonValue = cast("list[JsonValue]", vector)
        if asked.encoding_format == "base64":
            told = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": told})
    count = sum(len(pieces(text)) for text in texts)
    return {
        "object": "list",
        "model": asked.model,
        "data": data,
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }, count

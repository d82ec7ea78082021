"""Models to JSON text and back, exactly.

Environments and models say anything, lone surrogates included, which neither UTF-8 nor the
fast path can carry; those take a slower path instead of ending a run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from agentlab.types import JsonObject, canonical_json

Model = TypeVar("Model", bound=BaseModel)


def encode(
    model: BaseModel, *, exclude: Mapping[str, bool | set[str]] | None = None, exact: bool = False
) -> str:
    """The model as JSON text that UTF-8 can hold.

    `exclude` leaves fields out, or fields of fields. `exact` keeps NaN and infinities, which
    the fast path turns into null.
    """
    left_out = None if exclude is None else dict(exclude)
    if not exact:
        try:
            return model.model_dump_json(exclude=left_out)
        except PydanticSerializationError:
            pass
    return json.dumps(model.model_dump(exclude=left_out), separators=(",", ":"))


def decode(cls: type[Model], text: str) -> Model:
    """The model that `encode` was given."""
    try:
        return cls.model_validate_json(text)
    except ValidationError:
        return cls.model_validate(json.loads(text))


def encode_object(value: JsonObject) -> str:
    """A JSON object in its canonical spelling, surrogates escaped where there are any.

    Raises:
        ValueError: the value holds NaN or an infinity.
    """
    text = canonical_json(value)
    return text if text.isascii() or _encodable(text) else json.dumps(value, sort_keys=True)


def decode_object(text: str) -> JsonObject:
    """The object that `encode_object` was given."""
    return cast("JsonObject", json.loads(text))


def plain(text: str) -> str:
    """Text for a column: what UTF-8 cannot hold becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

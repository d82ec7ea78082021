"""Models to JSON text and back, exactly.

Environments and models say anything, lone surrogates included, which neither UTF-8 nor the
fast path can carry; those take a slower path instead of ending a run. A row that cannot be read
back is named by its table and key: whoever meets it must know what to put back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from agentlab.errors import RecordsError
from agentlab.types import JsonObject, Usage, canonical_json

Model = TypeVar("Model", bound=BaseModel)

PUT_BACK = "put back a copy of the workspace"
"""What helps where nothing else does."""


def unreadable(table: str, key: object, why: str, *, fix: str = PUT_BACK) -> RecordsError:
    """The one sentence for a row whose content is not what was written."""
    return RecordsError(
        f"The row {key!r} of the table {table!r} in the records cannot be read ({why}); {fix}."
    )


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


def decode(cls: type[Model], text: str, *, table: str, key: object, fix: str = PUT_BACK) -> Model:
    """The model that `encode` was given.

    Raises:
        RecordsError: the text is none; names the table and the key.
    """
    try:
        return cls.model_validate_json(text)
    except (ValidationError, TypeError):
        pass
    try:
        return cls.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or cls.__name__
        raise unreadable(table, key, f"{place}: {first['msg']}", fix=fix) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise unreadable(table, key, str(error), fix=fix) from error


def encode_object(value: JsonObject) -> str:
    """A JSON object in its canonical spelling, surrogates escaped where there are any.

    Raises:
        ValueError: the value holds NaN or an infinity.
    """
    text = canonical_json(value)
    return text if text.isascii() or _encodable(text) else json.dumps(value, sort_keys=True)


def decode_object(text: str, *, table: str, key: object) -> JsonObject:
    """The object that `encode_object` was given.

    Raises:
        RecordsError: the text is none; names the table and the key.
    """
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise unreadable(table, key, str(error)) from error
    if not isinstance(value, dict):
        raise unreadable(table, key, "it is no JSON object")
    return cast("JsonObject", value)


def decode_names(text: str, *, table: str, key: object) -> tuple[str, ...]:
    """A JSON array of strings.

    Raises:
        RecordsError: the text is none; names the table and the key.
    """
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise unreadable(table, key, str(error)) from error
    if not isinstance(value, list):
        raise unreadable(table, key, "it is no JSON array of strings")
    parts = cast("list[object]", value)
    names = tuple(part for part in parts if isinstance(part, str))
    if len(names) < len(parts):
        raise unreadable(table, key, "it is no JSON array of strings")
    return names


def check_amounts(usage: Usage, *, table: str, key: object) -> Usage:
    """The usage, if it could have been consumed.

    Raises:
        RecordsError: a part of it is negative, infinite or not a number.
    """
    for name, value in usage:
        if not (math.isfinite(value) and value >= 0):
            raise unreadable(table, key, f"{name} cannot be {value}")
    return usage


def plain(text: str) -> str:
    """Text for a column: what UTF-8 cannot hold becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

"""The one spelling of a JSON file in a pack, so that a digest of bytes is a digest of meaning.

Keys are sorted, nothing is spaced, text is UTF-8 in normal form C and not escaped, floats are
finite and in Python's shortest spelling, and a newline ends each value. A file that is spelled
any other way is refused, however valid: two spellings of one value would have two digests, and
an escape could carry what the search for hidden text cannot see.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from typing import TypeVar, cast

from pydantic import BaseModel, JsonValue, ValidationError

from agentlab.library.packs.refusal import refuse
from agentlab.types.base import canonical_json

Model = TypeVar("Model", bound=BaseModel)


def sha256(data: bytes) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def encode(value: object) -> bytes:
    """The canonical bytes of a JSON value, ended by a newline.

    Raises:
        ValueError: a number is not finite, or text is not in normal form C or not Unicode.
    """
    text = canonical_json(value)
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError("text in it is not in Unicode normal form C")
    return text.encode("utf-8") + b"\n"


def encode_model(model: BaseModel) -> bytes:
    """The canonical bytes of a model, every field said."""
    return encode(model.model_dump(mode="python"))


def encode_lines(models: Sequence[object]) -> bytes:
    """One canonical value a line."""
    return b"".join(map(encode, models))


def decode(file: str, data: bytes) -> JsonValue:
    """The value of canonical bytes.

    Raises:
        PackRefusedError: it is not JSON, or not in the canonical spelling.
    """
    try:
        value = cast("JsonValue", json.loads(data.decode("utf-8"), object_pairs_hook=_once))
        again = encode(value)
    except (ValueError, RecursionError) as error:
        raise refuse(file, "canonical", f"is not canonical JSON: {_brief(error)}") from None
    if again != data:
        raise refuse(
            file,
            "canonical",
            "is not in the one spelling of JSON that is allowed; export the pack again",
        )
    return value


def decode_lines(file: str, data: bytes) -> list[JsonValue]:
    """The values of canonical bytes, one a line."""
    lines = data.split(b"\n")
    if lines.pop() != b"":
        raise refuse(file, "canonical", "does not end in a newline")
    return [decode(f"{file}:{number}", line + b"\n") for number, line in enumerate(lines, 1)]


def decode_model(cls: type[Model], file: str, value: JsonValue) -> Model:
    """The model that a value spells.

    Raises:
        PackRefusedError: a field is missing, unknown or not what it may be.
    """
    try:
        return cls.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise refuse(file, "manifest", f"is wrong at {where!a}: {first['msg']}") from None


def _once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _brief(error: Exception) -> str:
    return ascii(str(error))[1:-1][:120] or type(error).__name__

"""The frozen base of every record, and how ids and random draws are derived.

Nothing here or elsewhere in `types` performs I/O. Ids and draws are functions of what they
identify (seed, round, slot, item), never of time, arrival order or a shared generator, so a
run that is killed and resumed makes the same ones again.
"""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel, ConfigDict, JsonValue

JsonObject = dict[str, JsonValue]


class Frozen(BaseModel):
    """A value that never changes and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def canonical_json(value: object) -> str:
    """The one JSON spelling of a value: sorted keys, no spaces, no NaN.

    Raises:
        ValueError: the value holds NaN or an infinity.
        TypeError: the value is not JSON.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(*parts: object) -> str:
    """A 64-digit SHA-256 over the canonical JSON of the parts."""
    return hashlib.sha256(canonical_json(list(parts)).encode()).hexdigest()


def derive_id(kind: str, *parts: object) -> str:
    """A readable id such as `attempt-1f0c…` (16 hex digits) that depends on the parts alone."""
    return f"{kind}-{digest(kind, *parts)[:16]}"


def derive_seed(*parts: object) -> int:
    """A 63-bit seed for a private random generator, from the parts alone."""
    return int(digest("seed", *parts)[:16], 16) >> 1


def derive_uniform(*parts: object) -> float:
    """A uniform draw in [0, 1) from the parts alone (53 bits)."""
    return (int(digest("uniform", *parts)[:16], 16) >> 11) / float(1 << 53)

"""The name under which one kind of item of one environment is indexed.

It names a Chroma collection (3 to 512 characters, of letters, digits, `.`, `_` and `-`) and a
directory, so nothing that an environment calls itself can be a path.
"""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")


def collection_name(environment: str, kind: str) -> str:
    """A collection and directory name for what is served of one kind in one environment.

    Plain names stay readable (`babyai.skill`); others become a digest of both.
    """
    if _PLAIN.fullmatch(environment) and _PLAIN.fullmatch(kind):
        return f"{environment}.{kind}"
    content = f"{len(environment)}:{environment}{kind}".encode()
    return f"x-{hashlib.sha256(content).hexdigest()[:32]}"

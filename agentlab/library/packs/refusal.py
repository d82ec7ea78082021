"""Why a pack is refused: one word for programs, one sentence for people.

Every check of this package refuses through `refuse`, so that the words stay a closed list that
tests and policies can name.
"""

from __future__ import annotations

from typing import Literal

from agentlab.errors import PackRefusedError

Reason = Literal[
    "archive",
    "binary",
    "canonical",
    "changed-file",
    "changed-key",
    "code",
    "collision",
    "duplicate-entry",
    "encoding",
    "encrypted",
    "equivocation",
    "extra-file",
    "header-mismatch",
    "hidden-text",
    "layout",
    "link",
    "manifest",
    "missing-file",
    "mode",
    "name",
    "nested-archive",
    "path",
    "ratio",
    "replayed",
    "revoked",
    "signature",
    "source",
    "special-file",
    "too-large",
    "too-many-files",
]


def refuse(file: str, reason: Reason, why: str) -> PackRefusedError:
    """The error to raise; `why` continues the sentence that begins with the file's name."""
    return PackRefusedError(file, reason, why)

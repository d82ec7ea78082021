"""The records that a node looks into, of the workspace that everything else takes by default."""

from __future__ import annotations

import os
from pathlib import Path

from agentlab.records import Records, Workspace


def opened(place: Path | str | None) -> Records:
    """The records of a workspace; of `AGENTLAB_WORKSPACE` or `.agentlab` where none is named."""
    return Records.open(
        Workspace.open(place or os.environ.get("AGENTLAB_WORKSPACE") or ".agentlab")
    )

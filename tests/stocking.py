"""A workspace in which a shipped pack serves, without the minutes that its verification takes.

What `graph.importing` writes where every skill passed is written here without running any: what
is shown with such a workspace says nothing of verification, which has tests of its own.
"""

from __future__ import annotations

from pathlib import Path

from agentlab.library import shelf
from agentlab.library.merging import merge
from agentlab.library.packs.trust import TRUSTED, TrustStore, keys_folder
from agentlab.records import Records, Workspace
from agentlab.sandbox import settle_box
from agentlab.types import JsonObject
from agentlab.version import __version__


def stock(workspace: Path | str, keys: Path, pack: str = "agentlab/courier") -> list[str]:
    """Have every skill of the pack serve there; their names."""
    trust = TrustStore(keys_folder(keys) / TRUSTED)
    with Records.open(Workspace.open(workspace)) as records:
        row = shelf.receive(records, shelf.open_files(pack), pack)
        judged = shelf.judge(records, row.digest, trust)
        shelf.approve(records, judged, trust)
        with records.transaction() as part:
            for packed in judged.opened.pack.skills:
                skill = shelf.imported_skill(packed, None)
                said: JsonObject = {
                    "manifest": packed.manifest.digest,
                    "box": str(settle_box()),
                    "agentlab": __version__,
                    "passed": True,
                    "reason": "",
                }
                part.items.save_skill(skill, status="quarantined", reason="imported")
                part.items.move(skill.id, "verified", reason="taken as verified, for a test")
                part.packs.check(row.digest, packed.manifest.digest, skill.id, said)
            part.packs.move(row.digest, "verified", reason="taken as verified, for a test")
        return sorted(line.name for line in merge(records, row.digest) if line.what == "serves")

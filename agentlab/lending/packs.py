"""A pack brought into a workspace by one call: read, shown, approved, verified here, served.

The same road as `agentlab packs import`, for a program. Approving is a word that the program says;
without it nothing of the pack is run and nothing of it serves.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from agentlab.config import AdmissionConfig, BoxName
from agentlab.graph.importing import Checked, Verification, verify_pack
from agentlab.graph.workers import refuse_unguarded
from agentlab.lending.portal import Portal
from agentlab.library import shelf
from agentlab.library.merging import merge
from agentlab.library.packs.trust import TRUSTED, TrustStore, keys_folder
from agentlab.records import Records, Workspace
from agentlab.types import Frozen, JsonObject


class PackAdded(Frozen):
    """What became of a pack.

    Example:
        >>> PackAdded(pack="agentlab/courier", version="1.0.0", serves=("holding",)).approved
        False
    """

    pack: str
    """`owner/name`."""
    version: str
    key: str = ""
    """Who signed it: `first` time that this key is seen, `known`, or `unsigned`."""
    approved: bool = False
    asks: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    """Skill to the tools that it wants to use; what approving grants."""
    serves: tuple[str, ...] = ()
    """Names of its skills that were verified here and serve now."""
    refused: dict[str, str] = Field(default_factory=dict[str, str])
    """Name to the reason, of those that were not verified here or may not come in."""


def add_pack(
    source: str,
    *,
    approve: bool = False,
    workspace: Path | str | None = None,
    environment_options: JsonObject | None = None,
    unsigned_ok: bool = False,
    trials: int = 8,
    tool_calls: int = 300,
    seed: int = 0,
    box: BoxName = "auto",
    keys: Path | None = None,
) -> PackAdded:
    """Bring in a pack: each of its skills is run in a box here, and those that hold serve.

    Doing it again costs nothing: what was verified here stands for as long as the pack, the box
    and agentlab are the same. The first time takes from seconds to minutes.

    Args:
        source: `agentlab/NAME` of one that ships with agentlab, a folder, a zip file or the
            address of a git repository.
        approve: agree to what it asks for. Without it nothing is run and nothing serves.
        workspace: whose library it comes into; `AGENTLAB_WORKSPACE` or `.agentlab`.
        environment_options: options of the environment that its skills are verified in.
        unsigned_ok: take a pack that nobody signed.
        trials: practice tasks for each skill, with and without it.
        tool_calls: that each of those attempts may make.
        seed: of everything that is drawn.
        box: where its code is run.
        keys: where trusted keys lie; `AGENTLAB_KEYS` or `agentlab/keys` in the user's settings.

    Raises:
        PackRefusedError: it is no pack, not what its manifest says, or by another key than before.
        SkillRefusedError: there is no box here to run its code in.
        UsageError: it is unsigned, or its environment is not there.

    Example:
        >>> shown = add_pack("agentlab/courier")
        >>> shown.pack, shown.asks["holding"]
        ('agentlab/courier', ('take', 'walk'))
    """
    refuse_unguarded()
    given = keys or (Path(os.environ["AGENTLAB_KEYS"]) if os.environ.get("AGENTLAB_KEYS") else None)
    trust = TrustStore(keys_folder(given) / TRUSTED)
    place = workspace or os.environ.get("AGENTLAB_WORKSPACE") or ".agentlab"
    files = shelf.open_files(source)
    with Records.open(Workspace.open(place)) as records:
        row = shelf.receive(records, files, source)
        judged = shelf.judge(records, row.digest, trust)
        shown = _shown(judged)
        if judged.row.state == "checked":
            shelf.require_unsigned_ok(judged, unsigned_ok=unsigned_ok)
            if not approve:
                return shown
            shelf.approve(records, judged, trust)
        how = Verification(
            box=box,
            admission=AdmissionConfig(trials=trials, trial_tool_calls=tool_calls),
            options=environment_options or {},
            seed=seed,
        )
        found = _verified(records, row.digest, how)
        lines = merge(records, row.digest) if any(each.passed for each in found) else ()
        serves = {line.name for line in lines if line.what == "serves"}
        refused = {each.name: each.reason for each in found if not each.passed}
        refused |= {line.name: line.reason for line in lines if line.what != "serves"}
        return shown.model_copy(
            update={
                "approved": True,
                "serves": tuple(sorted(serves)),
                "refused": dict(sorted(refused.items())),
            }
        )


def _verified(records: Records, digest: str, how: Verification) -> tuple[Checked, ...]:
    """What verification says; in a loop of its own, for the caller may be in one."""
    portal = Portal("pack")
    try:
        return portal.run(verify_pack(records, digest, how))
    finally:
        portal.close()


def _shown(judged: shelf.Judged) -> PackAdded:
    """The pack before anybody agreed to it."""
    asks: dict[str, tuple[str, ...]] = {}
    refused: dict[str, str] = {}
    for packed in judged.opened.pack.skills:
        name = packed.skill.name if packed.skill else packed.manifest.folder
        verdict = judged.verdicts[packed.manifest.digest]
        if verdict.action == "refuse":
            refused[name] = verdict.reason
        else:
            asks[name] = tuple(sorted(grant.tool for grant in packed.manifest.needs.tools))
    row = judged.row
    return PackAdded(
        pack=row.name, version=row.version, key=judged.standing, asks=asks, refused=refused
    )

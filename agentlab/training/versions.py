"""The weights of a policy's version, as they were when they were put on record.

A version keeps its folder's path, and a folder may be changed by whoever can write there. Its name
and the hash of its weights say which weights were gated; what the trainer said besides is on record
as well, the hash of its settings among it, which decide what the weights do.
"""

from __future__ import annotations

from pathlib import Path

from agentlab.errors import AdapterRefusedError
from agentlab.records.policies import PolicyVersion
from agentlab.training.adapters import MANIFEST, Adapter, read_adapter


def read_version(version: PolicyVersion) -> Adapter:
    """What lies in a version's folder, if it is still what was put on record.

    Raises:
        AdapterRefusedError: it is not, or cannot be read.
    """
    adapter = read_adapter(Path(version.path))
    told = adapter.manifest.spoken()
    if adapter.name != version.adapter or told["weights_sha256"] != version.weights_sha256:
        raise AdapterRefusedError(
            version.path,
            f"it holds {adapter.name!r} now and held {version.adapter!r} when that was put on "
            "record; put the folder back, or roll the policy back",
        )
    # Fields that a later agentlab writes are not on record of earlier versions.
    changed = sorted(name for name in version.body if told.get(name) != version.body[name])
    if changed:
        raise AdapterRefusedError(
            version.path,
            f"its {MANIFEST} says another {changed[0]!r} than when {version.adapter!r} was put on "
            "record; put the folder back, or roll the policy back",
        )
    return adapter

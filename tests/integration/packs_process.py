"""A process that imports a pack and is killed after a number of steps, for a test.

python packs_process.py WORKSPACE TRUSTED PACK STEPS
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from agentlab.config import AdmissionConfig
from agentlab.graph.importing import Verification, verify_pack
from agentlab.library import merging, shelf
from agentlab.library.packs.trust import TrustStore
from agentlab.records import Records, Workspace
from agentlab.sandbox import settle_box


def how() -> Verification:
    """Quick verification, in the box that there is; without walls where there is none."""
    return Verification(
        box="auto" if settle_box().takes_foreign_code else "unsafe-local",
        admission=AdmissionConfig(replays=3, trials=4, trial_tool_calls=150),
    )


def main() -> None:
    """Go on with the import from where it is; kill this process after so many states."""
    workspace, trusted, pack, steps = sys.argv[1:]
    left = int(steps)

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    trust = TrustStore(Path(trusted))
    with Records.open(Workspace.open(workspace)) as records:
        row = shelf.receive(records, shelf.open_files(pack), pack)
        step()
        judged = shelf.judge(records, row.digest, trust)
        step()
        shelf.approve(records, judged, trust)
        step()
        asyncio.run(verify_pack(records, row.digest, how()))
        step()
        merging.merge(records, row.digest)
        step()


if __name__ == "__main__":
    main()

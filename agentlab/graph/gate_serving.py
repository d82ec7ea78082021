"""What a gate has the model server serve: both sides meanwhile, and the winner from then on.

Nothing is served that is not proven live, and a candidate that lost is not left where somebody
could ask it. How weights are loaded and taken down is told by `training.serving`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from agentlab.records import Records
from agentlab.records.gates import GateRow
from agentlab.records.policies import Policy, PolicyVersion
from agentlab.records.store import Transaction
from agentlab.training.adapters import Adapter
from agentlab.training.promotion.settings import GateConfig
from agentlab.training.promotion.verdict import GateReport
from agentlab.training.serving.client import ModelServerClient, ServerFaultError
from agentlab.training.serving.liveness import Liveness
from agentlab.training.serving.swap import bring_up, take_down
from agentlab.training.versions import read_version


async def serve_both(
    records: Records,
    policy: Policy,
    adapter: Adapter,
    incumbent: str,
    server: ModelServerClient,
    settings: GateConfig,
) -> Liveness:
    """Have both sides served, and the candidate proven live."""
    version = PolicyVersion(
        adapter.name,
        policy.name,
        str(adapter.folder),
        adapter.manifest.weights_sha256,
        adapter.manifest.spoken(),
    )
    base = Path(policy.base_path)
    live = await asyncio.to_thread(bring_up, server, adapter, base, tolerance=settings.tolerance)
    if incumbent:
        serving = read_version(records.policies.version(incumbent))
        await asyncio.to_thread(bring_up, server, serving, base, tolerance=settings.tolerance)
    records.policies.add_version(version)
    return live


def let_serve(part: Transaction, row: GateRow, report: GateReport) -> None:
    """The move of a promotion, in the caller's transaction."""
    part.policies.move(
        row.policy,
        "promotion",
        row.candidate,
        reason=report.reason,
        evidence={
            "gate": row.id,
            "weights_sha256": row.weights_sha256,
            "order_sha256": row.order_sha256,
            "looks": report.looks,
            "evidence": report.evidence,
        },
    )


def take_off(records: Records, server: ModelServerClient, name: str) -> None:
    """Have the server forget weights that nobody asks any more; nothing where it is gone."""
    try:
        take_down(records, server, name)
    except ServerFaultError:
        return  # the server is gone, and the candidate with it

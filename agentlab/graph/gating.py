"""The gate: trained weights against those that serve, pair by pair, until it is decided.

    read and prove the candidate → fix the order, on record → pairs, a look at each → families
    → arms beside → verdict and promotion in one transaction → held-out, reported

Everything is on record as it happens, so that a gate whose server or process went away goes on
where it was. A look is taken once. The same weights on the same order are not compared twice, and
on fresh tasks the evidence goes on from where it stood: it is never begun anew after a
disappointing look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentlab.errors import AdapterRefusedError, UsageError
from agentlab.graph.gate_course import GateCourse
from agentlab.graph.gate_plan import GateRequest, begin, decided, report_of
from agentlab.graph.gate_serving import let_serve, serve_both, take_off
from agentlab.graph.opening import refuse_secrets
from agentlab.graph.policies import pinned
from agentlab.protocols import Observer
from agentlab.records import Records
from agentlab.records.gates import GateRow
from agentlab.training.adapters import Adapter, read_adapter
from agentlab.training.promotion.verdict import GateReport
from agentlab.training.serving.client import ModelServerClient
from agentlab.types import derive_id


async def gate(
    records: Records, request: GateRequest, observers: Sequence[Observer] = ()
) -> GateReport:
    """Compare trained weights with those that serve, and let them serve if they win.

    Raises:
        AdapterRefusedError: the candidate is not what it says, not what is served, or belongs to
            another base or template.
        GateInterruptedError: the server went away; the same call goes on.
        UsageError: it cannot be done as asked, or was decided before and undone since.
        ServerFaultError: the server does not answer, or refuses the adapter.
    """
    refuse_secrets(request.config)
    policy = records.policies.get(request.policy)
    adapter = read_adapter(request.candidate)
    incumbent = records.policies.current(policy.name)
    config = pinned(records, request.config)
    if not config.chat_model("executor") and not getattr(config, "executor", ""):
        raise UsageError(
            "A gate compares what a chat model does; name an executor that asks one, as 'react'."
        )
    known = decided(records, request, adapter, incumbent)
    if known is not None and known.afterwards is not None:
        return await _settled(records, request, known, adapter)
    if known is not None:
        incumbent = known.incumbent  # only what is reported after the verdict is left to do
    if adapter.name == incumbent:
        raise UsageError(
            f"{incumbent!r} serves the policy {policy.name!r} already; gate other weights against "
            "it."
        )
    server = ModelServerClient(policy.base_url)
    with records.workspace.lock_run(_run_id(policy.name, adapter)):
        try:
            live = await serve_both(records, policy, adapter, incumbent, server, request.settings)
            begun = begin(records, request, config, policy, adapter, incumbent)
        except (AdapterRefusedError, UsageError):
            # No gate came of it, so nothing is left where somebody could ask it.
            await asyncio.to_thread(take_off, records, server, adapter.name)
            raise
        work = GateCourse(records, request, config, policy, begun, server, live, observers)
        report = await work.run()
        _let_the_winner(records, request, records.gates.get(report.gate), report)
    if records.policies.current(policy.name) != adapter.name:
        # What was not let serve leaves nothing behind in what is served.
        await asyncio.to_thread(take_off, records, server, adapter.name)
    return report


async def _settled(
    records: Records, request: GateRequest, row: GateRow, adapter: Adapter
) -> GateReport:
    """The report of a gate that is over; it serves now, if it won and was not let serve then."""
    report, current = report_of(row), records.policies.current(row.policy)
    if _may_serve(records, request, row):
        policy = records.policies.get(row.policy)
        server = ModelServerClient(policy.base_url)
        await serve_both(records, policy, adapter, current, server, request.settings)
        _let_the_winner(records, request, row, report)
    elif current != row.candidate:
        # Whatever ended the process after the verdict may have left it there.
        server = ModelServerClient(records.policies.get(row.policy).base_url)
        await asyncio.to_thread(take_off, records, server, row.candidate)
    return report


def _may_serve(records: Records, request: GateRequest, row: GateRow) -> bool:
    """Whether a gate's winner was not let serve then, and is now."""
    before = {move.after for move in records.policies.moves(row.policy)}
    won = row.status == "promoted" and row.candidate not in before
    return won and request.promote and records.policies.current(row.policy) == row.incumbent


def _let_the_winner(
    records: Records, request: GateRequest, row: GateRow, report: GateReport
) -> None:
    if _may_serve(records, request, row):
        with records.transaction() as part:
            let_serve(part, row, report)


def _run_id(policy: str, adapter: Adapter) -> str:
    return derive_id("gating", policy, adapter.manifest.weights_sha256)

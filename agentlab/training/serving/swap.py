"""Bringing an adapter up beside what serves, and taking one down that nobody asks any more.

load → probe → route → drain → unload, never in place. Loading and proving disturb nobody: what
serves goes on under its own name. The route is a move in the records (`records.policies`); from
then on new runs ask the new name, while runs under way keep theirs to their end. Only when nobody
holds the old name any more is it unloaded, so that no request meets a name that is gone.
"""

from __future__ import annotations

from pathlib import Path

from agentlab.errors import AdapterRefusedError
from agentlab.records import Records
from agentlab.records.leases import drained
from agentlab.training.adapters import Adapter, check_base
from agentlab.training.serving.client import ModelServerClient, ServerFaultError
from agentlab.training.serving.liveness import TOLERANCE, Liveness, prove_live


def bring_up(
    server: ModelServerClient, adapter: Adapter, base: Path, *, tolerance: float = TOLERANCE
) -> Liveness:
    """Load an adapter under its own name and prove that it is live; if it is not, take it off.

    Args:
        server: where.
        adapter: what.
        base: the folder of the base model that it serves.
        tolerance: as for `prove_live`.

    Raises:
        AdapterRefusedError: it belongs to another base or template, or is not what is served.
        ServerFaultError: the server refuses it, or does not answer.
    """
    check_base(adapter, base)
    name = server.base().name
    try:
        fresh = server.load(adapter.name, adapter.folder)
    except ServerFaultError as error:
        if adapter.manifest.kind == "model" and error.status:
            # `agentlab serve-local` takes weights trained in full beside the base; vLLM does not.
            raise AdapterRefusedError(
                str(adapter.folder),
                "they were trained in full, and this server loads adapters alone; train with "
                f"--method lora, or serve with `agentlab serve-local` ({error})",
            ) from error
        raise
    try:
        return prove_live(server, adapter, name, tolerance=tolerance)
    except BaseException:
        if fresh:
            # What is no good must not stay where somebody could ask it.
            _take_off(server, adapter.name)
        raise


def take_down(
    records: Records, server: ModelServerClient, name: str, *, seconds: float = 0.0
) -> bool:
    """Unload an adapter once nobody holds it and no policy is served by it.

    Args:
        records: of the workspace whose runs may hold it.
        server: where it is loaded.
        name: the adapter.
        seconds: to wait for those who hold it.

    Returns:
        Whether it is off; False where it still serves, or somebody holds it after that time.
    """
    with drained(records.workspace, name, seconds=seconds) as free:
        serves = any(records.policies.current(each.name) == name for each in records.policies.all())
        if not free or serves:
            return False
        server.unload(name)
        return True


def _take_off(server: ModelServerClient, name: str) -> None:
    try:
        server.unload(name)
    except ServerFaultError:
        return  # the server is gone, and its adapters with it

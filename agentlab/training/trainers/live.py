"""Attempts for a trainer that learns as it goes: each step's are drawn by the weights of that step.

The trainer's process keeps weights and optimizer; a server that may be anybody's (`agentlab
serve-local`, vLLM) answers the agent, which practises as always, with our executors, environments
and verifiers, in a workspace of its own for each step. Before a step the trainer writes its
adapter, the server loads it under a name of its own, and what was practised is exported and read
like any export: nothing of `dev` or `heldout`, token ids as they were drawn, groups compared.
"""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

from agentlab.errors import ModelFaultError, UsageError
from agentlab.records import Records, Workspace
from agentlab.training.exporting import ExportRequest, export
from agentlab.training.trainers.comparing import compared
from agentlab.training.trainers.export_folder import check_export
from agentlab.training.trainers.model_folder import ModelFolder, check_tensors, file_digest
from agentlab.training.trainers.trained_folder import ADAPTER, SETTINGS
from agentlab.types import JsonObject, derive_seed, digest

FORM = "trl-grpo-replay"
DRAWN = "drawn.json"
"""Of a step: what was drawn for it."""
PATIENCE = 120.0
"""Seconds that a server may take to load an adapter."""
OWN = "drawn by the policy that is trained"


class Practice(NamedTuple):
    """What is to be practised for a step."""

    workspace: Path
    model: str
    """As a config names it."""
    server: str
    seed: int


Play = Callable[[Practice], str]
"""Practises and gives the run's id."""


class LivePlan(NamedTuple):
    """Where attempts are drawn."""

    server: str
    """The address of an OpenAI endpoint with vLLM's extras, such as http://127.0.0.1:8000/v1."""
    play: Play
    described: JsonObject
    """What is practised, for the record and for whoever resumes."""


class Drawn(NamedTuple):
    """What was drawn for a step, or for all of them."""

    rows: int
    tokens: int
    trained: int
    """Of the tokens, those that count in the loss."""
    practised: tuple[str, ...]
    """Templates of the tasks."""


class LiveAttempts:
    """The attempts of each step.

    Args:
        plan: where they are drawn.
        base: the model that is trained, and served.
        work: a folder for what is practised.
        seed: of the training.
        estimator: by which rewards are compared.
    """

    def __init__(
        self, plan: LivePlan, base: ModelFolder, work: Path, *, seed: int, estimator: str
    ) -> None:
        self._plan = plan
        self._base = base
        self._work = work
        self._seed = seed
        self._estimator = estimator
        self._served = _base_name(plan.server)

    def of(self, step: int, adapter: Path | None) -> JsonObject:
        """The rows of a step: their file, its hash, and their advantages.

        Args:
            step: from 1.
            adapter: the weights as they stand; None for the base as it is.

        Raises:
            ModelFaultError: the server does not take the adapter.
            UsageError: nothing was practised that can be trained on.
            TrainingRefusedError: what was exported is not what training supposes.
        """
        place = self._work / f"step-{step:05d}"
        shutil.rmtree(place, ignore_errors=True)  # of a process that was killed
        place.mkdir(parents=True)
        name = self._served
        if adapter is not None:
            check_tensors(adapter / ADAPTER)
            # With its settings: peft writes sets into them, in another order after a kill, and a
            # server takes other bytes under a known name for other weights.
            both = [file_digest(adapter / each) for each in (ADAPTER, SETTINGS)]
            name = f"live-{step:05d}-{digest(both)[:8]}"
            _post(self._plan.server, "load_lora_adapter", lora_name=name, lora_path=str(adapter))
        try:
            practice = Practice(
                place / "workspace",
                f"vllm:{name}",
                self._plan.server,
                derive_seed("live", self._seed, step),
            )
            run = self._plan.play(practice)
            request = ExportRequest(run_ids=(run,), format=FORM, terms=((name, OWN),))
            with Records.open(Workspace.open(practice.workspace, create=False)) as records:
                export(records, request, place / "export")
        finally:
            if adapter is not None:
                _post(self._plan.server, "unload_lora_adapter", lora_name=name)
        checked = check_export(place / "export", (FORM,), self._base)
        _, values = compared([checked], self._estimator)
        drawn = Drawn(checked.rows, checked.tokens, checked.trained, checked.practised)
        (place / DRAWN).write_text(json.dumps(drawn._asdict()), encoding="utf-8")
        advantages = place / "advantages.jsonl"
        advantages.write_text("".join(json.dumps(row) + "\n" for row in values), encoding="utf-8")
        return {
            "rows": str(checked.data),
            "sha256": checked.sha256,
            "advantages": str(advantages),
            "solved": sum(reward.reward > 0 for reward in checked.rewards),
            "of": checked.rows,
        }


def drawn_in(work: Path) -> Drawn:
    """What was drawn for all steps, those before a process was killed included.

    Args:
        work: the folder of `LiveAttempts`; there may be none.
    """
    found = [
        Drawn(**json.loads(told.read_text(encoding="utf-8")))
        for told in sorted(work.glob(f"step-*/{DRAWN}"))
    ]
    return Drawn(
        sum(each.rows for each in found),
        sum(each.tokens for each in found),
        sum(each.trained for each in found),
        tuple(sorted({template for each in found for template in each.practised})),
    )


def _base_name(server: str) -> str:
    """What the server calls the base model.

    Raises:
        ModelFaultError: it does not say.
    """
    found = _ask(urllib.request.Request(f"{_checked(server)}/models"), server)
    models = found.get("data")
    for each in models if isinstance(models, list) else []:
        if isinstance(each, dict) and not each.get("parent") and isinstance(each.get("id"), str):
            return str(each["id"])
    raise ModelFaultError(f"The server at {server!r} lists no base model; serve one there.")


def _post(server: str, what: str, **body: str) -> None:
    request = urllib.request.Request(
        f"{_checked(server)}/{what}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    _ask(request, server)


def _checked(server: str) -> str:
    parts = urllib.parse.urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise UsageError("--server is no http address; give for instance http://127.0.0.1:8000/v1.")
    return server.rstrip("/")


def _ask(request: urllib.request.Request, server: str) -> JsonObject:
    # Straight to the address that was named: no proxy of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE) as reply:
            body = reply.read()
    except urllib.error.HTTPError as error:
        said = error.read()[:300].decode("utf-8", "replace")
        raise ModelFaultError(
            f"The server at {server!r} answered {error.code} ({said}); is it one that loads "
            "adapters (`agentlab serve-local`, or vLLM with runtime adapters)?"
        ) from None
    except OSError as error:
        raise ModelFaultError(
            f"The server at {server!r} does not answer ({error}); start it, then the same command "
            "goes on."
        ) from None
    try:
        found = cast("object", json.loads(body))
    except ValueError:
        return {}  # vLLM confirms in plain words
    return cast("JsonObject", found) if isinstance(found, dict) else {}


def check_plan(plan: LivePlan | None, method: str) -> LivePlan:
    """The plan of a live training.

    Raises:
        UsageError: there is none, or all weights are to be trained, which no server takes.
    """
    if plan is None:
        raise UsageError(
            "trl-grpo-live draws its own attempts; give --environment and --server, and no --data."
        )
    if method != "lora":
        raise UsageError("trl-grpo-live trains an adapter, which servers can load; take lora.")
    return plan

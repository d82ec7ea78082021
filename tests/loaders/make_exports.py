"""Exports in every format, of a small run with a scripted model: `make_exports.py DIR`.

One call a reply, so that formats which hold one take it too. Run by the project's own Python; what
it writes is read by each trainer's (`make test-trainers`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import agentlab
from agentlab.errors import MissingExtraError
from agentlab.records import Records, Workspace
from agentlab.telemetry.inspect_log import export_inspect
from agentlab.testing.model_server.server import ModelServer
from agentlab.training.exporting import FORMATS, ExportRequest, ViewName, export
from tests.integration.test_export_of_real_runs import sloppy
from tests.trainers.tiny_model import write_model

VIEWS: dict[str, ViewName] = {"openenv": "groups", "verifiers": "groups", "art": "groups"}
"""Where another view than the format's first is held against its rows."""


def main(folder: Path) -> None:
    """Practise, and export; a model folder stands beside, whose tokenizer loaders are given."""
    write_model(folder / "model", context=8192)
    options: dict[str, Any] = {
        "rounds": 2,
        "attempts": 8,
        "group": 4,
        "concurrency": 1,
        "proposer": "grammar",
        "evaluator": "verifier",
        "insights": "none",
        "heldout": 0,
        "seed": 5,
        "model": "vllm:rules",
        "index": "exact",
        "executor_options": {"parallel": False},
        "models": {"vllm:rules": {"terms": "own"}},
    }
    with ModelServer(sloppy(lambda _: 0.5)) as server:
        options["endpoint.base_url"] = server.base_url
        run = agentlab.practice("courier", workspace=folder / "ws", **options).run_id
    with Records.open(Workspace.open(folder / "ws", create=False)) as records:
        for name in FORMATS:
            request = ExportRequest((run,), name, view=VIEWS.get(name))
            try:
                report = export(records, request, folder / name)
            except MissingExtraError as error:
                print(f"{name}: {error}")
                continue
            print(json.dumps({"format": name, "view": report.view, "rows": report.rows}))
        logs = export_inspect(records, [run], folder / "inspect", reserved=True)
        print(json.dumps({"format": "inspect", "rows": sum(file.samples for file in logs.files)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The short form of `make tiny-policy`: made, practised, exported, trained, served, gated.

What it comes to is no figure: a model this small, made in seconds, hardly plays. That each part of
the chain hands the next what it needs, and that nothing is promoted without evidence, is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentlab.envs.burrow.world import DEV
from agentlab.records import Records, Workspace
from tests.integration.served_model import ROOT
from tests.required import trainers_python

pytestmark = pytest.mark.timeout(600)  # torch is started for base, server and both trainings


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[dict[str, Any]]]:
    """The command's workspace, what it printed, and its file."""
    place = tmp_path_factory.mktemp("tiny")
    words = ["--quick", "--short", "--seeds", "3", "--json", str(place / "found.json")]
    ran = subprocess.run(
        [sys.executable, "-m", "examples.tiny_policy.run", *words, "--workspace", str(place)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "AGENTLAB_TRAIN_PYTHON": str(trainers_python()),
        },
        capture_output=True,
        text=True,
        timeout=570,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads((place / "found.json").read_text(encoding="utf-8"))
    return place / "seed-3", ran.stdout, found


def test_the_chain_runs_to_its_verdict(
    done: tuple[Path, str, list[dict[str, Any]]],
) -> None:
    _, said, found = done
    ((only,),) = ([each["gates"] for each in found],)
    (gate,) = only
    for stage in ("practice", "export-1", "train-1", "export-2", "train-2", "gate"):
        assert f"1 {stage}: " in said, said
    assert gate["status"] in ("promoted", "rejected", "undecided")
    # Held-out tasks are told greedily and at T = 1, with the number of attempts behind each.
    assert set(gate["heldout"]) and set(gate["beside"])
    for contrast in (*gate["heldout"].values(), *gate["beside"].values()):
        assert contrast["candidate"]["n"] == contrast["control"]["n"] == 24
    assert gate["looks"] <= 96


def test_the_weights_that_were_gated_are_those_that_were_trained(
    done: tuple[Path, str, list[dict[str, Any]]],
) -> None:
    workspace, _, _ = done
    trained = workspace / "cycles" / "tiny" / "0001"
    first, second = (
        json.loads((trained / f"trained-{number}" / "agentlab.json").read_text(encoding="utf-8"))
        for number in (1, 2)
    )
    assert second["started_from"] == first["name"]
    # Maps of the gate's shapes were not practised on.
    assert second["practised"]
    assert not any(each.startswith(DEV) for each in second["practised"])
    with Records.open(Workspace.open(workspace, create=False)) as records:
        (row,) = records.gates.all()
    assert row.candidate == second["name"] and row.weights_sha256 == second["weights_sha256"]

"""The tiny policy on real vLLM: practised, trained, and swapped while it is asked.

The base practises through vLLM, SFT on its successes makes a first adapter, practice with that one
and GRPO replay a second, which takes the first one's place while rounds go on with it. What the
records then say of each call is compared with the server's own log and with plain transformers.
vLLM has an environment of its own; `make test-vllm` makes it and names its Python.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

import agentlab
from agentlab.config import PracticeConfig, load_config
from agentlab.events import AttemptFinished, Event
from agentlab.graph.registering import register
from agentlab.models.vocabulary import read_vocabulary
from agentlab.records import Records, Workspace
from agentlab.records.policies import PolicyVersion
from agentlab.serve.starting import environment
from agentlab.training.adapters import Adapter, read_adapter
from agentlab.training.serving.client import ModelServerClient
from agentlab.training.serving.launcher import ServerProcess
from agentlab.training.serving.swap import bring_up, take_down
from agentlab.types import ModelCall
from examples.tiny_policy.demonstrations import ENVIRONMENT, TOOL_CALLS
from examples.tiny_policy.make import Recipe, make
from examples.tiny_policy.measure import MOST_NEW
from tests.integration.served_model import ROOT, python

VLLM = os.environ.get("AGENTLAB_VLLM_PYTHON")
BASE = "tiny-base"
AT_ONCE = 32
CLOSE = 0.0001
"""Nats that a token may be off: vLLM serves on a CPU in the trainer's own float32."""
SCORED = 12
"""Calls of each version that transformers is asked of."""
ASKED = re.compile(r'"POST /v1/chat/completions HTTP/1\.1" (\d+)')
pytestmark = [
    pytest.mark.skipif(VLLM is None, reason="make test-vllm names a Python with vLLM"),
    pytest.mark.timeout(2400),  # a base that is not in the cache takes minutes to make
]


class Story(NamedTuple):
    """What was done, and what is left of it."""

    base: Path
    workspace: Path
    log: str
    """What the server said."""
    adapters: Mapping[str, Adapter]
    runs: Mapping[str, tuple[str, ...]]
    """The runs by what they were asked of: an adapter's name, or the base's."""
    replayed: Mapping[str, Any]
    """What GRPO replay told of the second training."""
    held: bool
    """Whether the first adapter stayed where it was while a run asked it."""
    unloaded: bool
    """Whether it was taken off while another run asked the second."""
    loaded: tuple[str, ...]
    """What the server held at the end."""


class First:
    """Tells when the first attempt is on record, while others are under way."""

    def __init__(self) -> None:
        self.seen = asyncio.Event()

    def notify(self, event: Event) -> None:
        """Implements `Observer`."""
        if isinstance(event, AttemptFinished):
            self.seen.set()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    python()
    place = tmp_path_factory.mktemp("vllm")
    base = make(place / "base", Recipe())
    log, workspace = place / "server.log", place / "workspace"
    with (
        ServerProcess("vllm", base, log=log, name=BASE, python=VLLM or "", seconds=900) as server,
        Records.open(Workspace.open(workspace)) as records,
    ):
        register(records, "tiny", base, server.base_url)
        client = ModelServerClient(server.base_url)
        drawn = practised(workspace, seed=1, attempts=64)
        first = trained(place, base, workspace, drawn, "trl-sft", 1, lr="0.001", epochs="4")
        promote(records, client, first, base)
        again = practised(workspace, seed=2, attempts=64)
        words = {"lr": "0.001", "epochs": "1", "estimator": "grpo"}
        start = first.folder
        second = trained(place, base, workspace, again, "trl-grpo-replay", 2, start=start, **words)
        report = json.loads((place / "told-2.json").read_text(encoding="utf-8"))
        swap = asyncio.run(swapped(records, client, first, second, base))
        loaded = tuple(each.name for each in client.models())
    return Story(
        base=base,
        workspace=workspace,
        log=log.read_text(encoding="utf-8", errors="replace"),
        adapters={first.name: first, second.name: second},
        runs={
            BASE: (drawn,),
            first.name: (again, swap.before),
            second.name: (swap.after,),
        },
        replayed=report,
        held=swap.held,
        unloaded=swap.unloaded,
        loaded=loaded,
    )


def config(*, seed: int, attempts: int, rounds: int = 1) -> PracticeConfig:
    """Practice of the policy as a cycle does it, by react and without a library's help."""
    options: dict[str, object] = {
        "environment": ENVIRONMENT,
        "model": "policy:tiny",
        "executor": "react",
        "evaluator": "verifier",
        "proposer": "grammar",
        "curator": "generalise",
        "insights": "none",
        "curriculum": "uniform",
        "rounds": rounds,
        "attempts": attempts,
        "proposals": attempts,
        "group": 4,
        "tool_calls": TOOL_CALLS,
        "heldout": 0,
        "index": "exact",
        "concurrency": AT_ONCE,
        "roles.executor.temperature": 1.0,
        "roles.executor.max_tokens": MOST_NEW,
        "seed": seed,
    }
    return load_config(None, **options)


def practised(workspace: Path, *, seed: int, attempts: int) -> str:
    """A run with what serves now."""
    return agentlab.practice(config(seed=seed, attempts=attempts), workspace=workspace).run_id


def command(*words: str) -> dict[str, Any]:
    """What an agentlab command tells as JSON."""
    variables = environment() | {"PYTHONPATH": str(ROOT), "AGENTLAB_TRAIN_PYTHON": str(python())}
    line = [sys.executable, "-m", "agentlab", *words, "--json"]
    ran = subprocess.run(line, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return cast("dict[str, Any]", json.loads(ran.stdout))


def exported(workspace: Path, run: str, form: str, out: Path, *more: str) -> dict[str, Any]:
    """An export of a run, whichever version it was asked of."""
    with Records.open(Workspace.open(workspace)) as records:
        names = [BASE, *(each.adapter for each in records.policies.versions("tiny"))]
    terms = [word for name in names for word in ("--terms", f"{name}=own weights")]
    where = ("--out", str(out), "--workspace", str(workspace))
    return command("export", run, "--format", form, *where, *terms, *more)


def trained(
    place: Path,
    base: Path,
    workspace: Path,
    run: str,
    form: str,
    version: int,
    *,
    start: Path | None = None,
    **options: str,
) -> Adapter:
    """An adapter from a run's attempts."""
    data, out = place / f"data-{version}", place / f"adapter-{version}"
    view = ("--view", "successes") if form == "trl-sft" else ()
    exported(workspace, run, form, data, *view)
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    words += ["--from", str(start)] if start is not None else []
    where = ("--data", str(data), "--base", str(base), "--out", str(out))
    told = command("train", form, *where, "--version", str(version), *words)
    (place / f"told-{version}.json").write_text(json.dumps(told), encoding="utf-8")
    return read_adapter(out)


def promote(records: Records, server: ModelServerClient, adapter: Adapter, base: Path) -> None:
    """Load → probe → route, as a gate does for what has won."""
    live = bring_up(server, adapter, base, tolerance=CLOSE)
    assert live.error < CLOSE < live.change
    told = adapter.manifest
    version = PolicyVersion(
        adapter.name, "tiny", str(adapter.folder), told.weights_sha256, told.spoken()
    )
    records.policies.add_version(version)
    records.policies.move("tiny", "promotion", adapter.name, reason="for this test", evidence={})


class Swap(NamedTuple):
    """Two runs, the first begun before the swap and ended after it."""

    before: str
    after: str
    held: bool
    unloaded: bool


async def swapped(
    records: Records, server: ModelServerClient, first: Adapter, second: Adapter, base: Path
) -> Swap:
    """Load → probe → route → drain → unload, with requests under way all the time."""
    place, began = records.workspace.path, First()
    before = asyncio.create_task(
        agentlab.apractice(
            config(seed=3, attempts=12, rounds=2), workspace=place, observers=(began,)
        )
    )
    seen = asyncio.create_task(began.seen.wait())
    await asyncio.wait({before, seen}, return_when=asyncio.FIRST_COMPLETED)
    assert not before.done()
    await asyncio.to_thread(promote, records, server, second, base)
    assert not before.done()
    held = not await asyncio.to_thread(take_down, records, server, first.name)
    assert not before.done()
    after = asyncio.create_task(
        agentlab.apractice(config(seed=4, attempts=16, rounds=2), workspace=place)
    )
    old = await before
    unloaded = await asyncio.to_thread(take_down, records, server, first.name, seconds=30)
    assert not after.done()
    new = await after
    return Swap(old.run_id, new.run_id, held, unloaded)


def calls_of(story: Story, asked: str) -> list[ModelCall]:
    """The calls of all attempts that were asked of a version."""
    with Records.open(Workspace.open(story.workspace, create=False)) as records:
        rows = [row for run in story.runs[asked] for row in records.attempts.all(run)]
        found = records.trajectories.outcomes([row.attempt_id for row in rows])
        assert rows and all(each.status == "completed" for each in found)
    return [call for each in found if each.trajectory for call in each.trajectory.model_calls]


def test_no_request_failed(story: Story) -> None:
    answered = Counter(ASKED.findall(story.log))
    recorded = sum(len(calls_of(story, asked)) for asked in story.runs)
    assert set(answered) == {"200"}
    assert answered["200"] == recorded > 1000
    with Records.open(Workspace.open(story.workspace, create=False)) as records:
        assert {row.status for row in records.runs.all()} == {"finished"}


def test_the_first_version_left_when_nobody_asked_it_any_more(story: Story) -> None:
    first, second = story.adapters
    assert story.held and story.unloaded
    assert story.loaded == (BASE, second)
    assert first not in story.loaded


def test_every_call_has_ids_that_the_tokenizer_spells_and_the_version_that_was_routed(
    story: Story,
) -> None:
    known = read_vocabulary(story.base)
    for asked, runs in story.runs.items():
        for call in calls_of(story, asked):
            assert call.ids_verified is True
            assert call.tokenizer_sha256 == known.tokenizer_sha256
            assert call.chat_template_sha256 == known.chat_template_sha256
            assert call.prompt_token_ids and call.output_token_ids and call.log_probabilities
            assert len(call.output_token_ids) == len(call.log_probabilities)
            assert call.model == call.policy_start == call.policy_end == asked
            assert call.adapter == (None if asked == BASE else asked)
        with Records.open(Workspace.open(story.workspace, create=False)) as records:
            pinned = {str(records.runs.get(run).config["model"]) for run in runs}
        assert pinned == {f"policy:tiny@{'base' if asked == BASE else asked}"}


def test_log_probabilities_are_those_of_transformers_with_that_adapter(
    story: Story, tmp_path: Path
) -> None:
    folders = {name: str(adapter.folder) for name, adapter in story.adapters.items()} | {BASE: ""}
    picked = [(asked, call) for asked in story.runs for call in spread(calls_of(story, asked))]
    file = tmp_path / "calls.json"
    file.write_text(
        json.dumps(
            [
                {"prompt": call.prompt_token_ids, "output": call.output_token_ids,
                 "adapters": folders}
                for _, call in picked
            ]
        )
    )  # fmt: skip
    script = Path(__file__).with_name("scored_by_torch.py")
    made = subprocess.run(
        [str(python()), str(script), str(story.base), str(file)],
        env=environment() | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    apart: dict[tuple[str, str], list[float]] = {}
    for (asked, call), told in zip(picked, json.loads(made.stdout), strict=True):
        for name, reckoned in told.items():
            pairs = zip(call.log_probabilities or (), reckoned, strict=True)
            apart.setdefault((asked, name), []).extend(abs(a - b) for a, b in pairs)
    for asked in story.runs:
        own = apart[asked, asked]
        assert max(own) < 10 * CLOSE, (asked, max(own))
        # Those of any other version are further away, so it was that one that answered.
        for name in folders:
            assert name == asked or sum(apart[asked, name]) > 10 * sum(own), (asked, name)


def spread(calls: Sequence[ModelCall]) -> list[ModelCall]:
    """A few of them, from the first to the last."""
    return list(calls[:: max(1, len(calls) // SCORED)])[:SCORED]


def test_a_run_through_vllm_is_replayed_and_its_ratios_begin_at_one(
    story: Story, tmp_path: Path
) -> None:
    ratio = story.replayed["first_ratio"]
    assert 0.99 < ratio["p05"] <= ratio["p95"] < 1.01 and ratio["off_by_a_tenth"] == 0
    (run,) = story.runs[list(story.adapters)[1]]
    told = exported(story.workspace, run, "trl-grpo-replay", tmp_path / "out")
    assert told["rows"] > 0

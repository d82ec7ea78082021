"""Adapters on a server: read, loaded, proven live, swapped without a failed request."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentlab.errors import AdapterRefusedError, ConfigError
from agentlab.models.scripted import Rule
from agentlab.records import Records, Workspace
from agentlab.records.leases import drained, held
from agentlab.records.policies import Policy, PolicyVersion
from agentlab.testing.adapter_server import AdapterServer, safetensors, write_adapter, write_base
from agentlab.testing.server_conformance import ask, check_server
from agentlab.training.adapters import base_sha256, chat_template_sha256, check_base, read_adapter
from agentlab.training.serving.client import ModelServerClient, ServerFaultError
from agentlab.training.serving.liveness import prove_live
from agentlab.training.serving.swap import bring_up, take_down
from agentlab.types import ChatRequest, JsonObject, Message


def talking(folder: Path | None) -> Rule:
    """Says from which weights it speaks."""
    name = folder.name if folder is not None else "base"

    def rule(_: ChatRequest) -> Message:
        return Message(role="assistant", text=f"I am {name}.")

    return rule


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base")


@pytest.fixture
def server(base: Path) -> Iterator[AdapterServer]:
    with AdapterServer(talking, base=base) as running:
        yield running


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    folder = tmp_path / "one"
    write_adapter(folder, base=base, weights=b"one")
    return folder


def edit(folder: Path, **changes: Any) -> None:
    """Change what an adapter says of itself."""
    path = folder / "agentlab.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_server_for_tests_passes_the_suite_that_real_ones_must_pass(
    server: AdapterServer, adapter: Path
) -> None:
    check_server(server.base_url, adapter)
    assert server.served() == ()


def test_an_adapter_that_is_what_it_says_is_read(adapter: Path) -> None:
    found = read_adapter(adapter)
    assert found.name.startswith("lab-v0001-")
    assert "probe" not in found.manifest.spoken()


@pytest.mark.parametrize("cut", [1, 30, 60])
def test_a_truncated_adapter_is_refused(adapter: Path, cut: int) -> None:
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-cut])
    with pytest.raises(AdapterRefusedError, match="cut off"):
        read_adapter(adapter)


def test_weights_that_changed_after_training_are_refused(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(safetensors(b"two"))
    with pytest.raises(AdapterRefusedError, match="changed or cut after training"):
        read_adapter(adapter)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "lab-v0001"}, "could stand for other weights"),
        ({"name": "../evil-00000000"}, "could stand for other weights"),
        ({"probe": []}, "no probe"),
        ({"schema": 2}, "wrong at 'schema'"),
        ({"kind": "prompt"}, "wrong at 'kind'"),
        ({"weights_sha256": "x"}, "wrong at 'weights_sha256'"),
        (
            {"probe": [{"prompt_ids": [1], "output_ids": [2], "base_logprobs": [],
                        "trained_logprobs": [0.0]}]},
            "other numbers of tokens",
        ),
        (
            {"probe": [{"prompt_ids": [1], "output_ids": [2], "base_logprobs": [float("nan")],
                        "trained_logprobs": [0.0]}]},
            "finite number",
        ),
    ],
)  # fmt: skip
def test_an_adapter_that_says_something_wrong_is_refused(
    adapter: Path, changes: dict[str, Any], told: str
) -> None:
    edit(adapter, **changes)
    with pytest.raises(AdapterRefusedError, match=told):
        read_adapter(adapter)


def _headed(head: bytes) -> bytes:
    return len(head).to_bytes(8, "little") + head


@pytest.mark.parametrize(
    "data",
    [
        _headed(b'{"a":{"data_offsets":[0,Infinity]}}'),
        _headed(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
        _headed(b'{"a":[1]}'),
    ],
)
def test_weights_with_a_head_of_no_sense_are_refused(adapter: Path, data: bytes) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(data)
    with pytest.raises(AdapterRefusedError, match="no file of weights"):
        read_adapter(adapter)


@pytest.mark.parametrize("name", ["agentlab.json", "adapter_model.safetensors"])
def test_a_pipe_or_a_device_is_not_waited_for(adapter: Path, name: str) -> None:
    (adapter / name).unlink()
    os.mkfifo(adapter / name)
    with pytest.raises(AdapterRefusedError, match=r"no plain file|it has no"):
        read_adapter(adapter)
    (adapter / name).unlink()
    (adapter / name).symlink_to("/dev/zero")
    with pytest.raises(AdapterRefusedError, match=r"no plain file|it has no"):
        read_adapter(adapter)


def test_a_folder_without_weights_or_manifest_is_refused(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(AdapterRefusedError, match="no adapter_model"):
        read_adapter(adapter)
    (adapter / "agentlab.json").unlink()
    with pytest.raises(AdapterRefusedError, match=r"no agentlab\.json"):
        read_adapter(adapter)


def test_another_base_and_another_template_are_refused(adapter: Path, tmp_path: Path) -> None:
    found = read_adapter(adapter)
    with pytest.raises(AdapterRefusedError, match="trained on a base whose weights"):
        check_base(found, write_base(tmp_path / "other", weights=b"other"))
    with pytest.raises(AdapterRefusedError, match="chat template"):
        check_base(found, write_base(tmp_path / "told", template="{{ other }}"))


def test_another_tokenizer_is_refused(base: Path, adapter: Path) -> None:
    (base / "tokenizer.json").write_text("{}")
    check_base(read_adapter(adapter), base)
    told = hashlib.sha256(b"{}").hexdigest()
    edit(adapter, tokenizer_sha256=told)
    check_base(read_adapter(adapter), base)
    (base / "tokenizer.json").write_text("{ }")
    with pytest.raises(AdapterRefusedError, match=f"trained with the tokenizer {told[:8]}"):
        check_base(read_adapter(adapter), base)


def test_a_template_is_read_from_its_own_file_or_from_the_tokenizers(tmp_path: Path) -> None:
    alone = write_base(tmp_path / "alone", template="{{ x }}\n")
    inside = write_base(tmp_path / "inside")
    (inside / "chat_template.jinja").unlink()
    (inside / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}\n"}))
    assert chat_template_sha256(alone) == chat_template_sha256(inside) != ""
    assert chat_template_sha256(tmp_path) == ""


def test_an_adapter_is_brought_up_and_measured(
    server: AdapterServer, adapter: Path, base: Path
) -> None:
    live = bring_up(ModelServerClient(server.base_url), read_adapter(adapter), base)
    assert live.tokens == 7
    assert live.error == pytest.approx(0.0, abs=1e-9)
    # By hand: the mean distance between the manifest's own two columns.
    probes = read_adapter(adapter).manifest.probe
    moved = [
        abs(a - b)
        for probe in probes
        for a, b in zip(probe.trained_logprobs, probe.base_logprobs, strict=True)
    ]
    assert live.change == pytest.approx(sum(moved) / len(moved))
    assert server.served() == (live.adapter,)


def test_a_base_served_under_the_adapters_name_is_noticed_and_taken_off(
    server: AdapterServer, adapter: Path, base: Path
) -> None:
    found = read_adapter(adapter)
    server.hollow(found.name)
    with pytest.raises(AdapterRefusedError, match="is the base model"):
        bring_up(ModelServerClient(server.base_url), found, base)
    assert server.served() == ()


@pytest.mark.parametrize(
    ("column", "told"),
    [("base_logprobs", "not the one it was trained on"), ("trained_logprobs", "not what was")],
)
def test_log_probabilities_of_other_weights_are_noticed(
    server: AdapterServer, adapter: Path, column: str, told: str
) -> None:
    manifest = json.loads((adapter / "agentlab.json").read_text())
    for probe in manifest["probe"]:
        probe[column] = [x - 0.3 for x in probe[column]]
    edit(adapter, probe=manifest["probe"])
    found = read_adapter(adapter)
    client = ModelServerClient(server.base_url)
    client.load(found.name, found.folder)
    with pytest.raises(AdapterRefusedError, match=told):
        prove_live(client, found, "base")


def test_training_that_moved_nothing_is_not_called_live(
    server: AdapterServer, adapter: Path
) -> None:
    manifest = json.loads((adapter / "agentlab.json").read_text())
    for probe in manifest["probe"]:
        probe["trained_logprobs"] = [x - 0.001 for x in probe["base_logprobs"]]
    edit(adapter, probe=manifest["probe"])
    found = read_adapter(adapter)
    client = ModelServerClient(server.base_url)
    client.load(found.name, found.folder)
    with pytest.raises(AdapterRefusedError, match="too little to be told from the base"):
        prove_live(client, found, "base")


def test_a_server_without_runtime_adapters_is_named_with_the_fix(base: Path, adapter: Path) -> None:
    with AdapterServer(talking, base=base, runtime=False) as running:
        client = ModelServerClient(running.base_url)
        with pytest.raises(ServerFaultError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
            client.load("lab-v0001-00000000", adapter)


def test_a_server_that_is_gone_or_no_model_server_is_named(base: Path) -> None:
    with AdapterServer(talking, base=base) as running:
        url = running.base_url
    client = ModelServerClient(url)
    assert not client.healthy()
    with pytest.raises(ServerFaultError, match="cannot be reached"):
        client.models()
    with pytest.raises(ConfigError, match="not an address"):
        ModelServerClient("file:///etc/passwd")


def test_an_adapter_is_unloaded_only_when_nobody_holds_it_and_it_does_not_serve(
    server: AdapterServer, adapter: Path, base: Path, tmp_path: Path
) -> None:
    client = ModelServerClient(server.base_url)
    found = read_adapter(adapter)
    bring_up(client, found, base)
    with Records.open(Workspace.open(tmp_path / "workspace")) as records:
        records.policies.register(
            Policy("lab", "base", str(base), base_sha256(base), server.base_url)
        )
        records.policies.add_version(
            PolicyVersion(found.name, "lab", str(adapter), found.manifest.weights_sha256, {})
        )
        with held(records.workspace, [found.name]):
            assert not take_down(records, client, found.name)
        records.policies.move("lab", "promotion", found.name, reason="won", evidence={})
        assert not take_down(records, client, found.name)
        records.policies.move("lab", "rollback", "", reason="lost", evidence={})
        assert take_down(records, client, found.name)
    assert server.served() == ()


def test_a_wait_for_holders_ends_when_they_do(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "workspace")
    began, end = threading.Event(), threading.Event()

    def hold() -> None:
        with held(workspace, ["lab-v0001-00000000"]):
            began.set()
            end.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    began.wait(30)
    with drained(workspace, "lab-v0001-00000000", seconds=0.1) as free:
        assert not free
    end.set()
    with drained(workspace, "lab-v0001-00000000", seconds=30) as free:
        assert free
    thread.join()


def test_requests_in_flight_end_on_the_weights_that_they_began_with(
    base: Path, adapter: Path
) -> None:
    with AdapterServer(talking, base=base, latency=0.5) as running:
        found = read_adapter(adapter)
        client = ModelServerClient(running.base_url)
        client.load(found.name, found.folder)
        said: list[str] = []

        def asking() -> None:
            message: JsonObject = {"role": "user", "content": "Who are you?"}
            body: JsonObject = {"model": found.name, "messages": [message]}
            answer = ask(running.base_url, "/chat/completions", body)
            said.append(json.dumps(answer.body))

        threads = [threading.Thread(target=asking) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(running.asked_of()) < 4:
            time.sleep(0.01)
        client.unload(found.name)
        for thread in threads:
            thread.join()
    assert len(said) == 4
    assert all("I am one." in each for each in said)

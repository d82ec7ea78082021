"""What is served under a gated name is what was gated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agentlab.errors import AdapterRefusedError
from agentlab.records.policies import PolicyVersion
from agentlab.testing.adapter_server import write_adapter, write_base
from agentlab.training.adapters import CONFIG, read_adapter, sha256_of
from agentlab.training.versions import read_version
from agentlab.types import JsonObject


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An adapter whose settings are spoken for."""
    base, found = write_base(tmp_path / "base"), tmp_path / "one"
    write_adapter(found, base=base, weights=b"one")
    (found / CONFIG["adapter"]).write_text('{"peft_type": "LORA", "lora_alpha": 32}')
    say(found, config_sha256=sha256_of(found / CONFIG["adapter"]))
    return found


def say(folder: Path, **changes: object) -> None:
    path = folder / "agentlab.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def version_of(folder: Path) -> PolicyVersion:
    adapter = read_adapter(folder)
    weights = adapter.manifest.weights_sha256
    return PolicyVersion(adapter.name, "lab", str(folder), weights, adapter.manifest.spoken())


def test_a_version_is_read_as_it_was_put_on_record(folder: Path) -> None:
    version = version_of(folder)
    assert read_version(version).name == version.adapter


def test_settings_that_changed_are_refused_by_the_folder_alone(folder: Path) -> None:
    (folder / CONFIG["adapter"]).write_text('{"peft_type": "LORA", "lora_alpha": -96}')
    with pytest.raises(AdapterRefusedError, match="was changed after training"):
        read_adapter(folder)


def test_settings_that_changed_with_what_the_folder_says_are_refused_by_the_record(
    folder: Path,
) -> None:
    version = version_of(folder)
    (folder / CONFIG["adapter"]).write_text('{"peft_type": "LORA", "lora_alpha": -96}')
    say(folder, config_sha256=sha256_of(folder / CONFIG["adapter"]))
    assert read_adapter(folder).name == version.adapter
    with pytest.raises(AdapterRefusedError, match="another 'config_sha256'"):
        read_version(version)


def test_another_adapter_in_its_place_is_refused(folder: Path, tmp_path: Path) -> None:
    version = version_of(folder)
    shutil.rmtree(folder)
    write_adapter(folder, base=tmp_path / "base", weights=b"another")
    with pytest.raises(AdapterRefusedError, match="put the folder back"):
        read_version(version)


def test_a_version_of_before_says_less_and_is_read(folder: Path) -> None:
    version = version_of(folder)
    body: JsonObject = {k: v for k, v in version.body.items() if k != "config_sha256"}
    assert read_version(version._replace(body=body)).name == version.adapter

"""Folders that the local server must not load: what cannot be read, and what is no number."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.served_model import Models, Running, copy, make_models, serving

# Torch is imported twice, which takes long beside other work.
pytestmark = pytest.mark.timeout(400)
CONFIG, WEIGHTS, WHOLE = "adapter_config.json", "adapter_model.safetensors", "model.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def server(models: Models) -> Generator[Running]:
    adapter = f"lab-v0001={models.adapters / 'one'}"
    with serving(models.base, "--name", "tiny", "--adapter", adapter) as running:
        yield running


def refusal(server: Running, folder: Path) -> str:
    body = {"lora_name": f"bad-{folder.name}", "lora_path": str(folder)}
    found = server.http.post("/v1/load_lora_adapter", json=body, timeout=30)
    assert found.status_code == 400, (folder.name, found.text)
    return str(found.json()["error"]["message"])


def spoil(weights: Path, number: float) -> None:
    """Put another number into the last place of a file of weights."""
    told = weights.read_bytes()
    weights.write_bytes(told[:-4] + struct.pack("<f", number))


def test_what_is_no_file_is_not_opened(server: Running, models: Models, tmp_path: Path) -> None:
    for folder, name in (
        ("two", CONFIG),
        ("two", WEIGHTS),
        ("two", "agentlab.json"),
        ("whole", "generation_config.json"),
        ("whole", "model.safetensors.index.json"),
    ):
        place = copy(models.adapters / folder, tmp_path / name)
        (place / name).unlink(missing_ok=True)
        os.mkfifo(place / name)
        assert "neither a file nor a folder" in refusal(server, place)
    endless = copy(models.adapters / "two", tmp_path / "endless")
    (endless / CONFIG).unlink()
    (endless / CONFIG).symlink_to("/dev/zero")
    assert "neither a file nor a folder" in refusal(server, endless)
    # The engine is there for others.
    assert server.score("lab-v0001", models.ids)


def test_what_is_no_number_is_not_served(server: Running, models: Models, tmp_path: Path) -> None:
    before = [server.score(name, models.ids) for name in ("tiny", "lab-v0001")]
    for number in (float("nan"), float("inf")):
        for folder, file in (("two", WEIGHTS), ("whole", WHOLE)):
            place = copy(models.adapters / folder, tmp_path / f"{folder}-{number}")
            spoil(place / file, number)
            assert "holds what is no number" in refusal(server, place)
    scaled = copy(models.adapters / "two", tmp_path / "scaled")
    told: dict[str, Any] = json.loads((scaled / CONFIG).read_text(encoding="utf-8"))
    (scaled / CONFIG).write_text(json.dumps({**told, "lora_alpha": float("nan")}))
    assert "what they say is no number" in refusal(server, scaled)
    assert [server.score(name, models.ids) for name in ("tiny", "lab-v0001")] == before
    # A good one under a new name is taken up as ever.
    body = {"lora_name": "lab-v0002", "lora_path": str(models.adapters / "two")}
    assert server.post("/v1/load_lora_adapter", body).status_code == 200
    listed = server.http.get("/v1/models").json()["data"]
    assert [each["id"] for each in listed] == ["tiny", "lab-v0001", "lab-v0002"]

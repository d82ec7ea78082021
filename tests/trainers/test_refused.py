"""What is not what it says is refused with a sentence, before a trainer is started."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentlab.errors import AgentLabError, ConfigError, TrainingRefusedError, UsageError
from agentlab.training.adapters import base_sha256
from agentlab.training.trainers.export_folder import check_export
from agentlab.training.trainers.interpreter import find_python, train_python
from agentlab.training.trainers.model_folder import read_model
from agentlab.training.trainers.request import TrainRequest
from agentlab.training.trainers.training import train
from tests.trainers.tiny_model import write_model
from tests.trainers.written_exports import Row, digest_of, rows_of, write_export


@pytest.fixture
def no_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is refused here is refused without a trainers' environment."""
    monkeypatch.setenv("AGENTLAB_TRAIN_PYTHON", "/nowhere/python")


def request(data: Path, base: Path, out: Path, **more: Any) -> TrainRequest:
    form = json.loads((data / "export.json").read_text(encoding="utf-8"))["format"]
    return TrainRequest(trainer=form, data=(data,), base=base, out=out, **more)


def refused(data: Path, base: Path, tmp_path: Path, **more: Any) -> str:
    """What is said; nothing may be left behind."""
    with pytest.raises(AgentLabError) as error:
        train(request(data, base, tmp_path / "out", **more))
    assert isinstance(error.value, TrainingRefusedError | UsageError)
    assert not isinstance(error.value, ConfigError), "it got as far as looking for a Python"
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.training").exists()
    return str(error.value)


Change = Callable[[Row], None]


def _put(**values: Any) -> Change:
    return lambda row: row.update(values)


def _without(name: str) -> Change:
    return lambda row: row.__delitem__(name)


def _cut(name: str) -> Change:
    return lambda row: row[name].__delitem__(-1)


def _all(name: str, value: int) -> Change:
    return lambda row: row.update({name: [value] * len(row[name])})


def _at(name: str, place: int, value: Any) -> Change:
    return lambda row: row[name].__setitem__(place, value)


@pytest.mark.usefixtures("no_trainer")
@pytest.mark.parametrize(
    ("form", "change", "said"),
    [
        ("trl-sft", _all("labels", -100), "all-zero mask"),
        ("trl-sft", _cut("labels"), "other labels than ids"),
        ("trl-sft", _at("labels", -1, 9), "another token than its id"),
        ("trl-sft", _at("input_ids", 0, 259), "the base does not know"),
        ("trl-sft", _put(input_ids=[5] * 513, labels=[5] * 513), "has 513 tokens"),
        ("trl-grpo-replay", _cut("logprobs"), "log-probabilities for"),
        ("trl-grpo-replay", _without("logprobs"), "0 log-probabilities for"),
        ("trl-grpo-replay", _at("logprobs", 0, None), "that is none"),
        ("trl-grpo-replay", _at("logprobs", 0, 0.5), "that is none"),
        ("trl-grpo-replay", _all("env_mask", 0), "all-zero mask"),
        ("trl-grpo-replay", _put(reward=None), "unknown is not 0"),
        ("trl-grpo-replay", _put(reward=10**400), "unknown is not 0"),
        ("trl-grpo-replay", _at("logprobs", 0, -(10**400)), "that is none"),
        ("trl-grpo-replay", _put(weight=0), "has a weight that is none"),
        ("trl-grpo-replay", _put(group_id="alone"), "compares with nothing"),
        ("trl-grpo-replay", _put(hint_removed=1), "neither true nor false"),
        ("trl-grpo-replay", _put(replay_weight=1.5), "is not between 0 and 1"),
        ("trl-grpo-replay", _put(replay_weight=True), "is not between 0 and 1"),
        (
            "trl-grpo-replay",
            _put(hint_removed=True, replay_weight=0.5),
            "export one view at a time",
        ),
        ("trl-dpo", _put(chosen=[]), "has no messages in chosen"),
        ("trl-kto", _put(label=None), "no label"),
    ],
)
def test_a_row_that_cannot_be_trained_on(
    form: str, change: Change, said: str, base: Path, tmp_path: Path
) -> None:
    rows = rows_of(form)
    change(rows[1])
    assert said in refused(write_export(tmp_path / "data", form, base, rows), base, tmp_path)


@pytest.mark.usefixtures("no_trainer")
@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ({"split": "dev"}, "is of the split 'dev'"),
        ({"split": "heldout"}, "is of the split 'heldout'"),
        ({"split": None}, "is of the split None"),
        ({"terms": None}, "terms are unknown"),
        ({"trainable": False}, "may not be trained on"),
        ({"terms": {"m": None}}, "terms are unknown"),
        ({"tokenizer_sha256": ["0" * 64]}, "another tokenizer (00000000)"),
        ({"chat_template_sha256": ["0" * 64]}, "another chat template (00000000)"),
    ],
)
def test_an_origin_that_may_not_be_trained_on(
    origin: dict[str, Any], said: str, base: Path, tmp_path: Path
) -> None:
    data = write_export(tmp_path / "data", "trl-sft", base, **origin)
    assert said in refused(data, base, tmp_path)


@pytest.mark.usefixtures("no_trainer")
def test_rows_that_were_changed_after_export(base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-sft", base)
    whole = (data / "data.jsonl").read_bytes()
    (data / "data.jsonl").write_bytes(whole.replace(b'"input_ids"', b' "input_ids"', 1))
    assert "changed after it was exported" in refused(data, base, tmp_path)
    (data / "data.jsonl").write_bytes(whole[:-20])
    assert "cut short" in refused(data, base, tmp_path)
    (data / "data.jsonl").write_bytes(whole)
    lines = (data / "provenance.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (data / "provenance.jsonl").write_text("".join(lines[:-1]), encoding="utf-8")
    assert "the origin of some is unknown" in refused(data, base, tmp_path)


@pytest.mark.usefixtures("no_trainer")
@pytest.mark.parametrize("name", ["provenance.jsonl", "advantages.jsonl"])
def test_what_stands_beside_rows_that_was_changed_or_is_gone(
    name: str, base: Path, tmp_path: Path
) -> None:
    data = write_export(tmp_path / "data", "trl-grpo-replay", base)
    values = "".join('{"estimator": "grpo", "value": %s}\n' % (at % 2) for at in range(6))
    (data / "advantages.jsonl").write_text(values, encoding="utf-8")
    beside = ("provenance.jsonl", "advantages.jsonl")
    told = json.loads((data / "export.json").read_text(encoding="utf-8"))
    told["beside_sha256"] = {each: digest_of(data / each) for each in beside}
    (data / "export.json").write_text(json.dumps(told), encoding="utf-8")
    whole = (data / name).read_bytes()
    (data / name).write_bytes(whole.replace(b"}", b" }", 1))
    assert f"{name}' is not what was exported" in refused(data, base, tmp_path)
    (data / name).unlink()
    assert f"{name}' is not what was exported" in refused(data, base, tmp_path)


@pytest.mark.usefixtures("no_trainer")
@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1" + "0" * 400])
def test_advantages_that_are_no_numbers(value: str, base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-grpo-replay", base)
    rows = f'{{"estimator": "grpo", "value": {value}}}\n' * 6
    (data / "advantages.jsonl").write_text(rows, encoding="utf-8")
    assert "does not fit its rows" in refused(data, base, tmp_path)


@pytest.mark.usefixtures("no_trainer")
@pytest.mark.parametrize("name", ["data.jsonl", "provenance.jsonl", "export.json"])
def test_json_that_is_nested_without_end(name: str, base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-sft", base)
    (data / name).write_bytes(b"[" * 100_000 + b"\n")
    if name == "export.json":
        with pytest.raises(TrainingRefusedError, match="cut short"):
            check_export(data, ("trl-sft",), read_model(base))
    else:
        assert "export again" in refused(data, base, tmp_path)


@pytest.mark.usefixtures("no_trainer")
def test_weights_outside_of_their_folder(base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-sft", base)
    other = Path(shutil.copytree(base, tmp_path / "other"))
    (tmp_path / "else").mkdir()
    shutil.copy(base / "model.safetensors", tmp_path / "else" / "part.safetensors")
    (other / "model.safetensors").rename(other / "part.safetensors")
    index = {"weight_map": {"a": "../else/part.safetensors"}}
    (other / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert "outside of its folder" in refused(data, other, tmp_path)


@pytest.mark.usefixtures("no_trainer")
def test_a_template_that_changed_since_practice(base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-grpo-replay", base)
    other = shutil.copytree(base, tmp_path / "other")
    with open(other / "chat_template.jinja", "a", encoding="utf-8") as file:
        file.write(" ")
    assert "another chat template" in refused(data, other, tmp_path)


@pytest.mark.usefixtures("no_trainer")
def test_groups_that_teach_nothing(base: Path, tmp_path: Path) -> None:
    rows = [{**row, "reward": 1.0} for row in rows_of("trl-grpo-replay")]
    data = write_export(tmp_path / "data", "trl-grpo-replay", base, rows)
    assert "All advantages are 0" in refused(data, base, tmp_path)


@pytest.mark.usefixtures("no_trainer")
def test_replayed_rows_that_weigh_nothing(base: Path, tmp_path: Path) -> None:
    rows = [{**row, "replay_weight": 0.0} for row in rows_of("trl-grpo-replay")]
    data = write_export(tmp_path / "data", "trl-grpo-replay", base, rows)
    assert "replayed with the weight 0" in refused(data, base, tmp_path)


@pytest.mark.usefixtures("no_trainer")
def test_a_base_that_is_cut_short(base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-sft", base)
    other = shutil.copytree(base, tmp_path / "other")
    weights = (other / "model.safetensors").read_bytes()
    (other / "model.safetensors").write_bytes(weights[:-1])
    assert "cut short or damaged" in refused(data, other, tmp_path)
    (other / "model.safetensors").unlink()
    assert "other formats can run code" in refused(data, other, tmp_path)


@pytest.mark.usefixtures("no_trainer")
def test_a_base_in_several_files_has_one_hash_for_all(base: Path, tmp_path: Path) -> None:
    parts = shutil.copytree(base, tmp_path / "parts")
    (parts / "model.safetensors").rename(parts / "model-1.safetensors")
    index = parts / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    # Whoever serves and gates compares with what the trainer wrote down.
    assert read_model(parts).weights_sha256 == base_sha256(parts)
    data = write_export(tmp_path / "data", "trl-sft", base)
    for wrong in ("{}", '{"weight_map": {}}', '{"weight_map": []}'):
        index.write_text(wrong)
        assert "copy the base model again" in refused(data, parts, tmp_path)


def test_what_rows_do_not_say_of_their_language_is_noted(base: Path, tmp_path: Path) -> None:
    said = read_model(base)
    hashes: dict[str, Any] = {
        "tokenizer_sha256": [said.tokenizer_sha256],
        "chat_template_sha256": [said.chat_template_sha256],
    }
    told = write_export(tmp_path / "told", "trl-sft", base, **hashes)
    assert check_export(told, ("trl-sft",), said).notes == ()
    silent = write_export(tmp_path / "silent", "trl-sft", base)
    (note,) = check_export(silent, ("trl-sft",), said).notes
    assert note.startswith("5 of 5 rows of") and "--tokenizer" in note
    # Messages are rendered anew, which is right only for whoever knows that it is done otherwise.
    changed: dict[str, Any] = {**hashes, "chat_template_sha256": ["0" * 64]}
    other = write_export(tmp_path / "other", "trl-dpo", base, **changed)
    (note,) = check_export(other, ("trl-dpo",), said).notes
    assert "another chat template" in note
    report = json.loads((told / "export.json").read_text(encoding="utf-8"))
    report["notes"] = ["The view leaves a part of its rule to the trainer."]
    (told / "export.json").write_text(json.dumps(report), encoding="utf-8")
    assert check_export(told, ("trl-sft",), said).notes == tuple(report["notes"])


def _tensors(folder: Path, name: str, **settings: Any) -> Path:
    """One number under a name, as safetensors, with settings beside it."""
    head = json.dumps({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    told = json.dumps({"peft_type": "LORA", **settings})
    (folder / "adapter_config.json").write_text(told, encoding="utf-8")
    return weights


def _adapter(folder: Path, base: Path, **told: Any) -> Path:
    """A trained folder around the least that is an adapter: none is loaded here."""
    folder.mkdir()
    shutil.copyfile(base / "model.safetensors", folder / "model.safetensors")
    weights = _tensors(folder, "base_model.model.layers.0.q_proj.lora_A.weight")
    whole = told.get("kind") == "model"
    record = {
        "name": "lab-v0003-00000000",
        "kind": "adapter",
        "weights_sha256": digest_of(base / "model.safetensors" if whole else weights),
        "base": {"weights_sha256": digest_of(base / "model.safetensors")},
        "tokenizer_sha256": digest_of(base / "tokenizer.json"),
        "chat_template_sha256": digest_of(base / "chat_template.jinja"),
        **told,
    }
    (folder / "agentlab.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


@pytest.mark.usefixtures("no_trainer")
def test_an_adapter_that_is_not_of_the_base(base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-sft", base)
    other = write_model(tmp_path / "other", seed=1)
    adapter = _adapter(tmp_path / "adapter", base)
    assert "belongs to another base" in refused(data, other, tmp_path, adapter=adapter)
    told = _adapter(tmp_path / "told", base, chat_template_sha256="0" * 64)
    assert "another chat template" in refused(data, base, tmp_path, adapter=told)
    whole = _adapter(tmp_path / "whole", base, kind="model")
    assert "a whole model and no adapter" in refused(data, base, tmp_path, adapter=whole)
    assert "is an adapter" in refused(data, base, tmp_path, adapter=adapter, method="full")


@pytest.mark.usefixtures("no_trainer")
def test_an_adapter_that_is_cut_short_or_changed(base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-sft", base)
    adapter = _adapter(tmp_path / "adapter", base)
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    (adapter / "adapter_model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "cut short or damaged" in refused(data, base, tmp_path, adapter=adapter)
    (adapter / "adapter_model.safetensors").write_bytes(weights[:-1] + b"\x01")
    assert "are not those that" in refused(data, base, tmp_path, adapter=adapter)


@pytest.mark.usefixtures("no_trainer")
@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("base_model.model.embed_tokens.weight", {}, "'base_model.model.embed_tokens.weight'"),
        ("base_model.model.x.lora_B.weight", {"modules_to_save": ["x"]}, "'modules_to_save'"),
        ("base_model.model.x.lora_B.weight", {"megatron_core": "m", "megatron_config": {}}, "mega"),
        ("base_model.model.x.lora_B.weight", {"peft_type": "IA3"}, "is no LoRA"),
    ],
)
def test_an_adapter_that_would_be_loaded_over_more_than_itself(
    name: str, settings: dict[str, Any], said: str, base: Path, tmp_path: Path
) -> None:
    data = write_export(tmp_path / "data", "trl-sft", base)
    adapter = _adapter(tmp_path / "adapter", base)
    weights = _tensors(adapter, name, **settings)
    record = json.loads((adapter / "agentlab.json").read_text(encoding="utf-8"))
    record["weights_sha256"] = digest_of(weights)
    (adapter / "agentlab.json").write_text(json.dumps(record), encoding="utf-8")
    assert said in refused(data, base, tmp_path, adapter=adapter)


def test_a_missing_environment_is_told_with_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if find_python() is None:
        with pytest.raises(ConfigError, match="make trainers"):
            train_python()
    python = tmp_path / ".venv-train" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(0o755)
    assert train_python().path == str(python)
    monkeypatch.setenv("AGENTLAB_TRAIN_PYTHON", str(tmp_path))
    with pytest.raises(ConfigError, match="which is no Python"):
        train_python()


def test_rows_of_a_tenant_say_whose_they_are(base: Path, tmp_path: Path) -> None:
    data = write_export(tmp_path / "data", "trl-sft", base)
    assert "scope" not in check_export(data, ("trl-sft",), read_model(base)).record
    told = json.loads((data / "export.json").read_text(encoding="utf-8"))
    (data / "export.json").write_text(json.dumps({**told, "scope": "acme"}), encoding="utf-8")
    assert check_export(data, ("trl-sft",), read_model(base)).record["scope"] == "acme"

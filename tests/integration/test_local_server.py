"""The local model server, asked by the official client and by hand, against plain transformers."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from tokenizers import Tokenizer

from tests.integration.served_model import (
    BATCH,
    WAITING,
    Models,
    Running,
    copy,
    make_models,
    serving,
)

# Torch is imported twice, which takes long beside other work.
pytestmark = pytest.mark.timeout(400)
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "",
            "parameters": {"type": "object", "properties": {argument: {"type": "string"}}},
        },
    }
    for name, argument in (("go", "way"), ("take", "thing"), ("open", "chest"))
]
VIEW = "⟦You are in the moss chamber. Ways: north. Here: bell. You carry: nothing.⟧"


def conversation(thing: str = "bell", turns: int = 0) -> list[Any]:
    messages: list[Any] = [
        {"role": "user", "content": f"Task: ⟦Take the {thing}.⟧\n\nWhat there is now: {VIEW}"}
    ]
    for turn in range(turns):
        call = {"name": "go", "arguments": '{"way": "north"}'}
        use = {"id": f"c{turn}", "type": "function", "function": call}
        messages.append({"role": "assistant", "content": None, "tool_calls": [use]})
        messages.append({"role": "tool", "tool_call_id": f"c{turn}", "content": VIEW})
    return messages


def asked(**changes: Any) -> dict[str, Any]:
    """A request as agentlab makes it of a `vllm:` model."""
    return {
        "model": "tiny",
        "messages": conversation(),
        "tools": TOOLS,
        "max_tokens": 20,
        "temperature": 1.0,
        "seed": 1,
        "logprobs": True,
        "return_token_ids": True,
        **changes,
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def server(models: Models) -> Generator[Running]:
    adapter = f"lab-v0001={models.adapters / 'one'}"
    with serving(models.base, "--name", "tiny", "--adapter", adapter) as running:
        yield running


@pytest.fixture(scope="module")
def tokenizer(models: Models) -> Any:
    return Tokenizer.from_file(str(models.base / "tokenizer.json"))


def drawn(server: Running, **changes: Any) -> tuple[list[int], list[int], list[float]]:
    """Prompt ids, output ids, log-probabilities."""
    body = server.post("/v1/chat/completions", asked(**changes)).json()
    choice = body["choices"][0]
    told = [each["logprob"] for each in choice["logprobs"]["content"]]
    return body["prompt_token_ids"], choice["token_ids"], told


def close(one: list[float], two: list[float]) -> bool:
    return len(one) == len(two) and all(
        math.isclose(a, b, abs_tol=1e-4) for a, b in zip(one, two, strict=True)
    )


def test_the_official_client_gets_calls_ids_and_log_probabilities(
    server: Running, tokenizer: Any
) -> None:
    client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
    names = {model.id: model for model in client.models.list()}
    assert set(names) >= {"tiny", "lab-v0001"}
    assert names["lab-v0001"].model_dump()["parent"] == "tiny"
    reply = client.chat.completions.create(
        model="tiny",
        messages=conversation(),
        tools=TOOLS,
        temperature=0,
        logprobs=True,
        top_logprobs=3,
        max_completion_tokens=20,
        extra_body={"return_token_ids": True},
    )
    choice = reply.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name in ("go", "take", "open") and json.loads(call.function.arguments)
    ids: list[int] = reply.model_dump()["choices"][0]["token_ids"]
    assert choice.logprobs is not None and choice.logprobs.content is not None
    assert len(ids) == len(choice.logprobs.content) and reply.usage is not None
    assert reply.usage.completion_tokens == len(ids)
    text = tokenizer.decode(ids, skip_special_tokens=True)
    call_text = json.dumps(
        {"name": call.function.name, "arguments": json.loads(call.function.arguments)}
    )
    assert text == f"<tool_call>{call_text}</tool_call>"
    prompt = reply.model_dump()["prompt_token_ids"]
    assert "Take the bell" in tokenizer.decode(prompt) and len(prompt) == reply.usage.prompt_tokens
    for each in choice.logprobs.content:
        assert len(each.top_logprobs) == 3
        # Greedy draws the likeliest, and each log-probability is that of the whole distribution.
        assert math.isclose(each.logprob, each.top_logprobs[0].logprob, abs_tol=1e-6)
        assert sum(math.exp(top.logprob) for top in each.top_logprobs) <= 1 + 1e-6


@pytest.mark.parametrize(("served", "reference"), [("tiny", "base"), ("lab-v0001", "one")])
def test_log_probabilities_are_those_of_plain_transformers(
    server: Running, models: Models, served: str, reference: str
) -> None:
    assert close(server.score(served, models.ids), list(models.references[reference]))
    # What is told of drawn tokens is the same as of the same tokens when they are read, whether the
    # conversation's beginning was there already or not.
    for turns in (0, 3, 6):
        for temperature in (0.0, 1.0, 1.5):
            prompt, ids, told = drawn(
                server, model=served, messages=conversation(turns=turns), temperature=temperature
            )
            assert close(server.score(served, prompt + ids)[len(prompt) - 1 :], told)


def test_what_is_drawn_does_not_depend_on_what_else_is(server: Running) -> None:
    wanted: list[dict[str, Any]] = [
        {"messages": conversation(thing, turns), "seed": seed, "temperature": 1.3}
        for thing in ("bell", "red key")
        for turns in (0, 2, 5)
        for seed in (1, 2)
    ]
    alone = [drawn(server, **each) for each in wanted]
    with ThreadPoolExecutor(BATCH) as pool:
        together = [pool.submit(drawn, server, **each) for each in wanted]
    together = [each.result() for each in together]
    assert [each[:2] for each in together] == [each[:2] for each in alone]
    assert all(close(a[2], b[2]) for a, b in zip(alone, together, strict=True))
    assert len({str(each[1]) for each in alone}) > 4


def test_requests_without_a_seed_differ_and_repeat_with_the_server(
    server: Running, models: Models
) -> None:
    first = [drawn(server, seed=None, temperature=2.0)[1] for _ in range(6)]
    assert len({str(ids) for ids in first}) > 1
    with serving(models.base, "--name", "tiny") as again:
        assert [drawn(again, seed=None, temperature=2.0)[1] for _ in range(6)] == first


def test_adapters_come_and_go_under_names_that_keep_their_meaning(
    server: Running, models: Models, tmp_path: Path
) -> None:
    def load(name: str, folder: Path, **more: object) -> Any:
        body = {"lora_name": name, "lora_path": str(folder), **more}
        return server.post("/v1/load_lora_adapter", body)

    before = server.score("tiny", models.ids)
    assert load("lab-v0002", models.adapters / "two").text.startswith("Success")
    assert close(server.score("lab-v0002", models.ids), list(models.references["two"]))
    assert close(server.score("lab-v0001", models.ids), list(models.references["one"]))
    assert server.score("tiny", models.ids) == before
    assert not close(server.score("lab-v0002", models.ids), before)
    assert load("lab-v0002", models.adapters / "two").status_code == 400
    assert load("lab-v0003", models.adapters / "two", load_inplace=True).status_code == 400
    assert server.post("/v1/unload_lora_adapter", {"lora_name": "lab-v0002"}).status_code == 200
    gone = server.post("/v1/chat/completions", asked(model="lab-v0002"))
    assert gone.status_code == 404 and gone.json()["error"]["type"] == "NotFoundError"
    assert server.post("/v1/unload_lora_adapter", {"lora_name": "lab-v0002"}).status_code == 404
    # Other bytes under a name that meant something would be taken for what it meant.
    assert "other weights" in load("lab-v0002", models.adapters / "one").text
    assert load("lab-v0002", models.adapters / "two").status_code == 200
    assert load("all", models.adapters / "whole").status_code == 200
    assert close(server.score("all", models.ids), list(models.references["whole"]))
    assert load("nothing", tmp_path).status_code == 404
    for name in ("lab-v0002", "all"):
        server.post("/v1/unload_lora_adapter", {"lora_name": name})


def renamed(weights: Path, old: str, new: str) -> None:
    """Give a tensor of a file of weights another name."""
    told = weights.read_bytes()
    length = int.from_bytes(told[:8], "little")
    head = json.loads(told[8 : 8 + length])
    head[new] = head.pop(old)
    spelt = json.dumps(head).encode()
    weights.write_bytes(len(spelt).to_bytes(8, "little") + spelt + told[8 + length :])


def test_no_adapter_changes_the_base_or_another(
    server: Running, models: Models, tmp_path: Path
) -> None:
    names = ("tiny", "lab-v0001")
    before = [server.score(name, models.ids) for name in names]
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    for at, tensor in enumerate(
        (f"{layer}.lora_B.a1.weight", f"{layer}.base_layer.weight", "base_model.model.x")
    ):
        folder = copy(models.adapters / "two", tmp_path / f"tensor-{at}")
        renamed(folder / "adapter_model.safetensors", f"{layer}.lora_B.weight", tensor)
    for setting, value in (
        ("init_lora_weights", "olora"),
        ("init_lora_weights", "pissa"),
        ("bias", "all"),
        ("layer_replication", [[0, 1], [0, 1]]),
        ("modules_to_save", ["lm_head"]),
        ("megatron_config", {"a": 1}),
    ):
        folder = copy(models.adapters / "two", tmp_path / f"{setting}-{str(value)[:5]}")
        told = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        (folder / "adapter_config.json").write_text(json.dumps({**told, setting: value}))
    for folder in sorted(tmp_path.iterdir()):
        body = {"lora_name": folder.name, "lora_path": str(folder)}
        found = server.post("/v1/load_lora_adapter", body)
        assert found.status_code == 400, folder.name
        assert found.json()["error"]["message"].startswith("The adapter in"), folder.name
    assert [server.score(name, models.ids) for name in names] == before


def test_a_name_keeps_its_settings_too(server: Running, models: Models, tmp_path: Path) -> None:
    folder = copy(models.adapters / "two", tmp_path / "scaled")
    body = {"lora_name": "lab-scaled", "lora_path": str(folder)}
    assert server.post("/v1/load_lora_adapter", body).status_code == 200
    assert server.post("/v1/unload_lora_adapter", body).status_code == 200
    told = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps({**told, "lora_alpha": 160}))
    again = server.post("/v1/load_lora_adapter", body)
    assert again.status_code == 400 and "other weights" in again.text


def test_damaged_and_foreign_weights_are_refused_and_harm_nothing(
    server: Running, models: Models, tmp_path: Path
) -> None:
    before = server.score("lab-v0001", models.ids)
    cut = copy(models.adapters / "two", tmp_path / "cut") / "adapter_model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    other = copy(models.adapters / "two", tmp_path / "other")
    record = {"schema": 1, "base": {"weights_sha256": "0" * 64}}
    (other / "agentlab.json").write_text(json.dumps(record), encoding="utf-8")
    changed = copy(models.adapters / "two", tmp_path / "changed")
    record = {"schema": 1, "chat_template_sha256": "0" * 64}
    (changed / "agentlab.json").write_text(json.dumps(record), encoding="utf-8")
    edited = copy(models.adapters / "two", tmp_path / "edited")
    record = {"schema": 1, "base": ["x"], "weights_sha256": "0" * 64}
    (edited / "agentlab.json").write_text(json.dumps(record), encoding="utf-8")
    odd = copy(models.adapters / "two", tmp_path / "odd") / "adapter_config.json"
    odd.write_text('{"peft_type": "PROMPT_TUNING"}', encoding="utf-8")
    for folder, why in (
        ("cut", "damaged"),
        ("other", "another base model"),
        ("changed", "another chat template"),
        ("edited", "changed after training"),
        ("odd", "no LoRA"),
    ):
        body = {"lora_name": f"bad-{folder}", "lora_path": str(tmp_path / folder)}
        found = server.post("/v1/load_lora_adapter", body)
        assert found.status_code == 400 and why in found.json()["error"]["message"], folder
    assert server.score("lab-v0001", models.ids) == before
    assert {each["id"] for each in server.http.get("/v1/models").json()["data"]} == {
        "tiny",
        "lab-v0001",
    }


def test_a_stream_says_what_the_whole_reply_says(server: Running) -> None:
    whole = server.post("/v1/chat/completions", asked()).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    lines = server.post("/v1/chat/completions", asked(**options)).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    parts = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert parts[0]["prompt_token_ids"] == whole["prompt_token_ids"]
    choices = [part["choices"][0] for part in parts if part["choices"]]
    ids = [token for choice in choices for token in choice.get("token_ids", [])]
    assert ids == whole["choices"][0]["token_ids"]
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    told = whole["choices"][0]["message"].get("tool_calls", [])
    assert [call["function"] for call in calls] == [call["function"] for call in told]
    assert choices[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert parts[-1]["usage"] == whole["usage"]
    # Without tools the same is text, and comes in several parts that add up to it.
    plain = asked(tools=None, logprobs=False, stream=True)
    client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
    text = client.chat.completions.create(
        model="tiny", messages=plain["messages"], max_tokens=20, seed=1, temperature=1.0
    )
    streamed = client.chat.completions.create(
        model="tiny",
        messages=plain["messages"],
        max_tokens=20,
        seed=1,
        temperature=1.0,
        stream=True,
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in streamed]
    assert "".join(pieces) == text.choices[0].message.content
    assert sum(bool(piece) for piece in pieces) > 1


def test_stops_end_a_reply_and_limits_cut_it(server: Running) -> None:
    plain = asked(tools=None, temperature=0.0, max_tokens=30)
    whole = server.post("/v1/chat/completions", plain).json()["choices"][0]["message"]["content"]
    assert '"arguments"' in whole
    found = server.post("/v1/chat/completions", {**plain, "stop": ['"arg']}).json()["choices"][0]
    assert found["message"]["content"] == whole[: whole.index('"arg')]
    assert found["finish_reason"] == "stop"
    lines = server.post("/v1/chat/completions", {**plain, "stop": ['"arg'], "stream": True}).text
    parts = [json.loads(line[6:]) for line in lines.split("\n\n") if line.startswith("data: {")]
    said = "".join(part["choices"][0]["delta"].get("content", "") for part in parts)
    assert said == found["message"]["content"]
    short = server.post("/v1/chat/completions", {**plain, "max_tokens": 2}).json()["choices"][0]
    assert short["finish_reason"] == "length" and len(short["token_ids"]) == 2
    # A prompt that leaves room for a few tokens gets them.
    body = {"model": "tiny", "prompt": [7] * 1020, "max_tokens": 50, "ignore_eos": True}
    long = server.post("/v1/completions", {**body, "return_token_ids": True}).json()["choices"][0]
    assert len(long["token_ids"]) == 4 and long["finish_reason"] == "length"


HOSTILE: list[tuple[str, object, int]] = [
    ("chat", [], 400),
    ("chat", {}, 400),
    ("chat", asked(model="other"), 404),
    ("chat", asked(model=7), 400),
    ("chat", asked(messages=[]), 400),
    ("chat", asked(messages="hello"), 400),
    ("chat", asked(messages=[{"role": "wizard", "content": "x"}]), 400),
    ("chat", asked(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), 400),
    ("chat", asked(messages=[{"role": "assistant", "tool_calls": [{"function": 1}]}]), 400),
    (
        "chat",
        asked(
            messages=[
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "go", "arguments": "{"}}],
                }
            ]
        ),
        400,
    ),
    ("chat", asked(messages=[{"role": "user", "content": "x " * 5000}]), 400),
    ("chat", asked(max_tokens=-1), 400),
    ("chat", asked(max_tokens=1.5), 400),
    ("chat", asked(max_tokens=10**30), 400),
    ("chat", asked(temperature="hot"), 400),
    ("chat", asked(temperature=-1), 400),
    ("chat", asked(top_p=0), 400),
    ("chat", asked(top_k=5), 400),
    ("chat", asked(n=2), 400),
    ("chat", asked(frequency_penalty=0.5), 400),
    ("chat", asked(logit_bias={"1": 5}), 400),
    ("chat", asked(response_format={"type": "json_object"}), 400),
    ("chat", asked(tool_choice="required"), 400),
    ("chat", asked(min_tokens=5), 400),
    ("chat", asked(stop_token_ids=[7]), 400),
    ("chat", asked(allowed_token_ids=[7]), 400),
    ("chat", asked(chat_template="{{ messages }}"), 400),
    ("chat", asked(chat_template_kwargs={"enable_thinking": False}), 400),
    ("chat", asked(tools=[{"type": "function"}]), 400),
    ("chat", asked(tools="all"), 400),
    ("chat", asked(stop=[1]), 400),
    ("chat", asked(seed="x"), 400),
    ("chat", asked(top_logprobs=50), 400),
    ("text", {"model": "tiny", "prompt": []}, 400),
    ("text", {"model": "tiny", "prompt": [-1]}, 400),
    ("text", {"model": "tiny", "prompt": [10**9]}, 400),
    ("text", {"model": "tiny", "prompt": [True]}, 400),
    ("text", {"model": "tiny", "prompt": [1] * 5000}, 400),
    ("text", {"model": "tiny", "prompt": [1], "max_tokens": 0}, 400),
    ("load", {"lora_name": "x"}, 400),
    ("load", {"lora_name": "x", "lora_path": "a\0b"}, 400),
    ("load", {"lora_name": ["x"], "lora_path": "/tmp"}, 400),
    ("unload", {"lora_name": "tiny"}, 404),
]
PATHS = {
    "chat": "/v1/chat/completions",
    "text": "/v1/completions",
    "load": "/v1/load_lora_adapter",
    "unload": "/v1/unload_lora_adapter",
}


def test_hostile_requests_are_refused_in_the_protocols_shape(server: Running) -> None:
    for path, body, status in HOSTILE:
        found = server.post(PATHS[path], body)
        assert found.status_code == status, (path, str(body)[:200], found.text)
        assert found.json()["error"]["code"] == status and found.json()["error"]["message"]
    raw: list[tuple[bytes, dict[str, str], int]] = [
        (b"{", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"model": ' + b"9" * 5000 + b"}", {}, 400),
        (json.dumps(asked(messages=[{"role": "user", "content": "\ud800"}])).encode(), {}, 400),
        (b" " * (9 * 1024 * 1024), {}, 413),
        (json.dumps(asked()).encode(), {"content-type": "text/plain"}, 415),
        (json.dumps(asked()).encode(), {"host": "evil.example:80"}, 403),
        (json.dumps(asked()).encode(), {"host": "[::"}, 403),
    ]
    for data, headers, status in raw:
        sent = {"content-type": "application/json", **headers}
        found = server.http.post(PATHS["chat"], content=data, headers=sent)
        assert found.status_code == status, (data[:50], headers, found.text)
    # Refused by its length: to count its tokens would keep everybody waiting for a minute.
    long = json.dumps(asked(messages=[{"role": "user", "content": "x" * 7_000_000}])).encode()
    sent = {"content-type": "application/json"}
    assert "7,0" in server.http.post(PATHS["chat"], content=long, headers=sent).text
    assert server.http.get("/v1/nothing").status_code == 404
    assert server.http.get("/health").status_code == 200
    assert drawn(server)[1]


def test_what_is_too_much_is_turned_away_and_what_is_given_up_ends(server: Running) -> None:
    long = {"model": "tiny", "prompt": [9], "max_tokens": 1000, "ignore_eos": True, "stream": True}

    async def one(client: Any) -> int:
        async with client.stream("POST", "/v1/completions", json=long) as reply:
            if reply.status_code != 200:
                told = json.loads(await reply.aread())
                assert told["error"]["type"] == "RateLimitError"
                return reply.status_code
            async for _ in reply.aiter_bytes():
                break
        return reply.status_code

    async def run() -> list[int]:
        import httpx

        limits = httpx.Limits(max_connections=100)
        url = server.url.removesuffix("/v1")
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            found = await asyncio.gather(*(one(client) for _ in range(3 * (BATCH + WAITING))))
            # Every client has left: what they asked for ends long before its 1,000 tokens.
            for _ in range(500):
                if (await client.get("/load")).json() == {"running": 0, "waiting": 0}:
                    return found
                await asyncio.sleep(0.02)
        raise AssertionError("requests whose clients have left go on")

    statuses = asyncio.run(run())
    assert statuses.count(200) >= 1 and statuses.count(429) >= 1
    assert set(statuses) == {200, 429}
    assert drawn(server)[1]

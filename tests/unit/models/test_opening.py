"""From a name to a model."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from agentlab.errors import ConfigError, UnknownNameError, UsageError
from agentlab.models.openai_client import find_address
from agentlab.models.opening import Endpoints, open_model, sampling_for
from agentlab.testing.model_server import FaultPlan, ModelServer
from agentlab.types import ChatRequest, Sampling
from tests.unit.models.failing import request


def shout(asked: ChatRequest) -> str:
    return asked.messages[-1].text.upper()


def test_scripts_are_files_or_functions(tmp_path: Path) -> None:
    path = tmp_path / "replies.json"
    path.write_text(json.dumps({"hi": [{"text": "hello"}]}))
    for spec, text in (
        (f"scripted:{path}", "hello"),
        ("scripted:tests.unit.models.test_opening:shout", "HI"),
    ):
        model = open_model(spec)
        assert asyncio.run(model.chat(request())).message.text == text
        assert model.name.startswith("scripted")


@pytest.mark.parametrize(
    ("spec", "error", "told"),
    [
        ("opnai:gpt", UnknownNameError, "Did you mean 'openai'"),
        ("gpt-5", UnknownNameError, "There is no kind of model named 'gpt-5'"),
        ("", UnknownNameError, "Known: 'local', 'openai', 'policy', 'scripted', 'vllm'"),
        ("vllm:", UsageError, "'vllm:NAME'"),
        ("scripted:none.json", ConfigError, "none.json"),
        ("scripted:no.such:thing", ConfigError, "cannot be imported"),
        ("scripted:agentlab:__doc__", ConfigError, "no function"),
    ],
)
def test_a_wrong_name_says_what_is_right(spec: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        open_model(spec)


def test_names_may_hold_colons_and_vllm_is_asked_for_ids(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(spec: str) -> None:
        endpoints = Endpoints()
        model = open_model(spec, endpoints=endpoints, sampling=Sampling(temperature=0.5))
        assert model.name == spec
        reply = await model.chat(request())
        assert reply.model == spec.partition(":")[2]
        assert (reply.output_token_ids is not None) == spec.startswith("vllm")
        assert (reply.log_probabilities is not None) == spec.startswith("vllm")
        await endpoints.close()

    with ModelServer(shout, models=("qwen3:8b", "m")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        asyncio.run(run("openai:qwen3:8b"))
        asyncio.run(run("vllm:m"))
        assert [r.sampling.temperature for r in server.requests] == [0.5, 0.5]


def test_a_kind_s_settings_leave_the_user_s_alone() -> None:
    assert sampling_for("openai:m") == Sampling()
    assert sampling_for("vllm:m") == Sampling(logprobs=True, token_ids=True)
    own = Sampling(temperature=0.5, token_ids=False)
    asked = sampling_for("vllm:m", own)
    assert asked == Sampling(temperature=0.5, token_ids=False, logprobs=True)
    assert asked.model_fields_set == {"temperature", "token_ids", "logprobs"}


def test_a_run_without_an_endpoint_does_not_load_the_client() -> None:
    program = (
        "import sys; import agentlab.models.opening as o; "
        "o.open_model('scripted:tests.unit.models.failing:request'); "
        "sys.exit('openai' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_models_at_one_endpoint_share_its_limit() -> None:
    async def run(url: str) -> None:
        endpoints = Endpoints(at_once=3)
        models = [
            open_model(f"openai:{name}", base_url=url, endpoints=endpoints) for name in "abcd"
        ]
        await asyncio.gather(*(model.chat(request(str(n))) for n in range(5) for model in models))
        same = endpoints.at(find_address(url))
        assert same is endpoints.at(find_address(url))
        assert same is not endpoints.at(find_address(url, "another key"))
        await endpoints.close()
        await endpoints.close()

    with ModelServer(shout, latency=0.01) as server:
        asyncio.run(run(server.base_url))
        assert server.counters().served == 20
        assert server.counters().most_in_flight == 3


def test_an_outage_in_a_run_pauses_and_resumes_over_http() -> None:
    told: list[str | None] = []
    outage = FaultPlan(outages=((0.0, 1e9),))

    async def run(server: ModelServer) -> None:
        async def sleep(seconds: float) -> None:
            # The provider is back by the time that the first probe is due.
            if seconds > 5:
                await asyncio.to_thread(server.plan, FaultPlan())
            await asyncio.sleep(0)

        from agentlab.models.circuit import Circuit

        endpoints = Endpoints(sleep=sleep, circuit=lambda: Circuit(pause=told.append, sleep=sleep))
        model = open_model("openai:m", base_url=server.base_url, endpoints=endpoints)
        await model.chat(request("before"))
        await asyncio.to_thread(server.plan, outage)
        replies = await asyncio.gather(*(model.chat(request(f"call {n}")) for n in range(8)))
        assert [r.message.text for r in replies] == [f"CALL {n}" for n in range(8)]
        await endpoints.close()

    with ModelServer(shout) as server:
        asyncio.run(run(server))
        assert server.counters().failures.get("outage", 0) >= 10
    assert len(told) == 2
    assert told[0] is not None and "paused" in told[0]
    assert told[1] is None

"""Records of calls, kept replies, settings of a role: wrappers that change no reply."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentlab.errors import ModelFaultError
from agentlab.models.cache import Cache, Cached
from agentlab.models.prices import Price
from agentlab.models.recorded import Recorded
from agentlab.models.redaction import Redactor, environment_secrets
from agentlab.models.sampled import Sampled, merged
from agentlab.models.scripted import ScriptedModel
from agentlab.types import (
    ChatReply,
    ChatRequest,
    Message,
    ModelCall,
    PromptRef,
    Sampling,
    ToolSpec,
    ToolUse,
)
from tests.unit.models.failing import Failing, down, request

CANARY = "sk-canary-1234567890abcdef"
FULL = ChatReply(
    message=Message(
        role="assistant", text="hello", tool_uses=(ToolUse(id="1", name="f", arguments="{"),)
    ),
    stop_reason="tool_calls",
    model="m-2026",
    prompt_tokens=10,
    output_tokens=3,
    prompt_token_ids=(1, 2, 3),
    output_token_ids=(7, 8, 9),
    log_probabilities=(-0.1234567890123456, -1e-12, -9999.0),
)


def test_a_record_holds_what_training_needs() -> None:
    asked = ChatRequest(
        messages=(Message(role="user", text="hi"),),
        tools=(ToolSpec(name="f", description="F.", parameters={}),),
        sampling=Sampling(temperature=0.5, seed=3, logprobs=True),
        prompt=PromptRef("executors/react", "2", "abc"),
    )
    recorded = Recorded(
        ScriptedModel(lambda _: FULL),
        role="evaluator",
        price=Price(input=1.0, output=10.0),
        adapter="lab-v7",
        library_version="12",
        terms="openai",
    )
    assert asyncio.run(recorded.chat(asked)) == FULL
    (call,) = recorded.calls
    assert call.model == "m-2026" and call.role == "evaluator"
    assert call.prompt_token_ids == FULL.prompt_token_ids
    assert call.output_token_ids == FULL.output_token_ids
    assert call.log_probabilities == FULL.log_probabilities
    assert call.sampling["temperature"] == 0.5 and call.sampling["seed"] == 3
    assert call.prompt_hash == "abc"
    assert (call.adapter, call.library_version, call.terms) == ("lab-v7", "12", "openai")
    assert call.tokens == 13
    assert call.usd == pytest.approx(40e-6)
    assert call.request["prompt"] == {"name": "executors/react", "version": "2", "hash": "abc"}
    again = ModelCall.model_validate_json(call.model_dump_json())
    assert again == call
    # The request can be asked again, and the reply be read again, from the record alone.
    body = {**again.request, "prompt": asked.prompt, "sampling": again.sampling}
    assert ChatRequest.model_validate(body) == asked
    assert ChatReply.model_validate(again.response).message == FULL.message
    assert recorded.usage.tokens == 13


def test_calls_are_in_the_order_in_which_they_began() -> None:
    class Backwards:
        name = "backwards"

        async def chat(self, request: ChatRequest) -> ChatReply:
            text = request.messages[0].text
            for _ in range(5 - int(text)):
                await asyncio.sleep(0)
            return ChatReply(message=Message(role="assistant", text=text))

    recorded = Recorded(Backwards(), role="executor")

    async def run() -> None:
        await asyncio.gather(*(recorded.chat(request(str(n))) for n in range(5)))

    asyncio.run(run())
    assert [call.response["message"]["text"] for call in recorded.calls] == list("01234")  # pyright: ignore


def test_a_call_that_failed_leaves_no_record() -> None:
    recorded = Recorded(Failing(lambda _, n: down() if n == 1 else None), role="executor")
    with pytest.raises(ModelFaultError):
        asyncio.run(recorded.chat(request()))
    asyncio.run(recorded.chat(request("second")))
    assert len(recorded.calls) == 1


def test_a_key_in_the_environment_is_in_no_record_and_no_kept_reply(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("MY_SERVICE_TOKEN", CANARY[::-1])
    text = f"env: OPENAI_API_KEY={CANARY} {CANARY[::-1]}"
    use = ToolUse(id="1", name=CANARY, arguments=f'{{"{CANARY}": "{CANARY}"}}')
    model = ScriptedModel(
        lambda _: Message(role="assistant", text=f"I saw {text}", tool_uses=(use,))
    )
    recorded = Recorded(Cached(model, Cache(tmp_path / "kept")), role="executor")
    asyncio.run(recorded.chat(request(text)))
    written = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(written) == 1
    for told in (recorded.calls[0].model_dump_json(), written[0]):
        assert "I saw env" in told
        assert CANARY not in told and CANARY[::-1] not in told


def test_secrets_are_found_by_the_names_of_their_variables() -> None:
    variables = {
        "OPENAI_API_KEY": "a" * 10,
        "HF_TOKEN": " b123456789\n",
        "DB_PASSWORD": "c" * 10,
        "KEYBOARD": "qwertzuiop",
        "TOKENIZERS_PARALLELISM": "false-false",
        "MONKEY": "chimpanzee",
        "SHORT_KEY": "abc",
    }
    secrets = environment_secrets(variables)
    assert sorted(secrets) == ["a" * 10, "abc", "b123456789", "c" * 10]
    redactor = Redactor([*secrets, "b123456789-longer"])
    assert redactor.text("abc b123456789-longer b123456789") == "abc [key] [key]"
    assert redactor.json({"b123456789": ["b123456789", 1, None]}) == {"[key]": ["[key]", 1, None]}
    assert "b123456789" not in repr(redactor)


# --- kept replies -----------------------------------------------------------------------------


def counting() -> ScriptedModel:
    """A model that never says the same thing twice."""
    numbers = iter(range(1000))
    return ScriptedModel(lambda _: str(next(numbers)))


def said(folder: Path, *asked: ChatRequest) -> list[str]:
    model = Cached(counting(), Cache(folder))

    async def run() -> list[str]:
        return [(await model.chat(each)).message.text for each in asked]

    return asyncio.run(run())


def test_a_replay_gets_the_replies_again_in_their_order(tmp_path: Path) -> None:
    drawn, fixed = request("drawn"), request("fixed")
    fixed = fixed.model_copy(update={"sampling": Sampling(temperature=0)})
    first = said(tmp_path, drawn, drawn, fixed, fixed, drawn)
    # Samples differ; what leaves nothing to chance does not.
    assert first == ["0", "1", "2", "2", "3"]
    assert said(tmp_path, drawn, drawn, fixed, fixed, drawn) == first


def test_what_differs_is_asked_anew_and_prompts_names_do_not_count(tmp_path: Path) -> None:
    base = request().model_copy(update={"sampling": Sampling(seed=1)})
    others = [
        base.model_copy(update={"sampling": Sampling(seed=2)}),
        base.model_copy(update={"sampling": Sampling(seed=1, max_tokens=5)}),
        base.model_copy(update={"messages": (Message(role="system", text="hi"),)}),
        base.model_copy(update={"parallel_tool_calls": False}),
    ]
    named = base.model_copy(update={"prompt": PromptRef("a", "1", "b")})
    assert said(tmp_path, base, *others, named) == ["0", "1", "2", "3", "4", "0"]


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b'{"version": 9}', b"[]"])
def test_a_damaged_file_is_a_miss(tmp_path: Path, damage: bytes) -> None:
    asked = request().model_copy(update={"sampling": Sampling(seed=1)})
    said(tmp_path, asked)
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(damage)
    assert said(tmp_path, request("other"), asked)[1] == "1"
    assert said(tmp_path, asked) == ["1"]
    assert not list(tmp_path.rglob("*.part"))


def test_a_kept_reply_is_whole_and_a_failure_is_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    failing = Cached(Failing(lambda _, n: down() if n == 1 else None), cache)
    with pytest.raises(ModelFaultError):
        asyncio.run(failing.chat(request()))
    assert not list(tmp_path.rglob("*.json"))
    for model in (ScriptedModel(lambda _: FULL), counting()):
        assert asyncio.run(Cached(model, Cache(tmp_path / "full")).chat(request())) == FULL


# --- settings of a role -----------------------------------------------------------------------


def test_a_user_s_settings_come_before_a_strategy_s_but_for_seed_and_stop() -> None:
    own = Sampling(temperature=0.0, max_tokens=50, seed=9, stop=("user",))
    asked = Sampling(temperature=1.0, top_p=0.5, max_tokens=2000, seed=0, stop=("role",))
    assert merged(own, asked) == Sampling(
        temperature=0.0, top_p=0.5, max_tokens=50, seed=0, stop=("role",)
    )
    assert merged(own, Sampling()) == own
    assert merged(Sampling(), asked) == asked
    assert merged(own, merged(own, asked)) == merged(own, asked)
    model = ScriptedModel(lambda _: "hi")
    asyncio.run(Sampled(model, own).chat(request()))
    assert model.requests[0].sampling == own

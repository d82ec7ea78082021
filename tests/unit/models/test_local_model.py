"""A model on this machine; most of it needs the extra, reading calls does not."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from agentlab.errors import ConfigError, MissingExtraError, ModelFaultError
from agentlab.models.local import read_calls
from agentlab.models.opening import open_model
from agentlab.types import ChatReply, ChatRequest, Message, Sampling, ToolSpec, ToolUse

LOOK = ToolSpec(name="look.at", description="Looks.", parameters={})
needs_extra = pytest.mark.skipif(
    find_spec("transformers") is None or find_spec("torch") is None, reason="needs the extra"
)


@pytest.mark.skipif(find_spec("transformers") is not None, reason="it is installed")
def test_local_is_an_extra(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"agentlab-practice\[local\]"):
        open_model(f"local:{tmp_path}")


def calls_in(text: str) -> Message:
    return read_calls(text, ChatRequest(messages=(Message(role="user", text="hi"),), tools=(LOOK,)))


def test_calls_are_read_in_the_form_of_hermes() -> None:
    text = (
        'I look.\n<tool_call>\n{"name": "look_at", "arguments": {"x": "é"}}\n</tool_call>\n'
        '<tool_call>{"name": "fly", "arguments": "{\\"y\\": 1}"}</tool_call>'
    )
    message = calls_in(text)
    assert message.text == "I look."
    first, second = message.tool_uses
    assert (first.name, json.loads(first.arguments)) == ("look.at", {"x": "é"})
    assert (second.name, json.loads(second.arguments)) == ("fly", {"y": 1})
    assert first.id != second.id


@pytest.mark.parametrize("inside", ["", "{", "[1]", "null", '{"name": 3}', "[" * 9999, '{"a": 1'])
def test_a_malformed_call_is_a_call_to_refuse(inside: str) -> None:
    (use,) = calls_in(f"<tool_call>{inside}").tool_uses
    assert use.name in ("", "3")


def test_without_tools_a_text_is_a_text() -> None:
    text = '<tool_call>{"name": "look"}</tool_call>'
    request = ChatRequest(messages=(Message(role="user", text="hi"),))
    assert read_calls(text, request) == Message(role="assistant", text=text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models") / "tiny"
    program = Path(__file__).with_name("tiny_chat.py")
    subprocess.run([sys.executable, "-W", "ignore", program, made], check=True, timeout=120)
    return made


def chat(folder: Path, *requests: ChatRequest, seed: int = 0) -> list[ChatReply]:
    model = open_model(f"local:{folder}", seed=seed)

    async def run() -> list[ChatReply]:
        return list(await asyncio.gather(*(model.chat(each) for each in requests)))

    return asyncio.run(run())


def asking(**sampling: object) -> ChatRequest:
    made = Sampling.model_validate({"max_tokens": 8, **sampling})
    return ChatRequest(messages=(Message(role="user", text="hi"),), sampling=made)


@needs_extra
@pytest.mark.filterwarnings("ignore")  # what torch and transformers warn of is theirs
def test_replies_are_drawn_by_seed_and_recorded_token_by_token(folder: Path) -> None:
    full = asking(seed=1, logprobs=True, token_ids=True)
    first, again, other, plain = chat(
        folder, full, full, asking(seed=2, logprobs=True, token_ids=True), asking(seed=1)
    )
    assert first == again
    assert first.output_token_ids != other.output_token_ids
    assert first.output_token_ids and first.log_probabilities and first.prompt_token_ids
    assert len(first.output_token_ids) == len(first.log_probabilities) == first.output_tokens
    assert all(math.isfinite(each) and each <= 0 for each in first.log_probabilities)
    # One token a byte: the ids are the template's text.
    assert first.prompt_tokens == len("<user>hi<assistant>") + 1
    assert plain.message == first.message
    # Asked for or not, what a run opens gives ids: see `sampling_for`.
    assert plain.output_token_ids == first.output_token_ids
    assert first.stop_reason == "length" and first.output_tokens == 8


@needs_extra
@pytest.mark.filterwarnings("ignore")
def test_without_a_seed_draws_depend_on_the_run_s(folder: Path) -> None:
    assert chat(folder, asking()) == chat(folder, asking())
    assert chat(folder, asking()) != chat(folder, asking(), seed=1)
    greedy = asking(temperature=0)
    assert chat(folder, greedy) == chat(folder, greedy, seed=1)


@needs_extra
@pytest.mark.filterwarnings("ignore")
def test_tools_stops_and_limits(folder: Path) -> None:
    use = ToolUse(id="1", name="look.at", arguments='{"x": 1}')
    told = ChatRequest(
        messages=(
            Message(role="user", text="hi"),
            Message(role="assistant", tool_uses=(use,)),
            Message(role="tool", text="a ball", tool_use_id="1"),
        ),
        tools=(LOOK,),
        sampling=Sampling(max_tokens=4, seed=1),
    )
    reply, *_ = chat(folder, told)
    assert reply.prompt_tokens > 100
    text = chat(folder, asking(seed=1, max_tokens=64))[0].message.text
    stop = next(letter for letter in text[3:] if letter.isascii() and letter.isprintable())
    stopped = chat(folder, asking(seed=1, max_tokens=64, stop=(stop,)))[0]
    assert stopped.message.text == text[: text.index(stop)]
    assert stopped.stop_reason == "stop"
    with pytest.raises(ModelFaultError, match="shorten it"):
        chat(folder, ChatRequest(messages=(Message(role="user", text="x" * 3000),)))
    with pytest.raises(ConfigError, match="no model that can be loaded"):
        open_model(f"local:{folder.parent}")
    with pytest.raises(ConfigError, match="There is no folder"):
        open_model(f"local:{folder}/none")

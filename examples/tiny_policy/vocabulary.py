"""The tiny policy's tokenizer and chat template, made from the demonstrations' own text.

Words are byte-level BPE, so any text can be spelt and read back. What every conversation holds word
for word is one token each: the executor's rules would otherwise be most of what a small model
reads. The template takes tool calls in the form that Hermes made common, adds to what stood there
before and never changes it, and marks what the model says for trainers.

Runs under the trainers' Python; imports nothing of agentlab.
"""

from __future__ import annotations

import json
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any, cast

SIZE = 512
"""Tokens, those of fixed lines included; more than the burrow's words need."""
CONTEXT = 1024
"""Tokens of a conversation, at most."""
PAD, END = "<|pad|>", "<|end|>"
SPEAKERS = ("<|tools|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
MARKS = ("<tool_call>", "</tool_call>", "⟦", "⟧")
"""One token each, and part of the text: whoever reads a reply sees them."""
WORLD = ("You are in the", " chamber. Ways:", ". Here:", ". You carry:", '"}}')
"""What stands between the words that matter in each view and each call."""
SHORTEST = 6
"""Characters from which a fixed text is worth a token of its own."""

TEMPLATE = """\
{%- if tools %}<|tools|>
{%- for tool in tools %}
{%- set function = tool.function if tool.function is defined else tool %}
{{- ' ' }}{{ function.name }}(
{%- for name in (function.parameters.properties or {}) %}
{{- '' if loop.first else ', ' }}{{ name }}
{%- endfor %})
{%- endfor %}<|end|>
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'assistant' %}<|assistant|>
{%- generation %}{{ message.content or '' }}
{%- for call in (message.tool_calls or []) %}
{%- set function = call.function if call.function is defined else call %}
{{- '<tool_call>{"name": ' }}{{ function.name | tojson }}{{ ', "arguments": ' }}
{%- if function.arguments is string %}{{ function.arguments }}
{%- else %}{{ function.arguments | tojson }}
{%- endif %}
{{- '}</tool_call>' }}
{%- endfor %}<|end|>
{%- endgeneration %}
{%- else %}{{ '<|' + message.role + '|>' }}{{ message.content or '' }}<|end|>
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>
{%- endif %}"""
"""Tools are told by name and parameters: what a schema says beside that, this policy has learnt."""


def make_tokenizer(demonstrations: Path) -> Any:
    """A `PreTrainedTokenizerFast` with the template; the same for the same file.

    Args:
        demonstrations: as `demonstrations.write_demonstrations` writes them.
    """
    library = cast("Any", import_module("tokenizers"))
    transformers = cast("Any", import_module("transformers"))
    conversations = read(demonstrations)
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    lines = fixed_lines(conversations)
    added = len(lines) + len(SPEAKERS) + len(MARKS) + 2
    trainer = library.trainers.BpeTrainer(
        vocab_size=SIZE - added,
        special_tokens=[PAD, END, *SPEAKERS],
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (_without(text, lines) for text in _texts(conversations))
    tokenizer.train_from_iterator(texts, trainer=trainer)
    tokenizer.add_tokens(
        [library.AddedToken(text, normalized=False, special=False) for text in (*MARKS, *lines)]
    )
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE,
    )
    return made


def read(demonstrations: Path) -> list[dict[str, Any]]:
    """The conversations of a file."""
    lines = demonstrations.read_text(encoding="utf-8").splitlines()
    return [cast("dict[str, Any]", json.loads(line)) for line in lines]


def for_template(conversation: dict[str, Any]) -> dict[str, Any]:
    """With the arguments of calls as objects, which templates take and the protocol has as text."""
    messages: list[dict[str, Any]] = []
    for message in conversation["messages"]:
        calls: list[dict[str, Any]] = [
            {**call, "function": {**function, "arguments": json.loads(function["arguments"])}}
            for call in message.get("tool_calls", [])
            for function in [call["function"]]
        ]
        messages.append({**message, "tool_calls": calls} if calls else message)
    return {**conversation, "messages": messages}


def fixed_lines(conversations: list[dict[str, Any]]) -> list[str]:
    """What stands word for word in every conversation: of the prompt, of views and of calls.

    Returns:
        Texts from `SHORTEST` characters up, sorted.
    """
    seen: Counter[str] = Counter()
    for conversation in conversations:
        found: set[str] = set()
        for message in conversation["messages"]:
            if message["role"] in ("system", "user"):
                found |= {part for part in _parts(message["content"]) if len(part) >= SHORTEST}
        seen.update(found)
    lines = {text for text, count in seen.items() if count == len(conversations)}
    for tool in conversations[0]["tools"]:
        function = tool["function"]
        for name in function["parameters"]["properties"]:
            lines.add(f'{{"name": "{function["name"]}", "arguments": {{"{name}": "')
    return sorted({*lines, *WORLD})


def _parts(text: str) -> list[str]:
    """A message's text outside of what it quotes."""
    return text.replace("⟧", "⟦").split("⟦")[::2]


def _texts(conversations: list[dict[str, Any]]) -> list[str]:
    texts: list[str] = []
    for conversation in conversations:
        for message in conversation["messages"]:
            texts.append(message["content"])
            texts += [call["function"]["arguments"] for call in message.get("tool_calls", [])]
    return texts


def _without(text: str, lines: list[str]) -> str:
    for line in sorted(lines, key=len, reverse=True):
        text = text.replace(line, " ")
    return text

"""A tiny random Qwen3 in transformers' own files, written without transformers.

Two layers, 259 tokens (bytes and three marks), some 30,000 weights from a seed: what a trainer is
given in these tests is a real model folder, made in milliseconds by a process without torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CONTEXT = 512


class Shape(NamedTuple):
    """How large the model is."""

    hidden: int = 32
    inner: int = 64
    layers: int = 2
    head: int = 32
    heads: int = 2
    kv_heads: int = 1


TINY = Shape()
TEMPLATE = (
    "{%- if tools %}<|im_start|>system\n"
    "{%- for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{%- for message in messages %}"
    "<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content or '' }}"
    "{%- for call in message.tool_calls or [] %}"
    "<tool_call>{{ call.function | tojson }}</tool_call>"
    "{%- endfor %}<|im_end|>{% endgeneration %}\n"
    "{% else %}{{ message.content }}<|im_end|>\n{% endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_model(
    folder: Path,
    *,
    seed: int = 0,
    unused: int = 0,
    context: int = CONTEXT,
    shape: Shape = TINY,
) -> Path:
    """Write the model; other seeds have other weights.

    Args:
        folder: where to.
        seed: of the weights.
        unused: ids that it knows beyond its tokenizer's.
        context: tokens that it takes.
        shape: how large it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {each: at for at, each in enumerate((*SPECIAL, *sorted(_letters())))}
    _write(folder / "config.json", _config(len(vocabulary) + unused, context, shape))
    _write(folder / "generation_config.json", {"eos_token_id": 2, "pad_token_id": 0})
    _write(folder / "tokenizer.json", _tokenizer(vocabulary))
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": context,
        },
    )
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    draws = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {
        name: np.ones(size, np.float32)
        if len(size) == 1
        else draws.normal(0.0, 0.1, size).astype(np.float32)
        for name, size in tensor_shapes(len(vocabulary) + unused, shape).items()
    }
    head: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        end = at + tensor.nbytes
        head[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    spelt = json.dumps(head).encode()
    spelt += b" " * (-len(spelt) % 8)
    body = b"".join(tensor.tobytes() for tensor in tensors.values())
    (folder / "model.safetensors").write_bytes(len(spelt).to_bytes(8, "little") + spelt + body)
    return folder


def ids_of(text: str) -> list[int]:
    """A text in tokens: bytes, with the marks whole."""
    letters = dict(zip(_bytes(), _letters(), strict=True))
    order = {each: at for at, each in enumerate((*SPECIAL, *sorted(_letters())))}
    found: list[int] = []
    while text:
        mark = next((each for each in SPECIAL if text.startswith(each)), None)
        if mark is not None:
            found.append(order[mark])
            text = text[len(mark) :]
            continue
        found += [order[letters[byte]] for byte in text[0].encode()]
        text = text[1:]
    return found


def _config(vocabulary: int, context: int, shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "dtype": "float32",
        "vocab_size": vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head,
        "max_position_embeddings": context,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "hidden_act": "silu",
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def tensor_shapes(vocabulary: int, shape: Shape) -> dict[str, tuple[int, ...]]:
    """The model's tensors by name."""
    hidden, inner = shape.hidden, shape.inner
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        found |= {
            f"{at}.self_attn.q_proj.weight": (queries, hidden),
            f"{at}.self_attn.k_proj.weight": (keys, hidden),
            f"{at}.self_attn.v_proj.weight": (keys, hidden),
            f"{at}.self_attn.o_proj.weight": (hidden, queries),
            f"{at}.self_attn.q_norm.weight": (shape.head,),
            f"{at}.self_attn.k_norm.weight": (shape.head,),
            f"{at}.mlp.gate_proj.weight": (inner, hidden),
            f"{at}.mlp.up_proj.weight": (inner, hidden),
            f"{at}.mlp.down_proj.weight": (hidden, inner),
            f"{at}.input_layernorm.weight": (hidden,),
            f"{at}.post_attention_layernorm.weight": (hidden,),
        }
    return found | {"model.norm.weight": (hidden,)}


def _tokenizer(vocabulary: dict[str, int]) -> dict[str, object]:
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": vocabulary[each],
                "content": each,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for each in SPECIAL
        ],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [],
        },
    }


def _bytes() -> list[int]:
    """Bytes in the order of GPT-2's alphabet: those that print, then the others."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return shown + [each for each in range(256) if each not in shown]


def _letters() -> list[str]:
    """The letter that stands for each byte of `_bytes`."""
    shown = 94 + 12 + 82
    return [chr(each) for each in _bytes()[:shown]] + [chr(256 + at) for at in range(256 - shown)]


def _write(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")

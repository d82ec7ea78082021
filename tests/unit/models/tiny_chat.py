"""Writes a chat model with a few random weights into a folder; run as a program."""

from __future__ import annotations

import importlib
import sys
from typing import Any, cast

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}</s>"
    "{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def _main(folder: str) -> None:
    torch = cast("Any", importlib.import_module("torch"))
    library = cast("Any", importlib.import_module("transformers"))
    tokenizers = cast("Any", importlib.import_module("tokenizers"))
    torch.manual_seed(0)
    # One token for each byte, and one that ends a reply.
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = {word: place for place, word in enumerate(["</s>", *letters])}
    bare = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=words, merges=[]))
    bare.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = tokenizers.decoders.ByteLevel()
    tokenizer = library.PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="</s>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    config = library.Qwen3Config(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=2048,
        eos_token_id=0,
        bos_token_id=None,
    )
    library.Qwen3ForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    _main(sys.argv[1])

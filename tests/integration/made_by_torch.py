"""Makes a tiny model and a LoRA adapter of it, under a Python with torch, transformers and peft.

    python made_by_torch.py FOLDER        # FOLDER/base and FOLDER/adapter, as `agentlab train` does

Qwen3's architecture with a head of 32 (24 is what vLLM passes /health with and dies of), random
weights, a vocabulary of single bytes. The adapter is random too, and large enough to be told from
the base. Its `agentlab.json` holds probes that torch itself computed.
"""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

TEMPLATE = (
    "{%- if tools %}<|im_start|>system\n{%- for tool in tools %}{{ tool | tojson }}\n"
    "{% endfor %}<|im_end|>\n{% endif %}{%- for message in messages %}<|im_start|>"
    "{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def main(folder: Path) -> None:
    """Write both."""
    torch.manual_seed(0)
    base, adapter = folder / "base", folder / "adapter"
    tokenizer = _tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=0,
        initializer_range=0.5,
    )
    model = Qwen3ForCausalLM(config).eval()
    model.save_pretrained(base, safe_serialization=True)
    tokenizer.save_pretrained(base)
    prompts = [tokenizer.encode(text) for text in ("Go to the mill.", "Take the red parcel.")]
    outputs = [tokenizer.encode(text) for text in ("walk", "take it")]
    before = [_told(model, *pair) for pair in zip(prompts, outputs, strict=True)]
    settings = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "o_proj"])
    trained = get_peft_model(model, settings)
    for name, weight in trained.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    trained.eval()
    after = [_told(trained, *pair) for pair in zip(prompts, outputs, strict=True)]
    trained.save_pretrained(adapter)
    digest = _sha256(adapter / "adapter_model.safetensors")
    manifest = {
        "schema": 1,
        "name": f"lab-v0001-{digest[:8]}",
        "kind": "adapter",
        "base": {
            "path": str(base),
            "weights_sha256": _sha256(base / "model.safetensors"),
            "config_sha256": _sha256(base / "config.json"),
        },
        "tokenizer_sha256": _sha256(base / "tokenizer.json"),
        "chat_template_sha256": hashlib.sha256(TEMPLATE.encode()).hexdigest(),
        "weights_sha256": digest,
        "trainer": "none",
        "steps": 0,
        "probe": [
            {"prompt_ids": p, "output_ids": o, "base_logprobs": b, "trained_logprobs": t}
            for p, o, b, t in zip(prompts, outputs, before, after, strict=True)
        ],
    }
    (adapter / "agentlab.json").write_text(json.dumps(manifest))


def _told(model: torch.nn.Module, prompt: list[int], output: list[int]) -> list[float]:
    whole = torch.tensor([prompt + output])
    with torch.no_grad():
        found = torch.log_softmax(model(input_ids=whole).logits[0].float(), dim=-1)
    first = len(prompt) - 1
    return [float(found[first + at, token]) for at, token in enumerate(output)]


def _tokenizer() -> PreTrainedTokenizerFast:
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {each: at for at, each in enumerate((*marks, *letters))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )
    fast.chat_template = TEMPLATE
    return fast


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

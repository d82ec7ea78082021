"""Writes a sentence-transformers model with a few random weights into a folder.

Run as a program, so that what its libraries warn of while training is set up stays there.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, cast


def _main(folder: str) -> None:
    torch = cast("Any", importlib.import_module("torch"))
    library = cast("Any", importlib.import_module("sentence_transformers"))
    tokenizers = cast("Any", importlib.import_module("tokenizers"))
    parts = cast("Any", importlib.import_module("sentence_transformers.models"))
    torch.manual_seed(0)
    words = ["[UNK]", "open", "the", "door", "red", "ball", "length"]
    model = tokenizers.models.WordLevel(
        {word: place for place, word in enumerate(words)}, unk_token="[UNK]"
    )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    static = parts.StaticEmbedding(tokenizer, embedding_dim=16)
    library.SentenceTransformer(modules=[static], device="cpu").save(folder)


if __name__ == "__main__":
    _main(sys.argv[1])

"""Start states for servers that work on a folder: a few files, by family and seed.

In `flat` most files lie beside each other, in `nested` most lie in folders, and new ones are
wanted there. A folder of the user's own is a family by itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from agentlab.environments.mcp.folder import Tree, hidden
from agentlab.environments.vocabulary import WORDS
from agentlab.types import derive_seed

SETUPS = ("flat", "nested")
GIVEN = "given"
ENDINGS = ("txt", "md")


def made_tree(setup: str, seed: int) -> Tree:
    """The files of a start state."""
    rng = _rng(setup, seed)
    words = iter(rng.sample(WORDS, 12))
    folders = [next(words), next(words)]
    tree: dict[str, bytes | None] = dict.fromkeys(folders)
    for place in ["", "", folders[0]] if setup == "flat" else ["", folders[0], folders[1]]:
        tree[_inside(place, f"{next(words)}.{rng.choice(ENDINGS)}")] = _text(rng).encode()
    return dict(sorted(tree.items()))


def new_values(setup: str, seed: int, tree: Tree) -> Mapping[str, Sequence[JsonValue]]:
    """Paths, folders and texts that are not there."""
    rng = _rng(f"{setup} new", seed)
    words = [word for word in WORDS if not any(word in path for path in tree)]
    words = iter(rng.sample(words, min(12, len(words))))
    there = [path for path, b in tree.items() if b is None and not hidden(path)]
    folders: list[JsonValue] = [next(words), next(words)]
    places = [*there, ""][:3] if setup == "nested" else ["", "", *there[:1]]
    folders.append(_inside(rng.choice(there) if there else "", next(words)))
    paths: list[JsonValue] = [
        _inside(place, f"{next(words)}.{rng.choice(ENDINGS)}") for place in places
    ]
    texts: list[JsonValue] = [_text(rng) for _ in range(3)]
    return {"path": paths, "folder": folders, "text": texts}


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _text(rng: random.Random) -> str:
    return " ".join(rng.sample(WORDS, 3))


def _rng(setup: str, seed: int) -> random.Random:
    return random.Random(derive_seed("working folder", setup, seed))

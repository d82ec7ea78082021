"""Make the tiny policy: demonstrations, tokenizer, and a model trained from nothing on them.

    python -m examples.tiny_policy.make --out DIR [--seed 0] [--quick]

What was made is kept in the user's cache folder under a hash of all that made it (these files, the
world, the executor's prompt, the options and the versions of the libraries), and copied from there
the next time. The folder that is made is what transformers saves: weights, tokenizer, template.
The weights are the base of what practice improves, and deliberately half-trained.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from agentlab.executors.react import PROMPT
from agentlab.serve.starting import environment
from agentlab.training.trainers.interpreter import TO_SERVE, train_python
from examples.tiny_policy.demonstrations import TOOL_CALLS, write_demonstrations

ROOT = Path(__file__).parents[2]
SOURCES = (
    *("examples/tiny_policy/demonstrations.py", "examples/tiny_policy/vocabulary.py"),
    *("examples/tiny_policy/base.py", "agentlab/testing/rules/burrow.py"),
    *("envs/burrow/world.py", "envs/burrow/grammar.py", "envs/burrow/environment.py"),
)
CACHE = "AGENTLAB_CACHE"
"""Environment variable with the cache folder; else `~/.cache/agentlab`."""


class Recipe(NamedTuple):
    """What a tiny policy is made of."""

    demonstrations: int = 3000
    stray: float = 0.3
    """Share of the demonstrations' calls that are drawn at random and not learnt from."""
    steps: int = 750
    """Measured by seed 0: at 500 it hardly plays, and at 900 it leaves less to be learnt."""
    batch: int = 8
    hidden: int = 128
    layers: int = 3
    seed: int = 0


QUICK = Recipe(demonstrations=60, stray=0.2, steps=120, batch=4, hidden=64, layers=2)
"""A model that calls tools, and hardly knows which: for tests of what is around it."""


def make(out: Path, recipe: Recipe, *, cache: Path | None = None) -> Path:
    """Make the policy, or copy it where the same was made before.

    Args:
        out: the folder; what lies there is replaced.
        recipe: see `Recipe`.
        cache: where made policies are kept; by default in the user's cache folder.

    Returns:
        `out`.

    Raises:
        ConfigError: there is no Python with torch.
        subprocess.CalledProcessError: training failed; what it said is on stderr.
    """
    python = Path(train_python(TO_SERVE).path)
    kept = (cache or default_cache()) / "tiny-policy" / digest_of(recipe, versions(python))
    if not (kept / "policy.json").is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as work:
            _make(Path(work), recipe, python)
            _keep(Path(work) / "model", kept)
    if out.exists():
        shutil.rmtree(out)
    shutil.copytree(kept, out)
    return out


def _make(work: Path, recipe: Recipe, python: Path) -> None:
    file = work / "demonstrations.jsonl"
    solved = write_demonstrations(
        file, count=recipe.demonstrations, stray=recipe.stray, seed=recipe.seed
    )
    print(f"{recipe.demonstrations} demonstrations, {solved:.0%} of them solved.", flush=True)
    options = {
        "demonstrations": file,
        "out": work / "model",
        **{name: getattr(recipe, name) for name in ("steps", "batch", "hidden", "layers", "seed")},
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    alone = {**environment(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [str(python), "-m", "examples.tiny_policy.base", *words]
    subprocess.run(line, check=True, env=alone, cwd=ROOT)


def _keep(made: Path, kept: Path) -> None:
    """Put what was made into the cache, unless another process did meanwhile."""
    try:
        made.rename(kept)
    except OSError:
        if not (kept / "policy.json").is_file():
            raise


def default_cache() -> Path:
    """The folder in which made policies are kept."""
    named = os.environ.get(CACHE)
    return Path(named) if named else Path.home() / ".cache" / "agentlab"


def digest_of(recipe: Recipe, made_with: Mapping[str, str]) -> str:
    """A name that depends on all that makes the policy."""
    parts: Iterator[bytes] = ((ROOT / name).read_bytes() for name in SOURCES)
    found = hashlib.sha256(b"\0".join(parts))
    spelt = [recipe._asdict(), dict(made_with), PROMPT.ref, TOOL_CALLS]
    found.update(json.dumps(spelt, sort_keys=True).encode())
    return found.hexdigest()[:20]


def versions(python: Path) -> dict[str, str]:
    """The versions of the libraries that train, as that Python has them."""
    code = (
        "import json; from importlib.metadata import version; "
        "print(json.dumps({n: version(n) for n in ('torch', 'transformers', 'tokenizers')}))"
    )
    made = subprocess.run(
        [str(python), "-c", code], check=True, capture_output=True, text=True, env=environment()
    )
    found: dict[str, str] = json.loads(made.stdout)
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make the tiny policy, or copy a made one.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a small one that plays badly")
    given = parser.parse_args()
    recipe = (QUICK if given.quick else Recipe())._replace(seed=given.seed)
    print(make(given.out, recipe))


if __name__ == "__main__":
    main()

"""Reads each export in its own trainer's loader, and Inspect's logs too: `make test-trainers`.

No two of these trainers can share an environment, so each is made when it is first asked for, in
`.venv-trainers/NAME`, with the pinned package and what it asks for; `--only NAME` takes one. What
cannot be installed on this machine is said and counts as unproven, never as passed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PLACE = ROOT / ".venv-trainers"
TORCH = "torch==2.13.0"
"""Of the CPU build, where an index for it is set up; installed first, and by itself."""


class Trainer(NamedTuple):
    """One environment, and what is checked in it."""

    packages: tuple[str, ...]
    script: str
    exports: tuple[str, ...]
    """Folders that the script is given, by format."""
    torch: bool = False
    bare: tuple[str, ...] = ()
    """Packages without what they ask for, which cannot be met on a machine without a GPU."""


TRAINERS: dict[str, Trainer] = {
    "openenv": Trainer(("openenv==0.10.0",), "check_openenv.py", ("openenv",)),
    "verifiers": Trainer(
        ("verifiers==0.4.0",), "check_verifiers.py", ("verifiers", "trl-grpo-replay")
    ),
    "art": Trainer(("openpipe-art==0.5.18",), "check_art.py", ("art",)),
    "inspect": Trainer(("inspect-ai==0.3.285",), "check_inspect.py", ("inspect",)),
    "datasets": Trainer(("datasets==5.2.0",), "check_datasets.py", ("hf-dataset",)),
    "llama-factory": Trainer(
        ("torchaudio", "transformers<5", "datasets<5", "peft<0.19", "trl<=0.24", "omegaconf"),
        "check_llamafactory.py",
        ("llama-factory",),
        torch=True,
        bare=("llamafactory==0.9.5",),
    ),
    "verl": Trainer(
        (
            *("transformers>=5.5.3,<5.11", "datasets", "peft", "accelerate", "pandas", "pyarrow"),
            *("omegaconf", "hydra-core", "ray", "tensordict>=0.9.1,<=0.10", "torchdata"),
            *("codetiming", "pillow"),
        ),
        "check_verl.py",
        ("verl-rl", "verl-sft", "model"),
        torch=True,
        bare=("verl==0.9.1",),
    ),
    "ms-swift": Trainer(
        (
            *("transformers<5.20", "datasets<4.8.5", "peft<0.21", "accelerate", "trl<1.0"),
            *("modelscope", "dacite", "einops", "json-repair", "addict", "simplejson"),
            *("aiohttp", "pillow", "requests"),
        ),
        "check_swift.py",
        ("ms-swift", "model"),
        torch=True,
        bare=("ms-swift==4.6.0",),
    ),
}


def main() -> int:
    """1 where a loader refuses an export."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=sorted(TRAINERS), action="append")
    chosen = parser.parse_args().only or list(TRAINERS)
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(
            [sys.executable, str(HERE / "make_exports.py"), folder],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        if made.returncode:
            return 1
        for name in chosen:
            told = check(name, TRAINERS[name], Path(folder))
            print(f"{name}: {told}", flush=True)
            if told.startswith("FAILED"):
                failed.append(name)
    return 1 if failed else 0


def check(name: str, trainer: Trainer, folder: Path) -> str:
    """What the loader said; begins with FAILED or UNPROVEN where it did not read everything."""
    python = PLACE / name / "bin" / "python"
    stamp = PLACE / name / ".installed"
    wanted = repr(trainer)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        why = install(name, trainer, python)
        if why:
            return f"UNPROVEN, it cannot be installed here: {why}"
        stamp.write_text(wanted, encoding="utf-8")
    command = [str(python), str(HERE / trainer.script), *(str(folder / e) for e in trainer.exports)]
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **offline}, check=False
    )
    if done.returncode:
        return f"FAILED\n{done.stderr[-2000:]}"
    return done.stdout.strip().splitlines()[-1]


def install(name: str, trainer: Trainer, python: Path) -> str:
    """Make the environment; why it cannot be, or nothing."""
    print(f"{name}: installing into {PLACE / name}", flush=True)
    steps = [[sys.executable, "-m", "venv", "--clear", str(PLACE / name)]]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if trainer.torch:
        steps.append([*pip, TORCH])
    if trainer.packages:
        steps.append([*pip, *trainer.packages])
    if trainer.bare:
        steps.append([*pip, "--no-deps", *trainer.bare])
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return ""


if __name__ == "__main__":
    sys.exit(main())

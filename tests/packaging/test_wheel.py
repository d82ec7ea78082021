"""The wheel holds the whole package and works where only the wheel is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import agentlab

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        # A checkout on PYTHONPATH would stand in for what the wheel lacks.
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the build tool, with the pinned backend that is installed here."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, cwd=ROOT)
    [built] = out.glob("*.whl")
    return built


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"agentlab_practice-{agentlab.__version__}.dist-info"
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "agentlab").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shipped = {
        f"agentlab/{path.relative_to(ROOT).as_posix()}"
        for folder in ("skills", "envs")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"agentlab/py.typed", "agentlab/cli/main.py"} <= package
    assert {"agentlab/skills/README.md", "agentlab/envs/README.md"} <= shipped
    assert {name for name in names if not name.startswith(info)} == package | shipped
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= names


def test_wheel_installs_and_its_command_runs(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    [site] = place.glob("lib/python*/site-packages")
    # The dependencies are those of this test run; an editable install's own path file is not
    # read from a folder that was itself added by one, so the checkout stays out of sight.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--quiet"),
        *("--no-deps", "--no-index", "--no-compile", wheel),
        cwd=tmp_path,
    )
    where = run(python, "-P", "-c", "import agentlab; print(agentlab.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(place)
    script = place / "bin" / "agentlab"
    assert "practice" in run(script, "--help", cwd=tmp_path)
    assert run(python, "-m", "agentlab", "--help", cwd=tmp_path)
    assert shutil.which("agentlab", path=str(place / "bin"))

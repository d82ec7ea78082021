"""The shop in its other skin: what breaks is found, mended by a search, and holds again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(300)  # a process with workers, each with a browser


def test_the_other_skin_breaks_a_skill_and_a_search_mends_it(tmp_path: Path) -> None:
    words = ["--skills", "sign_in", "open_by_address", "--replays", "2"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "drift.py"), *words],
        env={
            **os.environ,
            "AGENTLAB_WORKSPACE": str(tmp_path / "ws"),
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "admitted on skin a: 2 of 2" in said
    assert re.search(r"false alarms on skin a +0\.00 \(.*\), n=2", said), said
    assert re.search(r"found broken on skin b +0\.50 \(.*\), n=2", said), said
    assert re.search(r"mended of those, by search +1\.00 \(.*\), n=1", said), said
    assert re.search(r"served after it, and hold once more +1\.00 \(.*\), n=2", said), said
    assert re.search(r"(?m)^  open_by_address  holds ", said), said

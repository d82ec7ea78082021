"""A skill whose every word was chosen to forge output: no command gives it a line of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from agentlab.cli.main import cli
from agentlab.records import Records, Workspace
from agentlab.types import Parameter, Skill, skill_id

HIDDEN = "\u3164\u115f\ufe0f\u200b\u202e\U000e0041\x9b31m"
FORGED = f"\x1b[2J{HIDDEN}\r\nfake: Nothing is wrong.\n"
SOURCE = 'def carry(env, *, item: dict):\n    """Carry it."""\n'


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    skill = Skill(
        id=skill_id("courier", "carry", 1, SOURCE),
        name="carry",
        environment="courier",
        source=SOURCE,
        parameters=(Parameter(name="item", type=FORGED, requires={FORGED: FORGED}),),
        summary=FORGED,
        effect_source=SOURCE,
        effect=(FORGED,),
        tools=(FORGED,),
        skills=(FORGED,),
        precondition={FORGED: FORGED},
        origin="import",
        parent=FORGED,
        source_tasks=(FORGED,),
        source_attempts=("a",),
    )
    elsewhere = skill.model_copy(update={"id": "skill-elsewhere", "environment": FORGED})
    with Records.open(Workspace.open(tmp_path / "ws")) as records:
        records.items.save_skill(skill, status="active", reason=FORGED)
        records.items.save_skill(elsewhere, status="active", reason=FORGED)
    return tmp_path / "ws"


@pytest.mark.parametrize("display", ["plain", "rich"])
@pytest.mark.parametrize(
    "words",
    [
        ["skills", "list"],
        ["skills", "show", "carry", "--environment", "courier"],
        ["skills", "search", "fake nothing is wrong"],
        ["skills", "remove", "carry", "--environment", "courier"],
        ["skills", "show", FORGED],
        ["library", "reindex"],
    ],
    ids=lambda words: " ".join(words[:2]) if words[-1] != FORGED else "an error",
)
def test_no_line_is_forged(workspace: Path, words: list[str], display: str) -> None:
    chosen = ["--workspace", str(workspace), "--display", display]
    # Wide, so that a line ends where the command ends it.
    done = CliRunner(env={"COLUMNS": "4000"}).invoke(cli, [*words, *chosen])
    assert done.output
    assert "fake: Nothing is wrong." in done.output or words[:2] == ["skills", "list"]
    assert not [line for line in done.output.split("\n") if line.strip().startswith("fake:")]
    assert not [c for c in done.output if c in HIDDEN and not c.isascii()]
    assert "\r" not in done.output
    assert "\x1b[2J" not in done.output

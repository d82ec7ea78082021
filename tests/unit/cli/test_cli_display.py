from __future__ import annotations

import io
import sys
import time

import pytest
from rich.console import Console

from agentlab.analysis.tally import Plan
from agentlab.cli.display import shown
from agentlab.cli.live import RichDisplay
from agentlab.cli.plain import PlainDisplay
from agentlab.events import (
    AttemptsPlanned,
    Event,
    Progress,
    RoundFinished,
    RunStarted,
    SkillMoved,
    TaskAdmitted,
    TasksChecked,
)

PLAN = Plan(rounds=2, attempts=10)


def _panel(display: RichDisplay) -> list[str]:
    """The picture as a terminal of 80 columns has it, without colours."""
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with console.capture() as captured:
        console.print(display.panel())
    return captured.get().splitlines()


def test_plain_writes_a_line_for_each_round_and_phase(run_events: tuple[Event, ...]) -> None:
    stream = io.StringIO()
    display = PlainDisplay(PLAN, stream)
    for event in run_events:
        display.notify(event)
    lines = stream.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "Practising in courier, model search",
        "Round 1 of 2",
        "Round 1 of 2 done",
        "Round 2 of 2",
        "Round 2 of 2 done",
        "Held-out comparison",
        "Held-out comparison",
        "Run run-0123456789abcdef finished.",
    ]
    assert "12 proposed, 10 admitted, 2 rejected (1 reserved seed, 1 duplicate)" in lines[1]
    assert "success 50% (24% to 76%, n=10), at first 20% (6% to 51%, n=10)" in lines[4]
    assert "skills 2 admitted, 1 retired, 1 active" in lines[4]


def test_the_panel_fits_a_terminal_of_80_by_24(run_events: tuple[Event, ...]) -> None:
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    display = RichDisplay(PLAN, console)
    seen: list[list[str]] = []
    for event in run_events:
        display.notify(event)
        seen.append(_panel(display))
    display.close()
    assert max(len(lines) for lines in seen) <= 14
    text = "\n".join(seen[-1])
    for part in (
        "2 of 2", "50% (24% to 76%, n=10)", "20% (6% to 51%, n=10)", "24 proposed, 20 admitted",
        "2 admitted, 1 retired, 1 active", "retired deliver_0: no use", "Run finished.",
    ):  # fmt: skip
        assert part in text
    assert any("4 of 8 held-out comparison" in line for lines in seen for line in lines)
    assert any("7 of 11 attempts of this round" in line for lines in seen for line in lines)


def test_the_panel_is_drawn_in_place(run_events: tuple[Event, ...]) -> None:
    """Between two pictures the cursor goes up by as many lines as the picture has."""
    stream = io.StringIO()
    console = Console(file=stream, width=80, height=24, force_terminal=True)
    display = RichDisplay(PLAN, console)
    for event in run_events[:20]:
        display.notify(event)
    time.sleep(0.6)
    display.close()
    written = stream.getvalue()
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1
    assert "\x1b[1A" in written
    assert "\x1b[2J" not in written


def proposing(done: int, total: int, round_: int = 0) -> TasksChecked:
    return TasksChecked(run_id="run-0", round=round_, done=done, total=total)


def test_the_panel_tells_how_far_the_proposals_are() -> None:
    display = RichDisplay(PLAN, Console(file=io.StringIO(), width=80, force_terminal=True))
    display.notify(RunStarted(run_id="run-0", environment="courier", model="search"))
    seen: list[str] = []
    for event in (
        proposing(0, 0),
        proposing(3, 20),
        TaskAdmitted(run_id="run-0"),
        AttemptsPlanned(run_id="run-0", attempts=9),
        RoundFinished(run_id="run-0"),
        proposing(0, 0, round_=1),
    ):
        display.notify(event)
        seen.append("\n".join(_panel(display)))
    display.close()
    assert "proposing tasks, 0:0" in seen[0]
    assert "3 of 20 proposed tasks checked" in seen[1]
    assert "checked" not in seen[2]
    assert "0 of 9 attempts of this round" in seen[3]
    assert "2 of 2" in seen[5] and "proposing tasks, 0:0" in seen[5]


def test_plain_tells_how_far_the_proposals_are_now_and_then() -> None:
    stream, now = io.StringIO(), 0.0
    display = PlainDisplay(PLAN, stream, clock=lambda: now)
    display.notify(proposing(0, 0))
    for done in range(31):
        now = float(done)
        display.notify(proposing(done, 30))
    assert stream.getvalue().splitlines() == [
        "Round 1 of 2: proposing tasks.",
        "Round 1 of 2: 10 of 30 proposed tasks checked, 0:10.",
        "Round 1 of 2: 20 of 30 proposed tasks checked, 0:20.",
        "Round 1 of 2: 30 of 30 proposed tasks checked, 0:30.",
    ]


def test_an_evaluation_shows_its_progress_alone() -> None:
    display = RichDisplay(Plan(), Console(file=io.StringIO(), width=80, force_terminal=True))
    display.notify(Progress(run_id="", phase="with the library", done=30, total=120))
    lines = _panel(display)
    display.notify(Progress(run_id="", phase="with the library", done=120, total=120))
    ended = _panel(display)
    display.close()
    assert len(lines) == len(ended) == 3
    assert "30 of 120 with the library" in lines[1]
    assert "done, 0:00" in ended[1]


def test_learnt_text_is_data_for_the_terminal() -> None:
    named = SkillMoved(
        run_id="run-0", name="x\x1b[31m[bold]y", before="verified", after="active"
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    display = RichDisplay(PLAN, console)
    display.notify(named)
    text = "\n".join(_panel(display))
    display.close()
    assert r"x\x1b[31m[bold]y" in text
    stream = io.StringIO()
    plain = PlainDisplay(PLAN, stream)
    plain.notify(named)
    plain.notify(RoundFinished(run_id="run-0"))
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("asked", "name"), [("rich", "RichDisplay"), ("plain", "PlainDisplay"), ("none", "Silent")]
)
def test_the_display_asked_for_is_chosen(asked: str, name: str) -> None:
    with shown(asked, PLAN) as display:  # pyright: ignore[reportArgumentType] - parametrised
        assert type(display).__name__ == name


def test_without_a_terminal_it_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with shown(None, PLAN) as display:
        assert isinstance(display, PlainDisplay)


def test_on_a_terminal_it_is_rich_unless_the_terminal_is_dumb(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with shown(None, PLAN) as display:
        assert isinstance(display, RichDisplay)
    monkeypatch.setenv("TERM", "dumb")
    with shown(None, PLAN) as display:
        assert isinstance(display, PlainDisplay)

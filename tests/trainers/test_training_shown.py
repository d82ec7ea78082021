"""What is shown while a trainer works: lines in a log, a bar on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from agentlab.analysis.tally import Plan
from agentlab.cli.live import RichDisplay
from agentlab.cli.plain import PlainDisplay
from agentlab.events import TrainingStepped


def step(number: int, of: int, loss: float) -> TrainingStepped:
    return TrainingStepped(
        run_id="", trainer="trl-sft", phase="training", step=number, steps=of,
        metrics={"loss": loss},
    )  # fmt: skip


def test_a_log_has_a_line_for_each_tenth_of_the_steps() -> None:
    stream = io.StringIO()
    display = PlainDisplay(Plan(), stream)
    display.notify(TrainingStepped(run_id="", trainer="trl-sft", phase="loading the model"))
    for number in range(1, 101):
        display.notify(step(number, 100, 2.0 / number))
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("trl-sft: loading the model, ")
    assert [line.split(",")[0] for line in lines[1:]] == [
        f"trl-sft: step {number} of 100" for number in (1, *range(10, 101, 10))
    ]
    assert "loss 0.02" in lines[-1]


def test_a_terminal_has_a_bar_with_the_loss() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    display = RichDisplay(Plan(), console)
    display.notify(step(12, 60, 0.4821))
    display.close()
    assert "step 12 of 60, loss 0.4821" in stream.getvalue()

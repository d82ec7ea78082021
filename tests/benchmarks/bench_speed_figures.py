"""What a measurement of speed came to: raw numbers, contrasts with what is plain, the file of both.

Sides are measured in turn, so that what else the machine does falls on both alike; the ratio is
taken within each turn and then summed up by its median with the least and the most. A ratio is
always ours over plain: of rates more is better, of seconds less. Seconds of the processor stand
beside those of the clock because other work on a shared machine lengthens them less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import Field

from agentlab.types import Frozen, JsonObject

Side = Literal["agentlab", "plain", "vllm"]
FigureName = Literal[
    "tokens_per_second",
    "tokens_per_processor_second",
    "steps_per_second",
    "training_seconds",
    "process_seconds",
    "processor_seconds",
]
WORDS: dict[FigureName, str] = {
    "tokens_per_second": "tokens a second",
    "tokens_per_processor_second": "tokens a processor second",
    "steps_per_second": "steps a second",
    "training_seconds": "seconds of training, checkpoints included",
    "process_seconds": "seconds of the whole process",
    "processor_seconds": "processor seconds of the whole process",
}
TIMES = " times"


class Run(Frozen):
    """One side of one case in one turn."""

    case: str
    side: Side
    turn: int = Field(ge=0)
    tokens: int = Field(ge=1)
    """That were computed in training, or drawn in serving."""
    data_sha256: str | None = None
    """Of the rows, as that side read them."""
    seconds: tuple[float, ...] = ()
    """Of each step."""
    processor_seconds: tuple[float, ...] = ()
    figures: dict[FigureName, float]


class Spread(Frozen):
    """Several turns of one figure."""

    median: float
    least: float
    most: float
    n: int


class Contrast(Frozen):
    """One figure of one case, side by side."""

    case: str
    figure: FigureName
    side: Side
    """Which is beside plain; vLLM's figures are told beside ours."""
    ours: Spread
    plain: Spread | None
    """None where there is nothing plain of the kind."""
    ratio: Spread | None
    """Of `ours` to `plain`, turn by turn."""


class Chain(Frozen):
    """What was trained here was served here: how it was proven."""

    adapter: str
    tokens: int
    """Probed tokens."""
    error: float
    """Nats a token between server and trainer, on average."""
    change: float
    """Nats a token between the served adapter and the served base, on average."""
    tolerance: float
    answered: int
    """Tokens of a reply that it was asked for afterwards."""


class Result(Frozen):
    """The file of one measurement."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    date: str
    device: str
    hardware: JsonObject
    versions: JsonObject
    settings: JsonObject
    contrasts: tuple[Contrast, ...]
    chain: Chain
    notes: tuple[str, ...]
    runs: tuple[Run, ...]


def spread(values: Sequence[float]) -> Spread:
    """The median with the least and the most."""
    return Spread(median=median(values), least=min(values), most=max(values), n=len(values))


def contrasts(runs: Iterable[Run]) -> tuple[Contrast, ...]:
    """Each figure of each case, in the order in which they were measured.

    Raises:
        ValueError: two sides of a case computed different numbers of tokens, or read other rows.
    """
    cases: dict[str, list[Run]] = {}
    for run in runs:
        cases.setdefault(run.case, []).append(run)
    found: list[Contrast] = []
    for case, all_ in cases.items():
        _check_alike(case, all_)
        plain = {run.turn: run.figures for run in all_ if run.side == "plain"}
        for side in ("agentlab", "vllm"):
            mine = {run.turn: run.figures for run in all_ if run.side == side}
            names: list[FigureName] = [
                name for name in WORDS if any(name in each for each in mine.values())
            ]
            found += [_contrast(case, name, side, mine, plain) for name in names]
    return tuple(found)


def _contrast(
    case: str,
    name: FigureName,
    side: Side,
    mine: dict[int, dict[FigureName, float]],
    plain: dict[int, dict[FigureName, float]],
) -> Contrast:
    both = sorted(mine.keys() & plain.keys())
    return Contrast(
        case=case,
        figure=name,
        side=side,
        ours=spread([each[name] for each in mine.values()]),
        plain=spread([each[name] for each in plain.values()]) if plain else None,
        ratio=spread([mine[turn][name] / plain[turn][name] for turn in both]) if both else None,
    )


def _check_alike(case: str, runs: Sequence[Run]) -> None:
    for what, values in (
        ("computed numbers of tokens", {run.tokens for run in runs}),
        ("read rows", {run.data_sha256 for run in runs}),
    ):
        if len(values) > 1:
            raise ValueError(
                f"The sides of {case!r} {what} that differ, {sorted(map(str, values))}, so their "
                "speeds are no comparison; look at how each is given its rows."
            )


def table(found: Iterable[Contrast]) -> str:
    """As Markdown."""
    lines = ["| what | figure | agentlab | plain | ratio |", "|---|---|---|---|---|"]
    for each in found:
        name = each.case if each.side == "agentlab" else f"{each.case} by {each.side}"
        plain = _told(each.plain) if each.plain is not None else "none of the kind"
        ratio = _told(each.ratio, TIMES) if each.ratio is not None else ""
        row = (name, WORDS[each.figure], _told(each.ours), plain, ratio)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _told(value: Spread, unit: str = "") -> str:
    least, most = _number(value.least), _number(value.most)
    return f"{_number(value.median)}{unit} ({least} to {most})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write_result(result: Result, path: Path) -> Path:
    """Write the file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(result.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def read_result(path: Path) -> Result:
    """A written file."""
    return Result.model_validate_json(path.read_text(encoding="utf-8"))

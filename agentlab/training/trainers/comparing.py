"""Advantages for rows that are trained on: those that the export brings, or reckoned here.

Rewards are compared within groups by a named estimator (`agentlab.training.advantages`), over the
whole group and not over the rows that happen to share a batch. An attempt that became several rows
is one member of its group, and each of its rows has its advantage.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from agentlab.errors import TrainingRefusedError, UnknownNameError
from agentlab.training.advantages import Advantages, dr_grpo, grpo, rloo
from agentlab.training.trainers.export_folder import CheckedExport
from agentlab.training.trainers.rows import Reward

RULES: dict[str, Callable[[Sequence[float | None]], Advantages]] = {
    "grpo": grpo,
    "dr-grpo": dr_grpo,
    "rloo": rloo,
}
"""Those that need nothing but rewards; others are written by the export (`--estimator`)."""


def advantages(exports: Sequence[CheckedExport], estimator: str) -> tuple[str, list[list[float]]]:
    """For each row, in order, an advantage for each token that the policy drew.

    Args:
        exports: of rows of groups.
        estimator: by which rewards are compared where an export brings no advantages.

    Returns:
        The estimators that were used, and the advantages.

    Raises:
        UnknownNameError: there is no such estimator.
        TrainingRefusedError: a group has one member, or all advantages or their weights are 0.
    """
    used, found = compared(exports, estimator)
    if not any(value for row in found for value in row):
        raise TrainingRefusedError(
            "All advantages are 0: in no group is one attempt better than another, so there is "
            "nothing to learn; practise at tasks that sometimes succeed."
        )
    scales = [row.replay_weight for export in exports for row in export.rewards]
    if not any(scale and any(row) for scale, row in zip(scales, found, strict=True)):
        raise TrainingRefusedError(
            "Every row with an advantage is replayed with the weight 0, which SPEAR gives what a "
            "run replays in its first round, so there is nothing to learn; practise more rounds, "
            "or export the view 'groups'."
        )
    return used, found


def compared(exports: Sequence[CheckedExport], estimator: str) -> tuple[str, list[list[float]]]:
    """As `advantages`, which may all be 0.

    Raises:
        UnknownNameError: there is no such estimator.
        TrainingRefusedError: a group has one member.
    """
    if estimator not in RULES:
        raise UnknownNameError("estimator", estimator, RULES)
    used: set[str] = set()
    found: list[list[float]] = []
    for export in exports:
        path = export.folder / "advantages.jsonl"
        if path.is_file():
            name, values = _brought(path, export.rewards)
        else:
            name, values = estimator, _reckoned(export.rewards, estimator)
        used.add(name)
        found.extend(values)
    return ", ".join(sorted(used)), found


def _reckoned(rows: Sequence[Reward], estimator: str) -> list[list[float]]:
    groups: dict[str, dict[str, float]] = {}
    for row in rows:
        members = groups.setdefault(row.group_id, {})
        if members.setdefault(row.rollout_id, row.reward) != row.reward:
            raise TrainingRefusedError(
                f"The rows of the attempt {row.rollout_id!r} have different rewards; export again."
            )
    values: dict[tuple[str, str], float] = {}
    for group, members in groups.items():
        if len(members) < 2:
            raise TrainingRefusedError(
                f"The group {group!r} has one attempt, which compares with nothing; practise with "
                "--group 2 or more, or export with --estimator rae."
            )
        compared = RULES[estimator](list(members.values()))
        for rollout, value in zip(members, compared, strict=True):
            values[group, rollout] = value or 0.0
    return [[values[row.group_id, row.rollout_id]] * row.drawn for row in rows]


def _brought(path: Path, rows: Sequence[Reward]) -> tuple[str, list[list[float]]]:
    try:
        lines = [
            cast("dict[str, object]", json.loads(line))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        if len(lines) != len(rows):
            raise ValueError(f"{len(lines)} lines for {len(rows)} rows")
        names = {str(line["estimator"]) for line in lines}
        alone = _alone(rows)
        return ", ".join(sorted(names)), [
            _spread(line, row, alone=alone[row.rollout_id] == 1)
            for line, row in zip(lines, rows, strict=True)
        ]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise TrainingRefusedError(
            f"{str(path)!r} does not fit its rows ({error}); export again."
        ) from None


def _alone(rows: Sequence[Reward]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for row in rows:
        counted[row.rollout_id] = counted.get(row.rollout_id, 0) + 1
    return counted


def _spread(line: dict[str, object], row: Reward, *, alone: bool) -> list[float]:
    """One value for the row, or one for each reply spread over its tokens."""
    calls = line.get("calls")
    if calls is None:
        value = line["value"]
        return [0.0 if value is None else _finite(value)] * row.drawn
    each = cast("list[float | None]", calls)
    if not alone or len(each) != len(row.lengths):
        raise ValueError(
            f"{len(each)} advantages of replies for an attempt whose rows do not show which reply "
            "is which"
        )
    return [
        _finite(value or 0.0)
        for value, length in zip(each, row.lengths, strict=True)
        for _ in range(length)
    ]


def _finite(value: object) -> float:
    found = float(cast("float", value))
    if not math.isfinite(found):
        raise ValueError(f"an advantage is {found}")
    return found

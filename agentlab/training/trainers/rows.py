"""What is wrong with a row of an export, format by format, and what it holds.

A trainer given a mask of zeros trains on nothing and reports a loss; given a missing
log-probability it takes another; given a row that is too long it cuts it. So each row is looked at
here, and one that is wrong refuses the whole export: a row left out silently is other data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple, cast

IGNORED = -100


class Reward(NamedTuple):
    """What an advantage is reckoned from: a row of a group."""

    group_id: str
    rollout_id: str
    reward: float
    drawn: int
    """Tokens that the policy drew."""
    lengths: tuple[int, ...]
    """Of the stretches that they stand in, one for each reply."""
    replay_weight: float = 1.0
    """What its loss is scaled by; 1 where it is not replayed."""

    @classmethod
    def of(cls, row: dict[str, object]) -> Reward:
        """That of a row without fault."""
        mask = cast("list[int]", row["env_mask"])
        lengths = tuple(len(list(run)) for drawn, run in groupby(mask) if drawn)
        return cls(
            str(row["group_id"]),
            str(row["rollout_id"]),
            float(cast("float", row["reward"])),
            sum(mask),
            lengths,
            1.0 if (scale := row.get("replay_weight")) is None else float(cast("float", scale)),
        )


def row_fault(
    form: str, row: dict[str, object], vocabulary: int | None, context: int | None
) -> str | None:
    """What is wrong with a row; None when it can be trained on.

    Args:
        form: of the export.
        row: a line of it.
        vocabulary: ids that the base knows, if that is known.
        context: tokens that the base takes, if that is known.
    """
    ids: Sequence[int] = ()
    match form:
        case "trl-sft":
            ids, why = _ids(row, "input_ids", vocabulary)
            why = why or _labels(row.get("labels"), ids)
        case "trl-grpo-replay":
            ids, why = _replayed(row, vocabulary)
        case "trl-chat":
            why = _messages_fault(row, "messages")
        case "trl-dpo":
            why = _messages_fault(row, "prompt", "chosen", "rejected")
        case _:
            why = _messages_fault(row, "prompt", "completion")
            if why is None and not isinstance(row.get("label"), bool):
                why = "has no label of true or false"
    if why is None and context is not None and len(ids) > context:
        why = f"has {len(ids)} tokens and the base takes {context}; practise with shorter attempts"
    return why


def tokens_in(form: str, row: dict[str, object]) -> tuple[int, int]:
    """How many tokens a row without fault has, and how many of them count in the loss."""
    if form == "trl-sft":
        labels = cast("list[int]", row["labels"])
        return len(labels), len(labels) - labels.count(IGNORED)
    if form == "trl-grpo-replay":
        mask = cast("list[int]", row["env_mask"])
        return len(cast("list[int]", row["prompt_ids"])) + len(mask), sum(mask)
    return 0, 0


def _replayed(row: dict[str, object], vocabulary: int | None) -> tuple[Sequence[int], str | None]:
    prompt, why = _ids(row, "prompt_ids", vocabulary)
    if why is not None:
        return [], why
    completion, why = _ids(row, "completion_ids", vocabulary)
    if why is not None:
        return [], why
    mask, logprobs = row.get("env_mask"), row.get("logprobs")
    if not isinstance(mask, list) or len(cast("list[object]", mask)) != len(completion):
        return [], "has a mask of another length than its completion"
    flags = cast("list[object]", mask)
    if any(isinstance(flag, bool) or flag not in (0, 1) for flag in flags):
        return [], "has a mask of something else than 0 and 1"
    drawn = sum(cast("list[int]", flags))
    if not drawn:
        return [], "has an all-zero mask: the policy drew none of it"
    found = cast("list[object]", logprobs) if isinstance(logprobs, list) else []
    if len(found) != drawn:
        return [], (
            f"has {len(found)} log-probabilities for {drawn} tokens that the policy drew; practise "
            "with an endpoint that gives them"
        )
    if not all(_number(value) and cast("float", value) <= 0 for value in found):
        return [], "has a log-probability that is none"
    if not _number(row.get("reward")):
        return [], "has no reward; unknown is not 0"
    weight = row.get("weight", 1.0)
    if not _number(weight) or not 0 < cast("float", weight) <= 1:
        return [], "has a weight that is none"
    if (marked := _marks(row)) is not None:
        return [], marked
    if not isinstance(row.get("group_id"), str) or not isinstance(row.get("rollout_id"), str):
        return [], "does not say of which group and attempt it is"
    return [*prompt, *completion], None


def _marks(row: dict[str, object]) -> str | None:
    """Rows without marks, those of exports before there were any included, are ordinary ones."""
    hint, scale = row.get("hint_removed"), row.get("replay_weight")
    if hint is not None and not isinstance(hint, bool):
        return "has a hint_removed that is neither true nor false"
    if scale is not None and (not _number(scale) or not 0 <= cast("float", scale) <= 1):
        return "has a replay_weight that is not between 0 and 1"
    if hint and scale is not None:
        return "is replayed and lost its hint, which have two losses; export one view at a time"
    return None


def _labels(labels: object, ids: Sequence[int]) -> str | None:
    if not isinstance(labels, list) or len(cast("list[object]", labels)) != len(ids):
        return "has other labels than ids"
    if any(
        label not in (IGNORED, token)
        for label, token in zip(cast("list[object]", labels), ids, strict=True)
    ):
        return "has a label that is another token than its id"
    if all(label == IGNORED for label in cast("list[object]", labels)):
        return "has an all-zero mask: no token of it counts in the loss"
    return None


def _ids(
    row: dict[str, object], name: str, vocabulary: int | None
) -> tuple[Sequence[int], str | None]:
    ids = row.get(name)
    if not isinstance(ids, list) or not ids:
        return [], f"has no {name}"
    most = vocabulary if vocabulary is not None else 1 << 62
    for each in cast("list[object]", ids):
        if not isinstance(each, int) or isinstance(each, bool) or not 0 <= each < most:
            return [], f"has the token id {each!r} in {name}, which the base does not know"
    return cast("list[int]", ids), None


def _messages_fault(row: dict[str, object], *names: str) -> str | None:
    for name in names:
        messages = row.get(name)
        if not isinstance(messages, list) or not messages:
            return f"has no messages in {name}"
        for each in cast("list[object]", messages):
            if not isinstance(each, dict) or "role" not in each:
                return f"has a message without a role in {name}"
    return None


def _number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # A whole number may be too long for a float.
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 1 << 53

"""What TRL reads beyond plain chat: exact masks, preferences, lone verdicts, replayed groups.

Columns are those of TRL 1.16. `trl-grpo-replay` is read by our own trainer of that name, which
hands the recorded log-probabilities to TRL as the old policy's; TRL alone ignores them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

from agentlab.training.dialogues import (
    Dialogue,
    dialogues,
    openai_messages,
    openai_tools,
    with_objects,
)
from agentlab.training.formats.format import Body, JsonLines
from agentlab.training.refusals import RefusedError
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Demonstration, Group, Kind, Preference, Sample, Verdict
from agentlab.training.tokens import behaviour_rows, token_rows
from agentlab.types import JsonObject

IGNORED = -100
"""The label that a loss leaves out."""


class RowTokens(NamedTuple):
    """How many tokens a row has, and how many of them count in the loss."""

    all: int
    trained: int


def tokens_of(row: Body) -> RowTokens | None:
    """The tokens of a row of `trl-sft` or `trl-grpo-replay`; None of one that holds messages."""
    if "labels" in row:
        labels = cast("list[int]", row["labels"])
        return RowTokens(len(labels), len(labels) - labels.count(IGNORED))
    if "env_mask" in row:
        mask = cast("list[int]", row["env_mask"])
        return RowTokens(len(cast("list[int]", row["prompt_ids"])) + len(mask), sum(mask))
    return None


class TrlSft(JsonLines):
    """JSONL for SFTTrainer with exact masks: `input_ids` and `labels`."""

    name = "trl-sft"
    takes: frozenset[Kind] = frozenset(("demonstration",))

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each joined row of tokens. See `Format`."""
        assert isinstance(sample, Demonstration)
        made = 0
        for row in token_rows(sample.rollout).rows:
            labels = [IGNORED] * len(row.input_ids)
            for span in row.spans:
                if sample.weights[span.call] > 0:
                    labels[span.start : span.end] = row.input_ids[span.start : span.end]
            if any(label != IGNORED for label in labels):
                made += 1
                yield {"input_ids": list(row.input_ids), "labels": labels}
        if not made:
            raise RefusedError("all-zero mask", "no token of it counts in the loss")


class TrlDpo(JsonLines):
    """JSONL for DPOTrainer: `prompt`, `chosen`, `rejected` as messages, `tools`."""

    name = "trl-dpo"
    takes: frozenset[Kind] = frozenset(("preference",))

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each pair. See `Format`."""
        assert isinstance(sample, Preference)
        good = _whole(sample.chosen)
        bad = _whole(sample.rejected).until(sample.rejected_calls - 1)
        if good.tools != bad.tools:
            raise RefusedError("different tools", "the two attempts were given other tools")
        one, other = with_objects(openai_messages(good)), with_objects(openai_messages(bad))
        start = _shared(one, other, good)
        row: Body = {
            "prompt": one[:start],
            "chosen": one[start:],
            "rejected": other[start:],
        }
        if good.tools:
            row["tools"] = openai_tools(good)
        yield row


class TrlKto(JsonLines):
    """JSONL for KTOTrainer: `prompt`, `completion`, `label`, `tools`."""

    name = "trl-kto"
    takes: frozenset[Kind] = frozenset(("verdict",))

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each attempt. See `Format`."""
        assert isinstance(sample, Verdict)
        whole = _whole(sample.rollout)
        messages = with_objects(openai_messages(whole))
        start = whole.turns[0].at
        row: Body = {
            "prompt": messages[:start],
            "completion": messages[start:],
            "label": sample.good,
        }
        if whole.tools:
            row["tools"] = openai_tools(whole)
        yield row


class TrlGrpoReplay(JsonLines):
    """JSONL for our trainer `trl-grpo-replay`.

    Columns: `prompt_ids`, `completion_ids`, `env_mask` (1 where the policy drew the token),
    `logprobs` (one for each 1 of the mask), `reward`, `group_id`, `rollout_id`, and `weight`
    (1 / rows of the rollout). Rewards are raw; a group whose rewards are all alike teaches
    nothing and is written all the same, so that the share of such groups can be seen.

    Two more stand in rows whose loss is another: `hint_removed` (true) where they were drawn under
    a hint that the prompt no longer holds, `replay_weight` (0 to 1) where they are replayed, which
    scales the loss and, unlike `weight`, not the number of tokens that it is divided by.
    """

    name = "trl-grpo-replay"
    takes: frozenset[Kind] = frozenset(("group",))

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each joined row of tokens of each member. See `Format`."""
        assert isinstance(sample, Group)
        known = [rollout for rollout in sample.rollouts if rollout.reward is not None]
        if len(known) < sample.least:
            raise RefusedError("singleton group", f"{len(known)} of it has a known reward")
        # All of the group or nothing: a group that lost a member compares with something else.
        joined = [(rollout, behaviour_rows(rollout)) for rollout in known]
        marks: Body = {"hint_removed": True} if sample.hint_removed else {}
        if sample.replay_weight is not None:
            marks["replay_weight"] = sample.replay_weight
        for rollout, rows in joined:
            for row in rows.rows:
                start = row.spans[0].start
                yield {
                    "prompt_ids": list(row.input_ids[:start]),
                    "completion_ids": list(row.input_ids[start:]),
                    "env_mask": list(row.mask[start:]),
                    "logprobs": list(row.log_probabilities),
                    "reward": rollout.reward,
                    "group_id": sample.id,
                    "rollout_id": rollout.id,
                    "weight": rows.weight,
                    **marks,
                }


def _whole(rollout: Rollout) -> Dialogue:
    """The one dialogue that an attempt is.

    Raises:
        RefusedError: it is several: its history was folded, or its tools changed.
    """
    found = dialogues(rollout.calls)
    if not found:
        raise RefusedError("no model call", "the executor asked no model")
    whole, *others = found
    if others:
        raise RefusedError("a forked history", f"the attempt is {len(found)} dialogues")
    return whole


def _shared(one: Sequence[JsonObject], other: Sequence[JsonObject], dialogue: Dialogue) -> int:
    """The reply at which two conversations part, or the last one before their worlds did.

    Raises:
        RefusedError: they do not part, so that nothing tells which is better.
    """
    at = 0
    while at < min(len(one), len(other)) and _plain(one[at]) == _plain(other[at]):
        at += 1
    if at == min(len(one), len(other)):
        raise RefusedError("no difference", "one attempt is the beginning of the other")
    replies = [turn.at for turn in dialogue.turns]
    # The first reply is never a part of the prompt's end: without it nothing would be compared.
    return max([place for place in replies if place <= at] or replies[:1], default=0)


def _plain(message: JsonObject) -> tuple[object, ...]:
    """A message without ids, which say nothing."""
    calls = cast("list[JsonObject]", message.get("tool_calls") or [])
    return (message["role"], message["content"], tuple(repr(call["function"]) for call in calls))

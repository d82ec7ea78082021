"""An exporter, which agentlab calls a format: spells attempts as rows for a trainer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, cast

from agentlab.training.dialogues import dialogues, openai_messages
from agentlab.training.samples import Kind, Sample, Verdict
from agentlab.types import JsonObject


class Plans:
    """JSON lines of an instruction, the calls that a model made, and whether they solved it."""

    name = "plans"
    storage: Literal["jsonl", "parquet"] = "jsonl"
    columns: Mapping[str, str] | None = None
    takes: frozenset[Kind] = frozenset(("verdict",))

    def rows(self, sample: Sample) -> Iterator[dict[str, object]]:
        """One row for each attempt."""
        assert isinstance(sample, Verdict)
        calls = [
            use["function"]
            for dialogue in dialogues(sample.rollout.calls)
            for message in openai_messages(dialogue)
            for use in cast("list[JsonObject]", message.get("tool_calls") or [])
        ]
        instruction = sample.rollout.task.instruction
        yield {"instruction": instruction, "calls": calls, "solved": sample.good}

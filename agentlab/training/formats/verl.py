"""What verl reads: tasks for its reinforcement learning, and conversations to imitate.

Parquet holds a column's values in one shape, so tools and arguments that differ from row to row
would come back with fields that nobody wrote, as nulls. Conversations therefore are JSON in text
columns, and a dataset class of a few lines stands beside them, which verl takes by
`data.custom_cls`; it also says which replies count. verl's own class refuses such a file at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Literal

from agentlab.training.dialogues import dialogues, openai_messages, openai_tools, with_objects
from agentlab.training.formats.chat import DEMONSTRATIONS, demonstrated
from agentlab.training.formats.format import Body
from agentlab.training.refusals import RefusedError
from agentlab.training.reports import ExportReport
from agentlab.training.samples import Group, Kind, Sample
from agentlab.types import digest

DATASET = '''"""Conversations that agentlab exported, for verl: JSON in columns.

    data.custom_cls.path=THIS_FILE data.custom_cls.name=ExportedConversations
"""

import json

from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset


class ExportedConversations(MultiTurnSFTDataset):
    """verl's own dataset, given the messages and tools that the columns spell."""

    def _read_files_and_process(self):
        super()._read_files_and_process()
        self.messages = [json.loads(text) for text in self.dataframe[self.messages_key]]
        self.tools = [json.loads(text) or None for text in self.dataframe[self.tools_key]]

    def _build_messages(self, example):
        return super()._build_messages(
            {**example, self.messages_key: json.loads(example[self.messages_key])}
        )

    def _process_single_message(self, index, message, *rest, **more):
        counts = message.pop("counts", True)
        ids, mask, attention, inputs = super()._process_single_message(
            index, message, *rest, **more
        )
        return ids, mask if counts else mask * 0, attention, inputs
'''


class VerlSft:
    """Parquet for verl's SFT trainer: `messages` and `tools` as JSON text.

    `counts` at a reply says whether it is trained on; verl itself trains on all of them.
    """

    name = "verl-sft"
    storage: Literal["jsonl", "parquet"] = "parquet"
    columns: Mapping[str, str] | None = {"messages": "text", "tools": "text"}
    takes = DEMONSTRATIONS

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each dialogue. See `Format`."""
        for dialogue, weights in demonstrated(sample):
            messages = with_objects(openai_messages(dialogue))
            for message, weight in zip(messages, weights, strict=True):
                if message["role"] == "assistant":
                    message["counts"] = weight > 0
            yield {
                "messages": json.dumps(messages),
                "tools": json.dumps(openai_tools(dialogue)),
            }

    def beside(self, report: ExportReport) -> dict[str, str]:
        """The dataset class. See `HasFilesBeside`."""
        return {"verl_dataset.py": DATASET}


class VerlRl:
    """Parquet for verl's reinforcement learning: a row for each task of a group.

    The prompt is what was asked first. `reward_model.ground_truth` is the task's id, for a reward
    function that asks our environment; nothing of how the attempts went is in a row.
    """

    name = "verl-rl"
    storage: Literal["jsonl", "parquet"] = "parquet"
    columns: Mapping[str, str] | None = {
        "data_source": "text",
        "prompt": "prompt",
        "ability": "text",
        "reward_model": "reward_model",
        "extra_info": "extra_info",
    }
    takes: frozenset[Kind] = frozenset(("group",))

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each group. See `Format`."""
        assert isinstance(sample, Group)
        first = next((each for each in sample.rollouts if each.calls), None)
        if first is None:
            raise RefusedError("no model call", "the executor asked no model")
        whole = dialogues(first.calls)[0]
        prompt = openai_messages(whole)[: whole.turns[0].at]
        if any(not isinstance(message["content"], str) for message in prompt):
            raise RefusedError("pictures", "verl-rl holds text alone")
        task = first.task
        yield {
            "data_source": task.environment,
            "prompt": [
                {"role": message["role"], "content": message["content"]} for message in prompt
            ],
            "ability": task.template,
            "reward_model": {"style": "rule", "ground_truth": task.id},
            "extra_info": {
                "index": int(digest(task.id)[:8], 16),
                "split": "practice",
                "need_tools_kwargs": False,
                "task": json.dumps({"id": task.id, "seed": task.seed, "setup": task.setup}),
            },
        }

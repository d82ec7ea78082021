"""Data that is read by name: LLaMA-Factory's registry, and a dataset folder with a card.

Both bring a file beside the rows, which says what the columns mean, where they come from and under
which terms they may be used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

from agentlab.training.dialogues import Dialogue, dialogues, openai_messages, openai_tools
from agentlab.training.formats.chat import demonstrated, refuse_masks
from agentlab.training.formats.format import Body, JsonLines
from agentlab.training.refusals import RefusedError
from agentlab.training.reports import ExportReport
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Composed, Demonstration, Kind, Sample, Verdict, members_of
from agentlab.types import JsonObject

NAME = "agentlab"
"""What LLaMA-Factory's configuration calls the data."""


class LlamaFactory(JsonLines):
    """JSONL for LLaMA-Factory, `conversations`, `system` and `tools`, with its dataset_info.json.

    Turns must alternate there, one call a reply, nothing said beside it; and every reply is
    trained on. What is otherwise is refused.
    """

    name = "llama-factory"
    takes: frozenset[Kind] = frozenset(("demonstration", "composed"))

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each dialogue. See `Format`."""
        for dialogue, weights in demonstrated(sample):
            refuse_masks(dialogue, weights, self.name, "ms-swift or trl-sft")
            system, turns = self._turns(dialogue)
            yield {
                "conversations": turns,
                "system": system,
                "tools": json.dumps([each["function"] for each in openai_tools(dialogue)])
                if dialogue.tools
                else "",
            }

    def _turns(self, dialogue: Dialogue) -> tuple[str, list[JsonObject]]:
        system: list[str] = []
        turns: list[JsonObject] = []
        for body in openai_messages(dialogue):
            uses = cast("list[JsonObject]", body.get("tool_calls") or [])
            if body["role"] == "system" and not turns:
                system.append(str(body["content"]))
            elif len(uses) > 1:
                raise RefusedError("several calls in a reply", f"{self.name} holds one")
            elif uses and body["content"]:
                raise RefusedError(
                    "words beside a call", f"{self.name} holds a call or words, and not both"
                )
            elif uses:
                function = cast("JsonObject", uses[0]["function"])
                arguments = json.loads(cast("str", function["arguments"]))
                call = json.dumps({"name": function["name"], "arguments": arguments})
                turns.append({"from": "function_call", "value": call})
            else:
                turns.append({"from": _TAGS.get(str(body["role"]), ""), "value": body["content"]})
        for place, turn in enumerate(turns):
            if turn["from"] not in (_ASKS, _ANSWERS)[place % 2]:
                raise RefusedError("turns that do not alternate", f"{turn['from']} at {place}")
        return "\n\n".join(system), turns

    def beside(self, report: ExportReport) -> dict[str, str]:
        """The registry. See `HasFilesBeside`."""
        info = {
            NAME: {
                "file_name": report.data,
                "formatting": "sharegpt",
                "columns": {"messages": "conversations", "system": "system", "tools": "tools"},
                "tags": {
                    "role_tag": "from",
                    "content_tag": "value",
                    "user_tag": "human",
                    "assistant_tag": "gpt",
                    "observation_tag": "observation",
                    "function_tag": "function_call",
                    "system_tag": "system",
                },
            }
        }
        return {"dataset_info.json": json.dumps(info, indent=2) + "\n"}


_TAGS = {"user": "human", "tool": "observation", "assistant": "gpt"}
_ASKS = ("human", "observation")
_ANSWERS = ("gpt", "function_call")


class DatasetFolder(JsonLines):
    """A folder that `datasets` and the Hugging Face hub read: JSON lines and a card.

    Messages and tools are JSON in text columns, because their fields differ from row to row and
    would come back as nulls; the rest are plain columns.
    """

    name = "hf-dataset"
    takes: frozenset[Kind] = frozenset(("demonstration", "composed", "verdict"))

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each dialogue. See `Format`."""
        if isinstance(sample, Verdict):
            if not sample.rollout.calls:
                raise RefusedError("no model call", "the executor asked no model")
            for dialogue in dialogues(sample.rollout.calls):
                yield self._row(sample.rollout, dialogue, dialogue.weights)
            return
        assert isinstance(sample, Demonstration | Composed)
        for dialogue, weights in demonstrated(sample):
            yield self._row(members_of(sample)[0], dialogue, weights)

    def _row(self, rollout: Rollout, dialogue: Dialogue, weights: tuple[float, ...]) -> Body:
        return {
            "messages": json.dumps(openai_messages(dialogue)),
            "weights": list(weights),
            "tools": json.dumps(openai_tools(dialogue)),
            "instruction": rollout.task.instruction,
            "template": rollout.task.template,
            "environment": rollout.task.environment,
            "reward": rollout.reward,
            "success": rollout.score.success,
            "rollout_id": rollout.id,
            "group_id": rollout.group_id,
            "task_id": rollout.task.id,
        }

    def beside(self, report: ExportReport) -> dict[str, str]:
        """The card. See `HasFilesBeside`."""
        return {"README.md": card(report)}


def card(report: ExportReport) -> str:
    """What the folder holds, for people, with the head that the hub reads."""
    head = {
        "license": "other",
        "license_name": report.licence,
        "tags": ["agent", "tool-use", "agentlab"],
        "configs": [{"config_name": "default", "data_files": report.data}],
    }
    # YAML is a superset of JSON, and JSON quotes whatever a licence's name holds.
    lines = "\n".join(f"{name}: {json.dumps(value)}" for name, value in head.items())
    counted = [
        ("Attempts looked at", report.rollouts),
        ("Samples", report.samples),
        ("Rows", report.rows),
        *((f"Refused: {reason}", number) for reason, number in report.refused.items()),
    ]
    table = "\n".join(f"| {name} | {number} |" for name, number in counted)
    return f"""---
{lines}
---

# Attempts of an agent that practised

Exported by agentlab {report.agentlab} from the runs {", ".join(report.runs)}, through the view
`{report.view}`. Tasks kept for evaluation are not in it.

- `messages` and `tools` are JSON text, in OpenAI's shape; `weights` says of each message whether it
  is to be learnt.
- `reward` is what the evaluator gave, in [0, 1]; null is unknown and not 0.
- `provenance.jsonl` says line for line where a row comes from: models and their terms, policy,
  library, prompts, whether a secret was taken out. Licence of what the environment shows:
  {report.licence}.

| What | n |
|---|---|
{table}
"""

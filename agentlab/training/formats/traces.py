"""Traces: rollouts call by call with their tokens, as OpenEnv and prime-rl's verifiers keep them.

Both hold more than rows do: what was asked and answered beside what was drawn. Nothing is worked
out from text: token ids are those of the calls, and what a call did not record is refused.
Log-probabilities keep every digit; verifiers' own records round them to four.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from agentlab.models.wire import message_body, wire_names
from agentlab.training.dialogues import dialogues, openai_messages, openai_tools, request_of
from agentlab.training.formats.format import Body, JsonLines
from agentlab.training.formats.trl import RowTokens
from agentlab.training.refusals import RefusedError
from agentlab.training.reports import ExportReport
from agentlab.training.rollouts import Rollout
from agentlab.training.rows import Row, TokenCall, join
from agentlab.training.samples import Demonstration, Group, Kind, Sample
from agentlab.training.tokens import behaviour_rows, token_rows
from agentlab.types import JsonObject, Message, ModelCall

TRACED: frozenset[Kind] = frozenset(("group", "demonstration"))


def traced(sample: Sample) -> Iterator[tuple[Rollout, tuple[float, ...]]]:
    """The rollouts of a sample with a weight for each call; those of a group have known rewards.

    Raises:
        RefusedError: a group of one compares with nothing, or no call counts.
    """
    if isinstance(sample, Group):
        known = [each for each in sample.rollouts if each.reward is not None]
        if len(known) < sample.least:
            raise RefusedError("singleton group", f"{len(known)} of it has a known reward")
        yield from ((each, (1.0,) * len(each.calls)) for each in known)
        return
    assert isinstance(sample, Demonstration)
    if not any(sample.weights):
        raise RefusedError("all-zero mask", "no reply of it counts in the loss")
    yield sample.rollout, sample.weights


def drawn(rollout: Rollout, sample: Sample) -> tuple[Row, ...]:
    """The rollout's rows, with a log-probability for each token that was drawn.

    Raises:
        RefusedError: one is missing, or, in a group, has no true ratio.
    """
    if isinstance(sample, Group):
        return behaviour_rows(rollout).rows
    for call in rollout.calls:
        if call.log_probabilities is None:
            raise RefusedError("no log-probabilities", f"{call.model} gave none")
    return token_rows(rollout).rows


def group_of(sample: Sample, rollout: Rollout) -> str:
    """The group that a rollout is compared in, which a view may have put together anew."""
    return sample.id if isinstance(sample, Group) else rollout.group_id


def holds_ids(row: Body) -> bool:
    """Whether a row is a trace or a group of them, with token ids."""
    return not {"turns", "nodes", "trajectories"}.isdisjoint(row)


def whose(row: Body) -> str | None:
    """The rollout that a row shows; None where the row does not say, or shows a group."""
    turns = cast("list[dict[str, dict[str, str]]]", row.get("turns") or [])
    if turns:
        return turns[0]["metadata"]["rollout_id"]
    found = row.get("id" if "nodes" in row else "rollout_id")
    return found if isinstance(found, str) else None


def traced_tokens(row: Body) -> tuple[RowTokens, int] | None:
    """The tokens of a trace's rows, and how many of those began anew; None of any other row."""
    if "nodes" in row:
        nodes = cast("list[dict[str, Any]]", row["nodes"])
        found = RowTokens(
            sum(len(node["token_ids"]) for node in nodes), sum(sum(node["mask"]) for node in nodes)
        )
        return found, sum(node["parent"] is None for node in nodes) - 1
    if "turns" in row:
        turns = cast("list[dict[str, list[int]]]", row["turns"])
        rows = join(
            [
                TokenCall(tuple(turn["prompt_token_ids"]), tuple(turn["completion_token_ids"]))
                for turn in turns
            ]
        ).rows
        found = RowTokens(
            sum(len(each.input_ids) for each in rows), sum(sum(turn["loss_mask"]) for turn in turns)
        )
        return found, len(rows) - 1
    return None


ART_READER = '''"""Trajectory groups that agentlab exported: `read("data.jsonl")`."""

import json

import art
from openai.types.chat.chat_completion import Choice


def read(path):
    """The groups of a file. ART alone would take a choice for a message, and not train on it."""
    groups = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            group = json.loads(line)
            for each in group["trajectories"]:
                each["messages_and_choices"] = [
                    Choice.model_validate(part) if "finish_reason" in part else part
                    for part in each["messages_and_choices"]
                ]
            trajectories = [art.Trajectory(**each) for each in group["trajectories"]]
            groups.append(art.TrajectoryGroup(trajectories, metadata=group["metadata"]))
    return groups
'''


class OpenEnvTrace(JsonLines):
    """JSONL of OpenEnv's `TrainingTrace` (schema 1), a trace a line: a turn for each call.

    `loss_mask` covers prompt and completion; a call that a view masks is context. The reward comes
    from the session there; here it stands in each turn's `metadata`, with ids and group.
    """

    name = "openenv"
    takes = TRACED

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each rollout. See `Format`."""
        for rollout, weights in traced(sample):
            drawn(rollout, sample)
            group = group_of(sample, rollout)
            turns = [
                self._turn(rollout, group, place, call, weight)
                for place, (call, weight) in enumerate(zip(rollout.calls, weights, strict=True))
            ]
            yield {"schema_version": 1, "turns": turns}

    def _turn(
        self, rollout: Rollout, group: str, place: int, call: ModelCall, weight: float
    ) -> Body:
        prompt, output = call.prompt_token_ids or (), call.output_token_ids or ()
        counts = int(weight > 0)
        (asked,) = dialogues([call])
        spelt = openai_messages(asked)
        return {
            "node_id": f"{rollout.id}/{place}",
            "prompt_token_ids": [*prompt],
            "completion_token_ids": [*output],
            "per_token_logps": [*(call.log_probabilities or ())],
            "loss_mask": [0] * len(prompt) + [counts] * len(output),
            "request": {"messages": [*spelt[:-1]], "tools": [*openai_tools(asked)]},
            "response": spelt[-1],
            "metadata": {
                "rollout_id": rollout.id,
                "group_id": group,
                "task_id": rollout.task.id,
                "environment": rollout.task.environment,
                "reward": rollout.reward,
                "model": call.policy_end or call.model,
                "sampling": call.sampling,
            },
        }


class VerifiersTrace(JsonLines):
    """JSONL of verifiers' `Trace` (version 1), which prime-rl trains on: a message graph a line.

    A branch is a row: its nodes' tokens, joined, are the row's, and `mask` covers what was drawn.
    What a prompt added since the call before stands at the last of its messages. Times are 0: they
    are not the rollout's business, and the same rollout gives the same bytes.
    """

    name = "verifiers"
    takes = TRACED

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each rollout. See `Format`."""
        for rollout, weights in traced(sample):
            nodes: list[Body] = []
            calls: list[Body] = []
            for row in drawn(rollout, sample):
                self._branch(rollout, row, weights, nodes, calls)
            yield self._trace(rollout, group_of(sample, rollout), nodes, calls)

    def _branch(
        self,
        rollout: Rollout,
        row: Row,
        weights: Sequence[float],
        nodes: list[Body],
        calls: list[Body],
    ) -> None:
        parent: int | None = None
        known: list[Message] = []
        end = spoken = 0
        for span in row.spans:
            call = rollout.calls[span.call]
            request = request_of(call)
            names = wire_names(request.tools)
            new = request.messages[len(known) :]
            if not new:
                raise RefusedError("a forked history", "a call added no message to the one before")
            for place, message in enumerate(new):
                last = place == len(new) - 1
                ids = row.input_ids[end : span.start] if last else ()
                node = self._node(parent, message_body(message, names, pictures=False), ids)
                if parent is None:
                    node["tools"] = [
                        each["function"] for each in openai_tools(dialogues([call])[0])
                    ]
                nodes.append(node)
                parent = len(nodes) - 1
            (asked,) = dialogues([call])
            count = span.end - span.start
            reply = self._node(
                parent, openai_messages(asked)[-1], row.input_ids[span.start : span.end]
            )
            counts = weights[span.call] > 0
            reply |= {
                "sampled": True,
                "mask": [counts] * count,
                "logprobs": [*row.log_probabilities[spoken : spoken + count]] if counts else [],
            }
            nodes.append(reply)
            parent = len(nodes) - 1
            calls.append(
                {
                    "node": parent,
                    "model": call.policy_end or call.model,
                    "endpoint": "/chat/completions",
                    "finish_reason": _finish(call),
                    "usage": {
                        "prompt_tokens": len(call.prompt_token_ids or ()),
                        "completion_tokens": count,
                    },
                }
            )
            known = [*request.messages, Message(role="assistant")]
            end, spoken = span.end, spoken + count

    def _node(self, parent: int | None, body: JsonObject, ids: Sequence[int]) -> Body:
        message: JsonObject = {"role": body["role"], "content": body["content"]}
        if "tool_call_id" in body:
            message["tool_call_id"] = body["tool_call_id"]
        uses = cast("list[JsonObject]", body.get("tool_calls") or [])
        if uses:
            message["tool_calls"] = [
                {"id": use["id"], "type": "function", **cast("JsonObject", use["function"])}
                for use in uses
            ]
        return {
            "parent": parent,
            "message": message,
            "sampled": False,
            "timestamp": 0.0,
            "token_ids": [*ids],
            "mask": [False] * len(ids),
            "logprobs": [],
        }

    def _trace(self, rollout: Rollout, group: str, nodes: list[Body], calls: list[Body]) -> Body:
        task: JsonObject = {
            "id": rollout.task.id,
            "name": rollout.task.template,
            "prompt": rollout.task.instruction,
        }
        reward: JsonObject | None = (
            None if rollout.reward is None else {"score": rollout.reward, "weight": 1.0}
        )
        return {
            "version": 1,
            "id": rollout.id,
            "verifiers": {"version": "0.4.0"},
            "task": {"type": rollout.task.environment, "data": task, "key": rollout.task.id},
            "agent": {"config": {}, "name": "agent", "trainable": True},
            "nodes": nodes,
            "calls": calls,
            "rewards": {rollout.score.source: reward},
            "info": {"group_id": group, "run_id": rollout.run_id},
            "is_completed": True,
            "ok": True,
            "stop_condition": rollout.ending or None,
            "timing": {"start": 0.0},
        }


class ArtGroups(JsonLines):
    """JSONL of ART's `TrajectoryGroup`, a group a line.

    Replies are `Choice` objects with log-probabilities, which alone are trained on there. Tokens
    are named as vLLM names them when it is asked for ids, `token_id:17`, which ART reads. Read from
    plain JSON, ART takes a choice for a message and trains on nothing, so the few lines that read
    the file as it is meant stand beside it.
    """

    name = "art"
    takes: frozenset[Kind] = frozenset(("group",))

    def rows(self, sample: Sample) -> Iterator[Body]:
        """One for each group. See `Format`."""
        assert isinstance(sample, Group)
        members: list[Body] = []
        for rollout, _ in traced(sample):
            drawn(rollout, sample)
            members.append(self._trajectory(rollout))
        yield {"trajectories": members, "metadata": {"group_id": sample.id}, "exceptions": []}

    def beside(self, report: ExportReport) -> dict[str, str]:
        """What reads it. See `HasFilesBeside`."""
        return {"art_groups.py": ART_READER}

    def _trajectory(self, rollout: Rollout) -> Body:
        found = dialogues(rollout.calls)
        if len(found) != 1:
            raise RefusedError("a forked history", f"the attempt is {len(found)} dialogues")
        (whole,) = found
        spelt: list[Body] = [dict[str, object](body) for body in openai_messages(whole)]
        for turn in whole.turns:
            call = rollout.calls[turn.call]
            message = spelt[turn.at]
            message["content"] = message["content"] or None
            spelt[turn.at] = {
                "index": 0,
                "finish_reason": _finish(call),
                "message": message,
                "logprobs": {"content": _logprobs(call), "refusal": None},
            }
        return {
            "messages_and_choices": [*spelt],
            "tools": [*openai_tools(whole)] or None,
            "reward": rollout.reward,
            "metrics": {"calls": len(rollout.calls)},
            "metadata": {
                "rollout_id": rollout.id,
                "task_id": rollout.task.id,
                "environment": rollout.task.environment,
            },
            "logs": [],
        }


def _logprobs(call: ModelCall) -> list[Body]:
    drawn_ = zip(call.output_token_ids or (), call.log_probabilities or (), strict=True)
    return [
        {"token": f"token_id:{token}", "logprob": value, "bytes": None, "top_logprobs": []}
        for token, value in drawn_
    ]


def _finish(call: ModelCall) -> str:
    reason = call.response.get("stop_reason")
    return reason if reason in ("stop", "length", "tool_calls") else "stop"

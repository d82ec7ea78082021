"""A rollout's calls in tokens, where the endpoint gave them, and whether they can be believed.

Ids are never made by tokenizing text again: what was drawn is what the endpoint said it drew.
"""

from __future__ import annotations

from agentlab.training.refusals import RefusedError
from agentlab.training.rollouts import Rollout
from agentlab.training.rows import Rows, TokenCall, fault, join
from agentlab.types import ModelCall

UNTRUNCATED = {"top_p": 1.0}
"""Sampling settings under which recorded log-probabilities are the policy's own."""


def token_call(call: ModelCall) -> TokenCall:
    """A call's tokens.

    Raises:
        RefusedError: the endpoint gave none, or they do not fit together.
    """
    if call.prompt_token_ids is None or call.output_token_ids is None:
        raise RefusedError("no token ids", f"{call.model} gave none; ask a vllm: or local: model")
    found = TokenCall(call.prompt_token_ids, call.output_token_ids, call.log_probabilities)
    why = fault(found)
    if why is not None:
        raise RefusedError("token ids that do not fit", why)
    return found


def token_rows(rollout: Rollout) -> Rows:
    """The rollout's calls as rows.

    Raises:
        RefusedError: it has no calls, or one without ids.
    """
    if not rollout.calls:
        raise RefusedError("no model call", "the executor asked no model")
    return join([token_call(call) for call in rollout.calls])


def behaviour_rows(rollout: Rollout) -> Rows:
    """The same with a log-probability for each drawn token, as importance ratios need them.

    Raises:
        RefusedError: one is missing, or was drawn by truncated sampling, whose probabilities are
            not the policy's.
    """
    rows = token_rows(rollout)
    for call in rollout.calls:
        if call.log_probabilities is None:
            raise RefusedError("no log-probabilities", f"{call.model} gave none")
        top_p = call.sampling.get("top_p")
        if isinstance(top_p, int | float) and top_p < 1:
            raise RefusedError("truncated sampling", f"top_p was {top_p}")
        if call.request.get("reply_schema") is not None:
            raise RefusedError("constrained sampling", "a schema held the reply")
    return rows

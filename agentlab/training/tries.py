"""The tries of one attempt: where a reflection was written, and what each try came to.

An attempt that is tried again after a failure (`executors/reflect`) is one rollout on record: its
calls are those of the first try, then the reflection, then the next try. The prompt of a call says
which it is, so nothing has to be guessed. That a reflection follows a try says that it failed; how
the last one ended is the attempt's own score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from agentlab.training.refusals import RefusedError
from agentlab.training.rollouts import Rollout
from agentlab.types import ModelCall

REFLECT = "executors/reflect"
"""The name of the prompt that asks for a reflection."""


class Try(NamedTuple):
    """One try, and what was written about it."""

    calls: tuple[ModelCall, ...]
    solved: bool | None
    reflection: ModelCall | None
    """The last of several where a reply had to be asked for again; None after the last try."""


def prompt_name(call: ModelCall) -> str:
    """The name of the prompt that made a request; empty where none is on record."""
    prompt = call.request.get("prompt")
    return (
        str(cast("dict[str, object]", prompt).get("name", "")) if isinstance(prompt, dict) else ""
    )


def tries(rollout: Rollout) -> tuple[Try, ...]:
    """The tries in order; one where nothing was tried again."""
    found: list[Try] = []
    calls: list[ModelCall] = []
    reflection: ModelCall | None = None
    for call in rollout.calls:
        if prompt_name(call) == REFLECT:
            reflection = call
            continue
        if reflection is not None:
            found.append(Try(tuple(calls), False, reflection))
            calls, reflection = [], None
        calls.append(call)
    # A reflection after which nothing was tried changed nothing: the try before it is the last.
    found.append(Try(tuple(calls), rollout.score.success, None))
    return tuple(found)


def single(rollout: Rollout) -> Rollout:
    """The rollout, if its calls are those of one try.

    Raises:
        RefusedError: it was tried again, so that its reward belongs to a part of it alone.
    """
    if any(prompt_name(call) == REFLECT for call in rollout.calls):
        raise RefusedError(
            "tried again",
            "its calls are those of several tries; take the view 'repairs', 'reflectors' or "
            "'retries'",
        )
    if rollout.assisted:
        raise RefusedError("tried again", "it had help, and its reward is not its calls' alone")
    return rollout


def rebased(calls: Sequence[ModelCall], onto: ModelCall) -> tuple[ModelCall, ...]:
    """The calls as if the first had been asked what `onto` was: another prompt, the same replies.

    So a hint is taken out of what is trained on. Log-probabilities stay those under the prompt
    that was really shown. Prompt ids are those that `onto` recorded, followed by what followed
    the calls' own; where a call's ids do not begin with the first one's, it has none.

    Args:
        calls: of one try, at least one.
        onto: the first call of an attempt at the same task.

    Raises:
        RefusedError: their tools differ, or the calls do not continue each other.
    """
    first = calls[0]
    head, other = _messages(first), _messages(onto)
    if first.request.get("tools") != onto.request.get("tools"):
        raise RefusedError("different tools", "the two attempts were given other tools")
    prompt, instead = first.prompt_token_ids, onto.prompt_token_ids
    found: list[ModelCall] = []
    for call in calls:
        messages = _messages(call)
        if messages[: len(head)] != head:
            raise RefusedError("a forked history", "its prompt changed on the way")
        ids = call.prompt_token_ids
        changed: dict[str, object] = {
            "request": {**call.request, "messages": [*other, *messages[len(head) :]]}
        }
        if prompt is None or instead is None or ids is None or ids[: len(prompt)] != prompt:
            changed |= {"prompt_token_ids": None}
        else:
            changed |= {"prompt_token_ids": (*instead, *ids[len(prompt) :])}
        found.append(call.model_copy(update=changed))
    return tuple(found)


def _messages(call: ModelCall) -> list[object]:
    return cast("list[object]", call.request.get("messages") or [])

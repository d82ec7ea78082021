"""A rollout's calls in tokens, where the endpoint gave them, and whether they can be believed.

Ids are never made by tokenizing text again: what was drawn is what the endpoint said it drew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from agentlab.models.recorded import verified
from agentlab.models.vocabulary import Vocabulary
from agentlab.training.dialogues import request_of
from agentlab.training.refusals import RefusedError
from agentlab.training.rollouts import Rollout
from agentlab.training.rows import Rows, TokenCall, fault, join
from agentlab.types import ChatReply, JsonObject, ModelCall

TRUNCATED = "truncated sampling"
CONSTRAINED = "constrained sampling"
PENALISED = "penalised sampling"
_OFF: dict[str, tuple[float, str]] = {
    "min_p": (0, TRUNCATED),
    "typical_p": (1, TRUNCATED),
    "presence_penalty": (0, PENALISED),
    "frequency_penalty": (0, PENALISED),
    "repetition_penalty": (1, PENALISED),
}
"""Settings that change what is drawn and not what is told of it, with the value that is none."""
_GRAMMAR = (
    "grammar",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "response_format",
    "logit_bias",
    "allowed_token_ids",
    "bad_words",
)
_FREE_CHOICE = ("auto", "none")
"""Values of `tool_choice` that hold no reply to a form."""


class Spoken(NamedTuple):
    """What tokens mean something under: the same in all rows that are trained on together."""

    tokenizer: str | None
    template: str | None


def spoken_by(call: ModelCall) -> Spoken:
    """The call's tokenizer and chat template, by digest; None where they are not on record."""
    return Spoken(call.tokenizer_sha256, call.chat_template_sha256)


def check_ids(rollout: Rollout, vocabulary: Vocabulary) -> Rollout:
    """The rollout with its calls checked by a tokenizer: what was drawn must decode to the reply.

    A call that does not say which tokenizer numbered it is taken to be of this one if all of it
    decodes as it should.
    """
    calls: list[ModelCall] = []
    for call in rollout.calls:
        update: dict[str, object] = {}
        if call.prompt_token_ids is not None and call.output_token_ids is not None:
            reply = ChatReply.model_validate(call.response).model_copy(
                update={
                    "prompt_token_ids": call.prompt_token_ids,
                    "output_token_ids": call.output_token_ids,
                    "log_probabilities": call.log_probabilities,
                    "ids_verified": call.ids_verified,
                }
            )
            fits = verified(request_of(call), reply, vocabulary)
            update["ids_verified"] = fits
            if fits and call.tokenizer_sha256 is None:
                update["tokenizer_sha256"] = vocabulary.tokenizer_sha256
            if fits and call.chat_template_sha256 is None:
                update["chat_template_sha256"] = vocabulary.chat_template_sha256
        calls.append(call.model_copy(update=update) if update else call)
    return rollout._replace(calls=tuple(calls))


def token_call(call: ModelCall) -> TokenCall:
    """A call's tokens.

    Raises:
        RefusedError: the endpoint gave none, or they do not fit together.
    """
    if call.redacted:
        raise RefusedError("redacted", "a secret was taken out of it, and its ids with it")
    if call.prompt_token_ids is None or call.output_token_ids is None:
        raise RefusedError("no token ids", f"{call.model} gave none; ask a vllm: or local: model")
    found = TokenCall(call.prompt_token_ids, call.output_token_ids, call.log_probabilities)
    why = fault(found)
    if why is not None:
        raise RefusedError("token ids that do not fit", why)
    if call.ids_verified is False:
        raise RefusedError("ids not verified", "what was drawn does not spell what was said")
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
        RefusedError: one is missing, was drawn by sampling whose probabilities are not the
            policy's, or the policy changed while it was drawn.
    """
    rows = token_rows(rollout)
    for call in rollout.calls:
        if call.log_probabilities is None:
            raise RefusedError("no log-probabilities", f"{call.model} gave none")
        why = off_policy(call.sampling)
        if why is not None:
            raise RefusedError(*why)
        if call.request.get("reply_schema") is not None and call.constrained is not False:
            raise RefusedError(CONSTRAINED, "a schema held the reply")
        if None not in (call.policy_start, call.policy_end) and (
            call.policy_start != call.policy_end
        ):
            raise RefusedError(
                "policy changed within a call",
                f"{call.policy_start!r} was asked and {call.policy_end!r} answered",
            )
    return rows


def off_policy(sampling: JsonObject) -> tuple[str, str] | None:
    """Why what was drawn so has no true importance ratio, as a reason with its detail.

    Log-probabilities are recorded as the model gives them before temperature and truncation, so
    whatever bends the draw away from them is refused: with top_p 0.8 and top_k 1024 half of the
    ratios lie outside of [0.9, 1.1] although the policy is the same (TRL, PR 7269). What stands in
    no record is taken to be off.
    """
    for name, value in sampling.items():
        # Most settings say nothing of the draw: one look at the name settles them.
        rule = _RULES.get(name)
        if rule is not None and (why := rule(name, value)) is not None:
            return why
    return None


def _temperature(name: str, value: object) -> tuple[str, str] | None:
    if value is None:
        return "unknown sampling", f"the {name} was left to the endpoint"
    if value == 0:
        return "greedy sampling", "the temperature was 0, so nothing was drawn by chance"
    if value != 1:
        return "tempered sampling", f"the temperature was {value}, and must be 1"
    return None


def _top_p(name: str, value: object) -> tuple[str, str] | None:
    if value is None:
        return "unknown sampling", f"the {name} was left to the endpoint"
    number = _number(value)
    return (TRUNCATED, f"top_p was {number:g}") if number is not None and number < 1 else None


def _top_k(name: str, value: object) -> tuple[str, str] | None:
    number = _number(value)
    return (TRUNCATED, f"{name} was {number:g}") if number is not None and number > 0 else None


def _off(name: str, value: object) -> tuple[str, str] | None:
    none, reason = _OFF[name]
    number = _number(value)
    return (reason, f"{name} was {number:g}") if number not in (None, none) else None


def _grammar(name: str, value: object) -> tuple[str, str] | None:
    return (CONSTRAINED, f"{name} was set") if value else None


def _choice(name: str, value: object) -> tuple[str, str] | None:
    free = value is None or value in _FREE_CHOICE
    return None if free else (CONSTRAINED, "a tool call was demanded")


_RULES: dict[str, Callable[[str, object], tuple[str, str] | None]] = {
    "temperature": _temperature,
    "top_p": _top_p,
    "top_k": _top_k,
    "tool_choice": _choice,
    **dict.fromkeys(_OFF, _off),
    **dict.fromkeys(_GRAMMAR, _grammar),
}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value is not True else None

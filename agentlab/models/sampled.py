"""Draws a role's replies as the user set for that role."""

from __future__ import annotations

from agentlab.protocols import ChatModel
from agentlab.types import ChatReply, ChatRequest, Sampling

_ROLE_FIRST = frozenset({"seed", "stop"})
"""What a strategy knows better: a draw's seed, and where its own format ends."""


class Sampled:
    """A chat model with sampling settings of its own. Implements `protocols.ChatModel`.

    It stands outermost, so that meter and record see what is sent. What the user set comes
    before what a strategy asks for, but for `seed` and `stop`; what the user did not set is left
    as it is. Applying the same settings twice changes nothing more.

    Args:
        model: asked.
        sampling: what the user set.
        unsaid: said where neither the user nor a strategy set it; see `unsaid_for`.
    """

    def __init__(
        self, model: ChatModel, sampling: Sampling, unsaid: Sampling | None = None
    ) -> None:
        self._model = model
        self._sampling = sampling
        self._unsaid = unsaid or Sampling()

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The model's reply, drawn with these settings."""
        sampling = filled(merged(self._sampling, request.sampling), self._unsaid)
        return await self._model.chat(request.model_copy(update={"sampling": sampling}))


def merged(own: Sampling, asked: Sampling) -> Sampling:
    """The user's settings where they were set, else the strategy's."""
    update: dict[str, object] = {
        name: getattr(own, name)
        for name in own.model_fields_set
        if name not in _ROLE_FIRST or not getattr(asked, name)
    }
    if asked.seed == 0:
        update.pop("seed", None)  # a seed of 0 was asked for
    return asked.model_copy(update=update)


def filled(sampling: Sampling, unsaid: Sampling) -> Sampling:
    """The settings with what is None in them taken from `unsaid`."""
    update = {
        name: getattr(unsaid, name)
        for name in ("temperature", "top_p")
        if getattr(sampling, name) is None and getattr(unsaid, name) is not None
    }
    return sampling.model_copy(update=update) if update else sampling

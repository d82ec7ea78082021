"""Charges a model's calls to a ledger: reserved before, settled after."""

from __future__ import annotations

import asyncio

from agentlab.errors import ConfigError
from agentlab.models.counting import Tokens, counted, expected
from agentlab.models.ledger import Amount, Ledger
from agentlab.models.prices import Price
from agentlab.protocols import ChatModel
from agentlab.types import ChatReply, ChatRequest, Role


class Metered:
    """A chat model whose calls are charged to a role. Implements `protocols.ChatModel`.

    It stands outside of what retries, so that a call is charged once however often it is tried;
    and outside of a cache, so that a replay is charged, and ends, like the run it replays. Two
    may stand one in the other, for the budget of a run and of an attempt.

    Args:
        model: asked.
        ledger: charged.
        role: who asks.
        price: of the model; None where it is unknown, and then calls count as 0 USD.

    Raises:
        ConfigError: the ledger has a cap in USD, and the price is unknown.
    """

    def __init__(
        self, model: ChatModel, ledger: Ledger, *, role: Role, price: Price | None
    ) -> None:
        if price is None and ledger.caps_usd(role):
            raise ConfigError(
                f"The price of {model.name!r} is unknown, so a budget in USD cannot be kept; give "
                "its price, or take the budget in USD away."
            )
        self._model = model
        self._ledger = ledger
        self._role: Role = role
        self._price = price

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The model's reply, paid for.

        Raises:
            BudgetSpentError: the call might pass a cap, and was not made.
            ModelFaultError: the endpoint failed for good; nothing is charged.
        """
        held = await self._ledger.reserve(self._role, self._amount(expected(request)))
        try:
            reply = await self._model.chat(request)
        except asyncio.CancelledError:
            # The request may have been read by then, and nobody will say what became of it: all
            # that was set aside counts as spent.
            self._ledger.settle(held, self._amount(expected(request)))
            raise
        except BaseException:
            self._ledger.release(held)
            raise
        self._ledger.settle(held, self._amount(counted(request, reply)))
        return reply

    def _amount(self, tokens: Tokens) -> Amount:
        return Amount(tokens.total, self._price.usd(tokens) if self._price else 0.0)

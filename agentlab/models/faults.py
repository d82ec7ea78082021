"""How a request to an endpoint can fail, for those in this package that go on after a failure.

Outside of it all of these are a `ModelFaultError`: the endpoint failed for good.
"""

from __future__ import annotations

from typing import Literal

from agentlab.errors import ModelFaultError

Outage = Literal["no", "perhaps", "yes"]
"""Whether a failure says that the endpoint is down: `perhaps` is a status 500, which some servers
give for a request that they do not understand."""


class PassingFaultError(ModelFaultError):
    """Raised when the same request may well succeed later.

    Args:
        told: the sentence for a person.
        outage: whether the endpoint itself seems to be down.
        retry_after: the endpoint's `Retry-After` as it was sent, seconds or a date.
        wait: seconds that the endpoint asked for, where they are too many to wait in place.
    """

    def __init__(
        self,
        told: str,
        *,
        outage: Outage = "no",
        retry_after: str | None = None,
        wait: float = 0.0,
    ) -> None:
        super().__init__(told)
        self.outage: Outage = outage
        self.retry_after = retry_after
        self.wait = wait


class RefusedRequestError(ModelFaultError):
    """Raised when the endpoint does not take the request, and would not take it again."""

    def __init__(self, told: str, *, status: int) -> None:
        super().__init__(told)
        self.status = status


class ContextFullError(RefusedRequestError):
    """Raised when a conversation has outgrown the model's context.

    That is what became of an attempt, and no fault of the infrastructure: were it counted as one,
    whoever talks without end would have those attempts left out of its rate.
    """

"""Where a policy's requests go: which model of which server answers to `policy:NAME`.

A config names a policy, and the records say which weights serve it. Whoever opens the models of a
run looks that up once and hands it over as routes, so that all of a run is asked of the same
weights although another version may be promoted meanwhile.
"""

from __future__ import annotations

from typing import NamedTuple

POLICY = "policy"


class Route(NamedTuple):
    """Where one policy's requests go."""

    model: str
    """What the server calls the weights: an adapter's name, or the base model's."""
    base_url: str
    adapter: str | None = None
    """The adapter that is recorded with each call; None for the base model."""
    base_path: str = ""
    """The folder of the base model, whose tokenizer and chat template the server uses."""

    @property
    def salt(self) -> str:
        """Keeps the server's prefix cache of one version apart from that of any other."""
        return self.model

"""A gate in the courier's world: weights that play it so well as their folder says.

The server's rule plays properly with a probability that depends on the weights, drawn from the
request alone: greedily from the instruction, else from the seed of the request too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentlab.config import PracticeConfig, parse_config
from agentlab.models.scripted import Rule
from agentlab.records import Records, Workspace
from agentlab.records.policies import Policy
from agentlab.testing.adapter_server import AdapterServer, write_adapter, write_base
from agentlab.testing.rules.courier import play
from agentlab.training.adapters import base_sha256
from agentlab.training.promotion.settings import GateConfig
from agentlab.types import ChatRequest, JsonObject, Message, derive_uniform

BASE = {"greedy": 0.3, "sampled": 0.2}


def rule_of(folder: Path | None) -> Rule:
    """Plays with the probability that the adapter's config names."""
    skill: dict[str, Any] = dict(BASE)
    if folder is not None:
        skill |= json.loads((folder / "adapter_config.json").read_text())["skill"]

    def rule(request: ChatRequest) -> Message:
        asked = next(m.text for m in request.messages if m.role == "user")
        hot = (request.sampling.temperature or 0.0) > 0.5
        rate = skill["sampled" if hot else "greedy"]
        # One draw for a whole attempt: the first user message is the same in all of its calls.
        if skill.get("never", "\0") in asked:
            rate = 0.0
        if derive_uniform("plays", asked, hot) < rate:
            return play(request)
        return Message(role="assistant", text="I could not do it.")

    return rule


class Bench:
    """A workspace, a base model, a server and a registered policy."""

    def __init__(self, root: Path, workspace: Path | None = None) -> None:
        self.root = root
        self.base = write_base(root / "base")
        self.server = AdapterServer(rule_of, base=self.base)
        self.records = Records.open(Workspace.open(workspace or root / "workspace"))
        self.made = 0

    def __enter__(self) -> Bench:
        self.server.start()
        self.register()
        return self

    def __exit__(self, *_: object) -> None:
        self.records.close()
        self.server.close()

    def register(self) -> None:
        """Put the policy `lab` on record, at the server as it is now."""
        self.records.policies.register(
            Policy("lab", "base", str(self.base), base_sha256(self.base), self.server.base_url)
        )

    def adapter(self, *, greedy: float, sampled: float, folder: str = "") -> Path:
        """A trained adapter that plays so well."""
        self.made += 1
        place = self.root / (folder or f"adapter-{self.made}")
        skill: JsonObject = {"skill": {"greedy": greedy, "sampled": sampled}}
        weights = json.dumps([self.made, greedy, sampled]).encode()
        write_adapter(place, base=self.base, weights=weights, number=self.made, config=skill)
        return place


def config(**more: object) -> PracticeConfig:
    """How the gate's attempts are made."""
    return parse_config(
        {
            "environment": "courier",
            "model": "policy:lab",
            "executor": "react",
            "evaluator": "verifier",
            "proposer": "grammar",
            "curator": "generalise",
            "insights": "none",
            "box": "subprocess",
            "index": "exact",
            "heldout_tool_calls": 60,
            "attempt_seconds": 30.0,
            "concurrency": 4,
            **more,
        }
    )


def settings(**more: object) -> GateConfig:
    """A short gate."""
    short: dict[str, object] = {
        "tasks": 60,
        "beside": 12,
        "heldout": 6,
        "window": 12,
        "cost_ratio": None,
        "patience": 0.5,
        "library": False,
    }
    return GateConfig.model_validate(short | more)

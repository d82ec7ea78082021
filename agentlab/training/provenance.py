"""Where a row comes from and under which terms: a line beside each row.

It goes with the data, so that what may not be trained on, or passed on, can be told long after the
workspace is gone: the producing models' terms, the licence of what the environment shows, whether
a person has looked at it, and whether a secret was taken out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentlab.training.formats.format import Body
from agentlab.training.reports import library_of
from agentlab.training.rollouts import Rollout

ORIGINS, ADVANTAGES = "provenance.jsonl", "advantages.jsonl"
LINE_BY_LINE = (ORIGINS, ADVANTAGES)
"""The files of an export that go with its rows, line by line; the second where there are any."""


def origin(members: Sequence[Rollout], *, terms: Mapping[str, str], licence: str) -> Body:
    """The line for a row of these rollouts.

    Args:
        members: of one group, the first the one that the row shows.
        terms: by model, where calls have none on record.
        licence: of what the environment shows.
    """
    first = members[0]
    calls = [call for member in members for call in member.calls]
    under = {call.model: call.terms or terms.get(call.model) for call in calls}
    found: Body = {
        "rollouts": [member.id.partition("#")[0] for member in members],
        "run": first.run_id,
        "round": first.round,
        "group": first.group_id,
        "task": first.task.id,
        "template": first.task.template,
        "split": first.task.split,
        "source": first.task.source,
        "environment": first.task.environment,
        "rewards": [member.reward for member in members],
        "scored_by": first.score.source,
        "review": "human" if all(m.score.source == "human" for m in members) else "none",
        "licence": licence,
        "models": sorted(under),
        "adapters": sorted({call.adapter for call in calls if call.adapter}),
        "policies": sorted({call.policy_end for call in calls if call.policy_end}),
        "terms": dict(sorted(under.items())),
        "trainable": all(under.values()),
        "redacted": any(call.redacted for call in calls),
        "ids_verified": _agreed([call.ids_verified for call in calls]),
        "tokenizer_sha256": sorted({c.tokenizer_sha256 for c in calls if c.tokenizer_sha256}),
        "chat_template_sha256": sorted(
            {c.chat_template_sha256 for c in calls if c.chat_template_sha256}
        ),
        "tools_sha256": sorted({call.tools_sha256 for call in calls if call.tools_sha256}),
        "library": library_of(first),
        "skills_used": list(first.skills_used),
        "insights": list(first.insights),
        "prompts": sorted({call.prompt_hash for call in calls if call.prompt_hash}),
        "agentlab": sorted({call.agentlab for call in calls if call.agentlab}),
    }
    notes = sorted({note for member in members for note in member.notes})
    return {**found, "notes": notes} if notes else found


def _agreed(found: Sequence[bool | None]) -> bool | None:
    """False where one is, None where one is not known, else True."""
    if False in found:
        return False
    return None if None in found or not found else True

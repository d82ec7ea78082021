"""Hinted: groups that failed without advice and did not with it, learnt as if without.

Nath et al. 2025, "Guide" (vaskar-open-source-research/guide_rl): where all rollouts of a group
fail, a fresh group with a hint in context replaces it if its accuracy is strictly between 0 and 1;
for the loss the hint is removed. The hint here is the advice (insights) that an attempt was
offered, and the fresh group are those attempts at the task that were offered some: the draws that
measure what advice is worth leave others without. What they recorded under the hint stays the old
policy's log-probability, so that the trainer's ratio is that of the paper,
new(output | task) / old(output | task + hint). The paper shapes that ratio in the loss, r / (r + g)
with g the 90th percentile of a batch's hinted ratios, in place of clipping it. That is a trainer's
part: the group says that its hint was taken out, and `trl-grpo-replay` does it.

A rollout that quotes its hint is left out: what it learnt to say it would not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from agentlab.training.dialogues import reply_of
from agentlab.training.refusals import Refusal, RefusedError
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Group
from agentlab.training.tries import rebased, single

FAILED, SOLVED = 0.001, 0.999
"""Accuracies up to which a group failed, and from which it is of no use."""
QUOTED = 24
"""Characters of a hint that a reply must not repeat."""


def hinted(
    group: Group, refusals: list[Refusal], hints: Callable[[str], str | None]
) -> Iterator[Group]:
    """The group of those with advice, their prompts without it; nothing where it does not qualify.

    Args:
        group: attempts at one task in one round.
        refusals: is added to.
        hints: the advice of an insight by its id; None where it is not on record.
    """
    plain = [each for each in group.rollouts if not each.insights and each.calls]
    with_hint = [each for each in group.rollouts if each.insights and each.calls]
    if not plain or not with_hint:
        return
    accuracy, other = _accuracy(plain), _accuracy(with_hint)
    if accuracy is None or accuracy > FAILED or other is None or not FAILED < other < SOLVED:
        return
    members: list[Rollout] = []
    for rollout in with_hint:
        try:
            members.append(_without_hint(rollout, plain[0], hints))
        except RefusedError as refused:
            refusals.append(Refusal(rollout.id, refused.reason, refused.detail))
    if len(members) > 1:
        yield Group(f"{group.id}-hinted", tuple(members), hint_removed=True)
    elif members:
        refusals.append(Refusal(group.id, "singleton group", "one attempt with advice is left"))


def _without_hint(rollout: Rollout, plain: Rollout, hints: Callable[[str], str | None]) -> Rollout:
    said = " ".join(
        part
        for call in rollout.calls
        for reply in [reply_of(call)]
        for part in (reply.text, *(use.arguments for use in reply.tool_uses))
    )
    for each in rollout.insights:
        hint = hints(each)
        if hint is None:
            raise RefusedError("unknown hint", f"the insight {each} is not on record")
        if quotes(said, hint):
            raise RefusedError("a hint that is quoted", f"a reply repeats the insight {each}")
    notes = ("drawn with advice that its prompt no longer holds (Guide): off-policy",)
    calls = rebased(single(rollout).calls, single(plain).calls[0])
    return rollout._replace(calls=calls, notes=notes)


def quotes(said: str, hint: str) -> bool:
    """Whether a text repeats a stretch of a hint, case and spaces apart."""
    said, hint = (" ".join(text.casefold().split()) for text in (said, hint))
    if not hint:
        return False
    if len(hint) <= QUOTED:
        return hint in said
    return any(hint[at : at + QUOTED] in said for at in range(len(hint) - QUOTED + 1))


def _accuracy(rollouts: Sequence[Rollout]) -> float | None:
    known = [each.score.success for each in rollouts if each.score.success is not None]
    return sum(known) / len(known) if known else None

"""First-error splices: a failed attempt up to its first error, a thought, and the right way on.

Yuan et al. 2025, "Agent-R" (bytedance/Agent-R, path_collection.py): the bad attempt is kept up to
and including its first bad step, without loss; a short thought of revision and the good attempt
from where the two part follow, with loss. We differ in three things. A step is bad when the
environment refused it, which is on record, and no judge is asked. The thought names that error in
fixed words, and stands before the call that goes on, since a reply without a call would end the
attempt. And a splice is made only where the world stands at the end of the bad part as it stood
where the good one goes on: right at the parting, or in states that are known to be equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from agentlab.training.dialogues import Dialogue, Turn, dialogues, reply_of
from agentlab.training.refusals import Refusal
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Composed, Group
from agentlab.types import JsonObject, Message, ToolUse

ALPHA = 0.5
"""What a good attempt's reward must be above; no default was published."""
BETA = 0.0
"""What it must be above the bad one's reward by."""
MOST = 4
"""Splices that a group may give."""
THOUGHT = "That was refused ({error}). I take another way from here."
T = TypeVar("T")


class Splice(NamedTuple):
    """Where two ways are joined, in steps."""

    kept: int
    """How many steps of the bad way are kept: up to and including the bad one."""
    parted: int
    """The step of the good way that goes on."""

    def mask(self, good: int) -> tuple[int, ...]:
        """Which of bad steps, thought and good steps are learnt, of a good way of that length."""
        return (0,) * self.kept + (1,) + (1,) * (good - self.parted)


def splice(bad: Sequence[T], good: Sequence[T], first_bad: int) -> Splice:
    """Where they are joined.

    Args:
        bad: the steps of the failed way.
        good: those of the other.
        first_bad: which step of the failed way is bad.
    """
    kept = first_bad + 1
    parted = 0
    for one, other in zip(bad[:kept], good, strict=False):
        if one != other:
            break
        parted += 1
    return Splice(kept, parted)


def splices(
    group: Group,
    refusals: list[Refusal],
    *,
    alpha: float = ALPHA,
    beta: float = BETA,
    most: int = MOST,
) -> Iterator[Composed]:
    """The group's splices; why a failed attempt gave none goes to `refusals`.

    Args:
        group: attempts at one task in one round.
        refusals: is added to.
        alpha: see `ALPHA`.
        beta: see `BETA`.
        most: splices that a group may give.
    """
    made = 0
    for bad in group.rollouts:
        if not bad.failed or made == most:
            continue
        why: tuple[str, str] = ("no better attempt", "none of its group has a higher reward")
        for good in group.rollouts:
            if not _better(good, bad, alpha, beta):
                continue
            found = _join(bad, good)
            if isinstance(found, Composed):
                made += 1
                yield found
                break
            why = found
        else:
            refusals.append(Refusal(bad.id, *why))


def _better(good: Rollout, bad: Rollout, alpha: float, beta: float) -> bool:
    if good.reward is None or bad.reward is None or not good.solved:
        return False
    return good.reward > alpha and good.reward - bad.reward > beta


def _join(bad: Rollout, good: Rollout) -> Composed | tuple[str, str]:
    """The splice, or why there is none."""
    ways = [dialogues(each.calls) for each in (bad, good)]
    if any(len(way) != 1 for way in ways):
        return "a forked history", "an attempt is several dialogues"
    (wrong,), (right,) = ways
    start = wrong.turns[0].at
    if wrong.tools != right.tools or wrong.messages[:start] != right.messages[:start]:
        return "different prompts", "the two attempts were shown other prompts or tools"
    taken = [_uses(bad), _uses(good)]
    first = next((at for at, turn in enumerate(_refused(bad)) if turn is not None), None)
    if first is None:
        return "no step known to be wrong", "the environment refused none"
    kept, parted = splice(taken[0], taken[1], first)
    if parted >= len(right.turns) or parted > first:
        return "no step known to be wrong", "the better attempt did the same"
    if (parted < first or _did_something(bad, first)) and (
        _state(bad, kept) != _state(good, parted)
    ):
        return (
            "no way back",
            "after its error the world is not known to stand where the better attempt goes on",
        )
    end = wrong.turns[first].at + 1
    # What answered the refused call is a part of the bad prefix.
    while end < len(wrong.messages) and wrong.messages[end].role == "tool":
        end += 1
    answers = wrong.messages[wrong.turns[first].at + 1 : end]
    if not answers:
        return "no step known to be wrong", "the refusal ended the attempt, and was told to nobody"
    error = _refused(bad)[first] or ""
    rest = list(right.messages[right.turns[parted].at :])
    thought = THOUGHT.format(error=error.rstrip("."))
    rest[0] = rest[0].model_copy(
        update={"text": f"{thought}\n{rest[0].text}" if rest[0].text else thought}
    )
    return _composed(bad, good, wrong, end, _renamed(rest, wrong.messages[:end]))


def _composed(
    bad: Rollout, good: Rollout, wrong: Dialogue, end: int, rest: Sequence[Message]
) -> Composed:
    messages = (*wrong.messages[:end], *rest)
    drawn = [at for at, message in enumerate(messages) if message.role == "assistant"]
    whole = Dialogue(messages, tuple(Turn(at, n) for n, at in enumerate(drawn)), wrong.tools)
    weights = tuple(
        float(at >= end and message.role == "assistant") for at, message in enumerate(messages)
    )
    notes = ("spliced at the first refused step (Agent-R)",)
    return Composed((good._replace(notes=notes), bad._replace(notes=notes)), whole, weights)


def _renamed(rest: Sequence[Message], before: Sequence[Message]) -> list[Message]:
    """The messages with ids of tool calls that none before them has."""
    taken = {use.id for message in before for use in message.tool_uses}
    ids: dict[str, str] = {}
    found: list[Message] = []
    for message in rest:
        uses: list[ToolUse] = []
        for use in message.tool_uses:
            name = use.id
            while name in taken:
                name += "_"
            taken.add(name)
            ids[use.id] = name
            uses.append(use.model_copy(update={"id": name}))
        update: dict[str, object] = {"tool_uses": tuple(uses)}
        if message.tool_use_id is not None:
            update["tool_use_id"] = ids.get(message.tool_use_id, message.tool_use_id)
        found.append(message.model_copy(update=update))
    return found


def _uses(rollout: Rollout) -> list[tuple[tuple[str, str], ...]]:
    """What each call asked for."""
    return [
        tuple((use.name, use.arguments) for use in reply_of(call).tool_uses)
        for call in rollout.calls
    ]


def _steps(rollout: Rollout) -> list[tuple[int, int]]:
    """Which steps each call made: matched in order by the names of tools, as `masked` does."""
    found: list[tuple[int, int]] = []
    at = 0
    for call in rollout.calls:
        first = at
        for use in reply_of(call).tool_uses:
            if at < len(rollout.steps) and rollout.steps[at].call.tool == use.name:
                at += 1
        found.append((first, at))
    return found


def _refused(rollout: Rollout) -> list[str | None]:
    """For each call, what the environment said when it refused a step of it."""
    return [
        next((e for step in rollout.steps[a:b] if (e := step.result.error) is not None), None)
        for a, b in _steps(rollout)
    ]


def _did_something(rollout: Rollout, call: int) -> bool:
    """Whether a call whose step was refused made another that was not."""
    first, end = _steps(rollout)[call]
    return any(step.result.error is None for step in rollout.steps[first:end])


def _state(rollout: Rollout, calls: int) -> JsonObject | object:
    """The state after so many calls; an object equal to nothing where it is not known."""
    end = _steps(rollout)[calls - 1][1] if calls else 0
    if not end:
        return object()
    state = rollout.steps[end - 1].state
    return object() if state is None else state

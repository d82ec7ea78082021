"""What a person should know of how a run went, beside its figures, and what to do about it.

A role whose replies come to nothing, or whose budget is spent, makes nothing and the run goes on
without it: that is no failure of the run, and without a word it would look like one of the agent.
Each remark is a sentence or two, made from the records alone, so that the end of a run and a later
look at it say the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import cast

from agentlab.config import PracticeConfig
from agentlab.graph.budgets import budget_of, spent_budget
from agentlab.library.waiting import waiting
from agentlab.records import Records
from agentlab.types import JsonObject

DROPPED = "dropped"
"""In the result of a node: how often a role's replies came to nothing, by kind of reason."""
REFUSED = "refused"
"""In the result of a round's last node: the budgets that did not allow a call until then."""
NODES = {"proposer": "propose", "curator": "curate"}
"""The node in which a role that is asked outside attempts does its work."""
WITHOUT = {
    "proposer": "it made no more tasks",
    "executor": "no more attempts were made",
    "evaluator": "no more attempts were judged",
    "curator": "it wrote no more skills or advice",
}
MOST_REASONS = 4
LONGEST_REASON = 100


def dropped_by(role: object) -> Counter[str]:
    """What a proposer or curator counted as come to nothing; empty for one that counts nothing."""
    found: object = getattr(role, "dropped", None)
    if isinstance(found, Counter):
        return Counter(cast("Counter[str]", found))
    if not isinstance(found, tuple):
        return Counter()
    told = cast("tuple[object, ...]", found)
    reasons = [str(getattr(each, "reason", each)).partition(":")[0].strip() for each in told]
    return Counter(reason[:LONGEST_REASON] for reason in reasons)


def as_result(lost: Mapping[str, int]) -> JsonObject:
    """What a node keeps of it; nothing where nothing was lost."""
    return {DROPPED: dict(lost)} if lost else {}


def remarks(records: Records, run_id: str, config: PracticeConfig, reason: str) -> tuple[str, ...]:
    """What is to be said of a run.

    Args:
        records: where it is.
        run_id: whose.
        config: its config, budgets as they are now.
        reason: why it ended, as the run says it.
    """
    rounds = records.runs.rounds(run_id)
    results = {
        node: [
            result
            for round_ in rounds
            if (result := records.nodes.done(run_id, round_, node)) is not None
        ]
        for node in (*NODES.values(), "end")
    }
    said: list[str] = []
    counts = records.tasks.proposal_counts(run_id)
    lost = {role: _lost(results[node]) for role, node in NODES.items()}
    if results["propose"] and not counts.admitted:
        said.append(_no_task(counts.proposed, counts.rejected, lost["proposer"], config))
    elif lost["proposer"]:
        said.append(_unusable("proposer", lost["proposer"]))
    if lost["curator"]:
        said.append(_unusable("curator", lost["curator"]))
    stopping = spent_budget(config, reason)
    if stopping is not None:
        said.append(f"{_capital(str(stopping))} is used up.")
    # A process notes with each round what it was refused until then; the last one knows best.
    for name in _refused(results["end"][-1:]):
        budget = budget_of(config, name)
        if budget != stopping and budget.role and budget.cap is not None:
            said.append(
                f"{_capital(str(budget))} did not allow another call, so "
                f"{WITHOUT.get(budget.role, 'it was asked no more')}; give it more."
            )
    held = waiting(records, run_id=run_id, scope=None)
    if held:
        kinds = [kind for kind in ("skill", "insight") if any(w.kind == kind for w in held)]
        where = " and ".join(f"`agentlab {kind}s waiting`" for kind in kinds)
        said.append(
            f"{len(held)} that passed every gate {'wait' if len(held) > 1 else 'waits'} for a "
            f"person and {'serve' if len(held) > 1 else 'serves'} nobody until then: {where}."
        )
    return tuple(said)


def cut_off(config: PracticeConfig, refused: Iterable[str]) -> tuple[str, ...]:
    """What is to be said of an evaluation whose budgets did not allow every call.

    Args:
        config: what was measured.
        refused: names of the budgets, as `Seats.refused` has them.
    """
    budgets = [budget_of(config, name) for name in refused]
    named = " and ".join(str(budget) for budget in budgets if budget.cap is not None)
    if not named:
        return ()
    return (
        f"{_capital(named)} did not allow every call: attempts that were cut off have no verdict, "
        "and the rates are of the others alone; give it more before you compare them.",
    )


def _no_task(
    proposed: int, rejected: Mapping[str, int], lost: Counter[str], config: PracticeConfig
) -> str:
    if lost:
        asked = config.chat_model("proposer")
        remedy = "choose another proposer"
        if "planted" in lost:
            remedy = (
                "look at what the environment shows, where something gives orders that the model "
                f"repeated, or {remedy}"
            )
        elif asked:
            remedy = (
                f"name a model that keeps to a JSON schema better than {asked!r}, give its replies "
                f"more room (roles.proposer.max_tokens), or {remedy}"
            )
        why = f"what the proposer {config.proposer!r} made came to nothing: {_told(lost)}"
        if proposed:
            why += f"; {proposed} proposals were rejected: {_told(rejected)}"
    elif proposed:
        why = f"all {proposed} proposals were rejected: {_told(rejected)}"
        remedy = "choose another proposer, or more rounds"
    else:
        why = f"the proposer {config.proposer!r} proposed nothing"
        remedy = "choose another proposer"
    return f"No task was admitted, so nothing could be attempted: {why}. To change that, {remedy}."


def _unusable(role: str, lost: Counter[str]) -> str:
    return f"Of what the {role} was asked, {lost.total()} came to nothing: {_told(lost)}."


def _told(reasons: Mapping[str, int]) -> str:
    ordered = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    told = [f"{number} {reason}" for reason, number in ordered[:MOST_REASONS]]
    return ", ".join([*told, *(["others"] if len(ordered) > MOST_REASONS else [])])


def _lost(results: Iterable[JsonObject]) -> Counter[str]:
    found = Counter[str]()
    for result in results:
        kept = result.get(DROPPED)
        if isinstance(kept, dict):
            found.update({k: v for k, v in kept.items() if isinstance(v, int)})
    return found


def _refused(results: Iterable[JsonObject]) -> list[str]:
    found: set[str] = set()
    for result in results:
        kept = result.get(REFUSED)
        if isinstance(kept, list):
            found |= {name for name in kept if isinstance(name, str)}
    return sorted(found)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

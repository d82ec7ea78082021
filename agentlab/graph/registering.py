"""Policies put on record, and taken back: on request, or where later practice went worse.

A rollback is a move like a promotion, so nothing is deleted and it can be undone in turn. The
automatic rule compares practice with the version that serves and with the one before it, template
by template, and acts only if the whole interval says that success fell.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from agentlab.config import PracticeConfig
from agentlab.errors import AdapterRefusedError, UsageError
from agentlab.graph.policies import BASE
from agentlab.models.routes import POLICY
from agentlab.records import Records
from agentlab.records.policies import Policy, PolicyMove
from agentlab.statistics import Stratum, stratified_difference
from agentlab.training.adapters import base_sha256
from agentlab.training.serving.client import ModelServerClient, ServerFaultError
from agentlab.training.serving.liveness import TOLERANCE
from agentlab.training.serving.swap import bring_up
from agentlab.training.versions import read_version
from agentlab.types import Frozen, JsonObject
from agentlab.types.report import Difference, Interval

CONFIDENCE = 0.99
"""Of the rule's interval: it is looked at after every run, so 95 % would strike too often."""
LEAST = 30
"""Unassisted attempts that either version must have at templates that both met."""


class Rollback(Frozen):
    """What became of asking whether, or for that, an earlier version serves again."""

    policy: str
    before: str
    after: str
    moved: bool
    sentence: str
    difference: Difference | None = None
    """Success in practice of what served less that of the version before it, within templates."""
    unserved: str = ""
    """Why the server does not hold what serves again; empty where it does."""


class MoveLine(Frozen):
    """A change of what served."""

    kind: str
    before: str
    after: str
    reason: str
    created: str


class GateLine(Frozen):
    """A gate, in a line."""

    id: str
    candidate: str
    incumbent: str
    status: str
    reason: str


class PolicyLine(Frozen):
    """A policy: what serves it and how that came to be."""

    name: str
    base_model: str
    base_path: str
    base_url: str
    serves: str
    """An adapter, or `base`."""
    moves: tuple[MoveLine, ...] = ()
    gates: tuple[GateLine, ...] = ()


def policy_line(records: Records, policy: Policy) -> PolicyLine:
    """A policy as people and programs read it."""
    return PolicyLine(
        name=policy.name,
        base_model=policy.base_model,
        base_path=policy.base_path,
        base_url=policy.base_url,
        serves=records.policies.current(policy.name) or BASE,
        moves=tuple(
            MoveLine(
                kind=move.kind,
                before=move.before or BASE,
                after=move.after or BASE,
                reason=move.reason,
                created=move.created_at,
            )
            for move in records.policies.moves(policy.name)
        ),
        gates=tuple(
            GateLine(
                id=row.id,
                candidate=row.candidate,
                incumbent=row.incumbent or BASE,
                status=row.status,
                reason=str((row.verdict or {}).get("reason", "under way")),
            )
            for row in records.gates.all(policy=policy.name)
        ),
    )


def register(records: Records, name: str, base: Path, base_url: str) -> Policy:
    """Put a policy on record, or its server's new address.

    Args:
        records: of the workspace.
        name: of the policy.
        base: the folder of its base model.
        base_url: where that is served; empty leaves what is on record.

    Raises:
        UsageError: no server is named and none is on record, or the name cannot be one.
        AdapterRefusedError: the folder holds no model.
        ServerFaultError: the server does not answer.
        RecordsError: a policy of that name has another base.
    """
    known = {each.name: each for each in records.policies.all()}.get(name)
    base_url = base_url or (known.base_url if known is not None else "")
    if not base_url:
        raise UsageError(
            f"No server is named for the policy {name!r}; start one, and say where it is with "
            "--base-url URL or 'base_url' in [serve]."
        )
    served = ModelServerClient(base_url).base()
    policy = Policy(name, served.name, str(base.absolute()), base_sha256(base), base_url)
    records.policies.register(policy)
    return policy


def roll_back(
    records: Records, policy: str, *, to: str | None = None, reason: str = "asked for"
) -> Rollback:
    """Let an earlier version serve again.

    Args:
        records: of the workspace.
        policy: which.
        to: an adapter that served before, or `base`; None is what it took the place of.
        reason: goes on record.

    Raises:
        UnknownNameError: there is no such policy.
        UsageError: the base model serves already, or the version never served.
    """
    records.policies.get(policy)
    moves = records.policies.moves(policy)
    current = records.policies.current(policy)
    if not moves or (to is None and not current):
        raise UsageError(
            f"The policy {policy!r} is served by its base model; there is nothing to take back, "
            "and --to names a version that served before."
        )
    after = _before(moves, current) if to is None else "" if to == BASE else to
    if to is not None and after and after not in {move.after for move in moves}:
        raise UsageError(
            f"{after!r} never served the policy {policy!r}, so it cannot serve it again; a new "
            "version must pass `agentlab gate`."
        )
    move = records.policies.move(policy, "rollback", after, reason=reason, evidence={})
    return Rollback(
        policy=policy,
        before=move.before or BASE,
        after=move.after or BASE,
        moved=True,
        sentence=(
            f"The policy {policy!r} is served by {move.after or 'its base model'} again, and "
            f"{move.before or 'the base model'} by nobody; runs under way end with what they began."
        ),
    )


def roll_back_after(records: Records, config: PracticeConfig, run_id: str) -> str:
    """Look at what serves, now that a run has asked it; what was taken back, or nothing.

    Args:
        records: of the workspace.
        config: of the run, pinned.
        run_id: the run.
    """
    kind, _, pinned_name = config.model.partition(":")
    policy, _, version = pinned_name.partition("@")
    if kind != POLICY or version != records.policies.current(policy):
        return ""
    found = roll_back_if_worse(records, policy, run_id=run_id)
    if not found.moved:
        return ""
    why = load_again(records, policy)
    return f"{found.sentence} {found.after} is not loaded there: {why}" if why else found.sentence


def roll_back_if_worse(records: Records, policy: str, *, run_id: str = "") -> Rollback:
    """Let the version before serve again if practice with this one went worse.

    The rule: over the templates that were practised with both, success with the version that
    serves less success with the one before it, joined by Mantel and Haenszel's weights, has an
    interval that lies below zero; and each has at least 30 unassisted attempts there. One looks
    after each run, so the interval after the k-th errs with 0.01 * 6 / (pi * k)^2: all looks
    together take a version back that is no worse in at most one case of a hundred.

    Args:
        records: of the workspace.
        policy: its name.
        run_id: the run after which one looks, for the record.

    Raises:
        UnknownNameError: there is no such policy.
    """
    records.policies.get(policy)
    moves, current = records.policies.moves(policy), records.policies.current(policy)
    promoted = bool(moves) and moves[-1].kind == "promotion"
    before = _before(moves, current) if moves else ""
    found = _compared(records, policy, current, before) if promoted else None
    names = {"policy": policy, "before": current or BASE, "after": current or BASE, "moved": False}
    if not promoted:
        told = f"Nothing was promoted for the policy {policy!r} since it was last taken back."
        return Rollback.model_validate({**names, "sentence": told})
    if found is None or min(found.counts) < LEAST or found.difference is None:
        n = (0, 0) if found is None else found.counts
        told = (
            f"{current} is not judged by later practice yet: {n[0]} attempts with it and {n[1]} "
            f"with {before or 'the base model'} at templates that both met, and {LEAST} each are "
            "needed."
        )
        return Rollback.model_validate({**names, "sentence": told})
    low, high = found.difference.interval
    share = f"{100 * found.confidence:.4g} %"
    shown = (
        f"success in practice changed by {found.difference.value:+.3f} within templates "
        f"({share} interval {low:+.3f} to {high:+.3f}, n={found.difference.n})"
    )
    if high >= 0:
        told = f"{current} serves on: {shown}, which does not show that it is worse."
        return Rollback.model_validate({**names, "sentence": told, "difference": found.difference})
    evidence: JsonObject = {
        "rule": f"stratified difference, {share}",
        "run": run_id,
        "value": found.difference.value,
        "low": low,
        "high": high,
        "n": found.difference.n,
    }
    reason = f"worse in later practice: {shown}"
    move = records.policies.move(policy, "rollback", before, reason=reason, evidence=evidence)
    return Rollback(
        policy=policy,
        before=move.before,
        after=move.after or BASE,
        moved=True,
        sentence=f"{move.before} was taken back: {shown}.",
        difference=found.difference,
    )


def load_again(records: Records, policy: str) -> str:
    """Have the server hold what serves the policy now, proven live; why it does not, or nothing.

    A version that did not serve may have been unloaded, and a route to it leads nowhere.

    Raises:
        UnknownNameError: there is no such policy.
    """
    place, current = records.policies.get(policy), records.policies.current(policy)
    if not current or not place.base_url:
        return ""
    verdicts = [row.verdict for row in records.gates.all(policy=policy) if row.candidate == current]
    proven = [each.get("liveness") for each in verdicts if each]
    told = [each.get("tolerance") for each in proven if isinstance(each, dict)]
    tolerance = next((each for each in reversed(told) if isinstance(each, float)), TOLERANCE)
    try:
        adapter = read_version(records.policies.version(current))
        server = ModelServerClient(place.base_url)
        bring_up(server, adapter, Path(place.base_path), tolerance=tolerance)
    except (AdapterRefusedError, ServerFaultError) as error:
        return str(error)
    return ""


class _Compared(NamedTuple):
    difference: Difference | None
    counts: tuple[int, int]
    confidence: float


def _compared(records: Records, policy: str, current: str, before: str) -> _Compared:
    mine = _outcomes(records, f"{POLICY}:{policy}@{current or BASE}")
    theirs = _outcomes(records, f"{POLICY}:{policy}@{before or BASE}")
    both = sorted(mine.keys() & theirs.keys())
    strata = [
        Stratum(mine[each][True], mine[each].total(), theirs[each][True], theirs[each].total())
        for each in both
    ]
    asked = f"{POLICY}:{policy}@{current or BASE}"
    looks = sum(row.config.get("model") == asked for row in records.runs.all())
    confidence = 1 - (1 - CONFIDENCE) * 6 / (math.pi * max(1, looks)) ** 2
    found = stratified_difference(strata, confidence=confidence)
    difference = None
    if found is not None:
        difference = Difference(
            value=found.value, interval=Interval(found.low, found.high), n=found.n
        )
    counts = sum(s.n for s in strata), sum(s.other_n for s in strata)
    return _Compared(difference, counts, confidence)


def _outcomes(records: Records, model: str) -> dict[str, Counter[bool]]:
    """Unassisted practice of runs that asked a version, by environment and template."""
    found: dict[str, Counter[bool]] = {}
    for row in records.runs.all():
        if row.config.get("model") != model or "command" in row.config:
            continue
        for template in records.attempts.template_outcomes(row.run_id):
            key = f"{row.config.get('environment')}: {template.name}"
            found.setdefault(key, Counter()).update(template.outcomes)
    return found


def _before(moves: list[PolicyMove], current: str) -> str:
    """What served before the version that serves: of its promotion, what it took the place of."""
    for move in reversed(moves):
        if move.kind == "promotion" and move.after == current:
            return move.before
    return moves[-1].before

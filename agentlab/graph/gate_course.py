"""The course of a gate, from its first pair to its report, wherever it goes on.

Looks are on record as they are taken, and verdict and promotion in one transaction. What decides
is the evidence of the pairs; the arms beside it and the held-out tasks are reported alone. The
weights are served already when it begins (`gate_serving`), and the order is fixed (`gate_plan`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from agentlab.config import PracticeConfig
from agentlab.environments.registration import base_name
from agentlab.errors import GateInterruptedError
from agentlab.graph.gate_arms import EACH, FAMILIES, HELDOUT, Arms
from agentlab.graph.gate_bench import Weights, at_work
from agentlab.graph.gate_plan import Begun, GateRequest, report_of, taskful
from agentlab.graph.gate_serving import let_serve
from agentlab.graph.policies import BASE
from agentlab.protocols import Observer
from agentlab.records import Records
from agentlab.records.gates import GateRow, GateStatus, Look
from agentlab.records.policies import Policy
from agentlab.statistics import e_process, e_value
from agentlab.training.promotion.settings import GateConfig
from agentlab.training.promotion.verdict import (
    Contrast,
    Family,
    GateReport,
    Pair,
    contrast,
    cost,
    held,
    learnt,
    too_dear,
)
from agentlab.training.serving.client import ModelServerClient
from agentlab.training.serving.liveness import Liveness
from agentlab.types import JsonObject, derive_seed

INCUMBENT, CANDIDATE = "incumbent", "candidate"
OTHER_INCUMBENT, OTHER_CANDIDATE = "incumbent, other draws", "candidate, other draws"
LOW = "base, low temperature"


class GateCourse:
    """One gate under way in this process."""

    def __init__(
        self,
        records: Records,
        request: GateRequest,
        config: PracticeConfig,
        policy: Policy,
        begun: Begun,
        server: ModelServerClient,
        live: Liveness,
        observers: Sequence[Observer],
    ) -> None:
        self._records = records
        self._settings = request.settings
        self._promote = request.promote
        self._limit = request.limit
        self._config = config
        self._policy = policy
        self._begun = begun
        self._row = begun.row
        self._server = server
        self._live = live
        self._observers = observers

    async def run(self) -> GateReport:
        """Go on to the end, from wherever it is."""
        settings, row = self._settings, self._row
        greedy = settings.decides == "greedy"
        here, there = (0.0, settings.temperature) if greedy else (settings.temperature, 0.0)
        incumbent = row.incumbent or BASE
        weights = (
            Weights(INCUMBENT, incumbent, here),
            Weights(CANDIDATE, row.candidate, here),
            Weights(OTHER_INCUMBENT, incumbent, there),
            Weights(OTHER_CANDIDATE, row.candidate, there),
            Weights(LOW, BASE, settings.low_temperature),
        )
        async with at_work(
            self._records,
            row.run_id,
            self._config,
            self._policy.name,
            weights,
            self._server,
            self._observers,
            library=settings.library,
            judged=settings.judged,
            patience=settings.patience,
            limit=self._limit,
        ) as arms:
            if row.status == "running":
                pairs, why = await self._decide(arms)
                report = await self._judge(arms, pairs, why)
                self._close(report)
            else:
                report = report_of(row)
            heldout = await self._heldout(arms)
        self._records.gates.add_afterwards(
            row.id, {name: each.model_dump(mode="json") for name, each in heldout.items()}
        )
        self._records.runs.set_status(row.run_id, "finished", report.status)
        return report.model_copy(update={"heldout": heldout})

    async def _decide(self, arms: Arms) -> tuple[list[Pair], str]:
        """Read pairs in their order until one side has the evidence; why it ended."""
        settings, row, tasks = self._settings, self._row, self._begun.tasks
        done = len(self._records.gates.looks(row.id))
        both = (INCUMBENT, CANDIDATE)
        pairs = await arms.pairs(*both, tasks[:done], phase="pairs") if done else []
        wins, losses, decided = self._standing(pairs)
        while not decided and len(pairs) < len(tasks):
            first, looks = len(pairs), list[Look]()
            batch = await arms.some(
                *both, tasks[first:], first=first, phase="pairs", most=settings.window
            )
            if not batch:
                taken = f"{arms.tokens.taken} of {self._limit}"
                return pairs, f"its tokens were used up ({taken} were taken)"
            for pair in batch:
                if pair.control is not None and pair.candidate is not None:
                    wins += pair.candidate and not pair.control
                    losses += pair.control and not pair.candidate
                promote, reject = e_value(wins, losses), e_value(losses, wins)
                looks.append(
                    Look(
                        len(pairs), pair.task_id, pair.control, pair.candidate,
                        wins, losses, promote, reject,
                    )
                )  # fmt: skip
                pairs.append(pair)
                if max(promote, reject) >= 1 / row.alpha:
                    decided = True
                    break
            self._records.gates.look(row.id, looks)
        return pairs, "" if decided else "all its tasks were read"

    def _standing(self, pairs: Sequence[Pair]) -> tuple[int, int, bool]:
        row = self._row
        known = [
            (pair.control, pair.candidate)
            for pair in pairs
            if pair.control is not None and pair.candidate is not None
        ]
        found = e_process(known, alpha=row.alpha, wins=row.carried_wins, losses=row.carried_losses)
        return found.wins, found.losses, found.decision != "undecided"

    async def _judge(self, arms: Arms, pairs: Sequence[Pair], why: str) -> GateReport:
        """The verdict on pairs that were read, with what stands beside them."""
        settings, row = self._settings, self._row
        wins, losses, _ = self._standing(pairs)
        promote, reject = e_value(wins, losses), e_value(losses, wins)
        names = (row.candidate, row.incumbent or BASE)
        deciding = contrast(pairs, *names)
        failed = deciding.candidate.failed
        status: GateStatus = "undecided"
        reason = f"Undecided: {why}, and the evidence for it is {promote:.3g} of {1 / row.alpha:g}."
        # Pairs of earlier gates whose evidence counts here count with what failed among them.
        before = [x for each in self._begun.earlier for x in self._records.gates.looks(each.id)]
        lost = failed + sum(None in (look.control, look.candidate) for look in before)
        read = len(pairs) + len(before)
        if read and lost > settings.failures * read:
            status = "void"
            reason = (
                f"No verdict: {lost} of {read} pairs failed for reasons of infrastructure "
                f"or had no verdict, and {settings.failures:.0%} are allowed."
            )
        elif reject >= 1 / row.alpha:
            status = "rejected"
            reason = (
                f"Rejected: the evidence that it is worse is {reject:.3g}, and {1 / row.alpha:g} "
                f"are enough ({losses} pairs lost, {wins} won)."
            )
        elif promote >= 1 / row.alpha and not pairs:
            reason = (
                f"Undecided: its evidence of {promote:.3g} is that of earlier gates alone, and no "
                "pair was read here; give the alpha that those had."
            )
        elif promote >= 1 / row.alpha:
            status = "promoted"
            reason = (
                f"Promoted: the evidence that it is better is {promote:.3g}, and "
                f"{1 / row.alpha:g} are enough ({wins} pairs won, {losses} lost)."
            )
        families: list[Family] = []
        spent = cost(pairs, settings.cost_ratio)
        if status == "promoted":
            families = await self._families(arms)
            status, reason = held(status, reason, families)
            if status == "promoted" and len(families) < len(self._begun.families):
                status = "undecided"
                reason = (
                    "Undecided although it solves more: the gate's tokens were used up before all "
                    "protected templates were attempted; give it more with 'tokens'."
                )
            if status == "promoted" and spent is not None and not spent.within:
                status, reason = too_dear(spent)
        beside, told = await self._beside(arms, deciding)
        return GateReport(
            gate=row.id,
            policy=row.policy,
            candidate=row.candidate,
            incumbent=row.incumbent or BASE,
            status=status,
            reason=reason,
            learning=told,
            weights_sha256=row.weights_sha256,
            order_sha256=row.order_sha256,
            environment=row.environment,
            alpha=row.alpha,
            decides=settings.decides,
            looks=len(pairs),
            wins=wins,
            losses=losses,
            evidence=promote,
            evidence_against=reject,
            earlier=len(self._begun.earlier),
            others=_others(self._records, row),
            failed=failed,
            reserved=self._begun.reserved,
            unseen=settings.unseen,
            deciding=deciding,
            beside=beside,
            families=tuple(families),
            cost=spent,
            liveness=self._live,
            tokens=arms.tokens.taken,
            limit=self._limit,
            notes=_notes(self._begun, settings, self._library()),
        )

    async def _families(self, arms: Arms) -> list[Family]:
        found: list[Family] = []
        margin = self._settings.protected_margin
        for number, (template, tasks) in enumerate(self._begun.families.items()):
            pairs = await arms.pairs(
                INCUMBENT,
                CANDIDATE,
                tasks,
                first=FAMILIES + number * EACH,
                phase=f"protected {template!r}",
            )
            if len(pairs) < len(tasks):
                break
            seen = contrast(pairs, self._row.candidate, self._row.incumbent or BASE)
            low = seen.difference.interval.low if seen.difference else -1.0
            whole = seen.candidate.failed <= self._settings.failures * len(pairs)
            found.append(
                Family(
                    template=template, contrast=seen, margin=margin, holds=whole and low > -margin
                )
            )
        return found

    async def _beside(self, arms: Arms, deciding: Contrast) -> tuple[dict[str, Contrast], str]:
        """The arms that decide nothing, and what they tell of learning."""
        settings, row = self._settings, self._row
        tasks = self._begun.tasks[: settings.beside]
        if not tasks:
            only = deciding if settings.decides == "greedy" else None
            return {}, self._learnt(only, None, None)
        unpaid = "Whether it learnt or only sharpened was not measured: too few tokens were left."
        if not arms.tokens.pay_for(3 * len(tasks)):
            return {}, unpaid
        others = await arms.pairs(OTHER_INCUMBENT, OTHER_CANDIDATE, tasks, phase="other draws")
        hot = CANDIDATE if settings.decides == "sampled" else OTHER_CANDIDATE
        lows = await arms.pairs(LOW, hot, tasks, phase="base at a low temperature")
        if min(len(others), len(lows)) < len(tasks):
            return {}, unpaid
        mine, theirs = row.candidate, row.incumbent or BASE
        other = contrast(others, mine, theirs)
        low = contrast(
            lows,
            f"{mine} at T={settings.temperature:g}",
            f"base at T={settings.low_temperature:g}",
        )
        greedy, sampled = (deciding, other) if settings.decides == "greedy" else (other, deciding)
        told = self._learnt(greedy, sampled, low)
        kind = "sampled" if settings.decides == "greedy" else "greedy"
        return {kind: other, "low temperature": low}, told

    def _learnt(
        self, greedy: Contrast | None, sampled: Contrast | None, low: Contrast | None
    ) -> str:
        hot, cool = self._settings.temperature, self._settings.low_temperature
        return learnt(greedy, sampled, low, temperature=hot, low_temperature=cool)

    async def _heldout(self, arms: Arms) -> dict[str, Contrast]:
        """Held-out success, after the verdict; it decides nothing."""
        settings, row = self._settings, self._row
        if not settings.heldout or not arms.tokens.pay_for(4 * settings.heldout):
            return {}
        tasks = taskful(self._config).tasks(
            "heldout", settings.heldout, derive_seed("gate tasks", settings.seed) % 10**6
        )
        names = row.candidate, row.incumbent or BASE
        pairs = await arms.pairs(INCUMBENT, CANDIDATE, tasks, first=HELDOUT, phase="held out")
        others = await arms.pairs(
            OTHER_INCUMBENT, OTHER_CANDIDATE, tasks, first=HELDOUT, phase="held out"
        )
        if min(len(pairs), len(others)) < len(tasks):
            return {}
        kinds = ("greedy", "sampled") if settings.decides == "greedy" else ("sampled", "greedy")
        return {kinds[0]: contrast(pairs, *names), kinds[1]: contrast(others, *names)}

    def _close(self, report: GateReport) -> None:
        """Verdict and promotion, both or neither."""
        row = self._row
        with self._records.transaction() as part:
            part.gates.decide(
                row.id, report.status, cast("JsonObject", report.model_dump(mode="json"))
            )
            if report.status == "promoted" and self._promote:
                if part.policies.current(row.policy) != row.incumbent:
                    raise GateInterruptedError(
                        f"The policy {row.policy!r} is served by something else than when the gate "
                        "began; gate the candidate against that."
                    )
                let_serve(part, row, report)

    def _library(self) -> int:
        return self._records.items.library_version(base_name(self._row.environment))


def _others(records: Records, row: GateRow) -> int:
    against = {
        each.weights_sha256
        for each in records.gates.all(policy=row.policy)
        if each.incumbent_sha256 == row.incumbent_sha256 and each.environment == row.environment
    }
    return len(against - {row.weights_sha256})


def _notes(begun: Begun, settings: GateConfig, library: int) -> tuple[str, ...]:
    notes: list[str] = []
    if settings.library and library != begun.row.plan.get("library"):
        notes.append(
            "The library changed while the gate was under way; both arms were offered the same at "
            "each pair, but not at all of them."
        )
    if begun.earlier:
        notes.append(
            f"These weights were compared with this incumbent {len(begun.earlier)} times before; "
            f"{begun.row.carried_wins} pairs won and {begun.row.carried_losses} lost there count "
            "here, so that all of it has one alpha."
        )
    if settings.unseen == "seed":
        notes.append(
            "Its dev tasks are unseen in their seeds and need not be in structure, so what was "
            "learnt may be these structures."
        )
    return tuple(notes)

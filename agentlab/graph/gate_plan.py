"""What a gate fixes before its first task, and what went before it.

The order is on record before anything is attempted, with everything else that was chosen. The same
weights on the same order are not compared twice; on fresh tasks the evidence goes on from where it
stood. What was promoted and taken back is not gated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

from agentlab.config import PracticeConfig
from agentlab.environments.registration import base_name, check_machine, make_environment
from agentlab.errors import UsageError
from agentlab.graph.opening import package_versions
from agentlab.protocols import HasTasks
from agentlab.records import Records
from agentlab.records.gates import GateRow
from agentlab.records.policies import Policy
from agentlab.sandbox import settle_box
from agentlab.training.adapters import Adapter
from agentlab.training.promotion.order import family, fix_order
from agentlab.training.promotion.settings import GateConfig
from agentlab.training.promotion.verdict import Contrast, GateReport
from agentlab.types import EnvironmentRef, JsonObject, Task, derive_id, derive_seed

_BESIDE = ("concurrency", "endpoint", "export", "budget")
"""Parts of a config on which no attempt of a gate depends."""


@dataclass(frozen=True)
class GateRequest:
    """What is to be compared."""

    policy: str
    candidate: Path
    """A trained adapter's folder."""
    config: PracticeConfig
    """How attempts are made; its executor's model is replaced by the weights in question."""
    settings: GateConfig
    promote: bool = True
    """False compares and records, and lets nothing else serve."""
    left: int | None = None
    """Tokens that are left of a larger budget, such as a cycle's."""

    @property
    def limit(self) -> int | None:
        """Tokens that the gate may take: those of its settings, and no more than are left."""
        known = [each for each in (self.settings.tokens, self.left) if each is not None]
        return min(known, default=None)


class Begun(NamedTuple):
    """A gate on record, and what it reads."""

    row: GateRow
    tasks: tuple[Task, ...]
    families: dict[str, tuple[Task, ...]]
    reserved: int
    earlier: tuple[GateRow, ...]


def begin(
    records: Records,
    request: GateRequest,
    config: PracticeConfig,
    policy: Policy,
    adapter: Adapter,
    incumbent: str,
) -> Begun:
    """Put a gate on record with its order, or find the one that is under way."""
    settings, weights = request.settings, adapter.manifest.weights_sha256
    against = (
        records.policies.version(incumbent).weights_sha256 if incumbent else policy.base_sha256
    )
    before = [
        row
        for row in records.gates.all(policy=policy.name, weights=weights)
        if row.environment == config.environment and row.incumbent_sha256 == against
    ]
    known = decided(records, request, adapter, incumbent)
    running = known or next((row for row in before if row.status == "running"), None)
    if running is not None:
        if running.status == "running" and running.plan.get("settings") != _said(request):
            raise UsageError(
                f"A gate of these weights is under way with other settings ({running.id!r}); "
                "finish it with those, since evidence is not begun anew."
            )
        if running.status == "running" and _acting(running.plan.get("config")) != _acting(
            _told(config)
        ):
            raise UsageError(
                f"A gate of these weights is under way ({running.id!r}) whose attempts are made in "
                "another way; put [practice] back as it was, since its pairs are compared as one."
            )
        return _read(running, tuple(r for r in before if r.id != running.id))
    world = taskful(config)
    seen = {look.task_id for row in before for look in records.gates.looks(row.id)}

    def draw(count: int) -> Sequence[Task]:
        return world.tasks("dev", count, derive_seed("gate tasks", settings.seed) % 10**6)

    order = fix_order(
        draw,
        world.split_rule,
        count=settings.tasks,
        seed=settings.seed,
        practised=_practised(records, config) | set(adapter.manifest.practised),
        unseen=settings.unseen == "structure",
        without=seen,
    )
    taken = {task.id for task in order.tasks} | seen
    families = {
        text: family(draw, text, count=settings.protected_tasks, without=taken)
        for text in settings.protected
    }
    wins, losses = _carried(records, before)
    # One that ended before its first pair left nothing seen, and the next has its order.
    again = sum(row.order_sha256 == order.sha256 for row in before)
    gate_id = derive_id(
        "gate", policy.name, config.environment, weights, against, order.sha256,
        *([again] if again else []),
    )  # fmt: skip
    plan: JsonObject = {
        "settings": _said(request),
        "config": _told(config),
        "tasks": [task.model_dump(mode="json") for task in order.tasks],
        "families": {
            text: [task.model_dump(mode="json") for task in tasks]
            for text, tasks in families.items()
        },
        "reserved": order.reserved,
        "library": records.items.library_version(base_name(config.environment)),
    }
    row = GateRow(
        id=gate_id,
        policy=policy.name,
        environment=config.environment,
        candidate=adapter.name,
        weights_sha256=weights,
        incumbent=incumbent,
        incumbent_sha256=against,
        order_sha256=order.sha256,
        alpha=settings.alpha,
        carried_wins=wins,
        carried_losses=losses,
        run_id=gate_id,
        plan=plan,
    )
    with records.transaction() as part:
        part.runs.create(
            gate_id,
            config={
                "command": "gate",
                "environment": config.environment,
                "model": f"policy:{policy.name}",
                "candidate": adapter.name,
                "order_sha256": order.sha256,
                "seed": settings.seed,
            },
            versions=package_versions(settle_box(config.box)),
            seed=settings.seed,
        )
        part.gates.begin(row)
    return _read(row, tuple(before))


def decided(
    records: Records, request: GateRequest, adapter: Adapter, incumbent: str
) -> GateRow | None:
    """An earlier gate of these weights that stands, or None.

    Raises:
        UsageError: they were promoted and taken back since.
    """
    for row in reversed(records.gates.all(weights=adapter.manifest.weights_sha256)):
        if row.policy != request.policy or row.environment != request.config.environment:
            continue
        if row.status == "promoted" and incumbent == row.candidate:
            return row
        moves = [m for m in records.policies.moves(request.policy) if m.before == row.candidate]
        if row.status == "promoted" and moves and row.candidate != incumbent:
            raise UsageError(
                f"{row.candidate!r} was promoted by the gate {row.id!r} and taken back since "
                f"({moves[-1].reason}); it is not gated again: train on."
            )
        same = row.incumbent == incumbent and row.plan.get("settings") == _said(request)
        if same and row.status != "running" and not _given_more(row, request):
            return row
        if row.incumbent == incumbent and row.status == "rejected":
            return row
    return None


def _given_more(row: GateRow, request: GateRequest) -> bool:
    """Whether a gate that was left undecided may take more tokens than it might then."""
    before = report_of(row).limit if row.status == "undecided" else None
    return before is not None and (request.limit is None or request.limit > before)


def report_of(row: GateRow) -> GateReport:
    """The report of a decided gate, from the record."""
    report = GateReport.model_validate(row.verdict)
    if row.afterwards is None:
        return report
    heldout = {name: Contrast.model_validate(each) for name, each in row.afterwards.items()}
    return report.model_copy(update={"heldout": heldout})


def taskful(config: PracticeConfig) -> HasTasks:
    """The environment of a config, which must bring tasks.

    Raises:
        UsageError: it brings none, or this machine lacks what it needs.
    """
    world = make_environment(
        EnvironmentRef(name=config.environment, options=config.environment_options)
    )
    if not isinstance(world, HasTasks):
        raise UsageError(
            f"The environment {config.environment!r} brings no tasks of its own, so there are no "
            "dev tasks for a gate; choose one that does."
        )
    check_machine(world)
    return world


def _told(config: PracticeConfig) -> JsonObject:
    return cast("JsonObject", config.model_dump(mode="json", exclude_defaults=True))


def _acting(config: object) -> JsonObject:
    """A config without what changes nothing about an attempt."""
    told = cast("JsonObject", config or {})
    return {name: value for name, value in told.items() if name not in _BESIDE}


def _said(request: GateRequest) -> JsonObject:
    return cast("JsonObject", request.settings.model_dump(mode="json"))


def _read(row: GateRow, earlier: tuple[GateRow, ...]) -> Begun:
    def tasks(value: object) -> tuple[Task, ...]:
        return tuple(map(Task.model_validate, cast("list[object]", value)))

    families = cast("dict[str, object]", row.plan["families"])
    return Begun(
        row,
        tasks(row.plan["tasks"]),
        {text: tasks(each) for text, each in families.items()},
        cast("int", row.plan["reserved"]),
        earlier,
    )


def _carried(records: Records, before: Sequence[GateRow]) -> tuple[int, int]:
    """What earlier gates of the same weights against the same incumbent came to."""
    wins = losses = 0
    for row in before:
        for look in records.gates.looks(row.id):
            if look.control is not None and look.candidate is not None:
                wins += look.candidate and not look.control
                losses += look.control and not look.candidate
    return wins, losses


def _practised(records: Records, config: PracticeConfig) -> set[str]:
    """Templates that were practised in this workspace in the environment, or recorded anywhere."""
    found: set[str] = set()
    for row in records.runs.all():
        own = row.config.get("environment") == config.environment and "command" not in row.config
        # An outside agent's attempts are trained on too, and say their environment one by one.
        if own or row.config.get("kind") == "recorded":
            found.update(
                each.template for each in records.attempts.all(row.run_id, kind="practice")
            )
    return found

"""Checks of `HasSnapshots`: that a snapshot carries everything, and that its key tells it all.

What is restored must show and do what it showed and did, the verifier's verdict included; a
verifier whose own state stays behind is the commonest fault. Search rests on both promises.
"""

from __future__ import annotations

import json
import random
from collections.abc import Hashable, Sequence
from typing import cast

from pydantic import JsonValue

from agentlab.environments import probing
from agentlab.environments.pacing import in_time
from agentlab.environments.probing import Opened, Walk
from agentlab.environments.report import CheckSkipped
from agentlab.protocols import Environment, EnvironmentFactory, HasSnapshots, Snapshot
from agentlab.types import JsonObject, Task, ToolCall, derive_seed

BRANCHES = 16
"""Snapshots of a plan that are gone back to."""
SHORT = 8
"""Random calls after a part of the solution."""
TWINS = 20
"""Keys seen more than once that are looked at, for each task."""


async def snapshots(factory: EnvironmentFactory, tasks: Sequence[Task]) -> int:
    """A snapshot carries everything: going back and acting again gives the same, verdict too."""
    count = 0
    for task in in_time(tasks):
        async with Opened(factory) as environment:
            if not isinstance(environment, HasSnapshots):
                raise CheckSkipped("There are no snapshots.")
            for calls in in_time(await _plans(environment, task)):
                await probing.start(environment, task)
                plain = await probing.follow(environment, calls)
                await probing.start(environment, task)
                saved = [await _save(environment)]
                for call, expected in zip(calls, plain.records, strict=False):
                    result = await environment.step(call)
                    got = await probing.record(environment, result)
                    said = f"{probing.say(call)} in {task.instruction!r}"
                    assert got == expected, f"{said} does something else after snapshots."
                    saved.append(await _save(environment))
                count += await _branch(environment, task, calls, saved, plain.records)
    return count


async def _save(environment: Environment) -> tuple[Snapshot, str]:
    """A snapshot, and what is shown on returning to it at once."""
    assert isinstance(environment, HasSnapshots)
    snapshot = await environment.snapshot()
    observation = await environment.restore(snapshot)
    return snapshot, await probing.record(environment, observation)


async def _plans(environment: Environment, task: Task) -> list[tuple[ToolCall, ...]]:
    solution = await probing.oracle_of(environment, task)
    walk = await probing.wander(environment, task, length=probing.WANDER, salt="plan")
    return [tuple(solution), walk.calls] if solution else [walk.calls]


async def _branch(
    environment: Environment,
    task: Task,
    calls: Sequence[ToolCall],
    saved: Sequence[tuple[Snapshot, str]],
    results: Sequence[str],
) -> int:
    """From snapshots late and early in turn, replay the rest and compare; how many."""
    assert isinstance(environment, HasSnapshots)
    rng = random.Random(derive_seed("check branch", task.id))
    order = rng.sample(range(len(saved)), min(BRANCHES, len(saved)))
    count = 0
    for index in in_time([*order, 0]):
        snapshot, expected = saved[index]
        observation = await environment.restore(snapshot)
        got = await probing.record(environment, observation)
        where = f"in {task.instruction!r}, {index} calls from the start"
        assert got == expected, f"Restored {where}, it shows something else than it showed then."
        key = (await environment.snapshot()).key
        assert key == snapshot.key, f"Restored {where}, the snapshot has another key."
        assert hash(key) == hash(snapshot.key), f"Equal keys {where} have two hashes."
        walk = await probing.follow(environment, calls[index:])
        for number, (old, new) in enumerate(zip(results[index:], walk.records, strict=False)):
            call = calls[index + number]
            assert old == new, f"Restored {where}, {probing.say(call)} does not do what it did."
        count += 1
    return count


async def snapshot_keys(factory: EnvironmentFactory, tasks: Sequence[Task]) -> int:
    """States with equal keys behave alike, verifier state included."""
    count = 0
    for task in in_time(tasks):
        async with Opened(factory) as environment:
            if not isinstance(environment, HasSnapshots):
                raise CheckSkipped("There are no snapshots.")
            solution = tuple(await probing.oracle_of(environment, task) or ())
            pool: dict[Hashable, list[tuple[Snapshot, str]]] = {}
            prefixes = range(0, len(solution) or 1, max(1, len(solution) // 4))
            # Short walks meet again more often than long ones; two of them from one state do.
            walks = [(salt, prefix) for salt in "abcdefgh" for prefix in prefixes]
            for salt, prefix in in_time(walks, share=0.5, least=len(prefixes) + 1):
                await probing.start(environment, task)
                await probing.follow(environment, solution[:prefix])
                await _collect(environment, task, f"{salt}{prefix}", pool)
            probe = await probing.wander(environment, task, length=8, salt="probe")
            twins = [found for found in pool.values() if len(found) > 1]
            rng = random.Random(derive_seed("check twins", task.id))
            for found in in_time(rng.sample(twins, min(TWINS, len(twins)))):
                (one, shown), *others = found[0], found[len(found) // 2], found[-1]
                said = f"in {task.instruction!r}: two snapshots with equal keys"
                for other, also in others[len(found) == 2 :]:
                    assert shown == also, f"{said} show different things."
                    for calls in (solution, solution[len(solution) // 2 :], probe.calls):
                        await environment.restore(one)
                        left = await probing.follow(environment, calls)
                        await environment.restore(other)
                        right = await probing.follow(environment, calls)
                        assert _alike(left) == _alike(right), f"{said} behave differently."
                count += 1
    return count


def _alike(walk: Walk) -> list[JsonValue]:
    """What must be equal: all but the size of a reward, which may fall with the steps taken."""
    rows: list[JsonValue] = []
    for text in walk.records:
        shown, state = cast("tuple[JsonObject, JsonValue]", json.loads(text))
        reward = shown.get("reward")
        rows += [{**shown, "reward": isinstance(reward, float) and reward > 0}, state]
    return rows


async def _collect(
    environment: Environment,
    task: Task,
    salt: str,
    pool: dict[Hashable, list[tuple[Snapshot, str]]],
) -> None:
    """Walk on at random from where the environment is, keeping a snapshot of each state."""
    assert isinstance(environment, HasSnapshots)
    rng = random.Random(derive_seed("check keys", task.id, salt))
    observation = await environment.restore(await environment.snapshot())
    for _ in range(SHORT):
        snapshot = await environment.snapshot()
        shown = await probing.record(environment, observation)
        pool.setdefault(snapshot.key, []).append((snapshot, shown))
        call = probing.draw(environment.tools, observation.entities, rng)
        if call is None:
            return
        result = await environment.step(call)
        if result.terminated or result.truncated:
            return
        observation = await environment.restore(await environment.snapshot())

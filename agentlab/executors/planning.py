"""Acting in an environment that shows only part of itself.

The plan is made in the environment's model, a simulator built from what was shown, and carried
out in the environment; where they differ, what was seen is planned with anew. Nothing is read
from the environment that an agent in it would not see: it is never snapshotted.
"""

from __future__ import annotations

from agentlab.executors.actions import ActionSpace
from agentlab.executors.recorder import Recorder
from agentlab.executors.searcher import Meter, Searcher
from agentlab.protocols import Environment, HasModel, SkillRuntime
from agentlab.types import Observation, StepResult, ToolCall, Trajectory

SLICE = 0.34
"""Part of the remaining calls that one search in the model may use, while there is more to
explore; the rest is kept for what exploring may show."""


async def plan_and_act(
    environment: Environment,
    observation: Observation,
    space: ActionSpace,
    runtime: SkillRuntime,
    meter: Meter,
) -> Trajectory:
    """Explore until the mission's things are seen, plan, act, and again until done or spent.

    Calls in the model and calls in the environment are charged alike.
    """
    recorder = Recorder(environment, observation)
    await recorder.start()
    explorers = [ToolCall(tool=t.name) for t in environment.tools if t.effect == "explores"]
    while meter.left > 0:
        if explorers and not space.all_described(observation.entities):
            result = await _explore(recorder, explorers, meter)
            if result is None:
                continue
            observation = result.observation
            if _over(result, meter):
                break
            continue
        if not isinstance(environment, HasModel):
            break
        model = await environment.model()
        try:
            calls = max(1, int(meter.left * SLICE)) if explorers else meter.left
            searcher = Searcher(model, space, runtime, meter, calls=calls, reach=False)
            plan = await searcher.find(observation)
        finally:
            await model.close()
        if not plan.solved:
            result = await _explore(recorder, explorers, meter)
            if result is None:
                if not explorers and meter.left > 0:
                    break
                continue
        else:
            result = await recorder.follow(plan.moves, meter=meter)
            if result is None:
                break
        observation = result.observation
        if _over(result, meter):
            break
    return recorder.trajectory()


def _over(result: StepResult, meter: Meter) -> bool:
    if result.succeeded:
        meter.reached()
    return result.terminated or result.truncated


async def _explore(
    recorder: Recorder, explorers: list[ToolCall], meter: Meter
) -> StepResult | None:
    """One exploring call; a tool that is refused has nothing left to show and is dropped."""
    if not explorers or meter.left <= 0:
        return None
    result = await recorder.perform(explorers[0])
    meter.charge(result)
    if result.error is not None:
        explorers.pop(0)
        return None
    return result

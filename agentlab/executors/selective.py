"""A wrapper that shows skills and insights only where they are needed.

What is retrieved costs tokens and can mislead where the agent is good without it. Three ways to
tell, by how much they cost:

- `rate`: He et al. 2025, "AdaptMI: Adaptive Skill-based In-context Math Instruction for Small
  Language Models", shows skills on hard questions alone. We have no scorer of steps, so hard is
  what is solved too rarely: below .7, where the rate is (s+1)/(n+2).
- `votes`: the gate of Acikgoz et al. 2025 ("Self-Improving LLM Agents at Test-Time"), on votes in
  place of likelihoods: the first call is drawn k times, and (votes of the first - votes of the
  second)/k below a threshold is uncertain.
- `try`: Qiao et al. 2025, "Agentic Knowledgeable Self-awareness" (KnowSelf), sorts situations into
  fast (right at once), slow (right when told only that it failed) and knowledgeable (needs what is
  known). It does so per action and trains on it; we do so per try of a whole task, from a fresh
  reset, and train nothing. AdaptMI's rule on steps skips the slow try where it is hopeless. As
  later tries know of a failure, they are assisted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Literal

from agentlab.errors import BudgetSpentError, ConfigError
from agentlab.executors.acting import Ended, model_of
from agentlab.executors.metering import CountedModel
from agentlab.executors.react import first_seen
from agentlab.executors.toolbox import Fault, Toolbox
from agentlab.executors.trying import Tries, Verdict, advised, bare, environments_verdict
from agentlab.models.prompts import Prompt
from agentlab.protocols import ExecutionContext, Executor
from agentlab.types import ChatRequest, Frozen, Sampling, Trajectory, canonical_json, derive_seed

log = logging.getLogger(__name__)

Way = Literal["rate", "votes", "try"]
Situation = Literal["fast", "slow", "knowledgeable"]
LAST, STEP = 0.9, 0.7
"""AdaptMI's thresholds on the mean and the last step, and on any later step, as its scripts ship
them (its code's defaults are .8 and .7)."""
SHARE = 1 / 3
"""Part of an attempt's limits that a try without items may use, where others may follow."""
FAILED = "An earlier try failed. Nothing more is known of it: consider what to do differently."


class SelectiveInputs(Frozen):
    """What the prompt is filled in with."""

    task: str
    seen: str


PROMPT = Prompt("agentlab.executors", "selective", SelectiveInputs)


def solve_rate(solved: int, tried: int) -> float:
    """The posterior mean of a success rate under Beta(1, 1): (s+1)/(n+2)."""
    return (solved + 1) / (tried + 2)


def hard(scores: Sequence[float], *, last: float = LAST, step: float = STEP) -> bool:
    """AdaptMI's rule: whether a response with these scores of its steps needs skills.

    Its last step or its mean is at most `last`, or any step after the first at most `step`; a
    response without steps is hard.
    """
    if not scores:
        return True
    mean = sum(scores) / len(scores)
    return scores[-1] <= last or mean <= last or any(each <= step for each in scores[1:])


def margin(votes: Iterable[Hashable]) -> float:
    """How far the most frequent vote is ahead of the next, as a part of all; 0 without votes."""
    counts = [count for _, count in Counter(votes).most_common()]
    if not counts:
        return 0.0
    return (counts[0] - (counts[1] if len(counts) > 1 else 0)) / sum(counts)


def situation(first: bool, retry: bool) -> Situation:
    """KnowSelf's sorting, by success at first and after word of a failure."""
    if first:
        return "fast"
    return "slow" if retry else "knowledgeable"


def step_scores(trajectory: Trajectory) -> tuple[float, ...]:
    """1 for each call that was carried out and 0 for one that was refused."""
    return tuple(float(step.result.error is None) for step in trajectory.steps)


class SelectiveExecutor:
    """Runs another executor with the offered items or without them.

    Where an attempt is offered none, the other executor runs as it is.

    Args:
        inner: makes the attempt.
        way: how it is decided; see the module.
        solved: for `rate`, successes so far at tasks like this, and
        tried: attempts so far; with neither, items are shown.
        threshold: for `rate`, the rate from which on items are not shown.
        samples: for `votes`, how many first calls are drawn.
        certainty: for `votes`, the margin from which on items are not shown; to be set so that
            about a third of the attempts fall below it.
        verdict: for `try`, whether a try succeeded; by default the environment's own word.

    Raises:
        ConfigError: an option is out of its range.
    """

    wraps = True
    wants_rate = True
    """Asks for `solved` and `tried` of the task's template where they are known."""

    def __init__(
        self,
        inner: Executor,
        *,
        way: Way = "rate",
        solved: int = 0,
        tried: int = 0,
        threshold: float = 0.7,
        samples: int = 5,
        certainty: float = 0.5,
        verdict: Verdict = environments_verdict,
    ) -> None:
        if way not in ("rate", "votes", "try"):
            raise ConfigError(f"selective: 'way' is rate, votes or try, not {way!r}.")
        if not 0 <= solved <= tried:
            raise ConfigError(f"selective: 'solved' is 0 to 'tried' ({tried}), not {solved}.")
        if samples < 2:
            raise ConfigError(f"selective: 'samples' must be 2 or more, not {samples}.")
        self._inner = inner
        self._way: Way = way
        self._rate = solve_rate(solved, tried)
        self._threshold = threshold
        self._samples = samples
        self._certainty = certainty
        self._verdict = verdict
        self.cpu_bound = bool(getattr(inner, "cpu_bound", False))
        self.needs_model = way == "votes" or bool(getattr(inner, "needs_model", False))
        self.reads_advice = bool(getattr(inner, "reads_advice", False))

    async def execute(self, context: ExecutionContext) -> Ended:
        """Try the task. See `protocols.Executor`.

        Raises:
            UsageError: `votes` without a model.
            ModelFaultError: the model's endpoint failed for good.
        """
        spec = context.spec
        tries = Tries(context, self._inner)
        if not (spec.skills or spec.insights):
            await tries.once(spec)
        elif self._way == "try":
            await self._in_turn(context, tries)
        else:
            needed = (
                self._rate < self._threshold
                if self._way == "rate"
                else await self._uncertain(context, tries)
            )
            await tries.once(spec if needed else bare(spec))
        return tries.finish()

    async def _in_turn(self, context: ExecutionContext, tries: Tries) -> None:
        """Without items, again without them, with them: as far as it is needed."""
        without = bare(context.spec)
        done = await tries.once(without, share=SHARE)
        # Unknown is no failure: only what is known to have failed is tried again.
        first = await self._verdict(context, done.trajectory) is not False
        retry = False
        hopeless = hard(step_scores(done.trajectory))
        if not first and self.reads_advice and tries.left and not hopeless:
            done = await tries.once(advised(without, [FAILED]), share=SHARE)
            retry = await self._verdict(context, done.trajectory) is not False
        found = situation(first, retry)
        log.debug("The task of the attempt %s is a %s one.", context.spec.id, found)
        if found == "knowledgeable" and tries.left:
            await tries.once(context.spec)

    async def _uncertain(self, context: ExecutionContext, tries: Tries) -> bool:
        """Whether the model's own first calls disagree too much."""
        spec = context.spec
        model = CountedModel(model_of(context, "selective"))
        began = time.monotonic()
        observation = await context.environment.reset(spec.task, spec.seed)
        toolbox = Toolbox(context.environment.tools)
        messages = PROMPT.messages(
            SelectiveInputs(task=spec.task.instruction, seen=first_seen(observation, 24_000))
        )

        async def vote(number: int) -> Hashable:
            seed = derive_seed("vote", spec.seed, number) & 0x7FFFFFFF
            request = ChatRequest(
                messages=messages,
                tools=toolbox.specs,
                parallel_tool_calls=False,
                sampling=Sampling(temperature=1.0, max_tokens=512, seed=seed),
                prompt=PROMPT.ref,
            )
            reply = await model.chat(request)
            if not reply.message.tool_uses:
                return "no call"
            wanted = toolbox.read(reply.message.tool_uses[0])
            if isinstance(wanted, Fault):
                # Each of these is of an opinion of its own: none.
                return number
            return wanted.name, canonical_json(wanted.arguments)

        # All are waited for, so that none goes on when one has failed.
        found = await asyncio.gather(
            *(vote(number) for number in range(self._samples)), return_exceptions=True
        )
        tries.charge(model.tokens, time.monotonic() - began)
        votes: list[Hashable] = []
        for each in found:
            if isinstance(each, BaseException):
                if isinstance(each, BudgetSpentError):
                    return True
                raise each
            votes.append(each)
        return margin(votes) < self._certainty

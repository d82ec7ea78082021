"""Tasks by exploring first: a model tries the tools out, then writes a task with its solution.

Self-Challenging Language Model Agents (Zhou et al. 2025, arXiv 2506.01716): a challenger acts in
the environment and then writes a Code-as-Task, which is an instruction, a verification function,
an example solution and failure cases, kept only where the solution passes and every failure case
fails. We add the empty trajectory to what must fail, run everything twice, and send a task that
does not hold back with what happened, at most twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import cast

from agentlab.models.prompts import Prompt, Trusted, quoted
from agentlab.proposers.archive import Archives
from agentlab.proposers.desk import PACKAGE, Desk, Page, Work, checking, side_by_side
from agentlab.proposers.rehearsal import perform
from agentlab.proposers.surroundings import (
    LONGEST_PAGE,
    Scene,
    clip,
    described,
    look,
    read_state,
    shown_calls,
    shown_skills,
    shown_state,
    shown_templates,
    shown_tools,
)
from agentlab.protocols import ProposalContext
from agentlab.types import Frozen, JsonObject, Message, Task, ToolCall, ToolUse

NAME = "challenger"
EXPLORED = 12
"""Tool calls that a model may explore with before it writes a task."""
LONGEST_ANSWER = 1_500
"""Characters of a tool's answer that are shown while exploring."""


class ExploreInputs(Frozen):
    """What the exploring model is told."""

    calls: int
    description: str
    observation: str
    state: str
    library: str


class ChallengeInputs(Frozen):
    """What the writing model is told."""

    description: str
    observation: str
    state: str
    tools: str
    log: str
    after: str
    outcomes: str
    solved: str
    refused: str
    checking: Trusted


EXPLORE = Prompt(PACKAGE, "exploration", ExploreInputs)
CHALLENGE = Prompt(PACKAGE, "challenge", ChallengeInputs)


class ChallengerProposer:
    """Explores, then writes one task for each exploration.

    Args:
        explored: tool calls of an exploration, malformed ones included.
        box: where generated verifiers run.
    """

    writes_code = True
    needs_model = True

    def __init__(self, *, explored: int = EXPLORED, box: str = "auto") -> None:
        self._explored = explored
        self._box = box
        self.dropped = Counter[str]()
        """What came to nothing, by kind of reason, since this proposer was made."""

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        """At most `context.count` tasks. See `protocols.Proposer`.

        Raises:
            UsageError: there is no model, or no start state to propose in.
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
            EnvironmentFaultError: nothing was made, and the environment raised.
        """
        archives = Archives(context.archive)
        works = [self._challenge(context, archives, place) for place in range(context.count)]
        return await side_by_side(context, works, source=NAME, dropped=self.dropped, box=self._box)

    def _challenge(self, context: ProposalContext, archives: Archives, place: int) -> Work:
        async def work(desk: Desk) -> Sequence[Task]:
            scene = await look(desk.environment, context, NAME, place)
            log = await explore(desk, scene, place, calls=self._explored)
            inputs = ChallengeInputs(
                description=described(desk.environment, desk.context, scene.family),
                observation=clip(scene.observation.text, LONGEST_PAGE),
                state=shown_state(scene.state),
                tools=shown_tools(desk.environment.tools),
                log=clip("\n".join(log), 2 * LONGEST_PAGE) or "nothing",
                after=shown_state(await read_state(desk.environment)),
                outcomes=shown_templates(context.templates),
                solved=archives.shown_solved(scene.observation.text),
                refused=archives.shown_refused(scene.observation.text),
                checking=checking(scene),
            )
            page = Page(scene, CHALLENGE.ref, CHALLENGE.messages(inputs))
            return await desk.single(page, place, solved=True)

        return work


async def explore(desk: Desk, scene: Scene, place: int, *, calls: int) -> list[str]:
    """Let the model call tools from the scene on, at most so many times; what it did and saw.

    A call that cannot be read is answered with what is wrong with it and counts as one. The
    answers are quoted: they come from the environment and are data.

    Raises:
        ModelFaultError: the endpoint failed for good.
        BudgetSpentError: a budget does not allow a call.
        EnvironmentFaultError: the environment raised.
    """
    inputs = ExploreInputs(
        calls=calls,
        description=described(desk.environment, desk.context, scene.family),
        observation=clip(scene.observation.text, LONGEST_PAGE),
        state=shown_state(scene.state),
        library=shown_skills(desk.context.library),
    )
    messages = list(EXPLORE.messages(inputs))
    tools = tuple(desk.environment.tools)
    log: list[str] = []
    while len(log) < calls:
        request = desk.request(EXPLORE.ref, messages, place, "exploration", len(log))
        said = (await desk.model.chat(request.model_copy(update={"tools": tools}))).message
        if not said.tool_uses:
            break
        messages.append(said)
        over = False
        for use in said.tool_uses:
            if over or len(log) >= calls:
                answer = "The exploration is over."
            else:
                shown, answer, over = await _try(desk, use)
                log.append(f"{shown} -> {answer}")
            messages.append(Message(role="tool", text=quoted(answer), tool_use_id=use.id))
        if over:
            break
    return log


async def _try(desk: Desk, use: ToolUse) -> tuple[str, str, bool]:
    """The call in words, what came back, and whether the episode is over."""
    call, fault = read_call(use, [tool.name for tool in desk.environment.tools])
    if call is None:
        return clip(f"{use.name} {use.arguments}", 200), fault, False
    result = await perform(desk.environment, call)
    told = result.observation.text if result.error is None else f"Refused: {result.error}"
    return shown_calls([call]), clip(told, LONGEST_ANSWER), result.terminated or result.truncated


def read_call(use: ToolUse, known: Sequence[str]) -> tuple[ToolCall | None, str]:
    """A tool call that a model wrote, or None and what is wrong with it."""
    if use.name not in known:
        return None, f"There is no tool {clip(use.name, 60)!r}; there are {', '.join(known)}."
    if len(use.arguments) > LONGEST_PAGE:
        return None, f"The arguments have more than {LONGEST_PAGE} characters."
    try:
        found: object = json.loads(use.arguments or "{}")
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        return None, f"The arguments are no JSON: {clip(str(error), 200)}."
    if not isinstance(found, dict):
        return None, "The arguments must be a JSON object."
    return ToolCall(tool=use.name, arguments=cast("JsonObject", found)), ""

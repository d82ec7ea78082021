"""From what a model wrote to a task: its verifier, its template, and why a draft is refused.

What a draft says is checked here as text alone. Whether its solution works and its verifier tells
right from wrong is found out by carrying it out (`rehearsal`), and once more at admission.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, JsonValue

from agentlab.errors import InvalidTaskError
from agentlab.library.planted import planted
from agentlab.proposers.surroundings import Scene, clip
from agentlab.types import (
    CodeVerifier,
    EnvironmentVerifier,
    Frozen,
    Observation,
    SplitRule,
    Task,
    ToolCall,
    ToolSpec,
    task_id,
)

FAILING = 2
"""Trajectories that must fail, which each task with a verifier brings beside the empty one."""
JUDGED = "judged"
"""A parameter that is true on a task that nothing but a judge can score."""
PARTICULARS = "particulars"
"""The parameter in which a task keeps what its instruction names, where nothing parses that: a
skill that holds one of these is written for this task alone."""
LONGEST_TEMPLATE = 200
ARGUMENTS = ("initial", "final", "answer")


class Draft(Frozen):
    """One task as a model writes it."""

    instruction: str = Field(min_length=1, max_length=1_000)
    verify: str = Field(default="", max_length=8_000)
    """Python that defines `verify(initial, final, answer)`."""
    solution: tuple[ToolCall, ...] = Field(default=(), max_length=60)
    failing: tuple[tuple[ToolCall, ...], ...] = Field(default=(), max_length=6)
    """Tool calls that do something else than what is asked."""


class Drafts(Frozen):
    """Several of them."""

    tasks: tuple[Draft, ...] = Field(max_length=50)


class DraftRefusedError(ValueError):
    """Raised by `task_of`; the text is `<kind>` or `<kind>: <particulars>`, for the model too."""

    @property
    def kind(self) -> str:
        """The text before the first colon."""
        return str(self).partition(":")[0]


def task_of(
    draft: Draft,
    scene: Scene,
    tools: Sequence[ToolSpec],
    rule: SplitRule,
    *,
    source: str,
    solved: bool,
    update: Mapping[str, Any] | None = None,
) -> Task:
    """The task that a draft states in a start state.

    An instruction in the environment's own language is checked by the environment. Any other
    brings code over the state. Where no state can be read, or only what is shown and the draft
    brings no code, nothing can check it: such a task
    has the environment's verifier, which never rewards it, neither solution nor failing cases,
    and the parameter `judged`; only a judge's score says anything of it.

    Args:
        draft: what the model wrote.
        scene: where the task starts.
        tools: the environment's.
        rule: what is reserved.
        source: the proposer's name.
        solved: whether a reference solution is asked of the draft.
        update: further fields of the task.

    Raises:
        DraftRefusedError: it makes no task; says why.
    """
    instruction = " ".join(draft.instruction.split())
    if not instruction:
        raise DraftRefusedError("no instruction")
    if (found := planted(instruction)) is not None:
        raise DraftRefusedError(f"planted: the instruction holds {found}")
    _check_tools(draft, tools)
    task = _in_the_language(draft, instruction, scene)
    if task is None:
        task = _freely_worded(instruction, draft, scene)
    if (scene.state is not None or scene.grammar is not None) and not _left_to_a_judge(
        draft, scene
    ):
        if solved and not draft.solution:
            raise DraftRefusedError("no solution: give the tool calls that do what is asked")
        failing = tuple(each for each in _distinct(draft) if each)
        if len(failing) < FAILING:
            raise DraftRefusedError(
                f"failing cases missing: {len(failing)} of {FAILING}, each at least one call and "
                "unlike the solution"
            )
        given: dict[str, object] = {"solution": draft.solution or None, "failing": failing}
    else:
        given = {"parameters": {**task.parameters, JUDGED: True}}
    task = task.model_copy(update={**given, "source": source, **(update or {})})
    refusal = rule.refusal(task)
    if refusal is not None:
        raise DraftRefusedError(refusal)
    return task


def _check_tools(draft: Draft, tools: Sequence[ToolSpec]) -> None:
    known = {tool.name for tool in tools}
    for call in (*draft.solution, *(call for calls in draft.failing for call in calls)):
        if call.tool not in known:
            raise DraftRefusedError(
                f"no such tool: {clip(call.tool, 60)!r}; there are {', '.join(sorted(known))}"
            )


def _distinct(draft: Draft) -> list[tuple[ToolCall, ...]]:
    """The failing cases, each once; calls are compared as JSON, since they cannot be hashed."""
    seen = {_spelt(draft.solution)}
    kept: list[tuple[ToolCall, ...]] = []
    for calls in draft.failing:
        if _spelt(calls) not in seen:
            seen.add(_spelt(calls))
            kept.append(calls)
    return kept


def _spelt(calls: Sequence[ToolCall]) -> str:
    return "\n".join(call.model_dump_json() for call in calls)


def _in_the_language(draft: Draft, instruction: str, scene: Scene) -> Task | None:
    """The task as the grammar composes it; None where it is not of that language."""
    if scene.grammar is None:
        return None
    try:
        mission = scene.grammar.parse(instruction)
    except InvalidTaskError as error:
        if scene.state is None or not draft.verify.strip():
            raise DraftRefusedError(f"not in the environment's language: {error}") from None
        return None
    try:
        return scene.grammar.compose(mission, scene.family, scene.bare.seed)
    except InvalidTaskError as error:
        raise DraftRefusedError(f"impossible there: {error}") from None


def _freely_worded(instruction: str, draft: Draft, scene: Scene) -> Task:
    bare = scene.bare
    verifier: CodeVerifier | EnvironmentVerifier = EnvironmentVerifier()
    if scene.state is not None and not _left_to_a_judge(draft, scene):
        check_verifier(draft.verify)
        verifier = CodeVerifier(source=draft.verify, origin="model")
    return bare.model_copy(
        update={
            "id": task_id(bare.environment, instruction, bare.setup, bare.seed),
            "instruction": instruction,
            "template": template_of(instruction, scene.observation, scene.family),
            "verifier": verifier,
            "parameters": {PARTICULARS: particulars_of(instruction)},
        }
    )


def _left_to_a_judge(draft: Draft, scene: Scene) -> bool:
    """Whether a task brings no code, where code could read only what is shown anyway."""
    return scene.grammar is None and scene.shown_only and not draft.verify.strip()


def check_verifier(source: str) -> None:
    """Return where a source defines `verify(initial, final, answer)`, as far as its text tells.

    Raises:
        DraftRefusedError: it does not.
    """
    if not source.strip():
        raise DraftRefusedError("no verifier: define verify(initial, final, answer)")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DraftRefusedError(f"verifier unreadable: {clip(str(error), 200)}") from None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "verify":
            given = tuple(each.arg for each in (*node.args.posonlyargs, *node.args.args))
            if given != ARGUMENTS or node.args.posonlyargs:
                raise DraftRefusedError(
                    f"verifier takes other arguments: ({', '.join(given)}) in place of "
                    f"({', '.join(ARGUMENTS)})"
                )
            return
    raise DraftRefusedError("verifier missing: the source defines no function verify")


_QUOTED = re.compile(
    r"\"[^\"]*\"|“[^”]*”|«[^»]*»|`[^`]*`|(?<!\w)['\u2018][^'\u2019]*['\u2019](?!\w)"
)
_PARTICULAR = re.compile(r"\S*\d\S*|\S*[/@\\]\S*|\S*\w[._]\w\S*")
"""Whatever holds a digit, and paths, addresses and file names."""


def template_of(instruction: str, observation: Observation, family: str = "") -> str:
    """An instruction without its particulars: `<family>: move _ to the folder _`.

    Taken out are quoted strings, the names and properties of entities that the observation
    shows, whatever holds a digit, and what looks like a path, an address or a file name. What is
    left is in lower case and without punctuation, so that no template looks like one of another
    grammar.
    """
    text = _QUOTED.sub(" _ ", instruction)
    for name in _names(observation):
        text = re.sub(rf"(?i)(?<!\w){re.escape(name)}(?!\w)", " _ ", text)
    text = _PARTICULAR.sub(" _ ", text)
    words = re.sub(r"[^\w\s]", " ", text.casefold()).split()
    kept = [word for at, word in enumerate(words) if word != "_" or words[at - 1 : at] != ["_"]]
    body = " ".join(kept)[:LONGEST_TEMPLATE]
    return f"{family}: {body}" if family else body


def particulars_of(instruction: str) -> list[JsonValue]:
    """What an instruction names, in order: quoted strings, numbers, paths and the like."""
    found: list[JsonValue] = []
    for match in _QUOTED.finditer(instruction):
        found.append(match[0][1:-1])
    for match in _PARTICULAR.finditer(_QUOTED.sub(" ", instruction)):
        word = match[0].strip(".,;:!?()[]")
        found.append(int(word) if word.isascii() and word.isdecimal() and len(word) < 16 else word)
    return [each for at, each in enumerate(found) if each != "" and each not in found[:at]]


def _names(observation: Observation) -> list[str]:
    """What entities are called, longest first so that no name is cut by a part of it."""
    found: set[str] = set()
    for entity in observation.entities:
        values: list[Any] = [entity.reference]
        for value in entity.properties.values():
            values += value if isinstance(value, list) else [value]
        found |= {each.strip() for each in values if isinstance(each, str) and each.strip()}
    return sorted(found, key=lambda name: (-len(name), name))

"""A block of code that a model wrote: found in its reply, looked at, made ready for a box.

The block becomes one function over `env` that no one has verified. It is parsed here and never
run: what cannot run is refused with a sentence, so that no box is started for it. What could run
and must not is not told from here; that is what the box is for.
"""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from agentlab.models.prompts import quoted
from agentlab.types import Skill, ToolSpec, skill_id

MOST_FINALLY = 4
"""`try … finally` inside each other that a block may have."""
LONGEST = 20_000
"""Characters of a block."""
FUNCTION = "act"
"""What a block may define; one that does not is made its body."""
MODULES = frozenset(
    "collections datetime functools itertools json math re statistics string textwrap".split()
)
"""What a block may import: parts of the standard library that compute with values."""
FENCE = "```"
LANGUAGES = ("", "python", "py", "python3")
_AFTER = """

def {entry}(env):
    import json
    printed = []

    def keep(*values, sep=" ", end="\\n", file=None, flush=False):
        printed.append((" " if sep is None else sep).join(map(str, values)))
        printed.append("\\n" if end is None else end)

    class Skills:
        def __getattr__(self, name):
            skill = getattr(env.skills, name)

            def call(**arguments):
                env.{begins}(skill=name, arguments=arguments)
                try:
                    return skill(**arguments)
                finally:
                    env.{ends}()

            return call

    class Given:
        skills = Skills()

        def __getattr__(self, name):
            return getattr(env, name)

    {function}.__globals__["print"] = keep
    answer = {{}}
    try:
        value = {function}(Given())
        try:
            answer["value"] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            answer["value"] = repr(value)
    except Exception as error:
        answer["error"] = type(error).__name__ + ": " + str(error)
        trace, line = error.__traceback__, 0
        while trace is not None:
            if trace.tb_frame.f_code.co_name != "{entry}" and not line:
                line = trace.tb_lineno
            trace = trace.tb_next
        answer["line"] = line
    answer["printed"] = "".join(printed)
    return answer
"""


class Block(NamedTuple):
    """A block that may be tried."""

    source: str
    """Defines `act(env)`."""


class Refusal(NamedTuple):
    """Why a block cannot run: a sentence for the model that wrote it."""

    text: str


class Prepared(NamedTuple):
    """A block as an unverified skill, with the names under which it reports to the host."""

    skill: Skill
    begins: ToolSpec
    """Called as a tool where the block begins to call a skill; no tool of the environment."""
    ends: ToolSpec

    @property
    def markers(self) -> tuple[str, str]:
        """Names of the two."""
        return self.begins.name, self.ends.name


def find_block(text: str) -> str | None:
    """The code in a reply, several fenced blocks in their order as one; None without any.

    A fence that is never closed gives an empty block, which is refused.
    """
    found: list[str] = []
    inside: list[str] | None = None
    any_code = False
    for line in text.splitlines():
        mark = line.strip()
        if inside is not None and mark == FENCE:
            inside = None
        elif inside is not None:
            inside.append(line)
        elif mark.startswith(FENCE):
            # What is fenced in another language is a figure of speech.
            code = mark[len(FENCE) :].strip().lower() in LANGUAGES
            any_code = any_code or code
            inside = found if code else []
    if inside is found:
        return ""
    return "\n".join(found) if any_code else None


def read_block(source: str, tools: Collection[str], skills: Collection[str]) -> Block | Refusal:
    """A block that could run, or why not.

    Args:
        source: what the model wrote: statements, or a definition of `act(env)`.
        tools: names of the environment's tools.
        skills: names of the skills that it may call.
    """
    if not source.strip():
        return Refusal("The block is empty, or its fence is not closed.")
    if len(source) > LONGEST:
        return Refusal(f"The block has {len(source)} characters; at most {LONGEST} are taken.")
    try:
        source, tree = _parsed(textwrap.dedent(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        why = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        return Refusal(f"The block is no Python that can run{where}: {quoted(str(why)[:200])}")
    for why in _faults(tree, tools, skills):
        return Refusal(why)
    return Block(source)


def _parsed(source: str) -> tuple[str, ast.Module]:
    source.encode()
    with warnings.catch_warnings():
        # An odd escape in a text is the model's, and no warning of ours.
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
        if not any(_is_act(node) for node in tree.body):
            tree = _as_function(tree)
            source = ast.unparse(tree)
        # Each `finally` is compiled once for each way out of its `try`: nested, they double.
        if _nested_finally(tree) > MOST_FINALLY:
            raise ValueError("its try … finally are nested too deep")
        compile(source, "<block>", "exec", dont_inherit=True)
    return source, tree


def _nested_finally(node: ast.AST) -> int:
    """How many `try … finally` stand inside each other, at most."""
    inner = max((_nested_finally(child) for child in ast.iter_child_nodes(node)), default=0)
    return inner + (isinstance(node, ast.Try | ast.TryStar) and bool(node.finalbody))


def prepare(
    block: Block, environment: str, tools: Sequence[ToolSpec], skills: Sequence[Skill]
) -> Prepared:
    """The block as a skill that a runtime can open beside the others."""
    taken = {tool.name for tool in tools} | {skill.name for skill in skills} | {FUNCTION}
    names: list[str] = []
    for wanted in ("run_block", "skill_begins", "skill_ends"):
        name, number = wanted, 1
        while name in taken or name in block.source:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        names.append(name)
    entry, begins, ends = names
    source = block.source + _AFTER.format(entry=entry, function=FUNCTION, begins=begins, ends=ends)
    skill = Skill(
        id=skill_id(environment, entry, 1, source),
        name=entry,
        environment=environment,
        source=source,
        parameters=(),
        summary="A block that a model wrote to act; served to nobody.",
        effect_source="def check(initial, final):\n    return False\n",
        tools=tuple({*(tool.name for tool in tools), begins, ends}),
        skills=tuple({skill.name for skill in skills}),
        origin="model",
    )
    marks = (ToolSpec(name=name, description="", parameters={}) for name in (begins, ends))
    return Prepared(skill, *marks)


def line_of(block: Block, number: object) -> str:
    """The text of a line of a block; empty where there is none of that number."""
    lines = block.source.splitlines()
    if isinstance(number, int) and 0 < number <= len(lines):
        return lines[number - 1].strip()[:200]
    return ""


def _is_act(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == FUNCTION


def _as_function(tree: ast.Module) -> ast.Module:
    """The statements as the body of `act`; a last expression is what it returns."""
    body: list[ast.stmt] = list(tree.body) or [ast.Pass()]
    if isinstance(last := body[-1], ast.Expr):
        body[-1] = ast.Return(value=last.value)
    made = ast.parse(f"def {FUNCTION}(env):\n    pass")
    function = made.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = body
    return ast.fix_missing_locations(made)


def _faults(tree: ast.Module, tools: Collection[str], skills: Collection[str]) -> Iterator[str]:
    for node in tree.body:
        if _is_act(node) and not _takes_env(node):
            yield f"Define {FUNCTION} as `def {FUNCTION}(env):`, neither async nor with more."
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (_no_module(each.name) for each in names if _outside(each.name))
            case ast.ImportFrom(module=module):
                if node.level or _outside(module or ""):
                    yield _no_module(module or "")
            case ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                yield "Calls of env are not awaited; leave out async and await."
            case ast.Call(func=ast.Attribute(value=owner, attr=name)):
                known = skills if _is_skills(owner) else tools if _is_env(owner) else None
                if known is not None:
                    yield from _call_faults(node, name, known, skill=known is skills)
            case _:
                pass


def _call_faults(
    node: ast.Call, name: str, known: Collection[str], *, skill: bool
) -> Iterator[str]:
    place = f"env.skills.{name}" if skill else f"env.{name}"
    if name not in known:
        listed = ", ".join(sorted(known)[:50]) or "none"
        yield f"There is no {'skill' if skill else 'tool'} {place[:100]!r}. There are: {listed}."
    elif node.args:
        yield f"{place} takes keyword arguments alone, such as {place}(name=value)."


def _takes_env(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef) or node.decorator_list:
        return False
    given = node.args
    required = len(given.posonlyargs) + len(given.args) - len(given.defaults)
    missing = any(default is None for default in given.kw_defaults)
    return required == 1 and not missing


def _is_env(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "env"


def _is_skills(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "skills" and _is_env(node.value)


def _outside(module: str) -> bool:
    return module.partition(".")[0] not in MODULES


def _no_module(module: str) -> str:
    return f"{module[:60]!r} cannot be imported; only {', '.join(sorted(MODULES))} can."

"""Verifiers as code that runs in a box: the rules' own source, and what a task asks for."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from functools import cache

from agentlab.envs.store import rules
from agentlab.types import Clause, CodeVerifier, JsonObject


def as_rows(clauses: Sequence[Clause]) -> list[JsonObject]:
    """Clauses as the plain JSON that the rules read."""
    return [{"predicate": c.predicate, "arguments": c.arguments} for c in clauses]


def verifier_of(clauses: Sequence[Clause]) -> CodeVerifier:
    """The verifier of a task that asks for these clauses and for nothing else."""
    source = (
        f"{_rules()}\n\nASKED = {as_rows(clauses)!r}\n\n\n"
        "def verify(initial, final, answer):\n"
        "    return met(ASKED, initial, final, answer)\n"
    )
    return CodeVerifier(source=source, origin="human")


@cache
def _rules() -> str:
    """The rules without imports, annotations and documentation."""
    tree = ast.parse(inspect.getsource(rules))
    kept: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            kept.append(_bare(node))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "GONE":
            kept.append(node)
    return "\n\n".join(ast.unparse(node) for node in kept)


def _bare(function: ast.FunctionDef) -> ast.FunctionDef:
    function.returns = None
    for argument in function.args.args:
        argument.annotation = None
    function.body = [
        ast.Assign([node.target], node.value, lineno=node.lineno)
        if isinstance(node, ast.AnnAssign) and node.value is not None
        else node
        for node in function.body[1:]
    ]
    return function

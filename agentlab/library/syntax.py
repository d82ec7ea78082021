"""Which Python a skill and its effect check may consist of: an allow-list, read and never run.

A deny-list of names lets through what nobody thought of: a generator's frame leads to the code
that runs the check, a class pattern reads any attribute, `format` reads them out of a text. So
node types, attributes and built-in names are listed here, and the rest is refused. It is a gate
in front of the box and not instead of it.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator, Sequence

_EXPRESSIONS = (
    ast.Attribute | ast.BinOp | ast.BoolOp | ast.Call | ast.Compare | ast.Constant | ast.Dict
    | ast.DictComp | ast.FormattedValue | ast.GeneratorExp | ast.IfExp | ast.JoinedStr
    | ast.Lambda | ast.List | ast.ListComp | ast.Name | ast.NamedExpr | ast.Set | ast.SetComp
    | ast.Slice | ast.Starred | ast.Subscript | ast.Tuple | ast.UnaryOp
)  # fmt: skip
_STATEMENTS = (
    ast.AnnAssign | ast.Assert | ast.Assign | ast.AugAssign | ast.Break | ast.Continue | ast.Expr
    | ast.For | ast.FunctionDef | ast.If | ast.Match | ast.Pass | ast.Raise | ast.Return | ast.Try
    | ast.While
)  # fmt: skip
_PARTS = (
    ast.Load | ast.Store | ast.alias | ast.arg | ast.arguments | ast.boolop | ast.cmpop
    | ast.comprehension | ast.excepthandler | ast.keyword | ast.match_case | ast.operator
    | ast.pattern | ast.unaryop
)  # fmt: skip

ATTRIBUTES = frozenset(
    """
    add append args as_integer_ratio bit_count bit_length capitalize casefold center clear copy
    count difference discard endswith extend find get index insert intersection is_integer
    isalnum isalpha isascii isdecimal isdigit isdisjoint isidentifier islower isnumeric isspace
    issubset issuperset istitle isupper items join keys ljust lower lstrip partition pop popitem
    remove removeprefix removesuffix replace reverse rfind rindex rjust rpartition rsplit rstrip
    setdefault sort split splitlines startswith strip swapcase symmetric_difference title union
    update upper values zfill
    """.split()
)
"""What may be read of a value: the methods of plain values, less those that read attributes."""
BUILTINS = frozenset(
    """
    abs all any bool chr dict divmod enumerate filter float frozenset int isinstance iter len
    list map max min next object ord pow print range repr reversed round set sorted str sum tuple
    zip ArithmeticError AssertionError AttributeError Exception IndexError KeyError LookupError
    RuntimeError StopIteration TypeError ValueError ZeroDivisionError
    """.split()
)
"""Built-in names that compute with values and change nothing."""
REFUSED = "ToolRefused"
"""What a refused tool call raises; there in a skill, not in a check."""


def beyond(source: str, tree: ast.Module, *, check: bool) -> str | None:
    """What in a parsed source reaches for more than arguments, values and the parts of `env`.

    Args:
        source: the text that was parsed.
        tree: what it parsed to.
        check: for an effect check, which has no `env` and may store nothing but locals.
    """
    nodes = list(ast.walk(tree))
    known = BUILTINS if check else BUILTINS | {REFUSED}
    for reason in (
        *map(_private, nodes),
        *(
            f"it reaches beyond env with {name!r}"
            for name in _free(symtable.symtable(source, "skill", "exec"))
            if name not in known
        ),
        _handed_on(nodes),
        *map(_form, nodes),
        *(map(_kept, nodes) if check else ()),
    ):
        if reason is not None:
            return f"static: {reason}"
    return None


def is_env_skills(node: ast.AST) -> bool:
    """Whether it is `env.skills`."""
    return isinstance(node, ast.Attribute) and node.attr == "skills" and _is_env(node.value)


def _is_env(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "env"


def _private(node: ast.AST) -> str | None:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal):
        return "it imports or reaches outside itself"
    for name in _named(node):
        if name.startswith("_") and name != "_":
            return f"it reaches the private name {name!r}"
    return None


def _handed_on(nodes: Sequence[ast.AST]) -> str | None:
    parts = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    if any((_is_env(node) or is_env_skills(node)) and id(node) not in parts for node in nodes):
        return "it hands on env, instead of calling what is in it"
    return None


def _named(node: ast.AST) -> Iterator[str]:
    """The identifiers in a node itself; what an argument is called with is for its tool."""
    if isinstance(node, ast.keyword):
        return
    for field in ("id", "attr", "arg", "name", "rest"):
        if isinstance(name := getattr(node, field, None), str):
            yield name
    if isinstance(node, ast.MatchClass):
        yield from node.kwd_attrs


def _form(node: ast.AST) -> str | None:
    """Why a node may be neither in a skill nor in a check."""
    match node:
        case ast.Attribute(value=owner, attr=name):
            if not isinstance(node.ctx, ast.Load):
                return f"it stores the attribute {name!r}"
            if not (_is_env(owner) or is_env_skills(owner)) and name not in ATTRIBUTES:
                return f"it reads the attribute {name!r}, which no plain value needs"
        case ast.MatchClass() if node.kwd_attrs:
            return f"it reads the attribute {node.kwd_attrs[0]!r} in a pattern"
        case ast.FunctionDef() if node.decorator_list:
            return "it decorates a function"
        case ast.arguments():
            defaults = [*node.defaults, *(each for each in node.kw_defaults if each)]
            if not all(isinstance(each, ast.Constant) for each in defaults):
                return "a default is not a constant"
        case ast.Module() | ast.expr() | ast.stmt():
            if not isinstance(node, _EXPRESSIONS | _STATEMENTS | ast.Module):
                return f"it uses {type(node).__name__}, which a skill may not"
        case _:
            if not isinstance(node, _PARTS):
                return f"it uses {type(node).__name__}, which a skill may not"
    return None


def _kept(node: ast.AST) -> str | None:
    """By what an effect check could keep something from one call to the next."""
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return "the effect check stores into a value"
    if isinstance(node, ast.AugAssign) and not isinstance(node.target, ast.Name):
        return "the effect check stores into a value"
    if isinstance(node, ast.NamedExpr):
        return "the effect check assigns within an expression"
    if isinstance(node, ast.arguments) and (node.defaults or any(node.kw_defaults)):
        return "the effect check has a default"
    if _is_env(node):
        return "the effect check speaks of env, which it has not got"
    return None


def _free(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that some scope takes from outside the function."""
    outermost = table.get_type() == "module"
    for symbol in table.get_symbols():
        outside = not symbol.is_assigned() if outermost else symbol.is_global()
        if symbol.is_referenced() and outside:
            yield symbol.get_name()
    for child in table.get_children():
        yield from _free(child)

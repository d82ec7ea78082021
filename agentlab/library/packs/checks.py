"""A static report on a pack's files, for the person who decides: advice, never a verdict.

It says what is in the files that one would want to look at: imports, addresses, dynamic code,
hidden text and phrases that speak to a model rather than to a reader. A scan of this kind
misses about one bad skill in six (peers measured theirs at 82.5 % recall), so nothing may be
trusted because it found nothing. `leaks` is the same for our own exports, and there it refuses.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Literal, NamedTuple

from agentlab.errors import UsageError
from agentlab.library.packs.folder import MAX_CODE

Kind = Literal[
    "address",
    "dynamic-code",
    "hidden-comment",
    "import",
    "injection",
    "look-alike",
    "private-name",
    "prerequisite",
    "encoded",
]
MAX_FINDINGS = 200
MAX_OF_A_KIND = 50
"""In one file."""
MAX_EXCERPT = 120


class Finding(NamedTuple):
    """One place worth a look."""

    file: str
    line: int
    """From 1."""
    kind: Kind
    excerpt: str
    """What stands there, in ASCII with escapes: safe to print, still not to be obeyed."""


_ADDRESS = re.compile(r"(?i)\b(?:https?|ftp|wss?|file|data|ssh|git):/{0,2}[^\s\"'<>)\]]{3,}")
_COMMENT = re.compile(r"<!--[^\n]*|^\[(?://|comment)\]: [#<][^\n]*", re.MULTILINE)
_ENCODED = re.compile(r"[A-Za-z0-9+/]{80,}={0,2}|(?:\\x[0-9a-fA-F]{2}){12,}")
_INJECTION = re.compile(
    r"(?i)(?:"
    r"(?:ignore|disregard|forget|override)\s+(?:all\s+|any\s+|the\s+|your\s+)*"
    r"(?:previous|prior|above|earlier|system|other)\b"
    r"|(?:system|developer)\s+(?:prompt|message)|new\s+instructions?\s*:|you\s+are\s+now\b"
    r"|</?(?:system|assistant|user|instructions?|important)>|\[ ?/?INST\]|< ?\|[a-z_]+\|>"
    r"|do\s+not\s+(?:tell|mention|reveal|inform|show)\b.{0,40}\b(?:user|human|anyone)"
    r"|(?:without|never)\s+(?:telling|asking|informing)\s+the\s+(?:user|human)"
    r"|(?:give|award|score|rate)\s+(?:me|this|it)\b.{0,30}\b(?:10/10|full\s+marks|highest|100\s*%)"
    r"|(?:always|must)\s+(?:call|use|prefer|run)\s+(?:this|the)\s+(?:skill|tool)"
    r"|(?:send|post|upload|exfiltrate|forward)\b.{0,60}\b(?:key|token|secret|password|credential)"
    r"|(?:api[_ ]?key|password|secret|token)s?\b.{0,40}\b(?:send|post|upload|to\s+https?:)"
    r")"
)
_PREREQUISITE = re.compile(
    r"(?i)(?:\bpip3?\s+install|\bnpm\s+(?:i|install)\b|\bcurl\s|\bwget\s|\bchmod\s+\+x|\bsudo\s"
    r"|\|\s*(?:ba|z)?sh\b|powershell|invoke-webrequest|prerequisites?\s*:)"
)
_DYNAMIC = {
    *("eval", "exec", "compile", "__import__", "globals", "locals", "vars", "getattr", "setattr"),
    *("delattr", "open", "input", "breakpoint", "memoryview"),
}
_SECRETS = (
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("an access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    (
        "an access token",
        re.compile(
            r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{18,}|hf_[A-Za-z0-9]{30,}"
            r"|xox[abprs]-[\w-]{10,}|sk-[A-Za-z0-9_-]{20,}|pypi-[\w-]{40,}|npm_[A-Za-z0-9]{30,}"
            r"|AIza[\w-]{35}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
        ),
    ),
    (
        "a password in an address",
        re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,99}:[^\s/@]{1,99}@"),
    ),
    ("a path of somebody's home", re.compile(r"/(?:home|Users|root)/[\w.-]+|[A-Z]:\\Users\\\w")),
)
_SECRET_NAME = re.compile(r"(?i)key|token|secret|passw|credential|auth")
_LEAST_SECRET = 8
"""Characters from which a value of the environment is searched for."""


def report(files: Mapping[str, bytes]) -> list[Finding]:
    """What is worth a look, by file and line; at most `MAX_FINDINGS`."""
    found: list[Finding] = []
    for path in sorted(files):
        if path.endswith(".dsse.json"):
            continue
        text = files[path].decode("utf-8", "replace")
        found += sorted({*_in_text(path, text), *(_in_code(path, text))}, key=lambda f: f[:3])
        if len(found) >= MAX_FINDINGS:
            break
    return found[:MAX_FINDINGS]


def check_leaks(files: Mapping[str, bytes], environment: Mapping[str, str] | None = None) -> None:
    """Refuse to export what looks like a secret or names somebody's home folder.

    Args:
        files: of the pack that is to leave.
        environment: variables of the process; the values of those that are named like
            secrets must not stand in a file.

    Raises:
        UsageError: names the file and what was found, never the secret.
    """
    values = [
        value
        for name, value in (environment or {}).items()
        if _SECRET_NAME.search(name) and len(value) >= _LEAST_SECRET
    ]
    for path in sorted(files):
        # Signatures and licences are no place for secrets, and their letters look like some.
        if path.endswith(".dsse.json") or path.startswith("LICENSES/"):
            continue
        text = files[path].decode("utf-8", "replace")
        what = next((name for name, pattern in _SECRETS if pattern.search(text)), None)
        if what is None and any(value in text for value in values):
            what = "the value of a secret variable"
        if what is not None:
            raise UsageError(
                f"The file {path!r} holds {what}; take it out before the pack is exported."
            )


def _in_text(path: str, text: str) -> Iterator[Finding]:
    patterns: Iterable[tuple[Kind, re.Pattern[str]]] = (
        ("address", _ADDRESS),
        ("injection", _INJECTION),
        ("prerequisite", _PREREQUISITE),
        ("hidden-comment", _COMMENT),
        ("encoded", _ENCODED),
    )
    for kind, pattern in patterns:
        if kind == "encoded" and path.endswith(".json"):
            continue
        for match in islice(pattern.finditer(text), MAX_OF_A_KIND):
            yield _finding(path, text.count("\n", 0, match.start()) + 1, kind, match[0])
    for number, line in enumerate(text.splitlines(), 1):
        for word in re.findall(r"\w+", line):
            # Letters of two alphabets in one word are how a name looks like another.
            if not word.isascii() and re.search(r"[A-Za-z]", word) and _mixes(word):
                yield _finding(path, number, "look-alike", word)


def _mixes(word: str) -> bool:
    """Whether a word mixes Latin letters with Greek or Cyrillic ones, or full-width forms."""
    return any(
        "\u0370" <= c <= "\u052f" or "\uff00" <= c <= "\uffef" or "\U0001d400" <= c <= "\U0001d7ff"
        for c in word
    )


def _in_code(path: str, text: str) -> Iterator[Finding]:
    if not path.endswith(".py") or len(text) > MAX_CODE:
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _finding(path, node.lineno, "import", alias.name)
        elif isinstance(node, ast.ImportFrom):
            yield _finding(path, node.lineno, "import", node.module or ".")
        elif isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if isinstance(node, ast.Name) and name in _DYNAMIC:
                yield _finding(path, node.lineno, "dynamic-code", name)
            elif name.startswith("_") and name != "_":
                yield _finding(path, node.lineno, "private-name", name)


def _finding(path: str, line: int, kind: Kind, text: str) -> Finding:
    return Finding(path, line, kind, ascii(text)[1:-1][:MAX_EXCERPT])

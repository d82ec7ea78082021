"""Words in a learnt text that speak to the machinery instead of telling how to act.

Advice is distilled from pages and tool results that strangers wrote, so an insight can carry what
they planted: an order to forget the rules, a verdict for a judge, a tool call ready to be copied.
Whoever quotes advice marks it as data (`models.prompts`); this turns down the plain cases before
they get that far. It is a list of what is known, so it finds no paraphrase, and nothing rests on
it alone.
"""

from __future__ import annotations

import re
import unicodedata

_ORDERS = (
    (
        "an order to drop other instructions",
        r"\b(ignore|disregard|forget|override|overrule)\b[^.\n]{0,40}"
        r"\b(instructions?|rules?|prompts?|polic(y|ies)|guidelines?)\b",
    ),
    (
        "an order to drop other instructions",
        r"\b(you are now|from now on you|new instructions?:|system prompt)\b",
    ),
    (
        "an order to take up another task",
        r"\b(ignore|disregard|forget|abandon)\b[^.\n]{0,20}\b(task|goal|mission)s?\b"
        r"|\byour (new|real|true|actual) (task|goal|mission)\b",
    ),
    (
        "an order to tell a secret",
        r"\b(reveal|disclose|leak|tell|send|print|post)\b[^.\n]{0,40}"
        r"(\bapi[ _-]?keys?\b|_(api_)?(key|token|secret)\b"
        r"|\b(your|the agent's) (key|token|secret|credential)s?\b)",
    ),
    (
        "words for a judge",
        r"\b(the|any|every|all|dear|your)\s+(judge|evaluator|grader|verifier|scorer|curator)s?\b"
        r"[^.\n]{0,60}\b(must|should|shall|mark|give|return|score|pass|accept|approve|report)\b",
    ),
    (
        "words for a judge",
        r"\b(mark|score|grade|count|report|label|rate)\b[^.\n]{0,40}"
        r"\bas (a )?(success(ful)?|solved|passed|correct|complete[d]?|helpful)\b",
    ),
    (
        "a verdict",
        r"\b(verdict|success|score|reward)\b\W{0,3}[:=]\s*\W?(true|yes|pass\w*|1(\.0)?)\b",
    ),
    ("a speaker's mark", r"< ?\|?/?(im_start|im_end|system|assistant|user|tool)\b[^>]*>"),
    ("a speaker's mark", r"\[ ?/?(inst|sys)\]|(?m:^\s*#*\s*(system|assistant|tool)\s*:)"),
    ("a tool call", r"</?\s*(tool|function)_?(call|use|result)s?\b"),
    ("a tool call", r"\"?\b(tool_calls|function_call|tool_use)\b\"?\s*:"),
    (
        "a tool call",
        r"\{[^{}]*\"(name|tool|function)\"\s*:[^{}]*\"(arguments|parameters|input)\"\s*:",
    ),
    ("a mark of quotation", "[⟦⟧]"),
)
_PATTERNS = tuple((what, re.compile(pattern, re.IGNORECASE)) for what, pattern in _ORDERS)


def planted(*texts: str) -> str | None:
    """What in the texts speaks to the machinery, or None.

    Letters are compared in their compatibility form and without what is not shown, so that full
    width letters and soft hyphens hide nothing.
    """
    for text in texts:
        plain = "".join(
            c for c in unicodedata.normalize("NFKC", text) if c == "\n" or c.isprintable()
        )
        for what, pattern in _PATTERNS:
            if pattern.search(plain):
                return what
    return None

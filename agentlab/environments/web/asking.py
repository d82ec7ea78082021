"""Asking a page by a script of ours, so that what comes back is bounded before it leaves the page.

Our scripts run among the page's own, which may have put anything in the place of what ours call: a
text may read as a gigabyte. So an answer crosses as one text, and whether it is one, and how long,
is told by operators of the language, which no page can replace. What is longer is no answer. What
an answer says is still the page's word; see `hearsay`.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from agentlab.environments.web.browser import ElementHandle, Frame, Locator, Page

MOST_ANSWER = 1_000_000
"""Characters of an answer; scripts of ours give a tenth of it of a page that means no harm."""
_BOUNDED = """async ({given}) => {{
  let left = asked.most;
  const spell = (value, depth) => {{
    let told = "null";
    if (typeof value === "string") told = JSON.stringify(value);
    else if (typeof value === "boolean" || typeof value === "number" && value - value === 0)
      told = `${{value}}`;
    else if (typeof value === "object" && value !== null) {{
      if (depth > 30) throw 0;
      const list = Array.isArray(value);
      told = "";
      if (list) for (let at = 0; at < value.length; at += 1)
        told += (at ? "," : "") + spell(value[at], depth + 1);
      else for (const name in value) {{
        if (typeof value[name] === "function" || typeof value[name] === "undefined") continue;
        left -= name.length + 4;
        told += (told && ",") + JSON.stringify(name) + ":" + spell(value[name], depth + 1);
      }}
      left -= 2;
      return list ? "[" + told + "]" : "{{" + told + "}}";
    }}
    if (typeof told !== "string" || (left -= told.length) < 0) throw 0;
    return told;
  }};
  try {{ return spell(await ({script})({passed}), 0); }} catch {{ return null; }}
}}"""
"""Spelt part by part: of a whole object JSON would ask for a `toJSON`, which libraries of old put
into every list, and which may say anything."""
CUT = """(text, most) => {
  if (typeof text !== "string") return "";
  if (text.length <= most) return text;
  let part = "";
  for (let at = 0; at < most; at += 1) part += text[at];
  return part;
}"""
"""The beginning of a text, by operators alone: `slice` may be the page's own."""


async def told_by(
    asked: Page | Frame, source: str, given: object = None, *, most: int = MOST_ANSWER
) -> object:
    """What a script says in a page: as JSON knows it, None where it is longer or was broken off.

    Args:
        asked: where it runs.
        source: a function in JavaScript.
        given: what it is called with.
        most: characters that the answer may have.

    Raises:
        BrowserError: the page went elsewhere, or is lost.
    """
    answer: Any = await asked.evaluate(_of_page(source), {"most": most, "given": given})
    return _read(answer, most)


async def told_of(
    asked: Locator | ElementHandle,
    source: str,
    given: object = None,
    *,
    most: int = MOST_ANSWER,
) -> object:
    """The same of one element, which the function gets first.

    Raises:
        BrowserError: the element is gone, or the page.
    """
    answer: Any = await asked.evaluate(_of_element(source), {"most": most, "given": given})
    return _read(answer, most)


@cache
def _of_page(source: str) -> str:
    return _BOUNDED.format(given="asked", script=source, passed="asked.given")


@cache
def _of_element(source: str) -> str:
    return _BOUNDED.format(given="element, asked", script=source, passed="element, asked.given")


def _read(answer: object, most: int) -> object:
    if not isinstance(answer, str) or len(answer) > most:
        return None
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None

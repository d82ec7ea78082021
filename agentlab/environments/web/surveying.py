"""What a crawl met, told to a reader in so many characters.

What stands on most pages is told once. Pages come in the order in which they were visited, and
what does not fit is counted. Everything told here was written by the site: it is data.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import cast

from pydantic import JsonValue

from agentlab.types import JsonObject

LONGEST = 6_000
MOST_TOLD = 12
"""Links, buttons or addresses in one line."""
COMMON = 0.8
"""Of the pages, those that a thing must be on to be told once for all."""


def told(found: JsonObject, *, most: int = LONGEST) -> str:
    """The crawl's result in at most about so many characters, saying what is left out."""
    pages = [page for page in _objects(found.get("pages")) if "failed" not in page]
    failed = [page for page in _objects(found.get("pages")) if "failed" in page]
    common = {part: _common(pages, part) for part in ("links", "buttons", "headings")}
    forms = _common_forms(pages)
    head = [_summary(found, pages)]
    if len(pages) > 1:
        everywhere = [
            *(f"{part}: {_listed(sorted(names))}" for part, names in common.items() if names),
            *(f"form {each}" for each in sorted(forms)),
        ]
        head += ["On every page:", *(f"  {line}" for line in everywhere)] if everywhere else []
    tail = _left(found, failed)
    room = most - sum(len(line) + 1 for line in (*head, *tail)) - 60
    blocks = ["\n".join(_page(page, common, forms)) for page in pages]
    kept: list[str] = []
    while blocks and len(blocks[0]) + 1 <= room:
        room -= len(blocks[0]) + 1
        kept.append(blocks.pop(0))
    if blocks:
        kept.append(f"(… {len(blocks)} more pages that were visited are not told here.)")
    return "\n".join([*head, *kept, *tail])[: 2 * most]


def _summary(found: JsonObject, pages: Sequence[JsonObject]) -> str:
    waiting = found.get("not_visited")
    more = len(waiting) if isinstance(waiting, list) else 0
    why = f": {found['ended']}" if found.get("ended") else ""
    left = f"; {more} known addresses were not visited{why}" if more else ""
    return f"A look around visited {len(pages)} pages{left}."


def _page(page: JsonObject, common: dict[str, set[str]], known: set[str]) -> list[str]:
    """What a page has that was not told of one before; `known` gains what is told of it."""
    lines = [f'{page["address"]}: "{page.get("title", "")}"']
    for part in ("headings", "links", "buttons"):
        names = [name for name in _names(page, part) if name not in common[part]]
        if names:
            lines.append(f"  {part}: {_listed(names)}")
    parts = [f"  form {each}" for each in map(_form, _objects(page.get("forms")))]
    for each in _objects(page.get("lists")):
        acts = f", each with {', '.join(_texts(each.get('acts')))}" if each.get("acts") else ""
        parts.append(f'  list of {each.get("of")}{acts}, the first: "{each.get("first")}"')
    lines += [part for part in parts if part.removeprefix("  form ") not in known]
    known.update(part.removeprefix("  form ") for part in parts)
    for each in _objects(page.get("opens")):
        leads = f" leads to {each['leads_to']} and" if each.get("leads_to") else ""
        lines.append(
            f'  "{each.get("control")}" opened{leads} shows: {_listed(_texts(each.get("shows")))}'
        )
    for each in _objects(page.get("sends")):
        leads = f" leads to {each['leads_to']}" if each.get("leads_to") else ""
        says = f" and says {_listed(_texts(each.get('says')))}" if each.get("says") else ""
        lines.append(f'  sent as it stood, "{each.get("button")}"{leads}{says or ""}')
    return lines


def _form(form: JsonObject) -> str:
    """A form in one line: what sends it, and what can be put into it."""
    fields: list[str] = []
    for field in _objects(form.get("fields")):
        options = _texts(field.get("options"))
        of = f" of {_listed(options)}" if options else ""
        needed = ", required" if field.get("required") else ""
        fields.append(f'{field.get("kind")} "{field.get("label")}"{of}{needed}')
    buttons = " or ".join(f'"{each}"' for each in _texts(form.get("buttons"))[:4]) or "no button"
    effect = "reads" if form.get("method") == "GET" else "changes something"
    named = f'"{form["name"]}" ' if form.get("name") else ""
    return f"{named}({effect}, {buttons}): {'; '.join(fields) or 'no field'}"


def _left(found: JsonObject, failed: Sequence[JsonObject]) -> list[str]:
    """What the look around did not do, and why."""
    lines: list[str] = []
    waiting = _texts(found.get("not_visited"))
    if waiting:
        lines.append(f"Not visited: {_listed(waiting)}.")
    if found.get("too_deep"):
        lines.append(f"{found['too_deep']} links lead further than it went.")
    for part, said in (
        ("left_alone", "Links left alone, since by their words they end something"),
        ("stopped", "Requests that pages made by themselves and that were stopped"),
        ("elsewhere", "Links lead to other sites, which cannot be reached"),
    ):
        names = _texts(found.get(part))
        if names:
            lines.append(f"{said}: {_listed(names)}.")
    lines += [f"{page['address']} could not be opened: {page['failed']}" for page in failed[:5]]
    return lines


def _common(pages: Sequence[JsonObject], part: str) -> set[str]:
    counts = Counter(name for page in pages for name in set(_names(page, part)))
    return {name for name, count in counts.items() if count > 1 and count >= COMMON * len(pages)}


def _common_forms(pages: Sequence[JsonObject]) -> set[str]:
    counts = Counter(
        form for page in pages for form in set(map(_form, _objects(page.get("forms"))))
    )
    return {form for form, count in counts.items() if count > 1 and count >= COMMON * len(pages)}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:MOST_TOLD])
    return f"{shown} and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else shown


def _objects(value: JsonValue) -> list[JsonObject]:
    if not isinstance(value, list):
        return []
    return [cast("JsonObject", each) for each in value if isinstance(each, dict)]


def _texts(value: JsonValue) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _names(page: JsonObject, part: str) -> list[str]:
    """What things are called, those of one name once."""
    return list(dict.fromkeys(re.sub(r" #\d+$", "", name) for name in _texts(page.get(part))))

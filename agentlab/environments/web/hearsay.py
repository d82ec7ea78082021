"""What scripts of ours bring back from a page, taken only as far as it has the form it should.

They run among the page's own scripts, which may have put anything in the place of what ours call:
a number may come as a text, a list as nothing, a name as megabytes. So no part of an answer is
believed to be of its kind, and none is longer here than a page that means no harm would make it.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from agentlab.types import JsonObject

MOST_THINGS = 200
MOST_NAME = 1_000
"""Characters of a description; `page.js` makes none that is longer."""
MOST_BESIDE = 8
"""Texts that are told of what stands around a thing."""
MOST_OUTLINE = 16_000
MOST_NUMBER = 2**53


class Unnamed(NamedTuple):
    """Something that the tree does not name, by what the document says of it."""

    name: str
    x: int
    y: int
    width: int
    height: int
    colour: str = ""
    text: str = ""
    """What stands in it."""
    drawn: bool = False
    beside: tuple[str, ...] = ()
    """The texts around it, where it has none: of the row it stands in, say."""


class Facts(NamedTuple):
    """What `page.js` tells of a page."""

    large: bool
    title: str
    unnamed: tuple[Unnamed, ...]
    left: int
    outline: str
    mark: str
    top: int
    height: int
    changes: str
    passwords: tuple[str, ...]


def clean(text: str) -> str:
    """The text without halves of surrogate pairs, which a page can say and nothing can keep."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def facts_of(answer: object) -> Facts:
    """What of an answer of `page.js` can be taken."""
    told = _object(answer)
    unnamed = (_object(each) for each in _list(told.get("unnamed")))
    return Facts(
        large=told.get("large") is True,
        title=line(told.get("title"), 200),
        unnamed=tuple(
            Unnamed(
                line(each["name"], MOST_NAME),
                *(_number(each.get(part)) for part in ("x", "y", "width", "height")),
                colour=line(each.get("colour"), 100),
                text=line(each.get("text"), 200),
                drawn=each.get("drawn") is True,
                beside=tuple(line(text, 60) for text in _list(each.get("beside"))[:MOST_BESIDE]),
            )
            for each in unnamed
            if each.get("name") and isinstance(each["name"], str)
        ),
        left=_number(told.get("left")),
        outline=_text(told.get("outline"), MOST_OUTLINE),
        mark=_text(told.get("mark"), 100),
        top=_number(told.get("top")),
        height=_number(told.get("height")),
        changes=_text(told.get("changes"), 100),
        passwords=passwords_of(told.get("passwords")),
    )


def passwords_of(answer: object) -> tuple[str, ...]:
    """What stands in fields for passwords."""
    return tuple(each for each in _list(answer) if isinstance(each, str) and each)


def numbers_of(answer: object, most: int) -> list[float]:
    """So many numbers of a list at most; none where it holds anything else, or is no list."""
    told = _list(answer)[:most]
    fit = [each for each in told if isinstance(each, int | float) and abs(each) < MOST_NUMBER]
    return [float(each) for each in fit] if len(fit) == len(told) else []


def lines_of(answer: object, most: int, characters: int) -> list[str]:
    """The texts of a list, so many at most, each in a line of so many characters."""
    return [line(each, characters) for each in _list(answer)[:most] if isinstance(each, str)]


def forms_of(answer: object, most: int) -> tuple[list[JsonObject], list[str]]:
    """What of an answer of `forms.js` can be taken: forms, and names of what can be opened.

    Args:
        answer: of the script.
        most: characters of a name.
    """
    told = _object(answer)
    closed = [line(each, most) for each in _list(told.get("closed")) if isinstance(each, str)]
    return [_form(_object(each), most) for each in _list(told.get("forms"))], closed


def _form(told: dict[str, object], most: int) -> JsonObject:
    return {
        "name": line(told.get("name"), most),
        "method": line(told.get("method"), 8),
        "leads_to": line(told.get("leads_to"), 120),
        "fields": [_field(_object(each), most) for each in _list(told.get("fields"))],
        "buttons": [line(each, most) for each in _list(told.get("buttons"))],
    }


def _field(told: dict[str, object], most: int) -> JsonObject:
    field: JsonObject = {"label": line(told.get("label"), most), "kind": line(told.get("kind"), 40)}
    if told.get("required") is True:
        field["required"] = True
    if "options" in told:
        field["options"] = [line(each, most) for each in _list(told["options"])]
    if told.get("pattern"):
        field["pattern"] = line(told["pattern"], most)
    return field


def line(value: object, most: int) -> str:
    """A text in one line; empty where it is none."""
    return " ".join(_text(value, 4 * most).split())[:most]


def _text(value: object, most: int) -> str:
    return clean(value[:most]) if isinstance(value, str) else ""


def _number(value: object) -> int:
    fits = isinstance(value, int | float) and -MOST_NUMBER < value < MOST_NUMBER
    return int(cast("float", value)) if fits else 0


def _list(value: object) -> list[object]:
    return cast("list[object]", value)[:MOST_THINGS] if isinstance(value, list) else []


def _object(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}

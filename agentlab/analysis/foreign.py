"""Text that came from elsewhere, as it is shown: nothing in it is obeyed, and nothing is unseen.

Names, instructions, observations and reasons are written by pages, tools, models and packs. What
a terminal or a browser would act on, or show as nothing, is spelt out: control characters, escape
sequences, marks of direction, characters without a shape. This escapes no markup.
"""

from __future__ import annotations

import re

BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164"
    "\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What Python calls printable and yet shows as nothing: the default-ignorable code points of
Unicode that are letters or marks, and the empty Braille pattern."""
_BREAK = re.compile(r"\s*\n\s*")


def one_line(text: str) -> str:
    """The text on a single line, control characters shown and not obeyed."""
    return clean(" ".join(text.split()))


def unbroken(text: str) -> str:
    """As `one_line`, but indentation and the gaps between words stay as they are."""
    return clean(_BREAK.sub(" ", text))


def clean(text: str) -> str:
    """Text that came from elsewhere, safe to show: what cannot be seen is spelt out.

    That is control characters, escape sequences, marks of direction and characters without a
    shape. Line breaks stay: only code may have them, the rest goes through `unbroken`.
    """
    return "".join(c if c == "\n" or visible(c) else _spelt(c) for c in text)


def visible(character: str) -> bool:
    """Whether a character shows as itself."""
    return character.isprintable() and BLANK.match(character) is None


def _spelt(character: str) -> str:
    shown = repr(character)[1:-1]
    if shown != character:
        return shown
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

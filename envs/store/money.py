"""Amounts in cents, as text and back."""

from __future__ import annotations

import re

CURRENCY = "$"
_AMOUNT = re.compile(r"\$?\s*(\d{1,6})(?:\.(\d{1,2}))?")


def say_money(cents: int) -> str:
    """Such as `$24.50`."""
    return f"{CURRENCY}{cents // 100:,}.{cents % 100:02d}"


def plain_money(cents: int) -> str:
    """Such as `24.50`, as it is typed into a field."""
    return f"{cents // 100}.{cents % 100:02d}"


def parse_money(text: str) -> int | None:
    """Cents, or None where the text is no amount."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        return None
    return int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0"))

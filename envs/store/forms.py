"""What people type, checked: values that can be used, and a message beside each field that not.

A message says what to type, not what is wrong with the person. Nothing is stored from a form
that has any error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from agentlab.envs.store.money import parse_money

EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
PHONE = re.compile(r"\+?[\d ]{7,20}")
POSTCODE = re.compile(r"[A-Za-z]{1,2}\d{1,2} ?\d[A-Za-z]{2}")
LONGEST = 120


class Form:
    """The fields of one posted form and what is wrong with them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = dict(values)
        self.errors: dict[str, str] = {}

    @property
    def valid(self) -> bool:
        """Whether nothing was wrong so far."""
        return not self.errors

    def refuse(self, name: str, message: str) -> None:
        """Note an error; the first one of a field counts."""
        self.errors.setdefault(name, message)

    def text(self, name: str, *, longest: int = LONGEST, required: bool = True) -> str:
        """A line of text, with single spaces."""
        value = " ".join(self.values.get(name, "").split())
        if required and not value:
            self.refuse(name, "Please fill this in.")
        elif len(value) > longest:
            self.refuse(name, f"Please use at most {longest} characters.")
        elif any(not character.isprintable() for character in value):
            self.refuse(name, "Please use letters, digits and punctuation only.")
        return value

    def matching(self, name: str, pattern: re.Pattern[str], message: str) -> str:
        """Text of one shape."""
        value = self.text(name)
        if name not in self.errors and pattern.fullmatch(value) is None:
            self.refuse(name, message)
        return value

    def email(self, name: str = "email") -> str:
        """An e-mail address, in small letters."""
        message = "Please enter an e-mail address such as name@example.com."
        return self.matching(name, EMAIL, message).lower()

    def phone(self, name: str = "phone") -> str:
        """A telephone number."""
        return self.matching(name, PHONE, "Please enter 7 to 20 digits, such as 020 123 4567.")

    def postcode(self, name: str = "postcode") -> str:
        """A postcode, in capitals."""
        message = "Please enter a postcode such as AS1 2BL."
        return self.matching(name, POSTCODE, message).upper()

    def password(self, name: str, again: str) -> str:
        """A new password, typed twice."""
        value = self.values.get(name, "")
        if not 10 <= len(value) <= LONGEST:
            self.refuse(name, "Please choose a password of at least 10 characters.")
        elif self.values.get(again, "") != value:
            self.refuse(again, "The two passwords differ; please type the same twice.")
        return value

    def whole(self, name: str, lowest: int, highest: int) -> int:
        """A whole number within limits."""
        value = self.values.get(name, "").strip()
        if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or not lowest <= int(value) <= highest:
            self.refuse(name, f"Please enter a whole number from {lowest} to {highest}.")
            return lowest
        return int(value)

    def money(self, name: str, lowest: int = 1, highest: int = 999_999) -> int:
        """An amount, in cents."""
        cents = parse_money(self.values.get(name, ""))
        if cents is None or not lowest <= cents <= highest:
            self.refuse(name, "Please enter an amount such as 24.50.")
            return lowest
        return cents

    def choice(self, name: str, options: Collection[str]) -> str:
        """One of the options."""
        value = self.values.get(name, "")
        if value not in options:
            self.refuse(name, "Please choose one of these.")
        return value

    def card(self, name: str = "card") -> str:
        """A card number; its last four digits are what comes back."""
        digits = re.sub(r"[ -]", "", self.values.get(name, ""))
        if not re.fullmatch(r"\d{16}", digits, re.ASCII) or not _luhn(digits):
            self.refuse(name, "Please enter the 16 digits on the front of your card.")
        return digits[-4:]


def _luhn(digits: str) -> bool:
    doubled = [int(d) * (2 - i % 2) for i, d in enumerate(digits)]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0

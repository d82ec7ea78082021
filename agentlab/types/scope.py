"""Scopes: whose an item or an attempt is: everybody's, a tenant's, or one user's of a tenant.

What is learnt for a user stays with that user until somebody promotes it. A scope reads its own
items and those of the scopes around it, never those beside or below it.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import model_validator

from agentlab.errors import UsageError
from agentlab.types.base import Frozen, derive_id

Level = Literal["shared", "tenant", "user"]
LEVELS: tuple[Level, ...] = ("shared", "tenant", "user")
"""From the widest to the narrowest."""
LONGEST_NAME = 64
LONGEST_SCOPE = 2 * LONGEST_NAME + 1
"""Characters of a path."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_@+.-]{0,62}[A-Za-z0-9])?")


class Scope(Frozen):
    """Whose something is; with neither a tenant nor a user, everybody's.

    Example:
        >>> Scope(tenant="acme", user="ann").readable
        ('', 'acme', 'acme/ann')

    Names are 1 to 64 ASCII letters, digits and `_ @ + . -`, begin and end with a letter or a
    digit and hold no `..`; they are kept and compared as they are.

    Raises:
        UsageError: a name is not of that form, or there is a user without a tenant.
    """

    tenant: str = ""
    user: str = ""

    @model_validator(mode="after")
    def _is_plain(self) -> Scope:
        for what, name in (("tenant", self.tenant), ("user", self.user)):
            if name and (not _NAME.fullmatch(name) or ".." in name):
                raise UsageError(
                    f"The {what} {name[:80]!r} is no plain name; use up to {LONGEST_NAME} letters, "
                    "digits and _ @ + . - between them, such as an account's id."
                )
        if self.user and not self.tenant:
            raise UsageError(f"The user {self.user!r} needs a tenant; name one beside it.")
        return self

    @classmethod
    def parse(cls, path: str) -> Scope:
        """The scope of a path: empty for the shared one, `acme`, or `acme/ann`.

        Raises:
            UsageError: it is none.
        """
        tenant, slash, user = path.partition("/")
        if (slash and not (tenant and user)) or "/" in user:
            raise UsageError(
                f"{path[:200]!r} is no scope; write TENANT or TENANT/USER, or nothing for shared."
            )
        return cls(tenant=tenant, user=user)

    @property
    def path(self) -> str:
        """Empty where it is shared, `acme` or `acme/ann`."""
        return f"{self.tenant}/{self.user}" if self.user else self.tenant

    @property
    def level(self) -> Level:
        """How wide it is."""
        return "user" if self.user else "tenant" if self.tenant else "shared"

    @property
    def readable(self) -> tuple[str, ...]:
        """Paths of what may be read in it, the widest first: shared, its tenant, its user."""
        paths = ("", self.tenant, self.path)
        return tuple(dict.fromkeys(paths))

    def around(self, level: Level) -> Scope:
        """The scope of that level that this one lies in; itself where it has that level.

        Raises:
            UsageError: it is wider than that.
        """
        if LEVELS.index(level) > LEVELS.index(self.level):
            raise UsageError(
                f"{self} holds no one {level}; name the scope in full, as TENANT or TENANT/USER."
            )
        if level == "shared":
            return SHARED
        return Scope(tenant=self.tenant) if level == "tenant" else self

    def holds(self, other: Scope) -> bool:
        """Whether the other lies in this one, or is it."""
        return self.path in other.readable

    def __str__(self) -> str:
        return self.path or "the shared scope"


SHARED = Scope()
"""Everybody's, and the default everywhere: it never reads what is a tenant's."""


def depth(path: str) -> int:
    """How near a scope of that path is to one user: 0 shared, 1 a tenant's, 2 a user's."""
    return 0 if not path else 1 + path.count("/")


def scoped_id(scope: Scope, item_id: str) -> str:
    """The id of an item that is made for a scope: that of a shared one is as it was.

    Ids tell what an item is, so two tenants that learn the same would have one item; and each
    would know of the other.
    """
    if scope == SHARED:
        return item_id
    return derive_id(item_id.partition("-")[0], scope.path, item_id)

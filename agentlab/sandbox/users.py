"""A user that owns nothing, for skill code where the agent runs as root.

Root's processes escape the limit on their number, may signal anything and own most files. The
user is taken from the range that is kept for services without an account, never `nobody`,
whom other programs use.
"""

from __future__ import annotations

from functools import cache

try:
    import pwd
except ImportError:  # not a POSIX system
    pwd = None

RANGE = range(65519, 61183, -1)
"""The range that systemd keeps for users made on the fly; it lies within every usual map."""


@cache
def spare_user() -> int:
    """The number of a user without an account; its group has the same number."""
    for user in RANGE:
        if pwd is None:
            break
        try:
            pwd.getpwuid(user)
        except KeyError:
            return user
    return RANGE[0]

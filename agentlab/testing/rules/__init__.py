"""Rules that play each role for the model server, and for a `ScriptedModel`.

A rule is a function from a `ChatRequest` to a reply. It knows what a small model might know of the
world it acts in, reads the rest from the request, and is imperfect on purpose, so that advice and
skills can help; it never sees a task's verifier or its answer. What these rules learn shows that
the loop works, and is no claim of learning.

A set of rules plays every role: an executor for one environment, and the rules for the other
roles, which are the same in each (`roles`).
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from agentlab.errors import ConfigError, UnknownNameError
from agentlab.models.scripted import Rule

RULES = {
    "babyai": "agentlab.testing.rules.roles:babyai_rules",
    "burrow": "agentlab.testing.rules.roles:burrow_rules",
    "courier": "agentlab.testing.rules.roles:courier_rules",
    "files": "agentlab.testing.rules.roles:files_rules",
    "git": "agentlab.testing.rules.roles:git_rules",
    "store": "agentlab.testing.rules.roles:store_rules",
    "tools": "agentlab.testing.rules.roles:tools_rules",
}
"""Names of the shipped sets, and where they are."""


def load_rule(name: str) -> Rule:
    """The rule that plays the roles of an environment.

    Args:
        name: one of `RULES`, or `module:function`.

    Example:
        >>> callable(load_rule("courier"))
        True

    Raises:
        UnknownNameError: there is none of that name.
        ConfigError: the module has no such function.
    """
    where = name if ":" in name else RULES.get(name)
    if where is None:
        raise UnknownNameError("rule", name, RULES)
    module, _, function = where.partition(":")
    try:
        found: object = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"The rule {name!r} cannot be loaded: {error}.") from None
    if not callable(found):
        raise ConfigError(f"The rule {name!r} is no function.")
    return cast("Rule", found)

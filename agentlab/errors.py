"""Every error a caller can meet, named after the boundary that was crossed.

A failed attempt is data (a score), never an exception from here. These are raised when a run
is misconfigured, when something outside agentlab broke, or when a promise would be broken by
going on. Each message is one sentence that names the thing and the fix.

    AgentLabError
    ├── UsageError                  the caller asked for something impossible (exit code 2)
    │   ├── ConfigError             a config file, flag or variable is wrong
    │   ├── UnknownNameError        no such environment, model, role…; says what is near
    │   ├── MissingExtraError       an optional dependency is needed; says what to install
    │   ├── NothingToExportError    no attempt can be written as was asked
    │   ├── InvalidTaskError        a mission cannot be composed or set up as asked
    │   └── SigningKeyError         a key file cannot be made, read or trusted
    ├── EnvironmentFaultError       reset or step of an environment raised or broke its contract
    ├── VerifierFaultError          a verifier raised, disagreed with itself or never ended
    ├── SkillFaultError             skill code raised, broke the line protocol or hit a limit
    │   └── SkillRefusedError       code that may not run here
    ├── ModelFaultError             a model endpoint failed
    │   └── GateInterruptedError    the model server went away during a gate, which can go on
    ├── TrainingRefusedError        data, base or adapter are not what training on them supposes
    ├── TrainerFaultError           a trainer's process ended without weights
    ├── BudgetSpentError            a model call would pass a budget, and was not made
    ├── RecordsError                the record store cannot be used
    │   ├── NewerDatabaseError      written by a newer agentlab
    │   └── WorkspaceError          the workspace is read-only, full or missing
    │       └── RunInUseError       another process works in this run directory
    ├── AdapterRefusedError         trained weights are not what they say, or not what is served
    ├── PackRefusedError            a pack breaks a limit, its manifest or its signature
    └── IndexFaultError             a derived index is missing, stale, locked or damaged
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "AdapterRefusedError",
    "AgentLabError",
    "BudgetSpentError",
    "ConfigError",
    "EnvironmentFaultError",
    "GateInterruptedError",
    "IndexFaultError",
    "InvalidTaskError",
    "MissingExtraError",
    "ModelFaultError",
    "NewerDatabaseError",
    "NothingToExportError",
    "PackRefusedError",
    "RecordsError",
    "RunInUseError",
    "SigningKeyError",
    "SkillFaultError",
    "SkillRefusedError",
    "TrainerFaultError",
    "TrainingRefusedError",
    "UnknownNameError",
    "UsageError",
    "VerifierFaultError",
    "WorkspaceError",
]


class AgentLabError(Exception):
    """Raised when agentlab cannot go on; the base of everything here.

    Example:
        >>> try:
        ...     agentlab.evaluate("no such place")
        ... except AgentLabError as error:
        ...     print(type(error).__name__)
        UnknownNameError
    """


class UsageError(AgentLabError):
    """Raised when the caller asked for something impossible; the command exits with 2.

    Example:
        >>> agentlab.practice("courier", rounds=0)
        Traceback (most recent call last):
        ...
        agentlab.errors.ConfigError: ...
    """


class ConfigError(UsageError):
    """Raised when a configuration file, a flag or an environment variable is wrong."""


class UnknownNameError(UsageError):
    """Raised when a registry has no object of that name; suggests near ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, also: str = "") -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(sorted(known))
        near = get_close_matches(name, self.known, n=3, cutoff=0.5)
        if near:
            hint = "Did you mean " + " or ".join(repr(item) for item in near) + "?"
        elif self.known:
            hint = "Known: " + ", ".join(repr(item) for item in self.known) + "."
        else:
            hint = "None is registered."
        said = f"There is no {kind} named {name!r}. {hint}"
        super().__init__(f"{said} {also}" if also else said)


class MissingExtraError(UsageError):
    """Raised at the point of use when an optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"{what} needs the extra {extra!r}; install it with "
            f"`pip install 'agentlab-practice[{extra}]'`."
        )


class InvalidTaskError(UsageError):
    """Raised when a mission cannot be composed, parsed or set up; the text says why."""


class NothingToExportError(UsageError):
    """Raised when none of a run's attempts can be written as was asked; says why of each kind."""


class SigningKeyError(UsageError):
    """Raised when a key file cannot be made or read, or others can read it."""


class EnvironmentFaultError(AgentLabError):
    """Raised when an environment's reset or step raised, or broke its contract."""


class VerifierFaultError(AgentLabError):
    """Raised when a verifier raised, gave two answers to one question, or did not end."""


class SkillFaultError(AgentLabError):
    """Raised when skill code raised, broke the line protocol, or hit a limit."""


class SkillRefusedError(SkillFaultError):
    """Raised when code may not run here, because of where it came from or what it needs."""


class ModelFaultError(AgentLabError):
    """Raised when a model endpoint failed for good."""


class GateInterruptedError(ModelFaultError):
    """Raised when the server went away during a gate: nothing was decided, and it can go on."""


class TrainingRefusedError(AgentLabError):
    """Raised where training would not be truthful: wrong base, changed data, masks of zeros."""


class TrainerFaultError(AgentLabError):
    """Raised when a trainer's process ended without weights; what it had finished is kept."""


class BudgetSpentError(AgentLabError):
    """Raised in place of a model call that would pass a budget.

    An attempt that meets it ends there, cut off; a run that meets it stops at its budget.

    Attributes:
        budget: which it is: `tokens` or `usd` of the run, or with a role before it; empty for
            that of an attempt alone.
    """

    def __init__(self, text: str, budget: str = "") -> None:
        self.budget = budget
        super().__init__(text)


class RecordsError(AgentLabError):
    """Raised when the record store cannot be opened, read or written."""


class NewerDatabaseError(RecordsError):
    """Raised when a database was written by a newer agentlab."""


class WorkspaceError(RecordsError):
    """Raised when the workspace directory is read-only, full, or not a workspace."""


class RunInUseError(WorkspaceError):
    """Raised when another process already works in a run directory."""


class AdapterRefusedError(AgentLabError):
    """Raised when trained weights are refused; `folder` is what was refused."""

    def __init__(self, folder: str, why: str) -> None:
        self.folder = folder
        super().__init__(f"The weights in {folder!r} are refused: {why}.")


class PackRefusedError(AgentLabError):
    """Raised when a pack is refused; `file` is the one at fault, `reason` one word for why."""

    def __init__(self, file: str, reason: str, why: str) -> None:
        self.file = file
        self.reason = reason
        super().__init__(f"The pack is refused: {file[:300]!a} {why} ({reason}).")


class IndexFaultError(AgentLabError):
    """Raised inside the library when a derived index is unusable; callers fall back."""

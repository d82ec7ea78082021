"""What an export says of itself: figures by which a recipe that teaches nothing is seen at once.

They are those that training runs are known to lack when they fail silently: the share of groups
without variance, how many attempts had to be cut into several rows, how old the policies are.
What needs the policy that is to be trained (ratios, token by token) is said by the trainer; see
`ratios`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from agentlab.training.rollouts import Rollout
from agentlab.types import Frozen
from agentlab.version import __version__


class ExportReport(Frozen):
    """What was written."""

    out: str
    format: str
    view: str
    runs: tuple[str, ...]
    scope: str = ""
    """Path of whose attempts they are; empty is everybody's."""
    data: str = "data.jsonl"
    """The file of the rows."""
    data_sha256: str = ""
    """Of that file."""
    beside_sha256: dict[str, str] = Field(default_factory=dict[str, str])
    """Of the files that go with its rows, line by line: their origins, and advantages if any."""
    rollouts: int
    """Attempts that were looked at."""
    samples: int
    rows: int
    refused: dict[str, int] = Field(default_factory=dict[str, int])
    """By reason."""
    groups: int = 0
    alike: int = 0
    """Of the groups, those whose rewards are all the same: they teach a comparison nothing."""
    clean: int = 0
    realigned: int = 0
    """Always 0: rows are joined by exact prefix, and none is bent to fit."""
    forks: int = 0
    """Rows of tokens that an attempt begins with, and those that it had to begin anew."""
    tokens: int = 0
    trained: int = 0
    """Of the tokens, those that count in the loss."""
    unverified: int = 0
    """Rollouts of which a call's ids could not be checked against what it said."""
    chat_template_sha256: str | None = None
    tokenizer_sha256: str | None = None
    """Those of all rows of tokens; None where the calls do not tell."""
    library_versions: dict[str, int] = Field(default_factory=dict[str, int])
    """Rollouts by the version of the library that they were offered."""
    policies: dict[str, int] = Field(default_factory=dict[str, int])
    """Calls by the model or adapter that answered them."""
    rounds: dict[int, int] = Field(default_factory=dict[int, int])
    """Rollouts by round."""
    staleness: dict[int, int] = Field(default_factory=dict[int, int])
    """Rollouts by how many rounds before the newest exported one they were made."""
    ratios: str = "said by the trainer: they need the policy that is trained"
    """Where quantiles of importance ratios stand."""
    licence: str = "unknown"
    """Under which what the environment shows may be passed on."""
    estimator: str | None = None
    """The rule of `advantages.jsonl` and its constants."""
    notes: tuple[str, ...] = ()
    """What a trainer must know of the view, in sentences."""
    agentlab: str = __version__

    @property
    def zero_variance(self) -> float | None:
        """The share of groups that teach a comparison nothing; None without groups."""
        return self.alike / self.groups if self.groups else None


class Tally:
    """Counts what goes into an export, rollout by rollout."""

    def __init__(self) -> None:
        self._versions: Counter[str] = Counter()
        self._policies: Counter[str] = Counter()
        self._rounds: Counter[int] = Counter()
        self._unverified = 0

    def add(self, members: Sequence[Rollout]) -> None:
        """Count the rollouts of a sample."""
        for member in members:
            self._versions[library_of(member)] += 1
            self._rounds[member.round] += 1
            self._unverified += any(call.ids_verified is None for call in member.calls)
            for call in member.calls:
                self._policies[call.policy_end or call.model] += 1

    def onto(self, report: ExportReport) -> ExportReport:
        """The report with these figures."""
        newest = max(self._rounds, default=0)
        return report.model_copy(
            update={
                "library_versions": dict(sorted(self._versions.items())),
                "policies": dict(sorted(self._policies.items())),
                "rounds": dict(sorted(self._rounds.items())),
                "staleness": {
                    newest - round_: number for round_, number in sorted(self._rounds.items())[::-1]
                },
                "unverified": self._unverified,
            }
        )


def library_of(rollout: Rollout) -> str:
    """The version of the library from which it was offered something; `none` where unknown."""
    return next((c.library_version for c in rollout.calls if c.library_version), "none")

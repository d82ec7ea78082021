"""What is known of judges: each measured against the verifier, in a file of its own.

    <workspace>/calibrations/<id>.json      one judge in one environment, as last measured

A judge is its evaluator, its models, its prompts and its settings: change one of them and it is
another judge, which was never measured. Whoever lets a judge's verdict admit an item or label an
export asks `refusal` first. Only attempts at tasks that are not held out decide; figures from
held-out ones are kept beside them, to be reported. Nothing here asks a model.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from agentlab.errors import RecordsError, WorkspaceError
from agentlab.records.files import refuse_strangers, replace_text
from agentlab.records.workspace import Workspace
from agentlab.types import Frozen, JsonObject, derive_id, digest

FOLDER = "calibrations"
KAPPA_FLOOR = 0.6
"""What the lower end of kappa's interval must reach before a judge's verdicts count.

Above 0.6 agreement is called substantial (Landis and Koch 1977), and below it two judges of one
trajectory count as disagreeing (what we hold juries to). It is the lower end and not the figure
itself, so that a lucky handful of attempts is not enough: a judge that is always right needs
about 16 tasks, one with a kappa of 0.8 about 60.
"""
LONGEST = 1 << 20
"""Bytes of a calibration's file; a longer one is something else."""


class Figure(Frozen):
    """A number with its 95 % interval."""

    value: float = Field(allow_inf_nan=False)
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    n: int = Field(ge=0)
    """Attempts that it rests on."""


class Figures(Frozen):
    """A judge against the verifier. See `statistics.agreement.Agreement`."""

    attempts: int = Field(ge=0)
    tasks: int = Field(ge=0)
    both: int = Field(ge=0)
    judge_only: int = Field(ge=0)
    """Failures that the judge called a success."""
    verifier_only: int = Field(ge=0)
    """Successes that the judge called a failure."""
    neither: int = Field(ge=0)
    unknown: Figure
    precision: Figure | None = None
    recall: Figure | None = None
    specificity: Figure | None = None
    agreement: Figure | None = None
    kappa: Figure | None = None


class Spent(Frozen):
    """What asking the judge cost."""

    calls: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)
    usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """None where a price is not known."""
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Calibration(Frozen):
    """One judge in one environment, measured on recorded attempts."""

    judge: str
    """`judge_digest` of the identity."""
    evaluator: str
    """The registered name."""
    identity: JsonObject
    """What makes it this judge: models, hashes of prompts, settings."""
    environment: str
    runs: tuple[str, ...]
    """The runs whose attempts were read."""
    figures: Figures | None = None
    """On attempts at practice and dev tasks: what decides. None where there were none."""
    heldout: Figures | None = None
    """On attempts at held-out tasks: reported, and nothing else."""
    failed: int = Field(default=0, ge=0)
    """Attempts that could not be judged because the endpoint failed; they count nowhere."""
    spent: Spent = Field(default_factory=Spent)


def judge_digest(identity: JsonObject) -> str:
    """The name of a judge, from what makes it this judge and no other."""
    return derive_id("judge", identity)


def with_sampling(identity: JsonObject, sampling: JsonObject) -> JsonObject:
    """What makes a judge, when its user set how its models are drawn from.

    Args:
        identity: as the evaluator says it.
        sampling: what the user set, by role; the evaluator does not see it, and its models obey.
    """
    return {**identity, "sampling": sampling} if sampling else identity


def refusal(calibration: Calibration | None, *, floor: float = KAPPA_FLOOR) -> str | None:
    """Why a judge may not admit items or label exports, in one sentence; None where it may."""
    if calibration is None or calibration.figures is None:
        return (
            "The judge was never measured against the verifier in this environment; "
            "measure it with `agentlab evaluators calibrate`."
        )
    kappa = calibration.figures.kappa
    if kappa is None:
        return (
            "The judge and the verifier said one and the same of every attempt "
            f"(n={calibration.figures.attempts}), which shows nothing; measure it on attempts "
            "of which some succeeded and some failed."
        )
    if kappa.low < floor:
        return (
            f"The judge agrees too little with the verifier: kappa {kappa.value:.2f} "
            f"({kappa.low:.2f} to {kappa.high:.2f}, n={kappa.n}), whose lower end is below the "
            f"floor {floor:.2f}; measure it on more attempts, or use a stronger model."
        )
    return None


class Calibrations:
    """The calibrations kept in a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._root = workspace.path
        self._folder = workspace.path / FOLDER

    def keep(self, calibration: Calibration) -> Path:
        """Keep it in the place of an earlier one of the same judge and environment.

        Raises:
            WorkspaceError: the folder is a link that leaves the workspace, or cannot be written.
        """
        path = self._path(calibration.judge, calibration.environment)
        try:
            refuse_strangers(self._root, self._folder)
            self._folder.mkdir(exist_ok=True)
            replace_text(path, _sealed(calibration))
        except OSError as error:
            raise WorkspaceError(
                f"The calibration {str(path)!r} cannot be written ({error.strerror}); make its "
                "folder writable, or choose another workspace with --workspace."
            ) from error
        return path

    def get(self, judge: str, environment: str) -> Calibration | None:
        """The calibration of a judge in an environment; None where it was never measured.

        Raises:
            RecordsError: its file cannot be read, or was changed by something else.
        """
        path = self._path(judge, environment)
        found = _read(path) if path.is_symlink() or path.exists() else None
        if found is not None and (found.judge, found.environment) != (judge, environment):
            raise _damaged(path, "it is another judge's")
        return found

    def all(self) -> list[Calibration]:
        """Every calibration, by evaluator, environment and judge.

        Raises:
            RecordsError: one cannot be read, or was changed by something else.
        """
        found = [_read(path) for path in sorted(self._folder.glob("calibration-*.json"))]
        return sorted(found, key=lambda each: (each.evaluator, each.environment, each.judge))

    def allowed(self, judge: str, environment: str, *, floor: float = KAPPA_FLOOR) -> str | None:
        """Why this judge may not admit items or label exports here; None where it may.

        What cannot be read does not allow anything.
        """
        try:
            return refusal(self.get(judge, environment), floor=floor)
        except RecordsError as error:
            return str(error)

    def _path(self, judge: str, environment: str) -> Path:
        # Names of judges and environments may hold anything, so the file's is derived.
        return self._folder / f"{derive_id('calibration', judge, environment)}.json"


class _Kept(Frozen):
    """A calibration as its file holds it."""

    seal: str
    """Digest of the calibration, so that damage and edits are seen."""
    calibration: Calibration


def _sealed(calibration: Calibration) -> str:
    kept = _Kept(seal=_seal(calibration), calibration=calibration)
    return kept.model_dump_json(indent=2) + "\n"


def _seal(calibration: Calibration) -> str:
    return digest("calibration", calibration.model_dump(mode="json"))


def _read(path: Path) -> Calibration:
    try:
        if path.is_symlink() or path.stat().st_size > LONGEST:
            raise _damaged(path, "it is a link, or too long")
        kept = _Kept.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(path, type(error).__name__) from error
    if kept.seal != _seal(kept.calibration):
        raise _damaged(path, "something other than agentlab changed it")
    return kept.calibration


def _damaged(path: Path, why: str) -> RecordsError:
    return RecordsError(
        f"The calibration {str(path)!r} cannot be read ({why}); remove it and measure the judge "
        "again with `agentlab evaluators calibrate`."
    )

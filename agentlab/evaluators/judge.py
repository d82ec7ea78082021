"""A model as the evaluator, for tasks whose success cannot be read.

It works out the key points of the instruction before it has seen what happened, so that what
happened cannot change what was asked; reads the record several times, each reading with evidence
for each point that is looked up in code; and decides only where the readings agree. Where they do
not, a stronger model is asked, if there is one. A verifier outranks it: where there is one whose
verdict is known, no model is asked at all.

After PAE's outcome evaluator, ACuRL's key points before the verdict, and ATLAS's escalation where
samples of a small model disagree. We differ in that a quotation must exist, in that a reply which
cannot be read is unknown and no failure, and in that disagreement is never averaged: several
temperatures and a threshold on their spread would turn two against one into a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from agentlab.errors import ConfigError, UsageError
from agentlab.evaluators.pictures import SCORE, Looking, Shot, chosen, gallery, with_pictures
from agentlab.evaluators.pictures import told as pictures_told
from agentlab.evaluators.planted import addressed
from agentlab.evaluators.reading import MOST_POINTS, Point, Points, Reading, Reply, read
from agentlab.evaluators.transcript import Transcript, transcribe, visible
from agentlab.evaluators.verifier import Verifier
from agentlab.models.prompts import Prompt, Trusted
from agentlab.models.structured import ask
from agentlab.protocols import ChatModel, EvaluationContext
from agentlab.types import ChatRequest, Frozen, JsonObject, Sampling, Score, derive_seed, digest

Style = Literal["verdict", "doubt"]
Asked = Literal["model", "stronger"]
JUDGED = "judged"
"""The parameter of a task of which nothing can be read: its verifier never says success."""
SEEDS = 1 << 31
"""Endpoints take seeds of 31 bits."""
MOST_TOLD = 20
"""Lines that speak to a judge and that a score repeats."""


class PointsInputs(Frozen):
    """What the prompt `points` is filled in with."""

    instruction: str
    most: int


class RecordInputs(Frozen):
    """What the prompts `verdict` and `doubt` are filled in with."""

    instruction: str
    points: str
    record: str
    notes: Trusted
    mark: Trusted


PACKAGE = "agentlab.evaluators"
POINTS = Prompt(PACKAGE, "points", PointsInputs)
STYLES: dict[Style, Prompt[RecordInputs]] = {
    "verdict": Prompt(PACKAGE, "verdict", RecordInputs),
    "doubt": Prompt(PACKAGE, "doubt", RecordInputs),
}


class _Record(NamedTuple):
    """What a reading is of."""

    instruction: str
    transcript: Transcript
    shots: tuple[Shot, ...]


class Judge:
    """The evaluator `judge`.

    Args:
        samples: how often the record is read. More than two thirds of the readings must have a
            verdict, and all that have one the same, or it is undecided.
        temperature: of the readings; the key points are drawn at 0.
        style: `verdict` weighs the evidence, `doubt` looks for what is wrong first.
        asks: which model reads; `stronger` has nobody to turn to when it disagrees with itself.
        verify: ask the task's verifier first, and a model only where it does not know. False
            judges anyway, to measure the judge.
        context_tokens: tokens of four characters that the record may take in a request.
        max_tokens: tokens that a reply may have.
        pictures: of the attempt that a model which takes any is shown with the record, at most;
            see `pictures.chosen`.
        picture_bytes: of one of them; a larger one is left out, which is said.

    Raises:
        ConfigError: an option is out of range.
    """

    needs_model = True

    def __init__(
        self,
        *,
        samples: int = 3,
        temperature: float = 0.7,
        style: Style = "verdict",
        asks: Asked = "model",
        verify: bool = True,
        context_tokens: int = 24_000,
        max_tokens: int = 2048,
        pictures: int = 3,
        picture_bytes: int = 2_000_000,
    ) -> None:
        for name, value, least, most in (
            ("samples", samples, 1, 100),
            ("temperature", temperature, 0, 2),
            ("context_tokens", context_tokens, 500, 10**9),
            ("max_tokens", max_tokens, 64, 10**9),
            ("pictures", pictures, 0, 50),
            ("picture_bytes", picture_bytes, 0, 10**9),
        ):
            if not least <= value <= most:
                raise ConfigError(f"judge: {name!r} must be {least} to {most}, not {value!r}.")
        if style not in STYLES or asks not in ("model", "stronger"):
            raise ConfigError(
                f"judge: 'style' is 'verdict' or 'doubt' and 'asks' is 'model' or 'stronger', not "
                f"{style!r} and {asks!r}."
            )
        self._samples = samples
        self._temperature = temperature
        self._style: Style = style
        self._asks: Asked = asks
        self._verify = verify
        self._context_tokens = context_tokens
        self._max_tokens = max_tokens
        self._pictures = pictures
        self._picture_bytes = picture_bytes

    def identity(self, model: str, stronger: str | None = None) -> JsonObject:
        """What makes this judge one and no other, for `records.calibrations.judge_digest`."""
        return {
            "evaluator": "judge",
            "model": model if self._asks == "model" else None,
            "stronger": stronger,
            "prompts": [POINTS.ref.hash, STYLES[self._style].ref.hash, SCORE.ref.hash],
            "samples": self._samples,
            "temperature": self._temperature,
            "context_tokens": self._context_tokens,
            "max_tokens": self._max_tokens,
            "pictures": [self._pictures, self._picture_bytes],
        }

    async def evaluate(self, context: EvaluationContext) -> Score:
        """The verdict; unknown where the readings disagree or cannot be read.

        Raises:
            UsageError: a model is needed and the context has none.
            SkillFaultError: a generated verifier raised or did not end in time.
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget did not allow a call.
        """
        if self._verify:
            known = await verified(context)
            if known is not None:
                return known
        model = context.model if self._asks == "model" else context.stronger
        if model is None:
            raise UsageError(
                "The evaluator 'judge' needs a chat model and the run names none; name one, such "
                "as `--model openai:<model>` or 'model' of 'roles.evaluator' in a --config file, "
                "or choose the evaluator 'verifier'."
            )
        found = gallery(context, most_bytes=self._picture_bytes)
        shots = found.shots if self._pictures else ()
        taken = min(len(shots), self._pictures)
        transcript = transcribe(context.trajectory, tokens=self._context_tokens, pictures=taken)
        instruction = context.task.instruction
        points = await self._points(model, instruction)
        if points is None:
            told = _told(instruction, transcript)
            return _undecided("the points of the instruction could not be worked out", told)
        said = "\n".join(point.text for point in points)
        shots = await chosen(model, said, shots, most=self._pictures, max_tokens=self._max_tokens)
        record = _Record(instruction, transcript, shots)
        readings, unseen = await self._readings(model, points, record)
        verdict = agreed(readings, self._samples)
        stronger = context.stronger if self._asks == "model" else None
        escalated = verdict is None and stronger is not None
        told: JsonObject = {
            "points": [{"text": visible(p.text), "about": p.about} for p in points],
            "readings": [reading.as_json() for reading in readings],
            **_told(instruction, transcript, found.notes),
        }
        if escalated and stronger is not None:
            readings, unseen = await self._readings(stronger, points, record)
            verdict = agreed(readings, self._samples)
            told["escalated"] = [reading.as_json() for reading in readings]
        if shots and unseen:
            told["pictures_not_shown"] = f"{readings[0].model} reads text alone"
        elif shots:
            told["pictures"] = [{"digest": s.picture.digest, "when": s.when} for s in shots]
        return self._score(verdict, readings, points, told, escalated=escalated)

    async def _points(self, model: ChatModel, instruction: str) -> tuple[Point, ...] | None:
        request = ChatRequest(
            messages=POINTS.messages(PointsInputs(instruction=instruction, most=MOST_POINTS)),
            schema_name="points",
            sampling=Sampling(
                temperature=0,
                max_tokens=self._max_tokens,
                seed=derive_seed("points", instruction) % SEEDS,
            ),
            prompt=POINTS.ref,
        )
        found = await ask(model, request, Points)
        return None if found is None else found.points

    async def _readings(
        self, asked: ChatModel, points: Sequence[Point], record: _Record
    ) -> tuple[list[Reading], int]:
        """Readings until all are there or two disagree; one by one, so that they have an order.

        Beside them, how many pictures the model was not shown, since it takes none.
        """
        prompt = STYLES[self._style]
        instruction, transcript, shots = record
        model = Looking(asked)
        readings: list[Reading] = []
        for number in range(self._samples):
            # A judge that goes by the order of the points contradicts itself when it changes.
            order = list(range(len(points)))[:: -1 if number % 2 else 1]
            drawn = (instruction, transcript.text, prompt.ref.hash, number)
            drawn += tuple(shot.picture.digest for shot in shots)
            mark = digest("mark", *drawn)[:8]
            listed = [
                f"{place}. ({points[n].about}) {points[n].text}" for place, n in enumerate(order, 1)
            ]
            request = ChatRequest(
                messages=with_pictures(
                    prompt.messages(
                        RecordInputs(
                            instruction=instruction,
                            points="\n".join(listed),
                            record=transcript.text,
                            notes=" ".join([*transcript.notes, pictures_told(shots)]).strip(),
                            mark=mark,
                        )
                    ),
                    shots,
                ),
                schema_name="verdict",
                sampling=Sampling(
                    temperature=self._temperature,
                    max_tokens=self._max_tokens,
                    seed=derive_seed("judge", *drawn) % SEEDS,
                ),
                prompt=prompt.ref,
            )
            reply = await ask(model, request, Reply)
            seen = len(shots) - model.unseen
            readings.append(
                read(reply, points, order, transcript, mark=mark, model=model.name, pictures=seen)
            )
            if len({r.verdict for r in readings} - {None}) > 1:
                break
        return readings, model.unseen

    def _score(
        self,
        verdict: bool | None,
        readings: Sequence[Reading],
        points: Sequence[Point],
        told: JsonObject,
        *,
        escalated: bool,
    ) -> Score:
        who = (
            f"{readings[0].model}, asked because the first model was undecided,"
            if escalated
            else readings[0].model
        )
        planted = (
            " The record holds text that speaks to a judge; it was read as data."
            if "addressed_to_a_judge" in told
            else ""
        )
        if verdict is None:
            said = ", ".join(_spoken(reading.verdict) for reading in readings)
            why = next((r.why for r in readings if r.verdict is None), "the readings disagree")
            return _undecided(f"{who} read it as {said}: {why}.{planted}", told)
        agreeing = sum(reading.verdict is verdict for reading in readings)
        head = f"{agreeing} of {len(readings)} readings by {who} say {_spoken(verdict)}"
        if verdict:
            detail = f"all {len(points)} points are met"
        else:
            unmet = sorted({f.point for r in readings for f in r.findings if f.met is False})
            detail = "not met: " + "; ".join(visible(points[n].text).rstrip(".") for n in unmet)
        return Score(
            value=points_met(readings, points),
            success=verdict,
            explanation=f"{head}: {detail}.{_pictured(readings)}{planted}",
            evidence=told,
            source="judge",
            confidence=confidence(agreeing, len(readings)),
        )


async def verified(context: EvaluationContext) -> Score | None:
    """The verifier's score where the task has a verifier and its verdict is known."""
    if context.task.parameters.get(JUDGED):
        return None
    score = await Verifier().evaluate(context)
    return score if score.success is not None else None


def agreed(readings: Sequence[Reading], samples: int) -> bool | None:
    """The one verdict of the readings; None where they differ or too few have one."""
    known = [reading.verdict for reading in readings if reading.verdict is not None]
    if len(set(known)) != 1 or 3 * len(known) < 2 * samples:
        return None
    return known[0]


def confidence(agreeing: int, readings: int) -> float:
    """How sure so much agreement is: `(k + 1) / (n + 2)`, the rule of succession.

    0.8 for three of three: a model that agrees with itself may still be wrong, which is what a
    calibration measures and this number does not.
    """
    return (agreeing + 1) / (readings + 2)


def points_met(readings: Sequence[Reading], points: Sequence[Point]) -> float:
    """The share of the points that are met, by the mean of the readings: 1 for a success.

    ACuRL and PAE reward the verdict alone; the share tells a near miss from a miss, and decides
    nothing.
    """
    met = sum(found.met is True for reading in readings for found in reading.findings)
    return met / (len(points) * len(readings))


def _pictured(readings: Sequence[Reading]) -> str:
    """A sentence where a point rests on a picture, which no code can look up."""
    found = {f.point + 1 for r in readings for f in r.findings if f.place.startswith("picture ")}
    listed = ", ".join(map(str, sorted(found)))
    return f" Only pictures show point {listed}." if found else ""


def _undecided(why: str, told: JsonObject) -> Score:
    return Score(explanation=f"undecided: {why}", evidence=told, source="judge", confidence=0.0)


def _spoken(verdict: bool | None) -> str:
    return "unclear" if verdict is None else "success" if verdict else "failure"


def _told(instruction: str, transcript: Transcript, notes: Sequence[str] = ()) -> JsonObject:
    """What a reader of the score should know of what the judge was shown."""
    found = [("instruction", line) for line in addressed(instruction.splitlines())]
    found += transcript.planted
    told: JsonObject = {}
    if found:
        told["addressed_to_a_judge"] = [
            {"place": place, "text": visible(line)[:200]} for place, line in found[:MOST_TOLD]
        ]
    if transcript.notes or notes:
        told["not_shown"] = [*transcript.notes, *notes]
    return told

"""Which pictures of an attempt a judge is shown: the last ones, or those that bear on the points.

After ACuRL's CUAJudge, which scores each screenshot from 1 to 5 by what it says of the key points
and keeps those of 3 and more; and PAE's evaluator, which looks at the last three. We ask for scores
only where there are more pictures than may be shown, and always keep the last one, which tells how
it came out. A picture is data like the record, and so is whatever is written in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pydantic import Field

from agentlab.errors import AgentLabError
from agentlab.models.prompts import Prompt, Trusted
from agentlab.models.structured import ask
from agentlab.protocols import ChatModel, EvaluationContext
from agentlab.types import ChatReply, ChatRequest, Frozen, Message, Picture, Sampling, derive_seed

MOST_SCORED = 12
"""Pictures that are scored, the last ones."""
BEARS = 3
"""The score from which on a picture is shown."""
PNG = b"\x89PNG\r\n\x1a\n"


class Shot(NamedTuple):
    """A picture of an attempt, and when it was taken."""

    picture: Picture
    when: str


class Relevance(Frozen):
    """How much one picture says of the points."""

    picture: int
    score: int = Field(ge=1, le=5)


class Relevances(Frozen):
    """That of each."""

    scores: tuple[Relevance, ...] = Field(max_length=MOST_SCORED)


class ScoreInputs(Frozen):
    """What the prompt `pictures` is filled in with."""

    points: str
    count: int
    when: Trusted


SCORE = Prompt("agentlab.evaluators", "pictures", ScoreInputs)


class Gallery(NamedTuple):
    """What there is to show, and what is left out."""

    shots: tuple[Shot, ...]
    notes: tuple[str, ...] = ()


def gallery(context: EvaluationContext, *, most_bytes: int) -> Gallery:
    """The pictures of an attempt in their order, each once, with what cannot be shown said.

    Args:
        context: of the attempt.
        most_bytes: of one picture; a larger one is left out.
    """
    taken: dict[str, str] = {}
    for digest in context.trajectory.initial.images:
        taken[digest] = "at the start"
    for number, step in enumerate(context.trajectory.steps, start=1):
        for digest in step.result.observation.images:
            taken.pop(digest, None)
            taken[digest] = f"in step {number}"
    for name, digest in context.files.items():
        if name.endswith(".png"):
            taken.pop(digest, None)
            taken[digest] = "at the end"
    if context.picture is None:
        return Gallery(())
    shots: list[Shot] = []
    lost = 0
    for digest, when in taken.items():
        data = _read(context.picture, digest)
        if data is None or len(data) > most_bytes:
            lost += 1
        else:
            shots.append(Shot(Picture(digest=digest, data=data), when))
    if not lost:
        return Gallery(tuple(shots))
    what = "1 picture is" if lost == 1 else f"{lost} pictures are"
    return Gallery(tuple(shots), (f"{what} missing, too large or no PNG.",))


def _read(picture: Callable[[str], bytes], digest: str) -> bytes | None:
    try:
        data = picture(digest)
    except AgentLabError:
        return None  # an attempt without its blobs can still be judged by the record
    return data if data.startswith(PNG) else None


async def chosen(
    model: ChatModel, points: str, shots: Sequence[Shot], *, most: int, max_tokens: int
) -> tuple[Shot, ...]:
    """At most `most` of them, in their order: the last, and those that bear most on the points.

    Raises:
        ModelFaultError: the endpoint failed for good.
        BudgetSpentError: a budget did not allow the call.
    """
    if len(shots) <= most:
        return tuple(shots)
    if most == 1:
        return tuple(shots[-1:])
    last = list(shots[-MOST_SCORED:])
    inputs = ScoreInputs(points=points, count=len(last), when=told(last))
    request = ChatRequest(
        messages=with_pictures(SCORE.messages(inputs), last),
        schema_name="relevance",
        sampling=Sampling(
            temperature=0,
            max_tokens=max_tokens,
            seed=derive_seed("pictures", points, [shot.picture.digest for shot in last])
            % (1 << 31),
        ),
        prompt=SCORE.ref,
    )
    reply = await ask(model, request, Relevances)
    scores = {each.picture: each.score for each in reply.scores} if reply is not None else {}
    # Where nothing usable was said the last ones are shown.
    order = sorted(range(len(last) - 1), key=lambda n: (-scores.get(n + 1, 1), -n))
    kept = [n for n in order if not scores or scores.get(n + 1, 1) >= BEARS][: most - 1]
    return tuple(last[n] for n in sorted([*kept, len(last) - 1]))


def told(shots: Sequence[Shot]) -> str:
    """A sentence of ours on which pictures follow; empty for none."""
    if not shots:
        return ""
    listed = "; ".join(f"picture {n} was taken {s.when}" for n, s in enumerate(shots, start=1))
    return f"Pictures follow: {listed}."


def with_pictures(messages: Sequence[Message], shots: Sequence[Shot]) -> tuple[Message, ...]:
    """The messages, with the pictures beside the last one."""
    last = messages[-1].model_copy(update={"pictures": tuple(shot.picture for shot in shots)})
    return (*messages[:-1], last)


class Looking:
    """A chat model that tells whether it was shown the pictures of its requests."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self.unseen = 0
        """Pictures of the last request that it was not shown."""

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The model's reply."""
        reply = await self._model.chat(request)
        self.unseen = reply.pictures_unseen
        return reply

"""Draws tokens for several requests at once, in one thread of its own.

All requests for the same weights advance together, a token each a pass; a new one joins between two
passes, and one that has ended or was given up leaves there. What waits is bounded: a server that
takes more than it can do serves nobody. Weights are loaded and unloaded between passes too, so no
pass ever runs while they change.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Literal, NamedTuple, TypeVar, cast

from agentlab.serve.local_server.asked import Drawing, Refusal
from agentlab.serve.local_server.drawing import Drawn, draw, likeliest
from agentlab.serve.local_server.slots import Slots, shape_of
from agentlab.serve.local_server.weights import Served, Weights

T = TypeVar("T")
Finish = Literal["stop", "length"]
KEPT_SLOTS = 4
"""Sets of slots kept for weights that nobody asks at the moment."""


class Ended(NamedTuple):
    """A reply is whole."""

    reason: Finish


class Failed(NamedTuple):
    """It will not be."""

    error: Exception


Event = Drawn | Ended | Failed
Tell = Callable[[Event], None]


class Limits(NamedTuple):
    """What is done at a time."""

    batch: int
    """Requests that advance together."""
    waiting: int
    """Requests that wait; more are turned away."""
    cache_bytes: int
    """Memory of the slots of one set of weights."""


class Job:
    """One reply in the making.

    Args:
        served: who is asked.
        prompt: in tokens.
        drawing: how.
        salt: parts what is kept warm.
        generator: its own.
        tell: called in the engine's thread for each token and at the end.
        stops_at: looks at the tokens so far for a text that ends the reply.
    """

    def __init__(
        self,
        served: Served,
        prompt: Sequence[int],
        drawing: Drawing,
        *,
        salt: str,
        generator: random.Random,
        tell: Tell,
        stops_at: Callable[[list[int]], bool] | None = None,
    ) -> None:
        self.served = served
        self.prompt = tuple(prompt)
        self.drawing = drawing
        self.salt = salt
        self.generator = generator
        self.tell = tell
        self.stops_at = stops_at
        self.output: list[int] = []
        self.given_up = False


class _Group:
    """What is under way with one set of weights; `rows` stand in the order of their slots."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.rows: list[Job] = []


class Engine:
    """The thread. Start it once; `close` ends it.

    Args:
        torch: the library.
        weights: used in the engine's thread alone once it has started.
        limits: see `Limits`.
        device: where slots lie.
    """

    def __init__(self, torch: Any, weights: Weights, limits: Limits, *, device: str) -> None:
        self._torch = torch
        self._weights = weights
        self._device = device
        config = weights.base.model.config
        self._shape = shape_of(config)
        self.context = self._shape.context
        self._ends = _ends(weights)
        room = max(1, limits.cache_bytes // self._shape.slot_bytes)
        self._count = min(room, 2 * limits.batch)
        self._batch = min(limits.batch, self._count)
        self._most_waiting = limits.waiting
        self._waiting: deque[Job] = deque()
        self._errands: deque[Callable[[], None]] = deque()
        self._groups: OrderedDict[str, _Group] = OrderedDict()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; what is under way fails."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    @property
    def load(self) -> tuple[int, int]:
        """How many requests are under way, and how many wait."""
        return sum(len(group.rows) for group in list(self._groups.values())), len(self._waiting)

    def submit(self, job: Job) -> None:
        """Take up a job, now or when there is room.

        Raises:
            Refusal: too many wait, or the server is about to end.
        """
        with self._changed:
            if self._closing:
                raise Refusal("The server is about to end.", status=503, kind="ServiceUnavailable")
            if len(self._waiting) >= self._most_waiting:
                raise Refusal(
                    f"{len(self._waiting)} requests wait already, which is all that may; come "
                    "again later.",
                    status=429,
                    kind="RateLimitError",
                )
            self._waiting.append(job)
            self._changed.notify()

    def run(self, errand: Callable[[], T]) -> Future[T]:
        """Do something in the engine's thread, between two passes."""
        future: Future[T] = Future()

        def carry_out() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(errand())
            except Exception as error:  # told to whoever asked
                future.set_exception(error)

        with self._changed:
            self._errands.append(carry_out)
            self._changed.notify()
        return future

    def score(
        self, served: Served, ids: Sequence[int], top: int
    ) -> list[tuple[float, tuple[tuple[int, float], ...]]]:
        """Log-probability of each token but the first, given those before it, and the likeliest.

        For the engine's thread; a plain pass, which takes nothing from what is kept warm.
        """
        torch = self._torch
        with torch.no_grad(), self._weights.active(served) as model:
            given = torch.tensor([list(ids)], device=self._device)
            logits = model(input_ids=given, use_cache=False).logits[0, :-1].float()
            own = torch.log_softmax(logits, dim=-1)
            told = own.gather(1, given[0, 1:, None])[:, 0].tolist()
        return [(each, likeliest(torch, own[at], top)) for at, each in enumerate(told)]

    def forget(self, name: str) -> None:
        """Drop what is kept of weights that are served no longer; their jobs fail.

        For the engine's thread.
        """
        gone = Refusal(f"The model {name!r} was unloaded.", status=404, kind="NotFoundError")
        for job in [job for job in self._waiting if job.served.name == name]:
            self._waiting.remove(job)
            job.tell(Failed(gone))
        group = self._groups.pop(name, None)
        for job in group.rows if group else ():
            job.tell(Failed(gone))

    def _run(self) -> None:
        # Adapters that are loaded here belong to no graph; inference mode would not let go of them.
        with self._torch.no_grad():
            while True:
                with self._changed:
                    while not (self._closing or self._errands or self._waiting or self._rows()):
                        self._changed.wait()
                    if self._closing:
                        break
                    errands = list(self._errands)
                    self._errands.clear()
                for errand in errands:
                    errand()
                self._admit()
                for group in list(self._groups.values()):
                    self._guarded(group, self._advance)
        end = Refusal("The server is about to end.", status=503, kind="ServiceUnavailable")
        running = [job for group in self._groups.values() for job in group.rows]
        for job in (*self._waiting, *running):
            job.tell(Failed(end))

    def _rows(self) -> bool:
        return any(group.rows for group in self._groups.values())

    def _admit(self) -> None:
        """Take up what waits, in the order of its arrival, as far as there is room."""
        with self._changed:
            waiting, left = list(self._waiting), deque[Job]()
            self._waiting.clear()
        for job in waiting:
            if job.given_up:
                continue
            group = self._group(job.served)
            if len(group.rows) >= self._batch:
                left.append(job)
                continue
            self._guarded(group, lambda group, job=job: self._begin(group, job), job)
        with self._changed:
            self._waiting.extendleft(reversed(left))

    def _group(self, served: Served) -> _Group:
        group = self._groups.get(served.name)
        if group is None:
            slots = Slots(self._torch, self._shape, self._count, device=self._device)
            group = self._groups[served.name] = _Group(slots)
            idle = [name for name, each in self._groups.items() if not each.rows]
            for name in idle[: max(0, len(self._groups) - KEPT_SLOTS)]:
                if name != served.name:
                    del self._groups[name]
        self._groups.move_to_end(served.name)
        return group

    def _guarded(self, group: _Group, step: Callable[[_Group], None], *new: Job) -> None:
        """Do a step; where it fails, its jobs fail and the slots start anew."""
        try:
            step(group)
        except Exception as error:  # out of memory, say: other weights go on
            for job in {*group.rows, *new}:
                job.tell(Failed(error))
            for name, each in list(self._groups.items()):
                if each is group:
                    del self._groups[name]

    def _begin(self, group: _Group, job: Job) -> None:
        """Read a prompt, as far as it is not there already, and draw the first token."""
        slot, held = group.slots.join(job.prompt, job.salt)
        group.rows.append(job)
        ids = job.prompt[held:]
        mask = group.slots.fill(slot, ids)
        logits = self._forward(group, job.served, [ids], mask)
        self._take(group, [slot], logits)

    def _advance(self, group: _Group) -> None:
        """One token more for each row."""
        for slot in reversed(range(len(group.rows))):
            if group.rows[slot].given_up:
                self._leave(group, slot)
        if not group.rows:
            return
        last = [job.output[-1] for job in group.rows]
        mask = group.slots.extend(last)
        logits = self._forward(group, group.rows[0].served, [[token] for token in last], mask)
        self._take(group, list(range(len(group.rows))), logits)

    def _forward(
        self, group: _Group, served: Served, ids: Sequence[Sequence[int]], mask: Any
    ) -> Any:
        """Logits after the last token of each row."""
        with self._weights.active(served) as model:
            made = model(
                input_ids=self._torch.tensor([list(row) for row in ids], device=self._device),
                attention_mask=mask,
                position_ids=group.slots.positions(),
                past_key_values=group.slots,
                use_cache=True,
                logits_to_keep=1,
            )
        return made.logits[:, -1]

    def _take(self, group: _Group, slots: Sequence[int], logits: Any) -> None:
        jobs = [group.rows[slot] for slot in slots]
        drawn = draw(
            self._torch, logits, [job.drawing for job in jobs], [job.generator for job in jobs]
        )
        ended: list[int] = []
        for slot, job, token in zip(slots, jobs, drawn, strict=True):
            job.output.append(token.id)
            job.tell(token)
            reason = self._reason(job)
            if reason is not None:
                job.tell(Ended(reason))
                ended.append(slot)
        for slot in sorted(ended, reverse=True):
            self._leave(group, slot)

    def _reason(self, job: Job) -> Finish | None:
        if job.output[-1] in self._ends and not job.drawing.ignore_end:
            return "stop"
        if job.stops_at is not None and job.stops_at(job.output):
            return "stop"
        whole = len(job.prompt) + len(job.output) >= self.context
        return "length" if whole or len(job.output) >= job.drawing.most else None

    def _leave(self, group: _Group, slot: int) -> None:
        moved = group.slots.leave(slot)
        group.rows[slot] = group.rows[moved]
        group.rows.pop()


def _ends(weights: Weights) -> frozenset[int]:
    """The tokens that end a reply."""
    ends: Any = weights.base.model.generation_config.eos_token_id
    if ends is None:
        ends = weights.tokenizer.eos_token_id
    if ends is None:
        return frozenset()
    return frozenset(cast("list[int]", ends if isinstance(ends, list) else [ends]))

"""Draws tokens for several requests at once, in one thread of its own.

All requests for the same weights advance together, a token each a pass; a new one joins between two
passes, and one that has ended or was given up leaves there. What waits is bounded: a server that
takes more than it can do serves nobody. Weights are loaded and unloaded between passes too, so no
pass ever runs while they change.

A step that fails, fails for those who asked it alone. Should the thread end all the same, whoever
waits is told why, nobody is taken up any more, and `fault` says so.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar, cast

from agentlab.serve.local_server.asked import Refusal
from agentlab.serve.local_server.drawing import draw, likeliest
from agentlab.serve.local_server.jobs import (
    Ended,
    Errand,
    Failed,
    Finish,
    Job,
    told,
    unavailable,
)
from agentlab.serve.local_server.slots import Slots, shape_of
from agentlab.serve.local_server.weights import Served, Weights

log = logging.getLogger(__name__)

T = TypeVar("T")
CLOSING = "The server is about to end."
KEPT_SLOTS = 4
"""Sets of slots kept for weights that nobody asks at the moment."""


class Limits(NamedTuple):
    """What is done at a time."""

    batch: int
    """Requests that advance together."""
    waiting: int
    """Requests that wait; more are turned away."""
    cache_bytes: int
    """Memory of the slots of one set of weights."""


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
        self._errands: deque[Errand] = deque()
        self._groups: OrderedDict[str, _Group] = OrderedDict()
        self._changed = threading.Condition()
        self._closing = False
        self._fault = ""
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

    @property
    def fault(self) -> str:
        """Why nothing is answered any more; empty while requests are."""
        return self._fault

    def submit(self, job: Job) -> None:
        """Take up a job, now or when there is room.

        Raises:
            Refusal: too many wait, or the server is about to end, or has ended.
        """
        with self._changed:
            self._check()
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
        """Do something in the engine's thread, between two passes.

        Raises:
            Refusal: the server is about to end, or has ended.
        """
        future: Future[T] = Future()
        with self._changed:
            self._check()
            self._errands.append(Errand(future, errand))
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
            found = own.gather(1, given[0, 1:, None])[:, 0].tolist()
        return [(each, likeliest(torch, own[at], top)) for at, each in enumerate(found)]

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

    def _check(self) -> None:
        if self._fault or self._closing:
            raise unavailable(self._fault or CLOSING)

    def _run(self) -> None:
        why = CLOSING
        try:
            self._work()
        except BaseException as error:
            log.exception("The engine ended.")
            why = (
                "The server answers nothing any more, since its engine ended "
                f"({type(error).__name__}: {error}); start it again."
            )
        with self._changed:
            self._fault = why
            left = [*self._waiting, *(job for each in self._groups.values() for job in each.rows)]
            errands = [*self._errands]
            for each in (self._waiting, self._groups, self._errands):
                each.clear()
        for job in left:
            job.tell(Failed(unavailable(why)))
        for errand in errands:
            errand.call_off(unavailable(why))

    def _work(self) -> None:
        # Adapters that are loaded here belong to no graph; inference mode would not let go of them.
        with self._torch.no_grad():
            while True:
                with self._changed:
                    while not (self._closing or self._errands or self._waiting or self._rows()):
                        self._changed.wait()
                    if self._closing:
                        return
                # What comes meanwhile waits for the next round: a pass is due in between.
                for _ in range(len(self._errands)):
                    self._errands.popleft().carry_out()
                self._admit()
                for group in list(self._groups.values()):
                    self._guarded(group, self._advance)

    def _rows(self) -> bool:
        return any(group.rows for group in self._groups.values())

    def _admit(self) -> None:
        """Take up what waits, in the order of its arrival, as far as there is room."""
        with self._changed:
            waiting = list(self._waiting)
        for job in waiting:
            group = self._groups.get(job.served.name)
            full = group is not None and len(group.rows) >= self._batch
            if full and not job.given_up:
                continue
            with self._changed:
                self._waiting.remove(job)
            if not job.given_up:
                self._take_up(job)

    def _take_up(self, job: Job) -> None:
        try:
            group = self._group(job.served)
        except BaseException as error:  # no memory for its slots, say
            job.tell(Failed(told(error)))
            return
        self._guarded(group, lambda group: self._begin(group, job), job)

    def _group(self, served: Served) -> _Group:
        group = self._groups.get(served.name)
        if group is None:
            self._let_go(KEPT_SLOTS - 1)
            try:
                slots = self._slots()
            except Exception:
                self._let_go(0)  # maybe that is the memory which it lacks
                slots = self._slots()
            group = self._groups[served.name] = _Group(slots)
        self._groups.move_to_end(served.name)
        return group

    def _slots(self) -> Slots:
        return Slots(self._torch, self._shape, self._count, device=self._device)

    def _let_go(self, kept: int) -> None:
        """Keep so many sets of slots at most, beside those in use."""
        idle = [name for name, each in self._groups.items() if not each.rows]
        for name in idle[: max(0, len(self._groups) - kept)]:
            del self._groups[name]

    def _guarded(self, group: _Group, step: Callable[[_Group], None], *new: Job) -> None:
        """Do a step; where it fails, its jobs fail and the slots start anew."""
        try:
            step(group)
        except BaseException as error:  # out of memory, say: other weights go on
            for job in {*group.rows, *new}:
                job.tell(Failed(told(error)))
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

"""From a checked request to a reply: makes the prompt, hands it to the engine, and waits.

One for a server, used in its event loop; the engine's thread tells it each token through the loop.
A request whose client has gone is given up at the next token.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from agentlab.models.hermes import OPEN
from agentlab.serve.local_server.asked import Asked, ChatAsked, Drawing, Refusal, TextAsked
from agentlab.serve.local_server.drawing import Drawn, generator
from agentlab.serve.local_server.engine import Engine
from agentlab.serve.local_server.jobs import Ended, Event, Failed, Job
from agentlab.serve.local_server.told import (
    Reply,
    Scored,
    Speller,
    before_call,
    cut,
    safe_length,
    usage,
)
from agentlab.serve.local_server.weights import Served, Weights

Gone = Callable[[], Awaitable[bool]]
PATIENCE = 0.2
"""Seconds between two looks at whether a client is still there."""
MOST_COUNTED = 100_000
"""Requests without a seed of which it is known how often they were made."""


class Desk:
    """Answers requests.

    Args:
        engine: started.
        weights: the engine's.
        seed: of the draws of requests that bring none.
    """

    def __init__(self, engine: Engine, weights: Weights, *, seed: int) -> None:
        self._engine = engine
        self._weights = weights
        self._seed = seed
        self._speller = Speller(weights.tokenizer)
        self._asked_before: Counter[str] = Counter()
        longest = max(map(len, weights.tokenizer.get_vocab()), default=1)
        # Some tokenizers take characters away before they look: twice what could ever fit.
        self._longest_text = 2 * longest * engine.context

    @property
    def served(self) -> tuple[Served, ...]:
        """What can be asked."""
        return self._weights.names

    async def chat(self, asked: ChatAsked, gone: Gone) -> dict[str, Any]:
        """A chat completion, whole.

        Raises:
            Refusal: it cannot be carried out.
        """
        served = self._weights.get(asked.asked.model)
        job, events = self._submit(served, self._chat_prompt(asked), asked.asked)
        reply = await self._whole(job, events, asked.asked.drawing, gone)
        return self._speller.chat(asked, reply, served.name)

    async def text(self, asked: TextAsked, gone: Gone) -> dict[str, Any]:
        """A completion of tokens or text, whole.

        Raises:
            Refusal: it cannot be carried out.
        """
        served = self._weights.get(asked.asked.model)
        prompt = self._text_prompt(asked)
        drawing = asked.asked.drawing
        scored: list[Scored] | None = None
        wanted = drawing.top if asked.echo else None
        tops = [each for each in (asked.prompt_top, wanted) if each is not None]
        if tops:
            errand = self._engine.run(lambda: self._engine.score(served, prompt, max(tops)))
            scored = await asyncio.wrap_future(errand)
        if drawing.most == 0:
            return self._speller.completion(
                asked, Reply(prompt, (), "", "length"), served.name, scored
            )
        job, events = self._submit(served, prompt, asked.asked)
        reply = await self._whole(job, events, drawing, gone)
        return self._speller.completion(asked, reply, served.name, scored)

    def chat_parts(self, asked: ChatAsked) -> AsyncGenerator[dict[str, Any]]:
        """A chat completion in parts; what is refused is refused before the first.

        Raises:
            Refusal: it cannot be carried out.
        """
        served = self._weights.get(asked.asked.model)
        prompt = self._chat_prompt(asked)
        return self._chat_parts(asked, served, *self._submit(served, prompt, asked.asked))

    def text_parts(self, asked: TextAsked) -> AsyncGenerator[dict[str, Any]]:
        """A completion in parts.

        Raises:
            Refusal: it cannot be carried out.
        """
        served = self._weights.get(asked.asked.model)
        prompt = self._text_prompt(asked)
        return self._text_parts(asked, served, *self._submit(served, prompt, asked.asked))

    async def load(self, name: str, folder: Path) -> None:
        """Serve an adapter.

        Raises:
            Refusal: it cannot be.
        """
        await asyncio.wrap_future(self._engine.run(lambda: self._weights.load(name, folder)))

    async def unload(self, name: str) -> None:
        """Serve it no longer; its requests under way fail.

        Raises:
            Refusal: there is no such adapter.
        """

        def errand() -> None:
            self._weights.unload(name)
            self._engine.forget(name)

        await asyncio.wrap_future(self._engine.run(errand))

    def _chat_prompt(self, asked: ChatAsked) -> list[int]:
        try:
            text = self._weights.tokenizer.apply_chat_template(
                asked.messages, tools=asked.tools, add_generation_prompt=True, tokenize=False
            )
        except Exception as error:  # a template is a program of the model's makers
            raise Refusal(f"The chat template does not take the request: {error}") from None
        return self._fitting(self._encoded(text))

    def _encoded(self, text: str) -> list[int]:
        if len(text) > self._longest_text:
            # Whoever waits for others' answers waits for this too, and it takes a minute.
            raise Refusal(
                f"The prompt has {len(text):,} characters, and this model's maximum context length "
                f"is {self._engine.context} tokens, reply included; shorten it."
            )
        try:
            found: list[int] = self._weights.tokenizer.encode(text, add_special_tokens=False)
        except (TypeError, ValueError):
            raise Refusal("The prompt holds half a character, which no token spells.") from None
        return found

    def _text_prompt(self, asked: TextAsked) -> list[int]:
        prompt = asked.prompt
        if isinstance(prompt, str):
            prompt = self._encoded(prompt)
        size = self._weights.base.model.config.vocab_size
        if any(each >= size for each in prompt):
            raise Refusal(f"The prompt has token ids that are not below {size}.", param="prompt")
        if asked.asked.drawing.most == 0 and len(prompt) == self._engine.context:
            return prompt
        return self._fitting(prompt)

    def _fitting(self, prompt: list[int]) -> list[int]:
        if not prompt:
            raise Refusal("The prompt is empty; send at least one token.")
        if len(prompt) >= self._engine.context:
            raise Refusal(
                f"The prompt has {len(prompt)} tokens, and this model's maximum context length is "
                f"{self._engine.context}, reply included; shorten it."
            )
        return prompt

    def _submit(
        self, served: Served, prompt: list[int], asked: Asked
    ) -> tuple[Job, asyncio.Queue[Event]]:
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()
        stops = asked.drawing.stops

        def tell(event: Event) -> None:
            try:
                loop.call_soon_threadsafe(events.put_nowait, event)
            except RuntimeError:  # the loop is closed: nobody is told
                job.given_up = True

        job = Job(
            served,
            prompt,
            asked.drawing,
            salt=asked.salt,
            generator=generator(asked.drawing, self._otherwise(served, prompt, asked)),
            tell=tell,
            stops_at=(lambda ids: cut(self._speller.text(ids), stops)[1]) if stops else None,
        )
        self._engine.submit(job)
        return job, events

    def _otherwise(self, served: Served, prompt: Sequence[int], asked: Asked) -> str:
        """What seeds a request without a seed: itself, and how often it was made before."""
        if asked.drawing.seed is not None or not asked.drawing.temperature:
            return ""
        spelt = json.dumps([served.sha256, list(prompt), asked.drawing])
        key = hashlib.sha256(spelt.encode()).hexdigest()
        if len(self._asked_before) >= MOST_COUNTED:
            self._asked_before.clear()
        self._asked_before[key] += 1
        return f"{self._seed} {key} {self._asked_before[key]}"

    async def _whole(
        self, job: Job, events: asyncio.Queue[Event], drawing: Drawing, gone: Gone
    ) -> Reply:
        drawn: list[Drawn] = []
        try:
            while True:
                try:
                    event = await asyncio.wait_for(events.get(), PATIENCE)
                except TimeoutError:
                    if await gone():
                        raise Refusal("The client has gone.", status=499) from None
                    continue
                match event:
                    case Drawn():
                        drawn.append(event)
                    case Ended(reason):
                        text = self._speller.text([each.id for each in drawn])
                        return Reply(job.prompt, drawn, cut(text, drawing.stops)[0], reason)
                    case Failed(error):
                        raise error
        finally:
            job.given_up = True

    async def _chat_parts(
        self, asked: ChatAsked, served: Served, job: Job, events: asyncio.Queue[Event]
    ) -> AsyncGenerator[dict[str, Any]]:
        head = self._head("chat.completion.chunk", served, job, asked.asked)
        first: dict[str, Any] = {"index": 0, "delta": {"role": "assistant", "content": ""}}
        ids_too = {"prompt_token_ids": list(job.prompt)} if asked.asked.ids_too else {}
        yield {**head, **ids_too, "choices": [{**first, "finish_reason": None}]}
        pieces = self._pieces(job, events, asked.asked, hold_calls=asked.tools is not None)
        async with aclosing(pieces):
            async for text, drawn, reply in pieces:
                choice: dict[str, Any] = {"index": 0, "delta": {"content": text}}
                choice |= {"logprobs": self._speller.content(asked, drawn), "finish_reason": None}
                if asked.asked.ids_too:
                    choice["token_ids"] = [each.id for each in drawn]
                if reply is not None:
                    message, choice["finish_reason"] = self._speller.message(asked, reply)
                    calls: list[dict[str, Any]] = message.get("tool_calls", [])
                    if calls:
                        numbered = [{"index": at, **call} for at, call in enumerate(calls)]
                        choice["delta"]["tool_calls"] = numbered
                yield {**head, "choices": [choice]}
                if reply is not None and asked.asked.usage_too:
                    told = usage(job.prompt, [each.id for each in reply.drawn])
                    yield {**head, "choices": [], "usage": told}

    async def _text_parts(
        self, asked: TextAsked, served: Served, job: Job, events: asyncio.Queue[Event]
    ) -> AsyncGenerator[dict[str, Any]]:
        head = self._head("text_completion", served, job, asked.asked)
        ids_too = {"prompt_token_ids": list(job.prompt)} if asked.asked.ids_too else {}
        pieces = self._pieces(job, events, asked.asked, hold_calls=False)
        async with aclosing(pieces):
            async for text, drawn, reply in pieces:
                own = Reply(job.prompt, drawn, text, "")
                choice: dict[str, Any] = {"index": 0, "text": text}
                choice["logprobs"] = self._speller.parallel(asked, own, None)
                choice["finish_reason"] = reply.reason if reply else None
                if asked.asked.ids_too:
                    choice["token_ids"] = [each.id for each in drawn]
                yield {**head, **ids_too, "choices": [choice]}
                ids_too = {}
                if reply is not None and asked.asked.usage_too:
                    told = usage(job.prompt, [each.id for each in reply.drawn])
                    yield {**head, "choices": [], "usage": told}

    async def _pieces(
        self, job: Job, events: asyncio.Queue[Event], asked: Asked, *, hold_calls: bool
    ) -> AsyncGenerator[tuple[str, list[Drawn], Reply | None]]:
        """New text, the tokens that came with it, and with the last of them the whole reply.

        Text that may be the beginning of a stop, of a call, or of a character is held back.
        """
        drawn: list[Drawn] = []
        told, sent = 0, 0
        try:
            while True:
                event = await events.get()
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, Drawn):
                    drawn.append(event)
                text, _ = cut(self._speller.text([each.id for each in drawn]), asked.drawing.stops)
                if isinstance(event, Ended):
                    reply = Reply(job.prompt, drawn, text, event.reason)
                    upto = before_call(text) if hold_calls and OPEN in text else len(text)
                    yield text[told:upto], drawn[sent:], reply
                    return
                upto = safe_length(text)
                if hold_calls:
                    upto = min(upto, before_call(text))
                longest = max((len(stop) for stop in asked.drawing.stops), default=1)
                upto = min(upto, len(text) - longest + 1)
                if upto > told:
                    yield text[told:upto], drawn[sent:], None
                    told, sent = upto, len(drawn)
        finally:
            job.given_up = True

    def _head(self, kind: str, served: Served, job: Job, asked: Asked) -> dict[str, Any]:
        spelt = json.dumps([served.sha256, list(job.prompt), asked.drawing])
        mark = hashlib.sha256(spelt.encode()).hexdigest()[:16]
        prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
        made = {"id": f"{prefix}-{mark}", "object": kind}
        return {**made, "created": int(time.time()), "model": served.name}

"""A booth with signs: a form behind one of several links, in words that can be changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentlab.environments.web.actions import CLICK, FILL
from agentlab.types import Entity, JsonObject, Observation, StepResult, Task, ToolCall, ToolSpec


class Words(NamedTuple):
    """What things are called, and whether the second field comes first."""

    door: str
    mail: str
    secret: str
    go: str
    others: tuple[str, ...] = ("News", "Help", "Cart")


OLD = Words("Sign in", "E-mail address", "Password", "Sign in")
NEW = Words("Log in", "Your e-mail", "Secret word", "Log in", ("Latest", "How it works", "Basket"))


class Booth:
    """Success is the form sent off with the right mail and secret."""

    def __init__(self, words: Words, said: dict[str, str]) -> None:
        self.words = words
        self.said = said
        self.made = 0
        self._inside = False
        self._fields: dict[str, str] = {}

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """Click and fill, as a page has them."""
        return (CLICK, FILL)

    async def reset(self, task: Task, seed: int) -> Observation:
        """Outside, with nothing filled in."""
        self._inside, self._fields = False, {}
        return self._shown()

    async def step(self, call: ToolCall) -> StepResult:
        """One call; what is not there is refused."""
        self.made += 1
        there = {(entity.type, entity.reference) for entity in self._shown().entities}
        given = call.arguments
        words = self.words
        if call.tool == "fill" and ("field", given.get("label")) in there:
            self._fields[str(given["label"])] = str(given["text"])
        elif call.tool == "click" and ("control", given.get("name")) in there:
            if not self._inside:
                self._inside = given["name"] == words.door
            elif given["name"] == words.go and given.get("role") == "button":
                right = self._fields == {
                    words.mail: self.said["mail"],
                    words.secret: self.said["secret"],
                }
                if right:
                    return StepResult(observation=self._shown(), reward=1.0, terminated=True)
                self._fields = {}
        else:
            return StepResult(observation=self._shown(), error="there is no such thing", steps=0)
        return StepResult(observation=self._shown())

    async def close(self) -> None:
        """Nothing to release."""

    async def state(self) -> JsonObject:
        """What is filled in, and where one is."""
        return {"inside": self._inside, "fields": dict(self._fields)}

    def _shown(self) -> Observation:
        words = self.words
        links = [*words.others] if self._inside else [*words.others, words.door]
        found = [_thing("control", name, "link") for name in links]
        found.append(_thing("field", "Search", "searchbox"))
        if self._inside:
            found += [_thing("field", name, "textbox") for name in (words.mail, words.secret)]
            found.append(_thing("control", words.go, "button"))
        found += [_thing("text", text, "") for text in self.said.values()]
        text = f"{'inside' if self._inside else 'outside'} {sorted(self._fields.items())}"
        return Observation(text=text, entities=tuple(found))


def _thing(kind: str, name: str, role: str) -> Entity:
    return Entity(type=kind, reference=name, properties={"role": role} if role else {})

"""What an instruction asks for, told from many instructions of one kind.

Some environments word their own tasks: the same sentence again and again with other names, dates
and numbers in it. Here the sentence is learnt from examples, so that an instruction becomes a
mission: which sentence it is, and what stands in its gaps. Words that most examples share are the
sentence, what varies is a gap; what stands in quotes is a gap unless it is always the same.

Nothing here knows a language, a page or a browser. Only instructions that may be practised on are
learnt from, and one that fits no known sentence is refused, never guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agentlab.errors import InvalidTaskError
from agentlab.types import Clause, JsonObject, Mission

SHARED = 0.25
"""Share of the examples in which a word must stand to belong to a sentence."""
ALWAYS = 0.95
"""Share from which what is quoted belongs to the sentence, too."""

_TOKEN = re.compile(r'"[^"]*"|[#@$-]?\w(?:[\w./:@$\'-]*\w)?|[^\w\s]')
_WORD = re.compile(r"[A-Za-z]{2,}")
_BORDERS = frozenset(("and", "then", ",", ".", ";", ":"))
_STOP = frozenset(
    "a an any are as at by for from in into is it labeled named of on or that the this "
    "to up with one".split()
)


class Sentence(NamedTuple):
    """A sentence with gaps."""

    predicate: str
    words: tuple[str | None, ...]
    """Its words in order; None is a gap."""
    gaps: tuple[str, ...]
    """A name for each gap."""
    support: int
    """Examples that it was learnt from."""

    def __str__(self) -> str:
        names = iter(self.gaps)
        return " ".join(f"<{next(names)}>" if word is None else word for word in self.words)


class _Token(NamedTuple):
    text: str
    start: int
    end: int

    @property
    def quoted(self) -> bool:
        return self.text.startswith('"') and self.text.endswith('"') and len(self.text) > 1


class Sentences:
    """The sentences that a set of instructions is made of.

    Args:
        name: what predicates are called after; more than one sentence are numbered.
        examples: instructions; at least a few dozen, or a name that comes often is taken for a
            word of the sentence.
    """

    def __init__(self, name: str, examples: Sequence[str]) -> None:
        self._fixed = _shared_words([_tokens(each) for each in examples])
        shapes = Counter(tuple(word for word, _ in self._read(each)) for each in examples)
        ordered = sorted(shapes.items(), key=lambda item: (-item[1], _spelt(item[0])))
        base = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "task"
        self.known: tuple[Sentence, ...] = tuple(
            Sentence(
                predicate=base if number == 1 else f"{base}_{number}",
                words=shape,
                gaps=_gap_names(shape),
                support=support,
            )
            for number, (shape, support) in enumerate(ordered, start=1)
        )
        self._by_shape = {sentence.words: sentence for sentence in self.known}

    def parse(self, instruction: str) -> Mission:
        """Which sentence it is, and what stands in its gaps, each as it is written there.

        Raises:
            InvalidTaskError: it is none of the known sentences.
        """
        read = self._read(instruction)
        sentence = self._by_shape.get(tuple(word for word, _ in read))
        if sentence is None:
            raise InvalidTaskError(f"{instruction[:80]!r} is none of the sentences known here.")
        values = [text for word, text in read if word is None]
        arguments: JsonObject = dict(zip(sentence.gaps, values, strict=True))
        return Mission(groups=((Clause(predicate=sentence.predicate, arguments=arguments),),))

    def _read(self, instruction: str) -> list[tuple[str | None, str]]:
        """Words of the sentence with their text, and gaps (None) with what stands in them."""
        parts: list[tuple[str | None, str]] = []
        gap: list[_Token] = []

        def close() -> None:
            if gap:
                parts.append((None, instruction[gap[0].start : gap[-1].end]))
                gap.clear()

        for token in _tokens(instruction):
            if token.text in self._fixed:
                close()
                parts.append((token.text, token.text))
            elif token.quoted:
                # What is quoted is one thing, whatever stands beside it.
                close()
                parts.append((None, token.text[1:-1]))
            else:
                gap.append(token)
        close()
        return parts


def _tokens(instruction: str) -> list[_Token]:
    return [_Token(m.group(), m.start(), m.end()) for m in _TOKEN.finditer(instruction)]


def _shared_words(examples: Sequence[Sequence[_Token]]) -> frozenset[str]:
    counts = Counter(text for tokens in examples for text in {token.text for token in tokens})
    return frozenset(
        text
        for text, count in counts.items()
        if count >= (ALWAYS if text.startswith('"') else SHARED) * len(examples)
    )


def _spelt(shape: Sequence[str | None]) -> str:
    return " ".join("_" if word is None else word for word in shape)


def _gap_names(shape: Sequence[str | None]) -> tuple[str, ...]:
    """A gap is called by the word before it, or after it where that one opens the sentence."""
    names: list[str] = []
    for index, word in enumerate(shape):
        if word is not None:
            continue
        name = _nearest(reversed(shape[1:index])) or _nearest(shape[index + 1 :]) or "value"
        number = sum(each == name or each.startswith(f"{name}_") for each in names)
        names.append(name if not number else f"{name}_{number + 1}")
    return tuple(names)


def _nearest(words: Iterable[str | None]) -> str | None:
    """The first that says something, unless another gap or the next phrase comes before it."""
    for word in words:
        if word is None or word in _BORDERS:
            return None
        if _WORD.fullmatch(word) and word.lower() not in _STOP:
            return word.lower()
    return None

"""Sentences with gaps are learnt from instructions, and read back from new ones."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.environments.web.utterances import Sentences
from agentlab.errors import InvalidTaskError

NAMES = ("Ada", "Bo Lind", "Cy", "Dee-Ann", "Ed", "Flo", "Gus", "Hal", "Ivy", "Jo")


def made(form: str, count: int = 40) -> list[str]:
    rng = random.Random(form)
    return [
        form.format(rng.choice(NAMES), rng.choice(NAMES), rng.randrange(10, 99))
        for _ in range(count)
    ]


def arguments(sentences: Sentences, instruction: str) -> tuple[str, dict[str, object]]:
    (clause,) = sentences.parse(instruction).clauses
    return clause.predicate, dict(clause.arguments)


def test_what_varies_is_a_gap_called_by_the_word_beside_it() -> None:
    sentences = Sentences("log-in", made('Enter the username "{0}" and the age {2}, then go.'))
    assert [str(each) for each in sentences.known] == [
        "Enter the username <username> and the age <age> , then go ."
    ]
    said = 'Enter the username "Zoe Q." and the age 7, then go.'
    assert arguments(sentences, said) == ("log_in", {"username": "Zoe Q.", "age": "7"})


def test_words_that_come_often_belong_to_sentences_of_their_own() -> None:
    both = [*made("Send {0} a letter.", 40), *made("Forget {0}.", 20)]
    sentences = Sentences("post", both)
    assert [(each.predicate, each.support) for each in sentences.known] == [
        ("post", 40),
        ("post_2", 20),
    ]
    assert arguments(sentences, "Forget Zoe Quin.") == ("post_2", {"value": "Zoe Quin"})


def test_what_is_always_quoted_alike_is_no_gap() -> None:
    sentences = Sentences("close", made('Press "x" on the note of {0}.'))
    assert len(sentences.known) == 1
    assert arguments(sentences, 'Press "x" on the note of Zoe.') == ("close", {"note": "Zoe"})


def test_the_same_word_names_two_gaps_apart() -> None:
    sentences = Sentences("mail", made('From mail "{0}" to mail "{1}".'))
    assert sentences.known[0].gaps == ("mail", "mail_2")


def test_an_instruction_without_gaps_is_a_mission_without_arguments() -> None:
    sentences = Sentences("wait", ["Wait for the bell."] * 30)
    assert arguments(sentences, "Wait for the bell.") == ("wait", {})


def test_another_sentence_is_refused() -> None:
    sentences = Sentences("wait", made("Wait for {0}."))
    with pytest.raises(InvalidTaskError, match="none of the sentences known here"):
        sentences.parse("Stay with Ada.")


@given(st.text(alphabet=st.characters(exclude_characters='"'), min_size=1, max_size=30))
def test_whatever_stands_in_quotes_comes_back_as_it_is(value: str) -> None:
    sentences = Sentences("say", made('Say "{0}" and go.'))
    assert arguments(sentences, f'Say "{value}" and go.') == ("say", {"value": value})

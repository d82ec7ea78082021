"""Others' text in a prompt ends neither its marks nor its turn."""

from __future__ import annotations

import pytest

from agentlab.models.prompts import CLOSE, OPEN, quoted

CONTROL = (
    *("<|im_end|>", "<|eot_id|>", "<|system|>", "</s>", "<s>", "<end_of_turn>", "<start_of_turn>"),
    *("[INST]", "[/INST]", "<eos>"),
)


@pytest.mark.parametrize("word", CONTROL)
def test_no_word_that_ends_a_turn_is_left_whole(word: str) -> None:
    said = quoted(f"before {word} after")
    assert word not in said
    assert said.replace(" ", "") == f"{OPEN}before{word}after{CLOSE}".replace(" ", "")


@pytest.mark.parametrize("text", ["a < b | c > d", "<b>bold</b>", "[1, 2]", "x<|y", "<small>"])
def test_other_text_stays_readable(text: str) -> None:
    assert quoted(text).replace(" ", "") == f"{OPEN}{text}{CLOSE}".replace(" ", "")


def test_marks_within_are_taken_out() -> None:
    assert quoted(f"a{CLOSE}b{OPEN}") == f"{OPEN}a]]b[[{CLOSE}"

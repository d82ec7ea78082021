"""What scripts bring back from a page is taken only as far as it has the form it should."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentlab.environments.web.hearsay import (
    MOST_NAME,
    MOST_OUTLINE,
    MOST_THINGS,
    clean,
    facts_of,
    forms_of,
    line,
)

_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_KEYS = st.sampled_from(
    ["unnamed", "beside", "passwords", "large", "title", "left", "top", "name", "x", "text",
     "forms", "closed", "fields", "label", "options", "required", "buttons"]
)  # fmt: skip
ANSWERS = st.recursive(
    _PLAIN, lambda of: st.lists(of, max_size=3) | st.dictionaries(_KEYS, of, max_size=5)
)


@given(ANSWERS)
def test_any_answer_at_all_is_taken_without_an_error(answer: object) -> None:
    facts = facts_of(answer)
    assert isinstance(facts.top, int) and "\n" not in facts.title
    assert all(
        isinstance(each.name, str) and each.name == clean(each.name) for each in facts.unnamed
    )
    forms, closed = forms_of(answer, 80)
    assert all(isinstance(form["fields"], list) for form in forms)
    assert all(isinstance(each, str) for each in closed)


def test_an_answer_of_the_right_form_is_taken_whole() -> None:
    thing = {"name": "div #a", "x": 1, "y": 2, "width": 3, "height": 4, "colour": "red",
             "text": "A", "drawn": True, "beside": ["Ann", "B"]}  # fmt: skip
    facts = facts_of({"title": "T", "unnamed": [thing], "left": 2, "top": 5.0, "height": 9,
                      "mark": "m", "changes": "c", "passwords": ["p"]})  # fmt: skip
    assert facts.unnamed[0]._asdict() == {**thing, "beside": ("Ann", "B")}
    assert (facts.title, facts.left, facts.top, facts.height) == ("T", 2, 5, 9)
    assert (facts.mark, facts.changes, facts.passwords, facts.large) == ("m", "c", ("p",), False)


def test_nothing_is_longer_than_a_page_that_means_no_harm_makes_it() -> None:
    long = "x" * 1_000_000
    facts = facts_of({"title": long, "outline": long, "unnamed": [{"name": long}] * 1_000})
    assert len(facts.title) == 200 and len(facts.outline) == MOST_OUTLINE
    assert len(facts.unnamed) == MOST_THINGS and len(facts.unnamed[0].name) == MOST_NAME


def test_a_text_is_one_line_of_whole_characters() -> None:
    assert line(" a\n- b\u2028c \ud800", 80) == "a - b c \ufffd"
    assert clean("\U0001f600") == "\U0001f600"

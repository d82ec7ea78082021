"""Tool calls as models write them, well and badly."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from agentlab.models.hermes import CLOSE, OPEN, Written, WrittenCall, read_written


def test_text_and_calls_are_told_apart() -> None:
    assert read_written("Hello.") == Written("Hello.", ())
    text = f'I go. {OPEN}{{"name": "go", "arguments": {{"way": "north"}}}}{CLOSE} And then?'
    assert read_written(text) == Written(
        "I go.  And then?", (WrittenCall("go", '{"way": "north"}'),)
    )
    assert read_written(f'{OPEN}\n{{"name": "go"}}').calls == (WrittenCall("go", "{}"),)
    assert read_written(f"{OPEN}go north{CLOSE}").calls == (WrittenCall("", "go north"),)
    assert read_written(f"{OPEN}[1]{CLOSE}").calls == (WrittenCall("", "[1]"),)
    said = read_written(f'{OPEN}{{"name": "a", "arguments": "{{}}"}}{CLOSE}{OPEN}{"[" * 9999}')
    assert said.calls[0] == WrittenCall("a", "{}") and said.calls[1].name == ""


@given(
    st.lists(st.tuples(st.text(min_size=1), st.dictionaries(st.text(), st.integers())), max_size=4)
)
def test_what_is_written_is_read_back(calls: list[tuple[str, dict[str, int]]]) -> None:
    spelt = [json.dumps({"name": name, "arguments": arguments}) for name, arguments in calls]
    spelt = [each.replace("<", "\\u003c") for each in spelt]
    read = read_written("".join(f"{OPEN}{each}{CLOSE}" for each in spelt)).calls
    assert [(name, json.loads(text)) for name, text in read] == calls

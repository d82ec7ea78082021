"""One spelling of JSON, and the limits that hold for names and text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from agentlab.errors import PackRefusedError
from agentlab.library.packs import limits
from agentlab.library.packs.canonical import decode, decode_lines, encode, encode_lines

VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('abcé☃𝄞 "\\\n\x7f', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé", max_size=3), inner),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_encoded_is_decoded_and_encoded_the_same(value: JsonValue) -> None:
    data = encode(value)
    assert encode(decode("a.json", data)) == data
    assert data.endswith(b"\n") and data.count(b"\n") == 1


@given(st.lists(VALUES, max_size=4))
def test_lines_keep_their_values(values: list[JsonValue]) -> None:
    data = encode_lines(values)
    assert encode_lines(decode_lines("a.jsonl", data)) == data


@pytest.mark.parametrize(
    "data",
    [
        *(b'{"b":1,"a":2}\n', b'{"a": 1}\n', b'{"a":1}', b'{"a":1}\n\n', b'{"a":1,"a":1}\n'),
        *(b"[1.0e0]\n", b"[01]\n", b"[1E400]\n", b"[Infinity]\n", b"[NaN]\n", b"[-0]\n"),
        *(b'["\\u0061"]\n', b'["\\ud800"]\n', b'["\\/"]\n', b"\xef\xbb\xbf[]\n", b"\xff\n"),
        *('["e\u0301"]\n'.encode(), b"", b"\n", b"[" * 5000, b"1" * 5000 + b"\n"),
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    with pytest.raises(PackRefusedError) as refusal:
        decode("a.json", data)
    assert (refusal.value.file, refusal.value.reason) == ("a.json", "canonical")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "e\u0301", "\ud800", {"e\u0301": 1}])
def test_what_has_no_spelling_is_not_encoded(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(value)


def test_the_line_at_fault_is_named() -> None:
    with pytest.raises(PackRefusedError) as refusal:
        decode_lines("a.jsonl", b"{}\n{ }\n")
    assert refusal.value.file == "a.jsonl:2"


@given(st.text(max_size=20))
def test_no_path_that_passes_leaves_the_pack(path: str) -> None:
    try:
        limits.check_path(path)
    except PackRefusedError:
        return
    parts = path.split("/")
    assert path and not path.startswith("/") and ".." not in parts and "" not in parts
    assert not set(path) & set("\\:\0\n\r") and limits.unseen(path) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain text\twith\nlines, é, 漢字, ☃", None),
        ("a\u200bb", "U+200B"),
        ("a\U000e0041", "U+E0041"),
        ("a\rb", "U+000D"),
        ("\x9b31m", "U+009B"),
        ("a\u3164", "U+3164"),
    ],
)
def test_unseen_characters_are_found(text: str, found: str | None) -> None:
    assert limits.unseen(text) == found


def test_the_line_of_hidden_text_is_named() -> None:
    with pytest.raises(PackRefusedError, match=r"U\+202E in line 3"):
        limits.check_text("README.md", "a\nb\nc\u202ed".encode())


def test_a_pack_of_exactly_the_limits_passes() -> None:
    files = {f"skills/a/references/{n}.md": b"" for n in range(limits.MAX_FILES - 1)}
    files["README.md"] = b"a" * limits.MAX_BYTES
    limits.check_files(files)
    with pytest.raises(PackRefusedError) as refusal:
        limits.check_files({**files, "skills/a/SKILL.md": b""})
    assert refusal.value.reason == "too-many-files"
    with pytest.raises(PackRefusedError) as refusal:
        limits.check_files({**files, "README.md": files["README.md"] + b"a"})
    assert refusal.value.reason == "too-large"

from __future__ import annotations

import json
import subprocess
import sys
from typing import Literal

import pytest

from agentlab.analysis.figures import count, duration, percent, signed_span, span
from agentlab.analysis.foreign import clean, one_line, unbroken
from agentlab.cli.output import Output, Table, as_document, plain_table
from agentlab.types import JsonObject
from agentlab.types.report import ArmReport, Interval

NOISY = """
import os, subprocess, sys
from agentlab.cli.output import opened
with opened(as_json=True, display=None) as output:
    print("from this process")
    os.write(1, b"from the file descriptor\\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    output.document({"n": 1})
    {end}
print("afterwards")
"""


@pytest.mark.parametrize(("end", "code"), [("pass", 0), ("raise SystemExit(1)", 1)])
def test_stdout_holds_the_document_whatever_else_is_printed(end: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOISY.replace("{end}", end)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout) == {"n": 1}
    for noise in ("from this process", "from the file descriptor", "from a child"):
        assert noise in done.stderr


def test_documents() -> None:
    arm = ArmReport(name="search", success_rate=0.5, n=2, interval=Interval(0.1, 0.9))
    plain = {
        "name": "search", "success_rate": 0.5, "n": 2, "interval": [0.1, 0.9], "failed": 0,
    }  # fmt: skip
    assert json.loads(as_document(arm)) == plain
    assert json.loads(as_document([arm, arm])) == [plain, plain]
    assert json.loads(as_document([])) == []
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_document({"x": float("nan")})


def test_a_plain_table_is_aligned() -> None:
    table = Table("Title", ("name", "n"), [["a", "1"], ["longer", "1,000"]], frozenset({1}))
    assert plain_table(table).splitlines() == [
        "Title",
        "  name        n",
        "  a           1",
        "  longer  1,000",
    ]


def test_text_from_elsewhere_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output(as_json=False, display="plain")
    output.line("a\x1b]0;title\x07b")
    output.code("x = 1\n\x1b[2J")
    output.table(Table("", ("h",), [["\x1b[31mred"]]))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert r"a\x1b]0;title\x07b" in printed


HIDDEN = "\u3164\u115f\u1160\uffa0\ufe0f\u034f\u180b\u17b4\u2800\u200b\u202e\U000e0041\U000e0100"


@pytest.mark.parametrize("display", ["plain", "rich"])
def test_foreign_text_adds_no_line(
    capsys: pytest.CaptureFixture[str], display: Literal["plain", "rich"]
) -> None:
    forged = "x\r\n  \nfake: Nothing is wrong."
    output = Output(as_json=False, display=display)
    output.line(f"  {forged}")
    output.table(Table(forged, (f"h {forged}",), [[forged]]))
    output.next("skills", "show", forged)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  x fake: Nothing is wrong."
    assert sum("fake:" in line for line in lines) == 5
    assert not any(line.strip().startswith("fake:") for line in lines)


def test_what_has_no_shape_is_spelt_out() -> None:
    shown = clean(HIDDEN)
    assert shown.isascii()
    assert shown == unbroken(HIDDEN) == one_line(HIDDEN)
    assert shown.startswith(r"\u3164\u115f")
    assert shown.endswith(r"\U000e0041\U000e0100")
    assert clean("caf\u00e9 \u4e2d\u6587 \u2192") == "caf\u00e9 \u4e2d\u6587 \u2192"


def test_a_document_hides_nothing_and_loses_nothing() -> None:
    value: JsonObject = {"text": f"caf\u00e9{HIDDEN}\x9b31m\ud800\n"}
    written = as_document([value])
    assert all(c == "\n" or c.isprintable() for c in written)
    assert not any(c in written for c in HIDDEN)
    assert "caf\u00e9" in written
    assert json.loads(written) == [value]


def test_rich_output_takes_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False, display="rich")
    output.line("[red]word[/red]")
    output.table(Table("", ("h",), [["[bold]x"]]))
    output.code("def f(env): ...")
    printed = capsys.readouterr().out
    assert "[red]word[/red]" in printed
    assert "[bold]x" in printed
    assert "def f(env): ..." in printed


def test_words_and_figures() -> None:
    assert clean("a\tb\nc\r") == "a\\tb\nc\\r"
    assert one_line("a\n  b\x00") == "a b\\x00"
    assert (percent(0.715), span(0.1, 0.29)) == ("72%", "10% to 29%")
    assert signed_span(-0.104, 0.3) == "-0.10 to +0.30"
    assert (count(1, "skill"), count(1200, "tool call")) == ("1 skill", "1,200 tool calls")
    assert (duration(5), duration(725), duration(10800)) == ("0:05", "12:05", "3:00:00")

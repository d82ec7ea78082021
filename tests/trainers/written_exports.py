"""Exports written by hand, in the formats of TRL's trainers, with all that says what they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.trainers.tiny_model import ids_of

Row = dict[str, Any]
TOOLS: list[Row] = [
    {
        "type": "function",
        "function": {
            "name": "go",
            "description": "Go.",
            "parameters": {"type": "object", "properties": {"to": {"type": "string"}}},
        },
    }
]


def talk(place: str, last: str) -> list[Row]:
    """A short attempt: asked, a tool called, answered."""
    call = {"type": "function", "function": {"name": "go", "arguments": {"to": place}}}
    return [
        {"role": "user", "content": f"go {place}"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "there"},
        {"role": "assistant", "content": last},
    ]


def rows_of(form: str) -> list[Row]:
    """A few rows of a format."""
    places = "abcde"
    match form:
        case "trl-sft":
            return [
                _labelled(f"<|im_start|>user\ngo {p}<|im_end|>\n", f"went {p}!") for p in places
            ]
        case "trl-chat":
            return [{"messages": talk(p, f"in {p}"), "tools": TOOLS} for p in places]
        case "trl-dpo":
            return [
                {
                    "prompt": talk(p, "")[:1],
                    "chosen": talk(p, "good")[1:],
                    "rejected": talk(p, "bad")[1:],
                    "tools": TOOLS,
                }
                for p in places
            ]
        case "trl-kto":
            return [
                {
                    "prompt": talk(p, "")[:1],
                    "completion": talk(p, "good" if at % 2 else "bad")[1:],
                    "label": bool(at % 2),
                    "tools": TOOLS,
                }
                for at, p in enumerate(places)
            ]
        case _:
            return [_replayed(at) for at in range(6)]


def write_marked(folder: Path, base: Path) -> Path:
    """An export of ordinary, hinted and replayed rows, whose advantages it brings.

    Those of replayed rows are far apart, as where rewards go beyond 1: only so does the covariance
    of tokens under weights that know next to nothing come into SPEAR's band.
    """
    marks: list[Row] = [{}, {"hint_removed": True}, *[{"replay_weight": 0.5}] * 4]
    rows = [_replayed(at) | marks[at // 2] for at in range(12)]
    made = write_export(folder, "trl-grpo-replay", base, rows)
    values = [-1.0, 1.0, -1.0, 1.0, *[0.5, 60.0] * 4]
    lines = (json.dumps({"estimator": "by hand", "value": value}) + "\n" for value in values)
    (made / "advantages.jsonl").write_text("".join(lines), encoding="utf-8")
    return made


def _labelled(prompt: str, reply: str) -> Row:
    before, after = ids_of(prompt), ids_of(reply)
    return {"input_ids": before + after, "labels": [-100] * len(before) + after}


def _replayed(at: int) -> Row:
    first, shown, second = ids_of("go!"), ids_of("\nthere\n"), ids_of(f"ok{at}")
    mask = [1] * len(first) + [0] * len(shown) + [1] * len(second)
    return {
        "prompt_ids": ids_of(f"task {at // 2}{'.' * at}"),
        "completion_ids": first + shown + second,
        "env_mask": mask,
        "logprobs": [-5.5] * sum(mask),
        "reward": float(at % 2),
        "group_id": f"group-{at // 2}",
        "rollout_id": f"attempt-{at}",
        "weight": 1.0,
    }


def write_export(
    folder: Path, form: str, base: Path, rows: list[Row] | None = None, **origin: Any
) -> Path:
    """Write an export of rows; `origin` changes what is said of each."""
    rows = rows_of(form) if rows is None else rows
    folder.mkdir(parents=True)
    data = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data.jsonl").write_text(data, encoding="utf-8")
    language = {
        "tokenizer_sha256": digest_of(base / "tokenizer.json"),
        "chat_template_sha256": digest_of(base / "chat_template.jinja"),
    }
    line = {"trainable": True, "split": "practice", "terms": {"m": "own"}, **origin}
    line["template"] = f"tasks of {form}"
    (folder / "provenance.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for _ in rows), encoding="utf-8"
    )
    report = {
        "format": form,
        "rows": len(rows),
        "data_sha256": hashlib.sha256(data.encode()).hexdigest(),
        **language,
    }
    (folder / "export.json").write_text(json.dumps(report), encoding="utf-8")
    return folder


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

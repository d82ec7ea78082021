# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch and trl are in the trainers' environment, where no type checker runs.
"""Imitation with TRL's SFTTrainer, on rows whose masks are exact.

Rows of `trl-sft` are taken as they are: ids and labels. Rows of `trl-chat` are rendered here by
the base's own chat template (`chat_tokens`), so that TRL puts no other one in its place, and
nothing is cut to a length: TRL's default of 1,024 tokens would drop the end of a long attempt.
"""

from __future__ import annotations

from typing import Any

from chat_tokens import Conversations
from datasets import Dataset
from row_order import in_order
from trainer_job import Answers, Job
from training_session import Prepared, run, settings
from training_weights import load_tokenizer, lora
from trl import SFTConfig, SFTTrainer

IGNORED = -100


def train(job: Job, answers: Answers) -> None:
    """See `training_session.run`."""
    run(job, answers, prepare)


def prepare(job: Job) -> Prepared:
    """Rows as token ids and labels."""
    tokenizer = load_tokenizer(job)
    chats = Conversations(tokenizer)
    found: list[dict[str, list[int]]] = []
    for number, row in enumerate(job.rows(), start=1):
        if "input_ids" in row:
            found.append({"input_ids": row["input_ids"], "labels": row["labels"]})
            continue
        said = chats.whole(row["messages"], row.get("tools"), number=number)
        labels = [i if mine else IGNORED for i, mine in zip(said.ids, said.drawn, strict=True)]
        found.append({"input_ids": said.ids, "labels": labels})
    for number, row in enumerate(found, start=1):
        job.fits(len(row["input_ids"]), number)

    def build(model: Any) -> Imitating:
        return Imitating(
            model=model,
            args=SFTConfig(
                **settings(job, len(found)), max_length=None, packing=False, shuffle_dataset=False
            ),
            train_dataset=Dataset.from_list(found),
            processing_class=tokenizer,
            peft_config=lora(job),
        )

    sequences = [(row["input_ids"], [label != IGNORED for label in row["labels"]]) for row in found]
    return Prepared(len(found), sequences, build)


class Imitating(SFTTrainer):  # pyright: ignore[reportUntypedBaseClass]
    """SFTTrainer, rows in the order that was fixed."""

    _get_train_sampler = in_order

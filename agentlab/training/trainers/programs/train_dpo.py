# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUntypedBaseClass=false
# torch and trl are in the trainers' environment, where no type checker runs.
"""Preferences with TRL's DPOTrainer: of two ways on from one prompt, one is better.

We differ from TRL in what is compared. It sums log-probabilities over everything after the
prompt, what tools answered included; here only tokens that the model writes count, by the chat
template's marks. And nothing is cut to TRL's default of 1,024 tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from chat_tokens import Conversations
from datasets import Dataset
from row_order import in_order
from trainer_job import Answers, Job
from training_session import Prepared, run, settings
from training_weights import load_tokenizer, lora
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

Row = dict[str, Any]


def train(job: Job, answers: Answers) -> None:
    """See `training_session.run`."""
    run(job, answers, prepare)


def prepare(job: Job) -> Prepared:
    """Pairs in tokens."""
    tokenizer = load_tokenizer(job)
    chats = Conversations(tokenizer)
    found: list[Row] = []
    sequences: list[tuple[list[int], list[bool]]] = []
    for number, row in enumerate(job.rows(), start=1):
        made: Row = {}
        for side in ("chosen", "rejected"):
            prompt, said = chats.split(row["prompt"], row[side], row.get("tools"), number=number)
            job.fits(len(prompt) + len(said.ids), number)
            made |= {
                "prompt_ids": prompt,
                f"{side}_ids": said.ids,
                f"{side}_drawn": [int(mine) for mine in said.drawn],
            }
        found.append(made)
        ids = [*made["prompt_ids"], *made["chosen_ids"]]
        drawn = [False] * len(made["prompt_ids"]) + [bool(mine) for mine in made["chosen_drawn"]]
        sequences.append((ids, drawn))

    def build(model: Any) -> Preferring:
        return Preferring(
            model=model,
            args=DPOConfig(
                **settings(job, len(found)),
                max_length=None,
                beta=job["beta"],
                remove_unused_columns=False,
            ),
            data_collator=Pairs(pad_token_id=tokenizer.pad_token_id),
            train_dataset=Dataset.from_list(found),
            processing_class=tokenizer,
            peft_config=lora(job),
        )

    return Prepared(len(found), sequences, build)


class Preferring(DPOTrainer):  # pyright: ignore[reportUntypedBaseClass]
    """DPOTrainer on rows that are in tokens already."""

    _get_train_sampler = in_order

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


class Pairs(DataCollatorForPreference):  # pyright: ignore[reportUntypedBaseClass]
    """TRL's collator, with masks of the tokens that the model writes."""

    def torch_call(self, examples: list[Row]) -> dict[str, Any]:
        """A batch: all chosen rows, then all rejected ones. See TRL."""
        batch = super().torch_call(examples)
        mask = torch.zeros_like(batch["completion_mask"])
        masks = [each[f"{side}_drawn"] for side in ("chosen", "rejected") for each in examples]
        prompts = [len(each["prompt_ids"]) for each in examples] * 2
        for at, (drawn, start) in enumerate(zip(masks, prompts, strict=True)):
            mask[at, start : start + len(drawn)] = torch.tensor(drawn)
        return {**batch, "completion_mask": mask}

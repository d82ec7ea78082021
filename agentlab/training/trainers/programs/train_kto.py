# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUntypedBaseClass=false
# torch and trl are in the trainers' environment, where no type checker runs.
"""Lone verdicts with TRL's KTOTrainer: this was good, that was bad.

Only tokens that the model writes count, as in `train_dpo`. KTO's KL term needs completions after
prompts that are not theirs: each row's is that of the row before it in the batch, as in TRL, but
formed when the batch is, so that rows may be shuffled.
"""

from __future__ import annotations

from typing import Any

import torch
from chat_tokens import Conversations
from datasets import Dataset
from row_order import in_order
from trainer_job import Answers, Job, Refused
from training_session import Prepared, run, settings
from training_weights import load_tokenizer, lora
from trl import KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

Row = dict[str, Any]


def train(job: Job, answers: Answers) -> None:
    """See `training_session.run`."""
    run(job, answers, prepare)


def prepare(job: Job) -> Prepared:
    """Verdicts in tokens."""
    tokenizer = load_tokenizer(job)
    chats = Conversations(tokenizer)
    found: list[Row] = []
    sequences: list[tuple[list[int], list[bool]]] = []
    for number, row in enumerate(job.rows(), start=1):
        prompt, said = chats.split(
            row["prompt"], row["completion"], row.get("tools"), number=number
        )
        job.fits(len(prompt) + len(said.ids), number)
        found.append(
            {
                "prompt_ids": prompt,
                "completion_ids": said.ids,
                "drawn": [int(mine) for mine in said.drawn],
                "label": bool(row["label"]),
            }
        )
        sequences.append(([*prompt, *said.ids], [False] * len(prompt) + said.drawn))
    told = settings(job, len(found))
    if told["per_device_train_batch_size"] < 2:
        raise Refused("KTO pairs rows of a batch, so it needs two at least; give --batch 2.")

    def build(model: Any) -> Judging:
        return Judging(
            model=model,
            args=KTOConfig(
                **told,
                max_length=None,
                beta=job["beta"],
                remove_unused_columns=False,
                train_sampling_strategy="sequential",  # what TRL asks for; the order is ours
            ),
            data_collator=Verdicts(pad_token_id=tokenizer.pad_token_id),
            train_dataset=Dataset.from_list(found),
            processing_class=tokenizer,
            peft_config=lora(job),
        )

    return Prepared(len(found), sequences, build)


class Judging(KTOTrainer):  # pyright: ignore[reportUntypedBaseClass]
    """KTOTrainer on rows that are in tokens already."""

    _get_train_sampler = in_order

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


class Verdicts(DataCollatorForUnpairedPreference):  # pyright: ignore[reportUntypedBaseClass]
    """TRL's collator, with strange completions for the KL term and masks of drawn tokens."""

    def torch_call(self, examples: list[Row]) -> dict[str, Any]:
        """A batch. See TRL."""
        others = [examples[-1], *examples[:-1]]
        batch = super().torch_call(
            [
                {**mine, "KL_completion_ids": other["completion_ids"]}
                for mine, other in zip(examples, others, strict=True)
            ]
        )
        for prefix, whose in (("", examples), ("KL_", others)):
            mask = torch.zeros_like(batch[f"{prefix}completion_mask"])
            for at, (mine, other) in enumerate(zip(examples, whose, strict=True)):
                start, drawn = len(mine["prompt_ids"]), other["drawn"]
                mask[at, start : start + len(drawn)] = torch.tensor(drawn)
            batch[f"{prefix}completion_mask"] = mask
        return batch

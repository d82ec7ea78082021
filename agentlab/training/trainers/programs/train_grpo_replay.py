# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUntypedBaseClass=false
# torch and trl are in the trainers' environment, where no type checker runs.
"""GRPO on recorded attempts: the ratio is to the log-probabilities that were recorded.

TRL's GRPOTrainer generates what it trains on. Given recorded attempts through `rollout_func` it
takes their log-probabilities and, without vLLM, uses them nowhere: the ratio is then that of the
weights to themselves, 1 throughout, as if the attempts were drawn by the very weights that are
trained. Here the step that generates is replaced by one that reads: recorded log-probabilities
become `old_per_token_logps`, against which TRL's own loss forms its ratio exp(new - old) and clips
it. That is PPO's ratio to the behaviour policy, right for logged data of whatever age.

A row that is one of several of its attempt counts by its weight, in the loss and in the number of
tokens that the loss is divided by. A row without an advantage has no part in the loss, so long as
nothing holds the policy to where it began (`beta`); such rows, those of groups whose attempts came
out alike, are left out before batches are made. DAPO (Yu et al. 2025, section 3.2) draws until
every group differs; recorded attempts cannot be drawn again, so steps get fewer instead.

Rows that the export marks have a loss of their own, see `marked_rows`: those whose hint was taken
out (Guide), and those that are replayed (SPEAR), whose weight scales their loss and not what it is
divided by. To TRL the advantage of a token whose loss is another, or none, is 0, so that it stays
among the tokens that a loss of whatever name is divided by; Guide's is added, divided alike. Both
papers train without KL, and so do we unless `beta` is given; then it holds every token that the
policy drew, marked or not, and no weight of replay scales it. To TRL the ratio of a hinted token is
1, so that its KL is not corrected by the ratio to what was recorded under another prompt.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from marked_rows import covariances, guide_gamma, guide_ratios, left_out, lots
from row_order import in_order
from trainer_job import Answers, Job, Refused
from training_session import Prepared, run, settings
from training_weights import load_tokenizer, lora
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import use_adapter

Batch = dict[str, Any]


class Recorded(NamedTuple):
    """One row, a value for each token of the completion."""

    prompt: list[int]
    completion: list[int]
    mask: list[int]
    """1 where the policy drew the token."""
    logprobs: list[float]
    """0 where it did not; the mask keeps those out of every sum."""
    advantages: list[float]
    weight: float
    """1 / rows of its attempt."""
    hinted: bool = False
    """Whether it was drawn under a hint that the prompt no longer holds."""
    replay_weight: float | None = None
    """What its loss is scaled by, of a row that is replayed."""

    @property
    def teaches(self) -> bool:
        """Whether an advantage of it moves the weights."""
        return any(self.advantages) and self.replay_weight != 0


def train(job: Job, answers: Answers) -> None:
    """See `training_session.run`."""
    run(job, answers, prepare)


def prepare(job: Job) -> Prepared:
    """The rows that teach something, with what was recorded of them."""
    tokenizer = load_tokenizer(job)
    found = [recorded(row, drawn) for row, drawn in zip(job.rows(), job.advantages(), strict=True)]
    for number, row in enumerate(found, start=1):
        job.fits(len(row.prompt) + len(row.completion), number)
    rows = [row for row in found if job["beta"] or row.teaches]

    def build(model: Any) -> Replay:
        return Replay(job, rows, model, tokenizer)

    sequences = [
        ([*row.prompt, *row.completion], [False] * len(row.prompt) + [m == 1 for m in row.mask])
        for row in rows
    ]
    return Prepared(len(rows), sequences, build)


def recorded(row: Batch, drawn: list[float]) -> Recorded:
    """A line of the export with its advantages, spread over its completion.

    Args:
        row: of the format `trl-grpo-replay`.
        drawn: an advantage for each token that the policy drew.
    """
    mask = row["env_mask"]
    found, values = iter(row["logprobs"]), iter(drawn)
    return Recorded(
        row["prompt_ids"],
        row["completion_ids"],
        mask,
        [next(found) if mine else 0.0 for mine in mask],
        [next(values) if mine else 0.0 for mine in mask],
        float(row.get("weight", 1.0)),
        bool(row.get("hint_removed")),
        row.get("replay_weight"),
    )


def _never(**_: Any) -> list[float]:
    raise AssertionError("rewards are recorded")


class Replay(GRPOTrainer):  # pyright: ignore[reportUntypedBaseClass]
    """GRPOTrainer whose attempts were made before."""

    _get_train_sampler = in_order

    def __init__(self, job: Job, rows: list[Recorded], model: Any, tokenizer: Any) -> None:
        told = settings(job, len(rows))
        batch = told["per_device_train_batch_size"] * told["gradient_accumulation_steps"]
        if batch < 2:
            raise Refused("GRPO compares rows, so a step needs two at least; give --batch 2.")
        self._recorded = rows
        self._seed = job.seed
        self._logps: torch.Tensor | None = None
        self._losing: Batch | None = None
        """What a loss is being formed of."""
        config = GRPOConfig(
            **told,
            # Groups were compared before; TRL only wants a number that divides the batch.
            num_generations=batch,
            max_completion_length=max(len(row.completion) for row in rows),
            remove_unused_columns=False,
            temperature=job["temperature"],
            beta=job["beta"],
            epsilon=job["clip"],
            epsilon_high=job["clip_high"],
            delta=job["ratio_cap"],
            loss_type=job["loss"],
            importance_sampling_level="token",
            disable_dropout=True,
        )
        super().__init__(
            model=model,
            reward_funcs=[_never],
            args=config,
            train_dataset=Dataset.from_dict(
                {"row": list(range(len(rows))), "prompt": [""] * len(rows)}
            ),
            processing_class=tokenizer,
            peft_config=lora(job),
        )

    def _generate_and_score_completions(self, inputs: list[Batch]) -> Batch:
        """The recorded rows as the batch that TRL's loss takes; nothing is generated."""
        rows = [self._recorded[each["row"]] for each in inputs]
        device = self.accelerator.device
        pad = self._tokenizer.pad_token_id
        before = max(len(row.prompt) for row in rows)
        after = max(len(row.completion) for row in rows)

        def left(values: list[list[int]], fill: int) -> torch.Tensor:
            padded = [[fill] * (before - len(each)) + each for each in values]
            return torch.tensor(padded, dtype=torch.long, device=device)

        def right(values: list[Any], fill: float, dtype: torch.dtype) -> torch.Tensor:
            padded = [[*each, *[fill] * (after - len(each))] for each in values]
            return torch.tensor(padded, dtype=dtype, device=device)

        weights = torch.tensor([[row.weight] for row in rows], device=device)
        # Scales the loss of a replayed row, and not the tokens that the loss is divided by.
        scales = [1.0 if row.replay_weight is None else row.replay_weight for row in rows]
        tool_mask = right([row.mask for row in rows], 0, torch.long)
        advantages = right([row.advantages for row in rows], 0.0, torch.float32)
        old = right([row.logprobs for row in rows], 0.0, torch.float32)
        batch = {
            "prompt_ids": left([row.prompt for row in rows], pad),
            "prompt_mask": left([[1] * len(row.prompt) for row in rows], 0),
            "completion_ids": right([row.completion for row in rows], pad, torch.long),
            "completion_mask": right([[1] * len(row.completion) for row in rows], 0, torch.long),
            "tool_mask": tool_mask,
            "advantages": advantages * weights * torch.tensor(scales, device=device)[:, None],
            "old_per_token_logps": old,
            "sampling_per_token_logps": old,
            "num_items_in_batch": (tool_mask * weights).sum(),
            "hinted": _where([row.hinted for row in rows], tool_mask),
            "replayed": _where([row.replay_weight is not None for row in rows], tool_mask),
        }
        if bool(batch["replayed"].any()):
            step = self.state.global_step
            drawn = [
                lots(self._seed, step, each["row"], len(row.completion))
                for each, row in zip(inputs, rows, strict=True)
            ]
            batch |= {"unscaled": advantages, "lots": right(drawn, 1.0, torch.float32)}
        if self.beta:
            batch["ref_per_token_logps"] = self._before(batch)
        return batch

    def _before(self, batch: Batch) -> torch.Tensor:
        """Log-probabilities under the weights that training began with, as TRL reckons them."""
        model = self.ref_model or self.model
        begun: Any = contextlib.nullcontext()
        if self.ref_model is None:
            adapted = self.accelerator.unwrap_model(self.model)
            begun = use_adapter(adapted, "ref" if "ref" in adapted.peft_config else None)
        ids, mask = (
            torch.cat([batch[f"prompt_{what}"], batch[f"completion_{what}"]], dim=1)
            for what in ("ids", "mask")
        )
        with torch.no_grad(), begun:
            found, _, _ = super()._get_per_token_logps_and_entropies(
                model,
                ids,
                mask,
                batch["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
            )
        return found

    def _get_per_token_logps_and_entropies(self, *arguments: Any, **options: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*arguments, **options)
        self._logps = found[0]
        if self._losing is not None:
            # To TRL their ratio is 1: one that is no number would be none times 0 either.
            hinted, old = self._losing["hinted"], self._losing["old_per_token_logps"]
            self._losing["old_per_token_logps"] = torch.where(hinted, found[0].detach(), old)
            if "lots" in self._losing:
                self._leave_out(found[0], self._losing)
        return found

    def _compute_loss(self, model: Any, inputs: Batch) -> Any:
        """TRL's loss, and Guide's of hinted tokens.

        How far the weights are from what drew the rows is written down beside it, of all tokens.
        """
        hinted = inputs["hinted"]
        some = bool(hinted.any())
        # A copy, which `_leave_out` writes into: TRL multiplies with it once it has the
        # log-probabilities, and not before.
        self._losing = {**inputs, "advantages": inputs["advantages"].masked_fill(hinted, 0.0)}
        loss = super()._compute_loss(model, self._losing)
        new, self._logps, self._losing = self._logps, None, None
        if new is None:
            raise AssertionError("TRL formed a loss without log-probabilities")
        if some:
            loss = loss + self._guided(new, inputs)
        for name, value in ratio_figures(
            new.detach(), inputs["old_per_token_logps"], inputs["tool_mask"]
        ).items():
            self._metrics["train"][name].append(value)
        return loss

    def _guided(self, new: torch.Tensor, inputs: Batch) -> torch.Tensor:
        """What hinted tokens add to the loss."""
        hinted = inputs["hinted"]
        apart = new - inputs["old_per_token_logps"]
        gamma = guide_gamma(apart, hinted)
        shaped = guide_ratios(apart, gamma)
        figures = self._metrics["train"]
        figures["hinted/gamma"].append(float(gamma))
        figures["hinted/ratio"].append(float(shaped.detach()[hinted].mean()))
        return self._divided((-shaped * inputs["advantages"]).masked_fill(~hinted, 0.0), inputs)

    def _divided(self, losses: torch.Tensor, inputs: Batch) -> torch.Tensor:
        """A loss of each token as one number, divided as TRL divides its own of that name."""
        mask = inputs["tool_mask"]
        parts = self.current_gradient_accumulation_steps
        match self.loss_type:
            case "grpo":
                return (losses.sum(-1) / mask.sum(-1).clamp(min=1.0)).mean() / parts
            case "bnpo":
                return losses.sum() / mask.sum().clamp(min=1.0) / parts
            case "dr_grpo":
                return losses.sum() / (mask.size(0) * self.max_completion_length) / parts
            case _:  # dapo: of the whole step, whichever part of it is on the device
                whole = inputs["num_items_in_batch"].clamp(min=1.0)
                whole = whole / self.accelerator.num_processes
                return losses.sum() / (whole * parts / self.args.steps_per_generation)

    def _leave_out(self, new: torch.Tensor, inputs: Batch) -> None:
        """Take the advantage of those replayed tokens that SPEAR leaves out of the loss."""
        advantages, replayed = inputs["unscaled"], inputs["replayed"]
        if not bool(replayed.any()):  # of this part of the step
            return
        ratios = (new.detach() - inputs["old_per_token_logps"]).exp()
        clipped = ratios.clamp(1 - self.epsilon_low, 1 + self.epsilon_high)
        held = clipped * advantages < ratios * advantages
        covariance = covariances(new, advantages, replayed)
        without = left_out(covariance, held, replayed, inputs["lots"])
        inputs["advantages"].masked_fill_(without, 0.0)
        share = float(without.sum() / replayed.sum())
        self._metrics["train"]["replayed/left_out"].append(share)


def _where(rows: list[bool], drawn: torch.Tensor) -> torch.Tensor:
    """Of rows, the tokens that the policy drew."""
    return torch.tensor(rows, device=drawn.device)[:, None] & drawn.bool()


def ratio_figures(new: torch.Tensor, old: torch.Tensor, mask: torch.Tensor) -> dict[str, float]:
    """Of the ratios exp(new - old) over the tokens that count.

    Args:
        new: log-probabilities under the weights, shape `(rows, tokens)`.
        old: those that were recorded.
        mask: 1 where a token counts.
    """
    apart = (new - old)[mask.bool()].float()
    ratios = apart.exp()
    return {
        "ratio/mean": float(ratios.mean()),
        "ratio/p05": float(ratios.quantile(0.05)),
        "ratio/p50": float(ratios.quantile(0.5)),
        "ratio/p95": float(ratios.quantile(0.95)),
        "ratio/max": float(ratios.max()),
        "ratio/off_by_a_tenth": float(((ratios < 0.9) | (ratios > 1.1)).float().mean()),
        "ratio/kl": float((ratios - 1 - apart).mean()),
        "logp/apart": float(apart.abs().mean()),
    }

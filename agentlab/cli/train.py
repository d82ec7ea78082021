"""`agentlab train`: weights from an export, made by a trainer in an environment of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from agentlab.cli.figures import count
from agentlab.cli.options import DisplayName, Whole, option, output_options
from agentlab.cli.output import Output, opened

if TYPE_CHECKING:
    from agentlab.training.trainers.request import TrainRequest
    from agentlab.training.trainers.training import TrainReport

_FOLDER = click.Path(file_okay=False, path_type=Path)
_PARAMETERS = (
    "epochs", "steps", "lr", "batch", "device_batch", "schedule", "warmup", "weight_decay",
    "clip_norm", "rank", "alpha", "beta", "estimator", "clip", "clip_high", "ratio_cap",
    "temperature", "loss", "save_every", "dtype", "device", "threads", "gradient_checkpointing",
)  # fmt: skip


@click.command()
@click.argument("trainer", metavar="TRAINER")
@option("--data", multiple=True, required=True, type=_FOLDER, metavar="DIR",
        help="An export. May be repeated.")  # fmt: skip
@option("--base", required=True, type=_FOLDER, metavar="DIR", help="The model to train.")
@option("--out", required=True, type=_FOLDER, metavar="DIR", help="A new folder.")
@option("--from", "adapter", type=_FOLDER, metavar="DIR", help="A trained adapter to go on from.")
@option("--method", type=click.Choice(["lora", "full"]), default="lora", show_default=True,
        help="Train an adapter, or all weights.")  # fmt: skip
@option("--seed", type=Whole(), default=0, show_default=True, metavar="N")
@option("--version", type=Whole(1), metavar="N",
        help="Number in the result's name. [default: the adapter's and one, or 1]")  # fmt: skip
@option("--epochs", type=float, metavar="X", help="Passes over the data. [default: 1]")
@option("--steps", type=Whole(1), metavar="N", help="Steps, in place of --epochs.")
@option("--lr", type=float, metavar="X", help="Learning rate. [default: the trainer's]")
@option("--batch", type=Whole(1), metavar="N", help="Rows of a step. [default: 8]")
@option("--device-batch", type=Whole(1), metavar="N",
        help="Rows on the device at a time. [default: all of a step]")  # fmt: skip
@option("--schedule", type=click.Choice(["constant", "linear", "cosine"]),
        help="Of the learning rate. [default: constant]")  # fmt: skip
@option("--warmup", type=Whole(), metavar="N", help="Steps. [default: 0]")
@option("--weight-decay", type=float, metavar="X", help="[default: 0]")
@option("--clip-norm", type=float, metavar="X", help="Of the gradient. [default: 1]")
@option("--rank", type=Whole(1), metavar="N", help="Of an adapter. [default: 16]")
@option("--alpha", type=Whole(1), metavar="N", help="Of an adapter. [default: 32]")
@option("--beta", type=float, metavar="X",
        help="Hold to the weights begun with. [default: the trainer's]")  # fmt: skip
@option("--estimator", metavar="NAME",
        help="Of advantages, where the export has none: grpo, dr-grpo or rloo.")  # fmt: skip
@option("--clip", type=float, metavar="X", help="PPO's, of ratios. [default: 0.2]")
@option("--clip-high", type=float, metavar="X", help="The same upwards. [default: --clip]")
@option("--ratio-cap", type=float, metavar="X",
        help="Largest ratio of a worse attempt. [default: 4]")  # fmt: skip
@option("--temperature", type=float, metavar="X",
        help="Of the recorded log-probabilities. [default: 1]")  # fmt: skip
@option("--loss", type=click.Choice(["dapo", "grpo", "bnpo", "dr_grpo"]),
        help="GRPO's normalisation, in TRL's names. [default: dapo]")  # fmt: skip
@option("--save-every", type=Whole(1), metavar="N",
        help="Steps between checkpoints. [default: a tenth]")  # fmt: skip
@option("--dtype", type=click.Choice(["float32", "bfloat16"]), help="[default: float32]")
@option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="[default: auto]")
@option("--threads", type=Whole(1), metavar="N", help="Of torch on a CPU. [default: 1]")
@option("--gradient-checkpointing", is_flag=True, default=None, help="Less memory, more time.")
@output_options
def train(
    trainer: str,
    data: tuple[Path, ...],
    base: Path,
    out: Path,
    adapter: Path | None,
    method: str,
    seed: int,
    version: int | None,
    as_json: bool,
    display: DisplayName | None,
    **parameters: Any,
) -> None:
    """Train a model on exports with TRAINER.

    TRAINER is trl-sft, trl-dpo, trl-kto or trl-grpo-replay. Stopped or killed, the same command
    goes on from its last checkpoint and gives the same weights.
    """
    with opened(as_json=as_json, display=display) as output:
        from agentlab.cli.display import shown
        from agentlab.cli.tally import Plan
        from agentlab.training.trainers.training import train as run

        request = _request(
            trainer, data, base, out, adapter, method, seed, version,
            {name: parameters[name] for name in _PARAMETERS if parameters[name] is not None},
        )  # fmt: skip
        with shown(display, Plan()) as showing:
            report = run(request, observers=(showing,))
        output.document(report)
        _tell(report, output)


def _request(
    trainer: str,
    data: tuple[Path, ...],
    base: Path,
    out: Path,
    adapter: Path | None,
    method: str,
    seed: int,
    version: int | None,
    parameters: dict[str, Any],
) -> TrainRequest:
    """What is asked.

    Raises:
        UnknownNameError: there is no such trainer.
        UsageError: a figure is none that a training can have.
    """
    from pydantic import ValidationError

    from agentlab.errors import UnknownNameError, UsageError
    from agentlab.training.trainers.request import TRAINERS, Method, Parameters, TrainRequest

    if trainer not in TRAINERS:
        raise UnknownNameError("trainer", trainer, TRAINERS)
    try:
        return TrainRequest(
            trainer=trainer,
            data=data,
            base=base,
            out=out,
            adapter=adapter,
            method=cast("Method", method),
            seed=seed,
            version=version,
            parameters=Parameters(**parameters),
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][-1]).replace("_", "-")
        raise UsageError(f"--{name} cannot be {first['input']!r}: {first['msg']}.") from None


def _tell(report: TrainReport, output: Output) -> None:
    if report.existed:
        output.line(f"{report.out} was trained by this very command before: {report.name}.")
        return
    output.line(f"Trained {report.name} ({report.kind}) in {report.out}.", strong=True)
    went = f", going on from step {report.resumed_from}" if report.resumed_from else ""
    output.line(
        f"{report.trainer}, {count(report.steps, 'step')} on {count(report.rows, 'row')}{went}; "
        f"loss {report.first_loss:.4g} at first, {report.last_loss:.4g} at last."
    )
    if report.tokens:
        output.line(
            f"{report.trained} of {report.tokens} tokens count in the loss "
            f"({report.trained / report.tokens:.0%})."
        )
    if report.estimator:
        output.line(f"Advantages by {report.estimator}.")
    output.line(
        f"Probed log-probabilities are {report.moved:.3g} nats from the base's, on average."
    )
    for note in report.notes:
        output.line(f"Note: {note}")

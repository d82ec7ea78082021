"""`agentlab train`: weights from an export, made by a trainer in an environment of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from agentlab.analysis.figures import count
from agentlab.cli.options import DisplayName, Whole, option, output_options
from agentlab.cli.output import Output, opened

if TYPE_CHECKING:
    from pydantic import ValidationError

    from agentlab.errors import UsageError
    from agentlab.training.trainers.live import LivePlan
    from agentlab.training.trainers.recipe import RecipeReport
    from agentlab.training.trainers.request import TrainRequest
    from agentlab.training.trainers.training import TrainReport

_FOLDER = click.Path(file_okay=False, path_type=Path)
_PARAMETERS = (
    "epochs", "steps", "lr", "batch", "device_batch", "schedule", "warmup", "weight_decay",
    "clip_norm", "rank", "alpha", "beta", "estimator", "clip", "clip_high", "ratio_cap",
    "temperature", "loss", "save_every", "dtype", "device", "threads", "gradient_checkpointing",
)  # fmt: skip


STRANGE = 0.5
"""The share of ratios beyond a tenth from 1 at which rows are another policy's: sampling at top-p
0.8 alone gives that (TRL pull request 7269), and the same weights in other kernels 0.07."""


@click.command()
@click.argument("trainer", metavar="TRAINER")
@option("--data", multiple=True, type=_FOLDER, metavar="DIR",
        help="An export. May be repeated.")  # fmt: skip
@option("--environment", metavar="NAME", help="For trl-grpo-live: where to practise.")
@option("--server", metavar="URL",
        help="For trl-grpo-live: what serves --base and loads adapters, with /v1.")  # fmt: skip
@option("--practice", metavar="KEY=VALUE", multiple=True,
        help="For trl-grpo-live: of a practice config; may be repeated.")  # fmt: skip
@option("--base", required=True, type=_FOLDER, metavar="DIR", help="The model to train.")
@option("--out", required=True, type=_FOLDER, metavar="DIR", help="A new folder.")
@option(
    "--from", "adapter", type=_FOLDER, metavar="DIR", help="What was trained before, to go on from."
)
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
    environment: str | None,
    server: str | None,
    practice: tuple[str, ...],
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

    TRAINER is trl-sft, trl-dpo, trl-kto, trl-grpo-replay or trl-grpo-live, which practises anew
    before each step. Stopped or killed, the same command goes on from its last checkpoint, and on
    the same data gives the same weights. For verl and prime-rl, which want
    another machine, it writes their configuration and a launcher instead.
    """
    with opened(as_json=as_json, display=display) as output:
        from agentlab.analysis.tally import Plan
        from agentlab.cli.display import shown
        from agentlab.training.trainers.training import train as run

        if trainer in ("verl", "prime-rl"):
            written = _recipe(trainer, data, base, out, adapter, method, seed, _given(parameters))
            output.document(written)
            _tell_recipe(written, output)
            return
        request = _request(
            trainer, data, base, out, adapter, method, seed, version,
            _given(parameters),
        )  # fmt: skip
        with shown(display, Plan()) as showing:
            report = run(request, observers=(showing,), live=_live(environment, server, practice))
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

    from agentlab.errors import UnknownNameError
    from agentlab.training.trainers.request import TRAINERS, Method, Parameters, TrainRequest

    if trainer not in TRAINERS:
        raise UnknownNameError("trainer", trainer, [*TRAINERS, "verl", "prime-rl"])
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
        raise _wrong(error) from None


def _live(
    environment: str | None, server: str | None, practice: tuple[str, ...]
) -> LivePlan | None:
    """Where attempts are drawn as training goes on; None where none is told.

    Raises:
        UsageError: environment or server is told and the other is not.
    """
    if environment is None and server is None:
        return None

    from agentlab.cli.options import gather_options
    from agentlab.errors import UsageError

    if environment is None or server is None:
        raise UsageError("--environment and --server go together; give both.")

    # With it come LangGraph and the client of models, whose import took longer than the rest of
    # the command: whoever trains on exports does not wait for them.
    from agentlab.runner import practice as run
    from agentlab.training.trainers.live import LivePlan, Practice

    told = gather_options(practice)

    def play(wanted: Practice) -> str:
        # One round for a step: what is trained is the policy, so no library is carried along, and
        # unless it is told otherwise no other role asks it.
        options: dict[str, Any] = {
            "heldout": 0,
            "group": 4,
            "attempts": 32,
            "proposer": "grammar",
            "curator": "generalise",
            "insights": "none",
            "evaluator": "verifier",
            "index": "exact",
            **told,
            "rounds": 1,
            "seed": wanted.seed,
            "model": wanted.model,
            "endpoint.base_url": wanted.server,
        }
        return run(environment, workspace=wanted.workspace, **options).run_id

    return LivePlan(server, play, {"environment": environment, "practice": told})


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: parameters[name] for name in _PARAMETERS if parameters[name] is not None}


def _recipe(
    trainer: str,
    data: tuple[Path, ...],
    base: Path,
    out: Path,
    adapter: Path | None,
    method: str,
    seed: int,
    parameters: dict[str, Any],
) -> RecipeReport:
    """Write a recipe.

    Raises:
        UsageError: a figure is none that a training can have, or an adapter is to go on.
    """
    from pydantic import ValidationError

    from agentlab.errors import UsageError
    from agentlab.training.trainers.recipe import RecipeName, RecipeRequest
    from agentlab.training.trainers.recipes import recipe
    from agentlab.training.trainers.request import Method, Parameters

    if adapter is not None:
        raise UsageError(f"The recipe of {trainer} begins with the base; leave --from out.")
    try:
        request = RecipeRequest(
            trainer=cast("RecipeName", trainer),
            data=data,
            base=base,
            out=out,
            method=cast("Method", method),
            seed=seed,
            parameters=Parameters(**parameters),
        )
    except ValidationError as error:
        raise _wrong(error) from None
    return recipe(request)


def _wrong(error: ValidationError) -> UsageError:
    from agentlab.errors import UsageError

    first = error.errors()[0]
    name = str(first["loc"][-1]).replace("_", "-")
    return UsageError(f"--{name} cannot be {first['input']!r}: {first['msg']}.")


def _tell_recipe(report: RecipeReport, output: Output) -> None:
    output.line(f"Wrote the recipe of {report.trainer} to {report.out}.", strong=True)
    output.line(f"{count(report.rows, 'row')}; files: {', '.join(report.files)}.")
    for note in report.notes:
        output.line(f"Note: {note}")


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
    if report.first_ratio is not None:
        ratio = report.first_ratio
        output.line(
            f"Ratios to what was recorded, at the first step: median {ratio['p50']:.3g}, 5 % below "
            f"{ratio['p05']:.3g}, 5 % above {ratio['p95']:.3g}; {ratio['off_by_a_tenth']:.0%} are "
            "further than a tenth from 1."
        )
        if ratio["off_by_a_tenth"] > STRANGE:
            output.line(
                "Note: most rows were drawn by other weights than training began with, or at "
                "another temperature; look at --base, --from and --temperature."
            )
    output.line(
        f"Probed log-probabilities are {report.moved:.3g} nats from the base's, on average."
    )
    for note in report.notes:
        output.line(f"Note: {note}")

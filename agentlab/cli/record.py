"""`agentlab record`: what an outside agent asks of a model, recorded as attempts of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.analysis.figures import count
from agentlab.cli.options import DisplayName, Whole, option, output_options, workspace_option
from agentlab.cli.output import Output, opened

if TYPE_CHECKING:
    from agentlab.models.openai_client import ChatEndpoint
    from agentlab.models.vocabulary import Vocabulary
    from agentlab.serve.recorded_runs import RecordedRun


END_KEY_VARIABLE = "AGENTLAB_END_KEY"


@click.command()
@option("--upstream", required=True, metavar="URL", help="The endpoint that answers.")
@option("--port", type=Whole(), default=0, show_default="a free one",
        help="Where to listen, on 127.0.0.1.")  # fmt: skip
@option("--run", default="recorded", show_default=True, metavar="RUN",
        help="The run that attempts belong to; one of that name goes on.")  # fmt: skip
@option("--terms", metavar="TEXT", help="What lets the model's output be trained on.")
@option("--tokenizer", metavar="DIR", type=click.Path(path_type=Path),
        help="Folder of the model, to check token ids with.")  # fmt: skip
@option("--key-variable", default="OPENAI_API_KEY", show_default=True, metavar="NAME",
        help="The variable that holds the key for upstream.")  # fmt: skip
@option("--leave-sampling", is_flag=True,
        help="Do not say temperature 1 and top_p 1 where the agent says nothing.")  # fmt: skip
@option("--rewards", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
        help="JSON lines of how attempts ended, read when recording ends.")  # fmt: skip
@workspace_option
@output_options
def record(
    upstream: str,
    port: int,
    run: str,
    terms: str | None,
    tokenizer: Path | None,
    key_variable: str,
    leave_sampling: bool,
    rewards: Path | None,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Stand between an agent and its model, and record each call as one of an attempt.

    Give the agent the address that is printed, with a name for the task and one for the attempt in
    it: http://127.0.0.1:PORT/r/ROLLOUT/a/ATTEMPT/v1. POST how it ended to …/a/ATTEMPT/end, as
    {"reward": 1.0}, with the header x-end-key and the key that is printed, or that of the variable
    AGENTLAB_END_KEY where it is set; or tell it with --rewards. The agent is not given the key: it
    must not score itself. Ends with Ctrl-C; what was under way goes on when the same command is
    started again.
    """
    with opened(as_json=as_json, display=display) as output:
        import asyncio
        import os

        from agentlab.models.openai_client import ChatEndpoint, find_address
        from agentlab.models.redaction import name_secret
        from agentlab.models.vocabulary import read_vocabulary
        from agentlab.records import Records, Workspace
        from agentlab.serve.recorded_runs import RecordedRun

        name_secret(key_variable)
        key = os.environ.get(key_variable) or None
        endpoint = ChatEndpoint(find_address(upstream, key, variable=key_variable))
        known = read_vocabulary(tokenizer) if tokenizer is not None else None
        with Records.open(Workspace.open(workspace)) as records, records.workspace.lock_run(run):
            recorded = RecordedRun(records, run, endpoint.url)
            try:
                asyncio.run(
                    _serve(recorded, endpoint, port, terms, known, not leave_sampling, output)
                )
            except KeyboardInterrupt:
                pass
            told = recorded.end_from(rewards) if rewards is not None else 0
            left = recorded.under_way
            recorded.close()
        output.document(
            {"run": run, "ended_from_file": told, "under_way": ["/".join(each) for each in left]}
        )
        if rewards is not None:
            output.line(f"{count(told, 'attempt')} ended as {rewards} tells.")
        if not output.as_json:
            output.line(f"What ended is exported by `agentlab export {run} --format FORMAT`.")
        if left:
            output.line(
                f"{count(len(left), 'attempt')} did not end; start the same command again to go on."
            )


async def _serve(
    run: RecordedRun,
    endpoint: ChatEndpoint,
    port: int,
    terms: str | None,
    known: Vocabulary | None,
    plain: bool,
    output: Output,
) -> None:
    import asyncio
    import contextlib
    import os
    import signal

    from agentlab.serve.recording import END_KEY, RecordingProxy

    chosen = os.environ.get(END_KEY_VARIABLE, "")
    proxy = RecordingProxy(
        run, endpoint, terms=terms, vocabulary=known, plain=plain, end_key=chosen
    )
    taken = await proxy.start(port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    # On stderr, so that a script finds it while stdout waits for the document.
    click.echo(f"Recording at http://127.0.0.1:{taken}/r/ROLLOUT/a/ATTEMPT/v1", err=True)
    if not chosen:
        told = "Attempts end by POST …/a/ATTEMPT/end with the header"
        click.echo(f"{told} {END_KEY}: {proxy.end_key}", err=True)
    if not output.as_json:
        output.line(f"Calls go to {endpoint.url} and into the run {run.run_id}; Ctrl-C ends it.")
    try:
        await stop.wait()
    finally:
        await proxy.close()

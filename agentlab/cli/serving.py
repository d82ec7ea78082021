"""`agentlab serving`: which weights answer to a policy's name, and where."""

from __future__ import annotations

from pathlib import Path

import click

from agentlab.cli.following import starter
from agentlab.cli.options import DisplayName, option, output_options, workspace_option
from agentlab.cli.output import opened


@click.group()
def serving() -> None:
    """Served policies: register one, see what serves, take off what nobody asks any more."""


@serving.command()
@click.argument("policy", metavar="POLICY")
@option("--base", required=True, metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
        help="The base model's folder.")  # fmt: skip
@option("--base-url", required=True, metavar="URL", help="Where it is served.")
@workspace_option
@output_options
def register(
    policy: str,
    base: Path,
    base_url: str,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Put POLICY on record, or its server's new place; configs name it `policy:POLICY`."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.graph.registering import policy_line
        from agentlab.graph.registering import register as put
        from agentlab.records import Records, Workspace

        with Records.open(Workspace.open(workspace)) as records:
            found = policy_line(records, put(records, policy, base, base_url))
        output.document(found)
        output.line(f"The policy {policy!r} is served by {found.serves} at {found.base_url}.")
        output.next("practice", starter(), "--model", f"policy:{policy}")


@serving.command("list")
@workspace_option
@output_options
def list_(workspace: Path, as_json: bool, display: DisplayName | None) -> None:
    """Every policy, what serves it, and how that came to be."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.graph.registering import policy_line
        from agentlab.records import Records, Workspace

        with Records.open(Workspace.open(workspace, create=False)) as records:
            found = [policy_line(records, policy) for policy in records.policies.all()]
        output.document(found)
        if not found:
            output.line("No policy is on record here; `agentlab serving register` puts one there.")
        for each in found:
            output.line(f"{each.name}: {each.serves} at {each.base_url}", strong=True)
            for move in each.moves:
                output.line(f"  {move.kind} of {move.after} for {move.before}: {move.reason}")
            for row in each.gates:
                output.line(f"  {row.id} of {row.candidate}: {row.reason}")


@serving.command()
@click.argument("policy", metavar="POLICY", default="lab")
@option("--wait", type=click.FloatRange(min=0), default=0.0, show_default=True, metavar="SECONDS",
        help="How long to wait for runs that still ask a version.")  # fmt: skip
@workspace_option
@output_options
def tidy(
    policy: str, wait: float, workspace: Path, as_json: bool, display: DisplayName | None
) -> None:
    """Unload the versions of POLICY that do not serve, once no run asks them any more."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.records import Records, Workspace
        from agentlab.training.serving.client import ModelServerClient
        from agentlab.training.serving.swap import take_down

        with Records.open(Workspace.open(workspace, create=False)) as records:
            server = ModelServerClient(records.policies.get(policy).base_url)
            current = records.policies.current(policy)
            known = {each.adapter for each in records.policies.versions(policy)}
            loaded = [each.name for each in server.models() if each.name in known]
            off = {
                name: take_down(records, server, name, seconds=wait)
                for name in loaded
                if name != current
            }
        output.document({"policy": policy, "unloaded": [n for n, done in off.items() if done],
                         "held": [n for n, done in off.items() if not done]})  # fmt: skip
        for name, done in off.items():
            output.line(f"{name} is unloaded." if done else f"{name} is still asked by a run.")
        if not off:
            output.line("Nothing is loaded that does not serve.")

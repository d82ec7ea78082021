"""From `kind/name` to an object, loaded only when asked for.

Built-in names and those of plugins live side by side. A plugin is an installed package with an
entry point in the group `agentlab`, named `kind/name` and pointing at a class or factory:

    [project.entry-points.agentlab]
    "proposer/mine" = "my_package:MyProposer"

A plugin that fails to import is a warning, never the end of a run that does not use it.
"""

from __future__ import annotations

import importlib
import warnings
from functools import cache
from importlib.metadata import entry_points
from typing import Literal

from agentlab.errors import MissingExtraError, UnknownNameError

Kind = Literal[
    "environment",
    "proposer",
    "curriculum",
    "executor",
    "evaluator",
    "curator",
    "format",
    "insights",
    "embedder",
    "index",
]
GROUP = "agentlab"

ALSO: dict[str, str] = {
    "executor": "A chat model is written PROVIDER:MODEL, such as 'openai:gpt-5'.",
}
"""What to say besides where a name is unknown."""

BUILT_IN: dict[str, str] = {
    "environment/babyai": "agentlab.environments.babyai:BabyAI",
    "environment/bfcl": "agentlab.environments.bfcl.composed:Composed",
    "environment/bfcl-turns": "agentlab.environments.bfcl.conversations:Conversations",
    "environment/burrow": "agentlab.envs.burrow.environment:Burrow",
    "environment/courier": "agentlab.envs.courier.environment:Courier",
    "environment/mcp": "agentlab.environments.mcp.world:McpWorld",
    "environment/miniwob": "agentlab.environments.web.miniwob:MiniWoB",
    "environment/store": "agentlab.envs.store.environment:Store",
    "environment/tools": "agentlab.environments.tools:ToolsWorld",
    "environment/web": "agentlab.environments.web.site:WebEnvironment",
    "proposer/challenger": "agentlab.proposers.challenger:ChallengerProposer",
    "proposer/compose": "agentlab.proposers.compose:ComposeProposer",
    "proposer/context": "agentlab.proposers.context:ContextProposer",
    "proposer/grammar": "agentlab.proposers.grammar:GrammarProposer",
    "proposer/hindsight": "agentlab.proposers.hindsight:HindsightProposer",
    "proposer/weakness": "agentlab.proposers.weakness:WeaknessProposer",
    "curriculum/learning_progress": "agentlab.curricula.learning_progress:LearningProgress",
    "curriculum/uniform": "agentlab.curricula.uniform:Uniform",
    "executor/code": "agentlab.executors.code:CodeExecutor",
    "executor/demonstrated": "agentlab.executors.demonstrated:DemonstratedExecutor",
    "executor/react": "agentlab.executors.react:ReactExecutor",
    "executor/reflect": "agentlab.executors.reflect:ReflectExecutor",
    "executor/selective": "agentlab.executors.selective:SelectiveExecutor",
    "executor/search": "agentlab.executors.search:SearchExecutor",
    "executor/flat": "agentlab.executors.search:FlatSearchExecutor",
    "executor/oracle": "agentlab.executors.oracle:OracleExecutor",
    "evaluator/judge": "agentlab.evaluators.judge:Judge",
    "evaluator/jury": "agentlab.evaluators.jury:Jury",
    "evaluator/verifier": "agentlab.evaluators.verifier:Verifier",
    "curator/generalise": "agentlab.curators.generalise:GeneralisingCurator",
    "curator/skills": "agentlab.curators.model_skills:SkillCurator",
    "insights/ace": "agentlab.curators.ace:AceCurator",
    "insights/alphaopt": "agentlab.curators.alphaopt:AlphaOptCurator",
    "insights/cheatsheet": "agentlab.curators.cheatsheet:CumulativeCheatsheet",
    "insights/cheatsheet-synthesis": "agentlab.curators.cheatsheet:SynthesisCheatsheet",
    "embedder/lexical": "agentlab.embeddings.lexical:LexicalEmbedder",
    "embedder/endpoint": "agentlab.embeddings.endpoint:EndpointEmbedder",
    "embedder/sentence-transformers": "agentlab.embeddings.transformers:TransformersEmbedder",
    "index/chroma": "agentlab.library.index.chroma:ChromaIndex",
    "index/exact": "agentlab.library.index.exact:ExactIndex",
}

EXTRAS: dict[str, str] = {
    "pyarrow": "export",
    "minigrid": "babyai",
    "gymnasium": "babyai",
    "cryptography": "packs",
    "e2b": "e2b",
    "fastapi": "store",
    "jinja2": "store",
    "uvicorn": "store",
    "mcp": "mcp",
    "mcp_types": "mcp",
    "miniwob": "browser",
    "opentelemetry": "otel",
    "playwright": "browser",
    "sentence_transformers": "transformers",
    "torch": "transformers",
}
"""Top-level module that may be missing, to the extra that brings it."""


@cache
def _plugins() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=GROUP)}


def names(kind: Kind) -> list[str]:
    """Every registered name of a kind, sorted; nothing is imported."""
    prefix = f"{kind}/"
    known = {*BUILT_IN, *_plugins()}
    return sorted(name.removeprefix(prefix) for name in known if name.startswith(prefix))


def resolve(kind: Kind, name: str) -> object:
    """The registered class or factory.

    Raises:
        UnknownNameError: nothing of that name; suggests near ones.
        MissingExtraError: it needs an optional dependency; says which extra to install.
    """
    key = f"{kind}/{name}"
    built_in = BUILT_IN.get(key)
    plugin = _plugins().get(key)
    target = built_in or plugin
    if target is None:
        raise UnknownNameError(kind, name, names(kind), also=ALSO.get(kind, ""))
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        top = (error.name or "").partition(".")[0]
        if built_in and top in EXTRAS:
            raise MissingExtraError(f"The {kind} {name!r}", EXTRAS[top]) from error
        if built_in:
            raise
        _warn(key, target, error)
    except (Exception, SystemExit, GeneratorExit) as error:  # a plugin may fail in any way
        if built_in:
            raise
        _warn(key, target, error)
    raise UnknownNameError(kind, name, [known for known in names(kind) if known != name])


def _warn(key: str, target: str, error: BaseException) -> None:
    warnings.warn(
        f"The plugin {key!r} ({target}) failed to import and is left out: {error!r}.",
        RuntimeWarning,
        stacklevel=3,
    )

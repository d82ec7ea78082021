"""An MCP server as an environment: `mcp:<command>` and `mcp:<URL>`.

Over stdio each attempt has a server of its own. Where the command has a place for a working
folder (`{folder}`), the folder's files are the state: search goes back by putting them back, and
the server must keep nothing that matters elsewhere. Without a folder the state is what read-only
tools say, and going back is a fresh server that is told the calls again. Over HTTP nothing is
reset: there are no snapshots, and tasks begin where the last one ended.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import JsonValue, ValidationError

from agentlab.environments.effect_world import Done, EffectWorld, RestorableWorld
from agentlab.environments.exploring import explorers, guess
from agentlab.environments.mcp import spare, starting
from agentlab.environments.mcp.answers import Offered
from agentlab.environments.mcp.folder import Tree, facts_of, read_template
from agentlab.environments.mcp.readings import readings_of
from agentlab.environments.mcp.running import EXPLORED_CALLS, Options, Running
from agentlab.environments.mcp.session import AUTHORIZATION, run_now, split_command
from agentlab.environments.naming import library_name
from agentlab.environments.shapes import Predicate, Scalar, learn, reachable, scalars
from agentlab.errors import ConfigError, UsageError
from agentlab.models.redaction import name_secret
from agentlab.types import JsonObject, Task, ToolSpec

log = logging.getLogger(__name__)

EXPLORED_SEEDS = 2
ONLY_START = "start"

_offers: dict[str, Offered] = {}
_shapes: dict[str, tuple[Predicate, ...]] = {}
_firsts: dict[str, JsonObject] = {}
"""By the options' JSON: what a server offers, can change, and begins with where every seed begins
alike, is asked once in a process."""


class McpWorld(EffectWorld):
    """The tools of an MCP server that you name: `mcp:<command or URL>`.

    Args:
        argument: what follows the colon.
        options: how to use the server.
    """

    def __init__(self, argument: str, options: Options) -> None:
        super().__init__(library_name("mcp", argument))
        self._options = options
        # Options that change neither what is offered nor what can be changed are left out.
        self._text = options.model_dump_json(exclude={"seconds", "keep_times", "reuse"})
        self._server = spare.taken(options)
        self._looker: Running | None = None
        self._alike = not options.on_folder or bool(options.template)
        self._task = ""
        self._template: Tree | None = None
        self._starts: dict[tuple[str, int], JsonObject] = {}

    @classmethod
    def from_argument(
        cls,
        argument: str,
        *,
        template: str = "",
        state: str | JsonObject | Sequence[str | JsonObject] = (),
        reads: str | Sequence[str] = (),
        fixed: JsonObject | None = None,
        ignore: str | Sequence[str] = (),
        explore: int = EXPLORED_CALLS,
        allow_destructive: bool = False,
        exclude: str | Sequence[str] = (),
        pass_env: str | Sequence[str] = (),
        token_variable: str = "",
        token_header: str = AUTHORIZATION,
        keep_times: bool = False,
        reuse: bool = False,
        seconds: float = 30.0,
    ) -> McpWorld:
        """The environment for a command or an address.

        Args:
            argument: a command, in which `{folder}` stands for the working folder, or a URL.
            template: a folder that is copied to be the start state, in place of made files.
            state: calls that only read and whose answers are facts: names of tools, or tables
                as `readings.Reading` has them.
            reads: tools that only read although the server does not say so.
            fixed: arguments that every tool which takes them is given, unknown to the agent.
            ignore: paths in the working folder that are put back, but are no facts and tell no
                states apart; what matters of them is for `state` to tell.
            explore: random calls from each start state that is explored for what can change.
            allow_destructive: whether tools that may destroy things can be used. Without a
                working folder those are all that do not say that they destroy nothing.
            exclude: tools to leave out, by the server's names.
            pass_env: variables of the environment that the server may see.
            token_variable: the variable that holds the token for a server over HTTP.
            token_header: the header that the token is sent in; `Authorization` as a bearer's.
            keep_times: whether readings of the clock stay in answers.
            reuse: whether one server serves many attempts of a process, for those that keep
                nothing.
            seconds: that a call may take.

        Raises:
            ConfigError: the command cannot be read, or an option does not fit it.
        """
        url = argument if argument.startswith(("http://", "https://")) else ""
        try:
            options = Options(
                command=() if url else tuple(split_command(argument)),
                url=url,
                template=os.path.abspath(template) if template else "",
                state=readings_of(state),
                reads=_names(reads),
                fixed=fixed or {},
                ignore=tuple(path.rstrip("/") for path in _names(ignore)),
                explore=explore,
                allow_destructive=allow_destructive,
                exclude=_names(exclude),
                pass_env=_names(pass_env),
                token_variable=token_variable,
                token_header=token_header,
                keep_times=keep_times,
                reuse=reuse,
                seconds=seconds,
            )
        except (ValidationError, ValueError) as error:
            raise ConfigError(f"mcp: {argument[:120]!r} cannot be used: {error}") from error
        _check_token(options)
        if template and not options.on_folder:
            raise ConfigError("mcp: 'template' needs a command with a place for {folder}.")
        called = {reading.called for reading in options.state}
        if options.on_folder and (taken := sorted(called & {"files", "folders"})):
            raise ConfigError(f"mcp: {taken[0]!r} are the working folder's; name it otherwise.")
        return (RemoteServer if url else FolderServer)(argument, options)

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """The server's tools, asked for once in a process."""
        return self._offer().specs

    @property
    def folder(self) -> str | None:
        """Where the working folder is, while there is one; agents are told paths below it."""
        return self._server.folder

    def _offer(self) -> Offered:
        if self._text not in _offers:
            offered = run_now(self._ask())
            if offered.destructive:
                log.warning(
                    "mcp: %s may destroy things and cannot be used; say allow_destructive=true "
                    "where nothing can be lost, or name those that only read in 'reads'.",
                    ", ".join(sorted(offered.destructive)),
                )
            reads = {spec.name for spec in offered.specs if spec.effect == "none"}
            if missing := [each.tool for each in self._options.state if each.tool not in reads]:
                raise ConfigError(
                    f"mcp: {missing[0]!r} is to tell the state, and is no read-only tool of the "
                    f"server; there are {sorted(reads)}. Where it only reads and does not say so, "
                    "name it in 'reads'."
                )
            _offers[self._text] = offered
        return _offers[self._text]

    async def _ask(self) -> Offered:
        server = Running(self._options)
        try:
            # Some look into their folder before they say anything.
            await server.begin(self._tree(self._setups()[0], 0), again=False)
            return await server.tools()
        finally:
            await server.close()

    async def close(self) -> None:
        """End the server and remove its folder; one that is reused waits for its next user."""
        given, self._server = self._server, Running(self._options)
        await spare.handed_back(self._options, given)
        if self._looker is not None:
            await self._looker.close()

    def _setups(self) -> tuple[str, ...]:
        if not self._options.on_folder:
            return (ONLY_START,)
        return (starting.GIVEN,) if self._options.template else starting.SETUPS

    def _shape(self) -> tuple[tuple[Predicate, ...], tuple[str, ...]]:
        if self._text not in _shapes:
            walks = run_now(self._explored(self._offer().specs))
            states = [state for walk in walks for state in walk]
            if walks and self._alike:
                _firsts[self._text] = states[0]
            _shapes[self._text] = reachable(learn(states), walks)
        return _shapes[self._text], self._setups()

    async def _explored(self, specs: Sequence[ToolSpec]) -> list[list[JsonObject]]:
        """Walks of random calls, none where exploring could not be undone."""
        server = Running(self._options)
        walks: list[list[JsonObject]] = []
        try:
            # Without a folder every seed begins alike, and over HTTP nothing could be undone.
            seeds = 0 if self._options.url else EXPLORED_SEEDS if self._options.on_folder else 1
            for setup, seed in itertools.product(self._setups(), range(seeds)):
                tree = self._tree(setup, seed)
                await server.begin(tree, again=True)
                walk = [await server.facts()]
                values = self._examples(setup, seed)
                for tool, rng in explorers(specs, setup, seed, calls=self._options.explore):
                    arguments = guess(tool, walk[-1], values, rng)
                    if arguments is not None:
                        await server.act(tool.name, arguments)
                        walk.append(await server.facts())
                walks.append(walk)
        finally:
            await server.close()
        return walks

    def _tree(self, setup: str, seed: int) -> Tree:
        if not self._options.on_folder:
            return {}
        if not self._options.template:
            return starting.made_tree(setup, seed)
        if self._template is None:
            self._template = read_template(self._options.template)
        return self._template

    def _start_state(self, setup: str, seed: int) -> JsonObject:
        place = (setup, 0 if self._alike else seed)
        if place not in self._starts:
            if len(self._starts) > 2_000:
                self._starts.clear()
            if self._options.on_folder and not self._options.state:
                self._starts[place] = facts_of(self._tree(setup, seed), self._options.ignore)
            elif self._text in _firsts:
                self._starts[place] = _firsts[self._text]
            else:
                self._starts[place] = run_now(self._looked_at(setup, seed))
        return self._starts[place]

    async def _looked_at(self, setup: str, seed: int) -> JsonObject:
        if self._looker is None:
            self._looker = Running(self._options)
        await self._looker.begin(self._tree(setup, seed), again=False)
        return await self._looker.facts()

    def _standing(self, setups: Sequence[str]) -> Sequence[Scalar]:
        if not self._alike or self._options.url or len(setups) != 1:
            return ()
        return tuple(dict.fromkeys(scalars(self._start_state(setups[0], 0))))

    def _examples(self, setup: str, seed: int) -> Mapping[str, Sequence[JsonValue]]:
        if not self._options.on_folder:
            return {}
        return starting.new_values(setup, seed, self._tree(setup, seed))

    async def _begin(self, task: Task, setup: str) -> None:
        again, self._task = task.id == self._task, task.id
        await self._server.begin(self._tree(setup, task.seed), again=again)

    async def _perform(self, tool: ToolSpec, arguments: JsonObject) -> Done:
        return await self._server.act(tool.name, arguments)

    async def _facts(self) -> JsonObject:
        return await self._server.facts()


class FolderServer(McpWorld, RestorableWorld):
    """A server over stdio: what it did is undone by its folder, or by a fresh server."""

    def __init__(self, argument: str, options: Options) -> None:
        super().__init__(argument, options)
        self._calls: tuple[tuple[str, JsonObject], ...] = ()

    async def _begin(self, task: Task, setup: str) -> None:
        await super()._begin(task, setup)
        self._calls = ()

    async def _perform(self, tool: ToolSpec, arguments: JsonObject) -> Done:
        if tool.effect != "none":
            self._calls = (*self._calls, (tool.name, arguments))
        return await super()._perform(tool, arguments)

    def _besides(self) -> str:
        return self._server.besides

    async def _save(self) -> object:
        return self._server.tree if self._options.on_folder else self._calls

    async def _load(self, saved: object) -> None:
        if self._options.on_folder:
            await self._server.put(cast("Tree", saved))
            return
        if self._options.reuse:
            raise UsageError(
                "mcp: a server that is reused cannot go back without a working folder; leave out "
                "'reuse', or write {folder} where the command takes one."
            )
        calls = cast("tuple[tuple[str, JsonObject], ...]", saved)
        if self._calls != calls[: len(self._calls)]:
            await self._server.begin({}, again=False)
            self._calls = ()
        for name, arguments in calls[len(self._calls) :]:
            await self._server.act(name, arguments)
        self._calls = calls


class RemoteServer(McpWorld):
    """A server over HTTP, which nobody but its owner can reset."""


def _check_token(options: Options) -> None:
    """Look for the token before anything is asked, and keep it out of what is written.

    Raises:
        ConfigError: there is none, it can be in no header, or the server is not over HTTP.
    """
    variable = options.token_variable
    if not variable:
        return
    if not options.url:
        raise ConfigError(
            "mcp: 'token_variable' is for servers over HTTP; a command sees its variables by "
            "'pass_env'."
        )
    name_secret(variable)
    token = os.environ.get(variable, "").strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigError(
            f"mcp: the variable {variable!r} of 'token_variable' is not set, or holds what no "
            "header can; set it to the token alone."
        )
    if not re.fullmatch(r"[A-Za-z0-9-]+", options.token_header):
        raise ConfigError(f"mcp: {options.token_header!r} is no name of a header.")


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    words = given.split(",") if isinstance(given, str) else given
    return tuple(word.strip() for word in words if word.strip())

"""A server at work: started when first needed, on a working folder where it has one.

It is started afresh for each attempt. Within an attempt the folder alone is put back, so a server
that keeps state elsewhere must not claim to work on a folder; the environment check finds out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

from pydantic import Field, JsonValue

from agentlab.environments.effect_world import Done
from agentlab.environments.mcp import answers
from agentlab.environments.mcp.folder import Folder, Tree, facts_of, unseen
from agentlab.environments.mcp.readings import PLACE, Reading, placed
from agentlab.environments.mcp.session import AUTHORIZATION, Server, Session, connected
from agentlab.models.redaction import known
from agentlab.types import Frozen, JsonObject

EXPLORED_CALLS = 30
"""Random calls from each start state that is explored; servers are slow."""


class Options(Frozen):
    """How an MCP server is used; what each means is told at `world.FolderServer`."""

    command: tuple[str, ...] = ()
    url: str = ""
    template: str = ""
    state: tuple[Reading, ...] = ()
    reads: tuple[str, ...] = ()
    fixed: JsonObject = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    explore: int = Field(default=EXPLORED_CALLS, ge=1)
    allow_destructive: bool = False
    exclude: tuple[str, ...] = ()
    pass_env: tuple[str, ...] = ()
    token_variable: str = ""
    token_header: str = AUTHORIZATION
    keep_times: bool = False
    reuse: bool = False
    seconds: float = 30.0

    @property
    def on_folder(self) -> bool:
        """Whether the command has a place for a working folder."""
        return any(PLACE in word for word in self.command)


class Running:
    """One server and its folder; asynchronous throughout, from any one loop at a time."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._session: Session | None = None
        self._folder: Folder | None = None
        self._offered: answers.Offered | None = None
        self._used = False
        self._broken = False
        self._told: tuple[Tree, JsonObject] | None = None
        self.tree: Tree = {}

    @property
    def alive(self) -> bool:
        """Whether it runs, and answered every call to its end."""
        return self._session is not None and self._session.alive and not self._broken

    async def tools(self) -> answers.Offered:
        """The tools; starts the server where it does not run."""
        session = await self._running()
        if self._offered is None:
            options = self._options
            self._offered = answers.offered(
                session.tools,
                allow_destructive=options.allow_destructive,
                contained=options.on_folder,
                exclude=options.exclude,
                reads=options.reads,
                fixed=options.fixed,
            )
        return self._offered

    async def begin(self, tree: Tree, *, again: bool) -> None:
        """Go to a start state: a new server unless `again`, and the folder filled.

        Args:
            tree: what the folder holds; ignored where there is none.
            again: the same attempt goes back to its start.
        """
        kept = self._options.reuse or self._options.url or (again and self._options.on_folder)
        if self._session is not None and (not kept or not self.alive):
            if self._used or not self.alive:
                await self._session.close()
                self._session = None
                if self._folder is not None and not self._options.on_folder:
                    self._folder.remove()
                    self._folder = None
        await self.put(tree)

    async def put(self, tree: Tree) -> None:
        """Make the folder hold this."""
        if self._options.on_folder:
            self._place().put(tree)
            self.tree = tree

    async def act(self, name: str, arguments: JsonObject) -> Done:
        """Call a tool by its name here."""
        return await self._call(name, arguments, {})

    async def _call(self, name: str, arguments: JsonObject, own: JsonObject) -> Done:
        """Call a tool with arguments of an agent, and with those of the user's options."""
        offered = await self.tools()
        session = await self._running()
        self._used = True
        own = {key: self._options.fixed[key] for key in offered.fixed.get(name, ())} | own
        given = {key: placed(value, self.folder or PLACE) for key, value in own.items()}
        try:
            answer = await session.call(offered.names.get(name, name), {**arguments, **given})
        except BaseException:
            # It may still be at it, and would answer the next one late.
            self._broken = True
            raise
        return answers.done(answer, self.folder, keep_times=self._options.keep_times)

    async def facts(self) -> JsonObject:
        """The folder's files, and what the calls that tell the state say.

        Over a folder these are made again only where it changed: all that matters is in there.
        """
        options, found = self._options, dict[str, JsonValue]()
        if options.on_folder:
            self.tree = self._place().look()
            if self._told is not None and self._told[0] == self.tree:
                return self._told[1]
            found.update(facts_of(self.tree, options.ignore))
        said: dict[str, Done] = {}
        for reading in options.state:
            if reading.asked not in said:
                used = self._used
                said[reading.asked] = await self._call(reading.tool, {}, reading.arguments)
                self._used = used
            found[reading.called] = reading.read(said[reading.asked])
        # Tasks are made of facts: a secret among them would be asked for and recorded.
        told = cast("JsonObject", known().json(found))
        if options.on_folder and options.state:
            # Who only reads may still write: an index, a cache.
            self.tree = self._place().look()
            self._told = (self.tree, told)
        return told

    @property
    def folder(self) -> str | None:
        """Where the working folder is, while there is one."""
        return self._folder.path if self._folder else None

    @property
    def besides(self) -> str:
        """What of the folder is no fact."""
        return unseen(self.tree, self._options.ignore)

    async def close(self) -> None:
        """End the server and remove the folder."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def _place(self) -> Folder:
        if self._folder is None:
            self._folder = Folder()
        return self._folder

    async def _running(self) -> Session:
        if self._session is None:
            options = self._options
            # Every server works in a folder of its own, so that what it writes by a relative path
            # is never in that of the user.
            folder = "" if options.url else self._place().path
            self._session = await connected(
                Server(
                    command=_filled(options.command, folder),
                    url=options.url,
                    folder=folder,
                    pass_env=options.pass_env,
                    token_variable=options.token_variable,
                    token_header=options.token_header,
                ),
                seconds=options.seconds,
            )
            self._used = self._broken = False
        return self._session


def _filled(command: Sequence[str], folder: str) -> tuple[str, ...]:
    """The command, with the folder in its place and files found from there too."""
    return tuple(
        os.path.abspath(word) if os.path.isfile(word) else word.replace(PLACE, folder)
        for word in command
    )

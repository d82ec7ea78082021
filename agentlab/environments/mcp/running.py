"""A server at work: started when first needed, on a working folder where it has one.

It is started afresh for each attempt. Within an attempt the folder alone is put back, so a server
that keeps state elsewhere must not claim to work on a folder; the environment check finds out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

from agentlab.environments.effect_world import Done
from agentlab.environments.mcp import answers
from agentlab.environments.mcp.folder import Folder, Tree, facts_of, unseen
from agentlab.environments.mcp.session import AUTHORIZATION, Server, Session, connected
from agentlab.models.redaction import known
from agentlab.types import Frozen, JsonObject

PLACE = "{folder}"


class Options(Frozen):
    """How an MCP server is used; what each means is told at `world.FolderServer`."""

    command: tuple[str, ...] = ()
    url: str = ""
    template: str = ""
    state: tuple[str, ...] = ()
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
        self.tree: Tree = {}

    async def tools(self) -> answers.Offered:
        """The tools; starts the server where it does not run."""
        session = await self._running()
        if self._offered is None:
            options = self._options
            self._offered = answers.offered(
                session.tools,
                allow_destructive=options.allow_destructive,
                exclude=options.exclude,
            )
        return self._offered

    async def begin(self, tree: Tree, *, again: bool) -> None:
        """Go to a start state: a new server unless `again`, and the folder filled.

        Args:
            tree: what the folder holds; ignored where there is none.
            again: the same attempt goes back to its start.
        """
        kept = self._options.reuse or self._options.url or (again and self._options.on_folder)
        if self._session is not None and (not kept or not self._session.alive):
            if self._used or not self._session.alive:
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
        offered = await self.tools()
        session = await self._running()
        self._used = True
        answer = await session.call(offered.names.get(name, name), dict(arguments))
        return answers.done(answer, self.folder, keep_times=self._options.keep_times)

    async def facts(self) -> JsonObject:
        """The folder's files, and what the tools that tell the state say."""
        found: JsonObject = {}
        if self._options.on_folder:
            self.tree = self._place().look()
            found.update(facts_of(self.tree))
        for name in self._options.state:
            used = self._used
            answer = await self.act(name, {})
            self._used = used
            found[name] = None if answer.error else answers.fact(answer)
        # Tasks are made of facts: a secret among them would be asked for and recorded.
        return cast("JsonObject", known().json(found))

    @property
    def folder(self) -> str | None:
        """Where the working folder is, while there is one."""
        return self._folder.path if self._folder else None

    @property
    def besides(self) -> str:
        """What of the folder is no fact."""
        return unseen(self.tree)

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
            self._used = False
        return self._session


def _filled(command: Sequence[str], folder: str) -> tuple[str, ...]:
    """The command, with the folder in its place and files found from there too."""
    return tuple(
        os.path.abspath(word) if os.path.isfile(word) else word.replace(PLACE, folder)
        for word in command
    )

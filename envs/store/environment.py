"""The shop as an environment: a browser in it, a world of its own for each attempt.

Served in a thread of this process on loopback, behind a name of its own, so that no observation
tells a port and nothing is left when the process ends. The host alone makes worlds and reads
their state; pages do not see how.
"""

from __future__ import annotations

import functools
import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence

from agentlab.environments.web.clues import Clues
from agentlab.environments.web.environment import PageEnvironment
from agentlab.environments.web.hand import Hand
from agentlab.environments.web.options import Options
from agentlab.environments.web.visit import Visit
from agentlab.envs.store.app import create_app
from agentlab.envs.store.grammar import LOOK_AROUND, SPLIT_RULE, StoreGrammar
from agentlab.envs.store.labels import SKINS, Skin
from agentlab.envs.store.recipes import RECIPES, Recipe
from agentlab.envs.store.rules import met
from agentlab.envs.store.tasks import StoreTasks
from agentlab.envs.store.things import named_things, offered_things, said_of
from agentlab.envs.store.verifying import as_rows
from agentlab.envs.store.world import SETUPS, Setup
from agentlab.errors import ConfigError, EnvironmentFaultError
from agentlab.types import JsonObject, Observation, Split, SplitRule, Task, ToolCall

HOST = "http://localhost"
TOKEN_VARIABLE = "AGENTLAB_STORE_TOKEN"
START_SECONDS = 20.0
HARDEST = 5
MOST_ASKED = 8
"""Times as many tasks are looked at as are wanted."""


@functools.cache
def _token() -> str:
    """What the host shows to make worlds in this process."""
    return os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(24)


@functools.cache
def served(skin: Skin) -> int:
    """The loopback port at which this process serves the shop in a skin.

    Raises:
        EnvironmentFaultError: the server does not start.
    """
    import uvicorn

    app = create_app(skin=skin, control_token=_token())
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False)
    server = uvicorn.Server(config)
    work = functools.partial(server.run, sockets=[listener])
    threading.Thread(target=work, name=f"agentlab-store-{skin}", daemon=True).start()
    limit = time.monotonic() + START_SECONDS
    while not server.started:
        if time.monotonic() > limit:
            raise EnvironmentFaultError(f"store: it did not start within {START_SECONDS:.0f} s.")
        time.sleep(0.01)
    return int(listener.getsockname()[1])


class Store(PageEnvironment):
    """A small web shop of our own, with tasks in five levels (extras browser and store).

    Args:
        skin: `a` or `b`: other words, order and structure, the same functions.
        questions: whether tasks may ask for an answer and not for a change.
        proofs: whether tasks bring their solutions and failing cases, which admission to practice
            then carries out; without them a start costs a tenth, and `oracle` still solves them.
        level: the hardest tasks that it brings, from 1 (look something up) to 5 (several things).
        kinds: structures of missions, such as `saved & viewing`, if only those are to be brought.
        most_characters: of the page in one observation.
        trace: whether playwright's trace of each attempt is kept.
        crawl_pages: that are looked at before a model proposes tasks, in each family of starts.

    Raises:
        ConfigError: there is no such skin.
    """

    def __init__(
        self,
        *,
        skin: str = "a",
        questions: bool = True,
        proofs: bool = True,
        level: int = HARDEST,
        kinds: Sequence[str] = (),
        most_characters: int = 8_000,
        trace: bool = False,
        crawl_pages: int = 12,
    ) -> None:
        known: Skin | None = next((each for each in SKINS if each == skin), None)
        if known is None:
            raise ConfigError(f"store: there is no skin {skin!r}; take one of {', '.join(SKINS)}.")
        self._tasks = StoreTasks(known)
        if not 1 <= level <= HARDEST:
            raise ConfigError(f"store: levels of tasks go from 1 to {HARDEST}, not to {level}.")
        self._questions = questions
        self._level = level
        self._proofs = proofs
        self._kinds = frozenset(kinds)
        if strange := sorted(self._kinds - {recipe.name for recipe in RECIPES}):
            raise ConfigError(f"store: no task is of the kind {strange[0]!r}; see recipes.RECIPES.")
        os.environ[TOKEN_VARIABLE] = _token()
        super().__init__(
            Options(
                url=f"{HOST}/",
                aliases={HOST: served(known)},
                reset_url="/_episode/{episode}/reset",
                enter_url="/_episode/{episode}/enter",
                state_url="/_episode/{episode}/state",
                drop_url="/_episode/{episode}",
                save_url="/_episode/{episode}/save",
                load_url="/_episode/{episode}/load",
                token_variable=TOKEN_VARIABLE,
                patience=0.5,
                settle=0.0,
                most_characters=most_characters,
                trace=trace,
                crawl_pages=crawl_pages,
            )
        )
        self._began: JsonObject = {}

    @property
    def split_rule(self) -> SplitRule:
        """Seeds by residue, and whole shapes of task; see `grammar.SPLIT_RULE`."""
        return SPLIT_RULE

    def grammar(self) -> StoreGrammar:
        """What can be asked of someone in the shop."""
        return self._tasks.grammar()

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        """`count` distinct tasks of the split, the same for the same seed."""
        found: Sequence[Task] = ()
        wanted = count
        while len(found) < count and wanted <= MOST_ASKED * count:
            made = self._tasks.tasks(split, wanted, seed, among=self._brings)
            found = [task for task in made if self._questions or task.mission is not None]
            wanted *= 2
        bare = {} if self._proofs else {"solution": None, "failing": ()}
        return [task.model_copy(update=bare) for task in found[:count]]

    def _brings(self, recipe: Recipe) -> bool:
        return recipe.level <= self._level and (not self._kinds or recipe.name in self._kinds)

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        """Calls that solve the task; none where it asks for an answer, which no call gives."""
        return await self._tasks.oracle(task) if task.mission is not None else None

    async def reset(self, task: Task, seed: int) -> Observation:
        """Begin the task in a fresh world of its seed and setup."""
        self._began, self._clues = {}, None
        observation = await super().reset(task, seed)
        self._began = await self.state()
        return observation

    async def _arrive(self, visit: Visit, hand: Hand) -> None:
        await super()._arrive(visit, hand)
        if self._task is not None:
            self._name_things(self._task)

    def _name_things(self, task: Task) -> None:
        """Show what the task names; where it asks for nothing, what could be asked for."""
        known: Setup | None = next((s for s in SETUPS if task.setup.get("setup") == s), None)
        free = task.instruction == LOOK_AROUND
        self._things = offered_things(known or "visitor", task.seed) if free else named_things(task)
        said = said_of(task, self._things)
        self._texts = tuple(said)
        if self._clues is None:
            self._clues = Clues(task.instruction, said)

    async def _judged(self) -> tuple[float, bool]:
        task = self._task
        if task is None or task.mission is None or not self._began:
            return 0.0, False
        rows = as_rows(task.mission.clauses)
        done = met(list(rows), self._began, await self.state(), None)
        return (1.0, True) if done else (0.0, False)

    def describe(self) -> str:
        """What this environment is, for a proposer."""
        return "\n".join(
            [
                "A small web shop: a catalogue with search and filters, a cart, a checkout in "
                "steps, an account with addresses, orders and returns, and a side for staff.",
                "Pages are told as their accessibility tree; things are named by role and name.",
                "",
                "Tools:",
                *(f"- {tool.name}: {tool.description}" for tool in self.tools),
                "",
                "Tasks are such as:",
                *(f"- {task.instruction}" for task in self.tasks("practice", 4, 0)),
            ]
        )

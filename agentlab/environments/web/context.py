"""A browser context such as an attempt gets: fresh, behind its proxy, with what was granted.

A browser that died or does not answer is replaced once. Lives on the browser's thread.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from agentlab.environments.web.browser import (
    BrowserContext,
    BrowserError,
    lent,
)
from agentlab.environments.web.options import Options
from agentlab.errors import EnvironmentFaultError

OPEN_SECONDS = 16.0
"""That a browser which runs may take to make a context."""


async def open_context(options: Options, proxy: str) -> BrowserContext:
    """A context without pages, whose traffic goes through the proxy at that address.

    Raises:
        EnvironmentFaultError: the browser does not start, died, or refuses what was asked.
    """
    for again in (True, False):
        running = await lent(options.most_megabytes)  # has a time of its own to start in
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                context = await running.browser.new_context(
                    proxy={"server": proxy},
                    viewport={"width": options.width, "height": options.height},
                    accept_downloads="download" in options.grants,
                    service_workers="block",
                    ignore_https_errors=options.own_certificates,
                    reduced_motion="reduce",
                    locale="en-US",
                    timezone_id="UTC",
                    storage_state=Path(options.login) if options.login else None,
                )
        except BaseException as error:
            running.give_back()
            if not isinstance(error, BrowserError | TimeoutError):
                raise
            # One that lives and refuses what was asked of it serves other attempts still.
            refused = isinstance(error, BrowserError) and running.lives
            if not refused:
                await running.end()
            if refused or not again:
                why = str(error) or f"no answer within {OPEN_SECONDS:.0f} s"
                raise EnvironmentFaultError(f"web: no page can be opened: {why}") from error
        else:
            context.once("close", running.give_back)
            return context
    raise AssertionError("the second time ends with a context or a fault")

"""From what went wrong to one sentence on stderr and an exit code; no traceback.

Exit codes: 0 done, 1 it failed, 2 it was asked for wrongly, 130 it was interrupted. An error
that is none of agentlab's and none of the system's is a defect, and keeps its traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, Any

import click

from agentlab.analysis.foreign import one_line
from agentlab.errors import AgentLabError, UsageError

FAILED = 1
MISUSED = 2
INTERRUPTED = 130


class Sentence(click.ClickException):
    """An error as a person reads it: one line, and the exit code that goes with it."""

    exit_code = FAILED

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line to stderr, or to `file`."""
        click.echo(f"Error: {self.message}", file=file, err=True)


class Misuse(Sentence):
    """It was asked for wrongly."""

    exit_code = MISUSED


class Interruption(Sentence):
    """Ctrl-C."""

    exit_code = INTERRUPTED


@contextmanager
def sentences() -> Generator[None]:
    """Turn what a command may raise into a `Sentence`.

    Raises:
        Sentence: in place of an `AgentLabError`, an `OSError`, wrong usage or Ctrl-C.
    """
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise Misuse(_usage(error)) from None
    except UsageError as error:
        raise Misuse(str(error)) from error
    except AgentLabError as error:
        raise Sentence(str(error)) from error
    except KeyboardInterrupt:
        raise Interruption("Interrupted; what was recorded is kept.") from None
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise Sentence(_system(error)) from error


def _usage(error: click.UsageError) -> str:
    message = error.format_message()
    if error.ctx is None:
        return message
    return f"{message} See '{error.ctx.command_path} --help'."


def _system(error: OSError) -> str:
    what = error.strerror or type(error).__name__
    if error.errno == errno.ENOSPC:
        return f"{what}; free some space, then `agentlab resume RUN` goes on."
    named = f" {str(error.filename)!r}" if error.filename is not None else ""
    return f"The system refused{named}: {what.lower()}."

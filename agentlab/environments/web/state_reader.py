"""A site's state from a function of the user's, where the site has no address that tells it.

The function is foreign code that this process runs because its user named it: whatever it raises
or gives is told as the reader's, and what it gives is copied, so that it cannot change later.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from agentlab.errors import ConfigError, EnvironmentFaultError
from agentlab.types import JsonObject, digest


class StateReader:
    """One function, called with the site's address.

    Args:
        name: `module:function` or `file.py:function`; both are looked for where the command
            starts, too.

    Raises:
        ConfigError: there is none, or its module cannot be imported.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._function = _function(name)

    def read(self, url: str) -> JsonObject:
        """The state as facts.

        Raises:
            EnvironmentFaultError: the function failed, or gave no object that JSON can say.
        """
        try:
            told = self._function(url)
        except Exception as error:  # the user's code, which may fail in any way
            raise EnvironmentFaultError(
                f"web: the reader {self._name!r} raised {type(error).__name__}: {error}"
            ) from error
        try:
            copy: object = json.loads(json.dumps(told, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise EnvironmentFaultError(
                f"web: the reader {self._name!r} must give what JSON can say: {error}."
            ) from error
        if not isinstance(copy, dict):
            raise EnvironmentFaultError(
                f"web: the reader {self._name!r} must give an object of facts."
            )
        return cast("JsonObject", copy)


def _function(name: str) -> Callable[[str], object]:
    module, _, function = name.rpartition(":")
    try:
        found: Any = getattr(_imported(module), function)
    except (ImportError, AttributeError, ValueError, OSError) as error:
        raise ConfigError(
            f"web: there is no reader {name!r} ({error}); write module:function, or "
            "file.py:function."
        ) from error
    except Exception as error:  # the user's code, which may fail in any way
        raise ConfigError(
            f"web: the reader {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise ConfigError(f"web: the reader {name!r} is no function.")
    return cast("Callable[[str], object]", found)


def _imported(name: str) -> ModuleType:
    """A module by its name, or a file: a command does not look for modules where it is started."""
    beside = Path(name if name.endswith(".py") else f"{name.replace('.', '/')}.py").absolute()
    if not name.endswith(".py"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # it is there and lacks another
            if not beside.is_file():
                raise
    alias = f"_agentlab_reader_{digest(str(beside))[:16]}"
    if alias not in sys.modules:
        spec = importlib.util.spec_from_file_location(alias, beside)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[alias] = module
    return sys.modules[alias]

"""Loads the extension's script as the webui does, and calls its callbacks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HOST_MODULES = Path(__file__).parent / "host"


def find_host_modules() -> None:
    """Make `modules` the host's package for imports from now on.

    Raises `RuntimeError` when the webui's own is already imported.
    """
    present = sys.modules.get("modules")
    if present is not None and not str(present.__file__).startswith(str(HOST_MODULES)):
        raise RuntimeError("the embedded host cannot run inside the webui")
    for path in (ROOT, HOST_MODULES):
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))


def load_script_class() -> type:
    """The script class of scripts/slothful_attention.py, imported on top of the host's `modules`.

    Raises `RuntimeError` as `find_host_modules` does.
    """
    find_host_modules()
    from modules import script_callbacks, scripts

    script_callbacks.clear_callbacks()
    path = ROOT / "scripts" / "slothful_attention.py"
    spec = importlib.util.spec_from_file_location(path.name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    return next(c for c in classes if issubclass(c, scripts.Script))


class ScriptRunner:
    """The script with the arguments of one request.

    `args` is what the webui's API takes as the script's "args": positional values, one mapping or
    one JSON string.
    """

    def __init__(self, args: list[Any] | None = None, script: Any = None):
        self.script = script or load_script_class()()
        self.args = list(args or [])

    def call(self, callback: str, *positional: Any, **details: Any) -> None:
        """Call one of the script's callbacks, if it has it.

        What it raises is reported and swallowed, as in the webui.
        """
        from modules import errors

        function = getattr(self.script, callback, None)
        if function is None:
            return
        try:
            function(*positional, *self.args, **details)
        except Exception:
            errors.report(f"Error running {callback}: {self.script.title()}", exc_info=True)

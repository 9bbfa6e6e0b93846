"""What the command lines read from the console and write to it, whatever letters it knows."""

from __future__ import annotations

import io
import os
import sys


def replace_unknown_letters() -> None:
    """From now on a letter that the console or a pipe cannot take is written as "?", where printing
    it would raise. What is saved is not changed by this.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # there is none without a console
            stream.reconfigure(errors="replace")


def true_text(argument: str) -> str:
    """An argument's letters, also those that the locale did not know: Python hands their bytes on
    as surrogates, and what is typed or piped is UTF-8 nearly everywhere.
    """
    try:
        argument.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(argument).decode("utf-8", errors="replace")
    return argument

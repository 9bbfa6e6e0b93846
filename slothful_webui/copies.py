"""Two copies of the extension in one webui, such as a zip's folder beside a clone: one acts."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

logger = logging.getLogger(__name__)


def is_second_copy(script: str, scripts_data: Iterable[Any]) -> bool:
    """Whether another copy's script is loaded already, which one line in the log then says.

    `script` is the path of the script that asks, `scripts_data` the webui's `modules.scripts`'
    list of what it has loaded, each with a `path`. Paths are compared as they are written: both may
    be links to one folder.
    """
    own = _written(script)
    for data in scripts_data:
        other = _written(data.path)
        if os.path.basename(other) == os.path.basename(own) and other != own:
            logger.warning(
                "Slothful Attention is installed twice: %s is used, %s is not; remove one of them",
                _folder(other), _folder(own),
            )  # fmt: skip
            return True
    return False


def _written(path: str) -> str:
    return os.path.normcase(os.path.abspath(path))


def _folder(script: str) -> str:
    """The folder of a copy, for that of its script."""
    return os.path.dirname(os.path.dirname(script))

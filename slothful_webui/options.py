"""The extension's section of the webui's settings page."""

from __future__ import annotations

import logging
from typing import Any

CONSOLE = "slothful_console"
"""The name of the setting that says what is written to the console."""

LEVELS = {
    "problems": logging.WARNING,
    "problems and settings": logging.INFO,
    "problems, settings and the plan of each block": logging.DEBUG,
}


def add_options(shared: Any) -> None:
    """`on_ui_settings`: `shared` is the webui's module of that name."""
    import gradio as gr

    choices = list(LEVELS)
    info = shared.OptionInfo(
        choices[0],
        "What Slothful Attention writes to the console",
        gr.Radio,
        {"choices": choices},
        section=("slothful_attention", "Slothful Attention"),
    )
    shared.opts.add_option(CONSOLE, info)


def follow_console_setting(opts: Any) -> None:
    """Let the log show as much as the setting says now; a request can override it."""
    package = logging.getLogger(__package__)
    package.setLevel(LEVELS.get(getattr(opts, CONSOLE, None), logging.WARNING))
    if not package.hasHandlers():  # the webui sets up logging only where it is asked to
        package.addHandler(logging.StreamHandler())

"""Command line arguments of the webui that belong to the extension."""

import argparse
import contextlib


def preload(parser):
    """Called by the webui before it parses its command line."""
    with contextlib.suppress(argparse.ArgumentError):  # another copy of the extension added it
        parser.add_argument(
            "--slothful-presets",
            metavar="DIR",
            default=None,
            help="folder of your own Slothful Attention presets (default: slothful-presets in the "
            "webui's data folder)",
        )

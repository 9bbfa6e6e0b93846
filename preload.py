"""Command line arguments of the webui that belong to the extension."""


def preload(parser):
    """Called by the webui before it parses its command line."""
    parser.add_argument(
        "--slothful-presets",
        metavar="DIR",
        default=None,
        help="folder of your own Slothful Attention presets (default: slothful-presets in the "
        "webui's data folder)",
    )

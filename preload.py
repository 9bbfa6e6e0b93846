"""Command line arguments of the webui that belong to the extension."""


def preload(parser):
    """Called by the webui before it parses its command line. There are no arguments yet."""

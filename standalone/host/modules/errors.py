"""Reports of errors that the webui swallows."""

import sys
import traceback


def report(message, *, exc_info=False):
    """Print a message, and the exception that is being handled, to standard error."""
    print(f"*** {message}", file=sys.stderr)
    if exc_info:
        traceback.print_exc()

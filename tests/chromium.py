"""Finds the browser that the page's tests drive, and installs it where that is possible.

python -m tests.chromium
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "THERE IS NO CHROMIUM: the tests of the page are skipped. `python -m tests.chromium` tries to "
    "install one."
)


@functools.cache
def find() -> str | None:
    """The path of a Chromium that starts, the system's or Playwright's own; None if there is none.

    A system's command may be a stub that only tells how to install it.
    """
    paths = filter(None, map(shutil.which, NAMES))
    return next((path for path in (*paths, *_of_playwright()) if _starts(path)), None)


def _of_playwright() -> list[str]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    with sync_playwright() as playwright:
        return [playwright.chromium.executable_path]


def _starts(path: str) -> bool:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def install() -> bool:
    """Install one, by the system's packages or else by Playwright; whether there is one then."""
    for way in _ways():
        print("installing Chromium for the tests of the page:", *way[-1], flush=True)
        if all(_succeeds(command) for command in way):
            find.cache_clear()
            if find() is not None:
                return True
    return False


def _ways() -> list[list[list[str]]]:
    """The commands of each way to install one, the best first."""
    playwright = [sys.executable, "-m", "playwright", "install", "chromium"]
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return [[playwright]]
    get = ["apt-get", "-y", "-qq", "--no-install-recommends"]
    return [[[*get, "update"], [*get, "install", "chromium"]], [[*playwright, "--with-deps"]]]


def _succeeds(command: list[str]) -> bool:
    """Run a command; the end of what it says is shown when it fails."""
    done = subprocess.run(
        command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        print(*done.stdout.decode(errors="replace").splitlines()[-5:], sep="\n")
    return done.returncode == 0


def main() -> int:
    """Install one if there is none; 1 if there is none still."""
    if find() is not None or install():
        return 0
    print(f"\n{'!' * 80}\n{MISSING}\n{'!' * 80}\n", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())

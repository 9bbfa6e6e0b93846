"""Sets up what is needed and runs it, on a machine that has nothing but Python 3.10 or newer.

    python go.py demo     writes a grid of images with every method, prints a table of their times
    python go.py page     opens a page in the browser to generate images on
    python go.py test     checks the style and runs the tests; with --slow also those that take long
                          (further arguments go to pytest)
    python go.py speed    times every method and its peers on full-size U-Nets
    python go.py pictures measures the U-Net's time of whole pictures, with sleep and without
    python go.py effects  measures what every parameter does to images
    python go.py measure  times the parts of a U-Net here, so that the page tells seconds

Inside a virtual environment packages are installed there; otherwise into .venv beside this file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
REQUIREMENTS = ROOT / "requirements"
TORCH = "torch==2.13.0"
"""Installed where no torch is; any torch from 2.0 on serves."""
EXTRA = {
    "demo": [],
    "page": ["page.txt"],
    "test": ["page.txt", "benchmarks.txt", "test.txt"],
    "speed": ["benchmarks.txt"],
    "pictures": ["benchmarks.txt"],
    "effects": ["benchmarks.txt"],
    "measure": [],
}
"""The commands, and the requirements that each has besides the host's."""
MODULES = {
    "demo": ["standalone", "grid"],
    "page": ["standalone", "page"],
    "speed": ["benchmarks.speed"],
    "pictures": ["benchmarks.pictures"],
    "effects": ["benchmarks.effects"],
    "measure": ["standalone", "measure"],
}
"""What the commands run, further arguments after it."""
STYLE = [
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
]
"""The modules that check the style, with their arguments; `test` runs them first."""
WORKERS = 2
"""Processes that share the tests; each loads torch and, for the page, a browser."""


def main() -> int:
    """Run one command; its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # folders may have letters that a console lacks
            stream.reconfigure(errors="replace")
    command, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if command not in EXTRA:
        print(__doc__)
        return 2
    if sys.version_info < (3, 10):  # noqa: UP036 (this file is what tells so)
        print(f"error: Python 3.10 or newer is needed, this is {sys.version.split()[0]}")
        return 2
    if sys.prefix == sys.base_prefix:
        return _again_in_environment(ROOT / ".venv")
    if not _set_up(["host.txt", *EXTRA[command]]):
        return 1
    os.chdir(ROOT)
    if command not in ("speed", "pictures"):  # whose figures are of torch as it comes
        # threads that wait sleep: on a busy machine images are made several times as fast
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if command in MODULES:
        return _run(*MODULES[command], *arguments)
    return _test(arguments)


def _again_in_environment(folder: Path) -> int:
    """Run this file again with the interpreter of a virtual environment, made if it is missing."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"making a virtual environment in {folder}", flush=True)
        venv.create(folder, with_pip=True)
    return subprocess.run([python, __file__, *sys.argv[1:]], check=False).returncode


def _test(arguments: list[str]) -> int:
    """The checks of style, and the tests, whatever the former say."""
    style = [_run(*check) for check in STYLE]
    _run("tests.chromium")  # says what it does; where there is none, the tests say so as well
    workers = WORKERS if (os.cpu_count() or 1) >= WORKERS else 1
    if os.environ.get("WEBUI_DIR"):  # each worker would start a webui
        workers = 1
    return _run("pytest", *pytest_arguments(arguments, workers)) or max(style)


def pytest_arguments(arguments: list[str], workers: int) -> list[str]:
    """What pytest gets for the arguments of the command `test`; it takes the last of two options
    of a kind.
    """
    shared = ["-n", str(workers), "--dist", "worksteal"] if workers > 1 else []
    chosen = (["-m", ""] if each == "--slow" else [each] for each in arguments)
    return [*shared, *(part for parts in chosen for part in parts)]


def _set_up(files: list[str]) -> bool:
    """Install the requirements, unless this environment has had just these before; whether it
    worked.
    """
    texts = [(REQUIREMENTS / name).read_bytes() for name in [*files, "host-alone.txt"]]
    wanted = hashlib.sha256(b"".join(texts)).hexdigest()
    stamp = Path(sys.prefix) / f".slothful-{'-'.join(files)}"
    if stamp.exists() and stamp.read_text() == wanted:
        return True
    listed = [part for name in files for part in ("-r", str(REQUIREMENTS / name))]
    alone = ["--no-deps", "-r", str(REQUIREMENTS / "host-alone.txt")]
    steps = {"packages": listed, "packages without their dependencies": alone}
    if importlib.util.find_spec("torch") is None:
        steps = {f"{TORCH}, the largest part": [TORCH], **steps}
    for number, (what, packages) in enumerate(steps.items(), 1):
        if not _install(f"setting up, {number} of {len(steps)}: {what}", packages):
            return False
    stamp.write_text(wanted)
    return True


def _install(text: str, packages: list[str]) -> bool:
    """Let pip install, quietly: what it says is only shown when it fails."""
    begin = time.monotonic()
    show = lambda end: print(f"\r{text} ({time.monotonic() - begin:.0f} s)", end=end, flush=True)  # noqa: E731
    with tempfile.TemporaryFile() as said:
        pip = subprocess.Popen(
            [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *packages],
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        while pip.poll() is None:
            if sys.stdout.isatty():
                show("")
            time.sleep(0.2)
        show("\n")
        if pip.returncode:
            said.seek(0)
            print(said.read().decode(errors="replace"), "\nerror: pip could not install this")
        return pip.returncode == 0


def _run(*module: str) -> int:
    """Run a module with arguments in this environment; its exit status."""
    return subprocess.run([sys.executable, "-m", *module], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""Sets up what is needed and runs it, on a machine that has nothing but Python 3.10 or newer.

    python go.py demo    writes a grid of pictures with every method, and a table of their times
    python go.py page    opens a page in the browser to generate pictures on
    python go.py test    checks the style and runs all tests (further arguments go to pytest)
    python go.py speed   times every method and its peers on full-size U-Nets
    python go.py effects measures what every parameter does to pictures

Inside a virtual environment packages are installed there; otherwise into .venv beside this file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
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
    "effects": ["benchmarks.txt"],
}
"""The commands, and the requirements that each has besides the host's."""
MODULES = {
    "demo": ["standalone", "grid"],
    "page": ["standalone", "page"],
    "speed": ["benchmarks.speed"],
    "effects": ["benchmarks.effects"],
}
"""What the commands run, further arguments after it."""


def main() -> int:
    """Run one command; its exit status."""
    command, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if command not in EXTRA:
        print(__doc__)
        return 2
    if sys.version_info < (3, 10):  # noqa: UP036 (this file is what tells so)
        print(f"error: Python 3.10 or newer is needed, this is {sys.version.split()[0]}")
        return 2
    if sys.prefix == sys.base_prefix:
        return _again_in_environment(ROOT / ".venv")
    _set_up(["host.txt", *EXTRA[command]])
    os.chdir(ROOT)
    if command in MODULES:
        return _run("-m", *MODULES[command], *arguments)
    style = [_run("-m", "ruff", "check", "."), _run("-m", "ruff", "format", "--check", ".")]
    return _run("-m", "pytest", *arguments) or max(style)


def _again_in_environment(folder: Path) -> int:
    """Run this file again with the interpreter of a virtual environment, made if it is missing."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"making a virtual environment in {folder}", flush=True)
        venv.create(folder, with_pip=True)
    return subprocess.run([python, __file__, *sys.argv[1:]], check=False).returncode


def _set_up(files: list[str]) -> None:
    """Install the requirements, unless this environment has had just these before."""
    texts = [(REQUIREMENTS / name).read_bytes() for name in [*files, "host-alone.txt"]]
    wanted = hashlib.sha256(b"".join(texts)).hexdigest()
    stamp = Path(sys.prefix) / f".slothful-{'-'.join(files)}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if importlib.util.find_spec("torch") is None:
        _install(TORCH)
    _install(*(part for name in files for part in ("-r", str(REQUIREMENTS / name))))
    _install("--no-deps", "-r", str(REQUIREMENTS / "host-alone.txt"))
    stamp.write_text(wanted)


def _install(*what: str) -> None:
    print("installing", *what, flush=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *what], check=True)


def _run(*arguments: str) -> int:
    return subprocess.run([sys.executable, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""The command that sets up and runs: what it passes on, what it says when something fails."""

import subprocess
import sys
from pathlib import Path

import go


def test_slow_tests_are_an_option_and_all_else_goes_to_pytest():
    assert go.pytest_arguments(["--slow", "-k", "plan"], 1) == ["-m", "", "-k", "plan"]
    shared = go.pytest_arguments(["-x"], 2)
    assert shared[:2] == ["-n", "2"]
    assert shared[-1] == "-x"


def test_pip_is_heard_only_when_it_fails(capfd):
    assert go._install("nothing new", ["pytest"])
    assert capfd.readouterr().out.strip().startswith("nothing new (")
    assert not go._install("nothing there", ["--no-index", "no-package-has-this-name"])
    told = capfd.readouterr().out
    assert "No matching distribution found for no-package-has-this-name" in told
    assert told.rstrip().endswith("error: pip could not install this")


def test_an_unknown_command_is_answered_with_all_there_are():
    script = Path(go.__file__)
    done = subprocess.run(
        [sys.executable, script, "dmeo"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert all(f"python go.py {command}" in done.stdout for command in go.EXTRA)

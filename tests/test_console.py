"""Consoles that lack letters: what is saved is true, what is printed has "?" for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "a caf\u00e9 in \u6771\u4eac \U0001f431"
NO_UTF8_MODE = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
CONSOLES = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "ascii, strict": {"PYTHONIOENCODING": "ascii:strict"},
    "Western Europe": {"PYTHONIOENCODING": "cp1252"},
    "Japan": {"PYTHONIOENCODING": "cp932"},
    "the C locale": {"LC_ALL": "C"},
    "the POSIX locale": {"LC_ALL": "POSIX"},
    "the C locale as it was": {"LC_ALL": "C", **NO_UTF8_MODE},
}


def run_python(*arguments, console=None, **options):
    """What another Python prints on a console, each as bytes."""
    names = ("PYTHONIOENCODING", "PYTHONUTF8", "PYTHONCOERCECLOCALE", "LC_ALL", "LC_CTYPE", "LANG")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, *map(os.fsencode, arguments)], env={**environment, **(console or {})},
        cwd=ROOT, capture_output=True, check=False, **options,
    )  # fmt: skip


_SAYS = """
import sys
from standalone.console import replace_unknown_letters, true_text
replace_unknown_letters()
prompt = true_text(sys.argv[1])
assert prompt == eval(sys.argv[2]), ascii(prompt)
for stream in (sys.stdout, sys.stderr):
    print("said:", prompt, "to the end", file=stream)
"""


@pytest.mark.parametrize("console", CONSOLES.values(), ids=CONSOLES.keys())
def test_every_console_gets_what_it_can_take_of_a_line(console):
    done = run_python("-c", _SAYS, PROMPT, ascii(PROMPT), console=console)
    assert done.returncode == 0, done.stderr
    for said in (done.stdout, done.stderr):
        assert said.startswith(b"said: a caf")
        assert said.endswith(b"to the end" + os.linesep.encode())


@pytest.mark.parametrize("name", ["ascii, strict", "the C locale as it was"])
def test_images_are_saved_with_their_true_prompt_on_such_a_console(name, tmp_path):
    options = ("--size", "64x64", "--steps", "1", "--enable", "--prompt", PROMPT)
    done = run_python(
        "-m", "standalone", "txt2img", *options, "--out", tmp_path, console=CONSOLES[name]
    )
    assert done.returncode == 0, done.stderr
    infotext = Image.open(tmp_path / "txt2img-7.png").text["parameters"]
    assert infotext.startswith(f"{PROMPT}\nSteps: 1, ")
    assert b"a caf? in ?" in done.stdout
    assert b"Traceback" not in done.stderr


_GRID_AND_PRESET = """
import sys
from pathlib import Path
from standalone.__main__ import main
from standalone.runner import find_host_modules
find_host_modules()
from modules import shared
from slothful_webui.options import follow_console_setting
from slothful_webui.presets import PresetFolders
folder = Path(sys.argv[1])
follow_console_setting(shared.opts)
print("presets:", *PresetFolders([folder]).names())
sys.exit(main(["grid", "--size", "64x64", "--steps", "1", "--out", str(folder)]))
"""


def test_the_grid_and_the_log_name_folders_and_presets_with_unknown_letters(tmp_path):
    folder = tmp_path / "\u6771\u4eac"
    folder.mkdir()
    (folder / "caf\u00e9.json").write_text("damaged")
    done = run_python("-c", _GRID_AND_PRESET, folder, console=CONSOLES["ascii"])
    assert done.returncode == 0, done.stderr
    assert (folder / "grid.png").is_file()
    assert b"grid.png" in done.stdout
    assert b"left out: caf" in done.stderr
    assert b"Logging error" not in done.stderr
    assert b"Traceback" not in done.stderr

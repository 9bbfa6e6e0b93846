"""The extension in a webui's folder, however it came there, and what is left when it has gone."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from slothful_webui.presets import SHIPPED
from standalone.runner import HOST_MODULES, ROOT

pytest.importorskip("gradio", reason="the page's tests need gradio")
GIT = shutil.which("git")
NEEDS_GIT = pytest.mark.skipif(
    GIT is None or not (ROOT / ".git").exists(), reason="the project's folder is no clone"
)

STARTED = """
import argparse, importlib.util, json, runpy, sys
from pathlib import Path

import gradio

extension, host, data = map(Path, sys.argv[1:])
runpy.run_path(str(extension / "install.py"), run_name="__main__")
runpy.run_path(str(extension / "preload.py"))["preload"](argparse.ArgumentParser())
sys.path.insert(0, str(host))
from modules import paths, scripts

paths.data_path = str(data)
sys.path.insert(0, str(extension))
path = extension / "scripts" / "slothful_attention.py"
spec = importlib.util.spec_from_file_location(path.name, path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sys.path.remove(str(extension))
with gradio.Blocks():
    module.SlothfulAttentionScript().ui(False)

import slothful
from slothful_webui.presets import Preset

if data.name == "saved":
    module._presets().save(Preset("mine", slothful.Settings(peak_time=0.1)))
own = [name for name in sys.modules if name.partition(".")[0] in ("slothful", "slothful_webui")]
print(json.dumps({
    "files": [sys.modules[name].__file__ for name in own], "presets": module._presets().names(),
}))
"""
"""What the webui does with an extension at its start, with the embedded host's `modules`."""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def clone(folder: Path) -> Path:
    """By URL, as the webui's page does it."""
    run(GIT, "clone", "--quiet", "--depth", "1", ROOT.as_uri(), str(folder / "slothful-attention"))
    return folder / "slothful-attention"


def unpack(folder: Path) -> Path:
    """The zip of a repository's page."""
    archive, name = folder / "archive.zip", "slothful-attention-main"
    prefix = f"--prefix={name}/"
    run(GIT, "-C", str(ROOT), "archive", prefix, "--output", str(archive), "HEAD")
    zipfile.ZipFile(archive).extractall(folder)
    archive.unlink()
    return folder / name


def tree(folder: Path) -> dict[str, bytes]:
    """The files of a folder; not what Python itself keeps of a program that it has read."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def start(extension: Path, data: Path) -> dict:
    """Start where git cannot be called."""
    environment = {**os.environ, "PATH": str(data), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-c", STARTED, str(extension), str(HOST_MODULES), str(data)]
    return json.loads(run(*program, cwd=data, env=environment).splitlines()[-1])


@NEEDS_GIT
@pytest.mark.parametrize(
    ("install", "place", "data"),
    [(clone, "extensions", "webui"), (unpack, "Bilder für 絵", "saved")],
    ids=["clone", "zip, folder with other letters, a preset saved"],
)
def test_installed_used_and_removed_nothing_is_left_but_saved_presets(
    tmp_path, install, place, data
):
    (tmp_path / data / place).mkdir(parents=True)
    extension = install(tmp_path / data / place)
    before = tree(extension)
    started = start(extension, tmp_path / data)
    assert all(file.startswith(str(extension)) for file in started["files"])
    shipped = sorted((path.stem for path in SHIPPED.glob("*.json")), key=str.casefold)
    own = ["mine"] if data == "saved" else []
    assert [name for name in started["presets"] if name != "mine"] == shipped
    # so it also works in a folder that cannot be written
    assert tree(extension) == before
    shutil.rmtree(extension)
    assert list(tree(tmp_path / data)) == [f"slothful-presets/{name}.json" for name in own]

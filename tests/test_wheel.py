"""The core as a package of its own."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built without the network, from a copy, as building leaves folders behind."""
    pytest.importorskip("setuptools", minversion="64")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    names = listed.stdout.split("\n") if listed.returncode == 0 else []
    names = [n for n in names if n.endswith((".py", ".toml", "LICENSE", ".md"))]
    if not names:
        pytest.skip("needs a git checkout")
    for name in filter(None, names):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            path.write_bytes((ROOT / name).read_bytes())
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    command = [sys.executable, "-m", "pip", "wheel", *options, "-w", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_it_holds_the_core_its_use_in_pipelines_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert folders == {"slothful", "slothful_diffusers"}
    core = {str(path.relative_to(ROOT)) for path in (ROOT / "slothful").rglob("*.py")}
    assert core == {name for name in names if name.startswith("slothful/")}


def test_it_asks_for_torch_and_einops_only(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata = next(name for name in archive.namelist() if name.endswith("/METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    needed = [line.partition(":")[2].strip() for line in lines if line.startswith("Requires-Dist")]
    assert sorted(text.partition(">")[0] for text in needed) == ["einops", "torch"]


def test_it_can_be_imported_from_where_it_was_installed(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import slothful; print(slothful.__file__, slothful.applied, slothful.VaeTiles)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout

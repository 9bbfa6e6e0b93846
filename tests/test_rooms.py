"""The rooms of the core: who may import whom, and that each can be loaded anywhere."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "slothful"
ROOMS = ("settings", "planning", "tokens", "unet")
"""From the bottom up: each imports only those before it."""
OUTSIDE = {
    "settings": set(),
    "planning": set(),
    "tokens": {"torch", "einops"},
    "unet": {"torch", "einops"},
}
"""What else than the standard library a room needs."""
HOSTS = ("scripts", "slothful_comfy", "slothful_diffusers", "slothful_webui", "standalone")


def imports_of(path: Path) -> list[tuple[int, str]]:
    """(dots before it, name) of every import of a file; the dots are 0 for absolute ones."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(node.level, name) for name in names]
    return found


def files_of(room: str) -> list[Path]:
    return sorted((CORE / room).glob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it_by_relative_names(room):
    for path in files_of(room):
        for dots, name in imports_of(path):
            first = name.partition(".")[0]
            if dots == 0:
                assert first in sys.stdlib_module_names | OUTSIDE[room], f"{path.name}: {name}"
            elif dots == 2:
                assert first in ROOMS[: ROOMS.index(room)], f"{path.name}: {name}"
            else:
                assert (CORE / room / f"{first}.py").is_file(), f"{path.name}: {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_inside_a_room_imports_run_in_no_circle(room):
    below = {
        path.stem: {name for dots, name in imports_of(path) if dots == 1} for path in files_of(room)
    }
    while below:
        free = [name for name, others in below.items() if not others & below.keys()]
        assert free, f"a circle among {sorted(below)}"
        for name in free:
            del below[name]


def test_every_file_of_the_core_is_in_a_room():
    assert [path.name for path in CORE.glob("*.py")] == ["__init__.py"]
    folders = {path.name for path in CORE.iterdir() if any(path.glob("*.py"))}
    assert folders == set(ROOMS)
    for room in ROOMS:
        assert (CORE / room / "__init__.py").read_text().startswith('"""')


@pytest.mark.parametrize("folder", HOSTS)
def test_hosts_import_the_core_and_none_of_its_rooms(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for dots, name in imports_of(path):
            assert dots == 1 or not name.startswith("slothful."), (
                f"{path.relative_to(ROOT)}: {name}"
            )


def test_the_face_for_comfyui_has_relative_imports_only():
    """ComfyUI gives the folder a name of its own, and has other packages of such names."""
    ours = {path.name for path in ROOT.iterdir() if path.is_dir()}
    for path in (ROOT / "slothful_comfy").glob("*.py"):
        for dots, name in imports_of(path):
            assert dots or name.partition(".")[0] not in ours, f"{path.name}: {name}"
    assert imports_of(ROOT / "__init__.py") == [(0, "sys"), (1, "slothful_comfy")]


def test_no_host_is_named_in_the_core_but_where_its_dialect_is():
    named = re.compile(r"webui|automatic1111|\bforge\b|comfyui|diffusers", re.IGNORECASE)
    dialects = [CORE / "unet" / name for name in ("anatomy.py", "calls.py")]
    found = {
        path.relative_to(CORE): words
        for path in CORE.rglob("*.py")
        if path not in dialects and (words := named.findall(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def in_fresh_interpreter(code: str, folder: Path) -> str:
    """What a program prints that is run in a folder, without site-packages of the project."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("room", ["slothful", "slothful.settings.settings",
                                  "slothful.planning.planner", "slothful.planning.cost",
                                  "slothful.planning.nothing"])  # fmt: skip
def test_settings_and_planning_leave_torch_out(room):
    code = f"import sys, {room}; print(sorted({{'torch', 'einops', 'numpy'}} & set(sys.modules)))"
    assert in_fresh_interpreter(code, ROOT) == "[]"


def test_plans_are_made_and_costs_counted_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import slothful as s\n"
        "site = s.Site('IN01', 0, 1, 1, 320, 320, 8)\n"
        "shape = s.UnetShape((s.SiteShape(site, 0.0, 0.0, 0.0, 0.0),), ())\n"
        "for method in s.METHODS:\n"
        "    settings = s.Settings(method=method, only_where_it_pays=True)\n"
        "    moment = s.Moment(600.0, 0.4)\n"
        "    s.plan_site(settings, moment, site, (64, 64))\n"
        "    assert s.estimate(settings, shape, 512, 512, [moment]).attention_share <= 1\n"
        "print('done')"
    )
    assert in_fresh_interpreter(code, ROOT) == "done"


def test_a_copy_under_another_name_can_be_loaded_from_any_folder(tmp_path):
    """As a host does whose extensions are in no folder of sys.path."""
    shutil.copytree(CORE, tmp_path / "node" / "core", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "node" / "__init__.py").write_text("from . import core\n")
    code = (
        "import sys, node; node.core.applied, node.core.VaeTiles\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'slothful'])"
    )
    assert in_fresh_interpreter(code, tmp_path) == "[]"


def test_everything_exported_is_there():
    code = "import slothful; print([n for n in slothful.__all__ if not hasattr(slothful, n)])"
    assert in_fresh_interpreter(code, ROOT) == "[]"

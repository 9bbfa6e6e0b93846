"""Two copies of the extension in one webui: one is used, and one line says which."""

import argparse
import importlib.util
from types import SimpleNamespace

import pytest

from preload import preload
from standalone.runner import ROOT, load_script_class


def load(folder):
    """The script of a copy, as the webui loads it."""
    path = folder / "scripts" / "slothful_attention.py"
    spec = importlib.util.spec_from_file_location(path.name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return path, module


@pytest.fixture
def host():
    """The host's modules, with no script loaded."""
    load_script_class()
    from modules import script_callbacks, scripts

    yield SimpleNamespace(scripts=scripts, callbacks=script_callbacks)
    scripts.scripts_data.clear()
    load_script_class()  # registers its callbacks anew


def classes(host, module):
    values = [value for value in vars(module).values() if isinstance(value, type)]
    return [value for value in values if issubclass(value, host.scripts.Script)]


def registered(host):
    return [len(value) for value in vars(host.callbacks).values() if isinstance(value, list)]


def test_the_second_copy_registers_nothing_and_both_are_named(host, tmp_path, caplog):
    """Links to one folder are two copies for the webui too."""
    folders = [tmp_path / name for name in ("slothful-attention", "slothful-attention-main")]
    for folder in folders:
        folder.symlink_to(ROOT)
    host.callbacks.clear_callbacks()
    path, first = load(folders[0])
    (script_class,) = classes(host, first)
    host.scripts.scripts_data.append(
        SimpleNamespace(path=str(path), script_class=script_class, module=first)
    )
    before = registered(host)
    assert caplog.text == ""
    _, second = load(folders[1])
    assert classes(host, second) == []
    assert registered(host) == before
    (said,) = caplog.messages
    assert said == (
        f"Slothful Attention is installed twice: {folders[0]} is used, {folders[1]} is not; "
        "remove one of them"
    )


def test_one_copy_that_is_loaded_again_is_no_second_one(host, tmp_path, caplog):
    path, first = load(ROOT)
    host.scripts.scripts_data.append(SimpleNamespace(path=str(path), module=first))
    _, again = load(ROOT)
    assert len(classes(host, again)) == 1
    assert caplog.text == ""


def test_the_argument_of_both_is_one():
    parser = argparse.ArgumentParser()
    preload(parser)
    preload(parser)
    assert parser.parse_args(["--slothful-presets", "here"]).slothful_presets == "here"

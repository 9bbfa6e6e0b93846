"""Presets: reading, writing, and files that are damaged or badly named."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slothful import Settings
from slothful_webui.presets import SHIPPED, Preset, PresetError, PresetFolders
from tests.test_settings import any_settings


@pytest.fixture
def folders(tmp_path):
    return PresetFolders([SHIPPED, tmp_path / "own"])


def test_every_shipped_preset_can_be_read_and_explains_itself(folders, caplog):
    names = folders.names()
    assert names == sorted(path.stem for path in SHIPPED.iterdir())
    assert len(names) >= 7
    assert caplog.text == ""
    for name in names:
        preset = folders.load(name)
        assert preset.settings != Settings()
        assert preset.description.endswith(".")


@given(settings=any_settings)
def test_a_saved_preset_comes_back(settings, tmp_path_factory):
    own = PresetFolders([tmp_path_factory.mktemp("presets")])
    own.save(Preset("mine (1)", settings, "über alles"))
    assert own.load("mine (1)") == Preset("mine (1)", settings, "über alles")
    assert own.names() == ["mine (1)"]


def test_the_users_preset_goes_before_the_shipped_one(folders):
    folders.save(Preset("soft", Settings(peak_time=0.9)))
    assert folders.load("soft").settings == Settings(peak_time=0.9)
    assert folders.names().count("soft") == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"settings": 3}', '{"settings": {"x": 1}}',
                                     '{"settings": {"peak_time": 7}}', "\x00"])  # fmt: skip
def test_a_damaged_file_is_named_and_the_others_stay(folders, caplog, content):
    folders.save(Preset("good", Settings()))
    (folders.folders[-1] / "bad.json").write_text(content)
    assert "good" in folders.names()
    assert "bad" not in folders.names()
    assert "bad.json" in caplog.text
    with pytest.raises(PresetError, match=r"bad\.json"):
        folders.load("bad")


@pytest.mark.parametrize(
    "name",
    ["", "../up", "a/b", "a\\b", ".hidden", "a" * 65, "x\n", "con", "NUL.txt", "dot.", "C:x"],
)
def test_names_cannot_leave_the_folder(folders, name):
    for act in (lambda: folders.save(Preset(name, Settings())), lambda: folders.load(name)):
        with pytest.raises(PresetError):
            act()


@given(st.text())
def test_whatever_the_name_a_preset_is_saved_inside_or_refused(tmp_path_factory, name):
    own = PresetFolders([tmp_path_factory.mktemp("presets")])
    try:
        path = own.save(Preset(name, Settings()))
    except PresetError:
        return
    assert path.parent == own.folders[-1]
    assert own.names() == [name]


def test_an_interrupted_save_leaves_the_old_file_and_no_other(folders, monkeypatch):
    folders.save(Preset("mine", Settings(peak_time=0.1)))

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        folders.save(Preset("mine", Settings(peak_time=0.9)))
    assert folders.load("mine").settings == Settings(peak_time=0.1)
    assert [path.name for path in folders.folders[-1].iterdir()] == ["mine.json"]

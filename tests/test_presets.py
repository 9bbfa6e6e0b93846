"""Presets: reading, writing, and files that are damaged or badly named."""

import errno
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.models import blank_unet
from slothful import Moment, Settings, estimate, shape_of
from slothful_webui.presets import SHIPPED, Preset, PresetError, PresetFolderError, PresetFolders
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


SHARES = {"a third": 1 / 3, "less than half": 0.45, "three fifths": 0.6}
"""How much of a U-Net is computed, as descriptions say it."""


def shares_said():
    """(preset, share) of every description that tells a share."""
    folders = PresetFolders([SHIPPED])
    for name in folders.names():
        for words in re.findall(
            r": (.*?) of the U-Net (?:is|are) computed", folders.load(name).description
        ):
            yield pytest.param(name, SHARES[words], id=name)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize(("name", "share"), shares_said())
def test_what_a_preset_says_is_computed_is_computed(folders, name, share, family):
    settings, shape = folders.load(name).settings, shape_of(blank_unet(family))
    times = tuple(index / 20 for index in range(20))
    moments = [Moment(1000 * (1 - t), t, i, "base", None, times, i) for i, t in enumerate(times)]
    size = 1024 if family == "sdxl" else 512
    assert estimate(settings, shape, size, size, moments).total_share == pytest.approx(
        share, abs=0.07
    )


def test_descriptions_tell_shares():
    assert len(list(shares_said())) >= 3


@given(settings=any_settings)
def test_a_saved_preset_comes_back(settings, tmp_path_factory):
    own = PresetFolders([tmp_path_factory.mktemp("presets")])
    own.save(Preset("mine (1)", settings, "über alles"))
    assert own.load("mine (1)") == Preset("mine (1)", settings, "über alles")
    assert own.names() == ["mine (1)"]


@pytest.mark.parametrize("name", ["soft", "Soft", "HARD contrast"])
def test_a_shipped_preset_keeps_its_name(folders, name):
    with pytest.raises(PresetError, match=f"{name}.* comes with the extension and is kept"):
        folders.save(Preset(name, Settings(peak_time=0.9)))
    assert folders.load("soft") == PresetFolders([SHIPPED]).load("soft")
    assert not folders.folders[-1].exists()
    assert not folders.is_own("soft")


def test_an_older_file_of_a_shipped_name_is_kept_apart_and_can_be_replaced_and_deleted(folders):
    own = folders.folders[-1]
    own.mkdir()
    (own / "Soft.json").write_text('{"settings": {"peak_time": 0.9}}')
    assert folders.load("soft") == PresetFolders([SHIPPED]).load("soft")
    assert folders.load("Soft (own)").settings == Settings(peak_time=0.9)
    assert {"soft", "Soft (own)"} < set(folders.names())
    assert folders.is_own("Soft (own)")
    folders.save(Preset("Soft (own)", Settings(peak_time=0.1)))
    assert folders.load("Soft (own)").settings == Settings(peak_time=0.1)
    folders.delete("Soft (own)")
    assert list(own.iterdir()) == []


def test_own_presets_are_deleted_and_shipped_ones_are_not(folders):
    folders.save(Preset("mine", Settings()))
    assert folders.is_own("mine")
    (folders.folders[-1] / "bad.json").write_text("{")
    folders.delete("mine")
    folders.delete("bad")
    assert folders.names() == PresetFolders([SHIPPED]).names()
    with pytest.raises(PresetError, match="'soft' comes with the extension and cannot be deleted"):
        folders.delete("soft")
    for name in ("mine", "never was"):
        with pytest.raises(PresetError, match=f"there is no preset '{name}'"):
            folders.delete(name)


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
    [
        "",
        "../up",
        "a/b",
        "a\\b",
        ".hidden",
        "a" * 65,
        "x\n",
        "con",
        "NUL.txt",
        "dot.",
        "C:x",
        "/" * 10_000,
    ],
)
def test_names_cannot_leave_the_folder(folders, name):
    for act in (lambda: folders.save(Preset(name, Settings())), lambda: folders.load(name),
                lambda: folders.delete(name)):  # fmt: skip
        with pytest.raises(PresetError, match="name") as error:
            act()
        assert len(str(error.value)) < 300


def test_without_a_name_one_is_asked_for(folders):
    with pytest.raises(PresetError, match=r"^type a name for the preset first$"):
        folders.save(Preset("", Settings()))


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
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(PresetError, match=r"cannot save the preset 'mine' in .*no space"):
        folders.save(Preset("mine", Settings(peak_time=0.9)))
    assert folders.load("mine").settings == Settings(peak_time=0.1)
    assert [path.name for path in folders.folders[-1].iterdir()] == ["mine.json"]


def a_file(tmp_path):
    (tmp_path / "own").write_text("")
    return tmp_path / "own", "own is a file"


def inside_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "deep" / "own", "file is a file"


def where_nobody_writes(tmp_path):
    return Path("/proc/slothful-presets"), "No such file or directory"


def a_folder_of_the_presets_name(tmp_path):
    (tmp_path / "mine.json").mkdir()
    return tmp_path, "Is a directory"


@pytest.mark.skipif(os.name == "nt", reason="the folders are those of a POSIX system")
@pytest.mark.parametrize(
    "place", [a_file, inside_a_file, where_nobody_writes, a_folder_of_the_presets_name]
)
def test_a_folder_that_cannot_be_written_is_named_with_the_reason(place, tmp_path):
    folder, reason = place(tmp_path)
    presets = PresetFolders([SHIPPED, folder])
    assert presets.names() == PresetFolders([SHIPPED]).names()
    with pytest.raises(PresetFolderError, match=reason) as error:
        presets.save(Preset("mine", Settings()))
    assert str(error.value).startswith(f"cannot save the preset 'mine' in {folder}: ")


@pytest.mark.skipif(os.name == "nt", reason="limits of a process are those of a POSIX system")
def test_a_disk_that_takes_no_more_leaves_the_old_preset(folders):
    import resource  # not on every system

    folders.save(Preset("mine", Settings(peak_time=0.1)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, limits[1]))
    try:
        with pytest.raises(PresetFolderError, match=r"cannot save the preset 'mine' in .*large"):
            folders.save(Preset("mine", Settings(peak_time=0.9)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert folders.load("mine").settings == Settings(peak_time=0.1)
    assert [path.name for path in folders.folders[-1].iterdir()] == ["mine.json"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission_is_named(folders):
    folders.folders[-1].mkdir()
    folders.save(Preset("mine", Settings()))
    folders.folders[-1].chmod(0o500)
    for act in (lambda: folders.save(Preset("mine", Settings())), lambda: folders.delete("mine")):
        with pytest.raises(PresetFolderError, match=r"'mine' in .*Permission denied"):
            act()

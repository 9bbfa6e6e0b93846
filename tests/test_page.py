"""The page's components, built with the webui's gradio, and what their buttons do."""

import html
import json
import re

import pytest

from slothful import FAMILY_SITES, Settings
from slothful.settings.methods import COMPARING
from slothful_webui import page
from slothful_webui.controls import CONTROLS, values_of
from slothful_webui.presets import SHIPPED, PresetFolders
from standalone.runner import load_script_class

gradio = pytest.importorskip("gradio", reason="the page's tests need gradio")


class Page:
    """The accordion of one tab, and its events without a server."""

    def __init__(self, presets, sites=None):
        self.sites = sites
        with gradio.Blocks() as self.blocks:
            self.controls, self.compare = page.build_controls(
                lambda name: f"test_{name}", presets, lambda: self.sites
            )
        self.by_id = {
            block.elem_id: block for block in self.blocks.blocks.values() if block.elem_id
        }
        self.values = {c.name: component.value for c, component in zip(CONTROLS, self.controls)}

    def fire(self, name, event="click", **inputs):
        """What an event of the component `name` answers, by the outputs' elem_id or label."""
        source = self.by_id[f"test_{name}"]
        index, dependency = next(
            (index, dependency)
            for index, dependency in enumerate(self.blocks.dependencies)
            if source._id in dependency["targets"] and dependency["trigger"] == event
        )
        by_id = {block._id: name for name, block in self.by_id.items()}
        values = {**self.values, **inputs}
        given = [values[by_id[i].removeprefix("test_")] for i in dependency["inputs"]]
        answer = self.blocks.fns[index].fn(*given)
        answers = [answer] if len(dependency["outputs"]) == 1 else answer or []
        names = [
            by_id.get(i, getattr(self.blocks.blocks[i], "label", i)).removeprefix("test_")
            for i in dependency["outputs"]
        ]
        return dict(zip(names, answers))


@pytest.fixture
def presets(tmp_path):
    return PresetFolders([SHIPPED, tmp_path / "own"])


@pytest.fixture
def built(presets):
    return Page(presets)


def test_each_component_is_what_its_parameter_declares(built):
    for control, component in zip(CONTROLS, built.controls, strict=True):
        parameter = control.parameter
        assert component.label == control.label
        assert component.value == control.default
        assert component.elem_id == f"test_{control.name}"
        if parameter.kind in ("int", "float", "weights"):
            limits = (component.minimum, component.maximum, component.step)
            assert limits == (parameter.minimum, parameter.maximum, parameter.step)
            # the webui casts what is pasted to this type
            assert type(component.value) is float
        if parameter.kind == "choice":
            assert component.choices == list(parameter.choices)
        if not control.is_site:
            assert component.info == parameter.short_help


def test_the_panel_tells_its_script_what_is_declared(built):
    texts = [getattr(block, "value", None) for block in built.blocks.blocks.values()]
    panel = html.unescape(next(text for text in texts if 'id="test_drawings"' in str(text)))
    declared = json.loads(re.search(r'data-controls="(.*)"></div>', panel)[1])
    assert [entry["name"] for entry in declared] == [control.name for control in CONTROLS]
    for entry, control in zip(declared, CONTROLS):
        limits = [control.parameter.minimum, control.parameter.maximum, control.parameter.step]
        assert [entry["minimum"], entry["maximum"], entry["step"]] == limits
        assert tuple(entry["methods"]) == control.parameter.methods


def test_labels_are_unique_because_the_webui_keeps_defaults_by_label(built):
    labels = [component.label for component in built.controls]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("method", Settings.parameter("method").choices)
def test_what_the_method_does_not_use_is_hidden(built, method):
    answers = built.fire("method", "change", method=method)
    for control in CONTROLS:
        if not control.is_site and control.parameter.methods:
            assert answers[control.name]["visible"] == (method in control.parameter.methods)
    headings = {
        "Input blocks": ("Slothful Attention", "Near-sighted Attention", "Agent Attention"),
        "Output blocks": ("Slothful Attention", "Near-sighted Attention", "Agent Attention"),
        "Tiles": ("Near-sighted Tile", "Near-sighted Attention", "Plain Tiles"),
        "Token merging": ("Token Merging",),
        "Token downsampling": ("Token Downsampling",),
        "Agents": ("Agent Attention",),
        "Fewer channels": COMPARING,
    }
    for heading, methods in headings.items():
        assert answers[heading]["visible"] == (method in methods)


@pytest.mark.parametrize("family", [None, *FAMILY_SITES])
def test_the_blocks_shown_are_those_of_the_loaded_model(built, family):
    built.sites = None if family is None else FAMILY_SITES[family]
    answers = built.fire("refresh")
    shown = [c.name for c in CONTROLS if c.is_site and answers[c.name]["visible"]]
    assert shown == list(FAMILY_SITES[family or "SD1, SD2"])


def test_a_model_without_sites_shows_no_blocks(built):
    built.sites = []
    answers = built.fire("refresh")
    assert not any(answers[c.name]["visible"] for c in CONTROLS if c.is_site)


def test_presets_are_loaded_and_reset(built, presets):
    soft = presets.load("soft").settings
    loaded = built.fire("preset_load", "input", preset_load="soft/1")
    assert list(loaded.values()) == values_of(soft)
    assert list(built.fire("preset_reset").values()) == values_of(Settings())


def test_presets_are_saved_replaced_and_deleted_with_a_word(built, presets, capsys):
    """Without a page, gradio prints its notices."""
    for said, decay in (("saved", 1), ("replaced", 3)):
        built.fire("preset_save", "input", preset_save=" mine /1", OUT09=0.5, time_decay=decay)
        expected = Settings(time_decay=decay, block_weights={"OUT09": 0.5})
        assert presets.load("mine").settings == expected
        assert capsys.readouterr().out == f"Slothful Attention: {said} the preset 'mine'\n"
    built.fire("preset_delete", "input", preset_delete="mine/2")
    assert capsys.readouterr().out == "Slothful Attention: deleted the preset 'mine'\n"
    assert "mine" not in presets.names()


@pytest.mark.parametrize(
    ("button", "values", "message"),
    [
        ("preset_load", {"preset_load": "nothing/1"}, "there is no preset 'nothing'"),
        ("preset_save", {"preset_save": " /1"}, "type a name for the preset first"),
        ("preset_save", {"preset_save": "../up/1"}, "a preset cannot be named '../up': use 1 to"),
        ("preset_save", {"preset_save": "soft/1"}, "'soft' comes with the extension and is kept"),
        ("preset_delete", {"preset_delete": "soft/1"}, "with the extension and cannot be deleted"),
        ("preset_save", {"preset_save": "x/1", "peak_time": 7}, "peak_time must be between 0"),
    ],
)
def test_what_goes_wrong_is_a_notice_and_a_line_in_the_log(
    built, button, values, message, caplog, monkeypatch
):
    notices = []
    monkeypatch.setattr(gradio, "Warning", notices.append)  # shown in a request alone
    built.fire(button, "input", **values)
    (notice,) = notices
    assert message in notice
    assert [record.getMessage() for record in caplog.records] == [notice]


def test_the_scripts_page_returns_its_arguments_and_pastes_into_them(monkeypatch, tmp_path):
    script = load_script_class()()
    from modules import paths

    monkeypatch.setattr(paths, "data_path", str(tmp_path))
    with gradio.Blocks():
        components = script.ui(False)
    assert len(components) == 1 + len(CONTROLS) + 1
    # the box of the comparison is of one request and of no picture; the note is no argument
    *pasted, (note, show) = script.infotext_fields
    assert [component for component, _ in pasted] == components[:-1]
    assert components[-1].label == "Compare"
    assert components[-1].do_not_save_to_config
    text = {"Slothful Attention": "v1; peak_time=0.25; block_weights=M00=0.5"}
    assert note.visible is show(text)["visible"] is False
    assert show({"Slothful Attention": "v1; peak_time=9"})["visible"]
    pasted = dict(zip(["enabled", *(c.name for c in CONTROLS)],
                      [target(text) for _, target in pasted]))  # fmt: skip
    assert (pasted["enabled"], pasted["peak_time"], pasted["M00"]) == (True, 0.25, 0.5)
    assert script.paste_field_names == ["Slothful Attention"]

"""Settings in the infotext of a picture, and what a paste makes of it."""

import html
import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slothful import Settings
from slothful_webui import infotext
from slothful_webui.arguments import read_arguments
from slothful_webui.controls import CONTROLS
from tests.test_settings import any_settings


def parse_as_the_webui(line):
    """The webui's rule for one line of parameters: keys of word characters, values quoted or up to
    the next comma.
    """
    pattern = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    found = pattern.findall(line)
    return {key: json.loads(value) if value[:1] == '"' else value.strip() for key, value in found}


@given(any_settings)
def test_settings_survive_the_infotext(settings):
    text = infotext.write_infotext(settings)
    line = f"Steps: 20, Sampler: Euler, {infotext.KEY}: {text}, Version: v1.10.1"
    parsed = parse_as_the_webui(line)
    assert parsed["Version"] == "v1.10.1"
    pasted = [target(parsed) for target in infotext.paste_targets(list)]
    assert read_arguments(pasted) == settings


def test_a_foreign_picture_switches_off_and_leaves_the_controls():
    enabled, *controls = [target({"Steps": "20"}) for target in infotext.paste_targets(list)]
    assert enabled is False
    assert controls == [None] * len(CONTROLS)


def test_where_the_user_disregards_the_key_a_paste_leaves_everything():
    """The webui takes the key out of what it parsed, whatever the picture was made with."""
    targets = infotext.paste_targets(lambda: ["Seed", infotext.KEY])
    assert [target({"Steps": "20"}) for target in targets] == [None] * (1 + len(CONTROLS))


def test_the_webui_can_list_the_key_and_carry_the_controls_to_another_tab():
    """It looks for fields that are texts, among them those of `paste_field_names`."""
    for target in infotext.paste_targets(list):
        assert isinstance(target, str)
        assert target == infotext.KEY


def test_pictures_of_older_versions_are_upgraded_step_by_step(monkeypatch):
    def rename(values):
        return {"peak_time" if name == "peak" else name: text for name, text in values.items()}

    def halve(values):
        return {**values, "time_decay": str(float(values["time_decay"]) / 2)}

    monkeypatch.setattr(infotext, "UPGRADES", (rename, halve))
    expected = Settings(peak_time=0.2, time_decay=1)
    written = infotext.write_infotext(expected)
    assert written.startswith("v3; ")
    for text in (
        "v1; peak=0.2; time_decay=2", "v2; peak_time=0.2; time_decay=2", written,
        "v4; peak_time=0.2; time_decay=1", "peak_time=0.2; time_decay=1",
    ):  # fmt: skip
        assert infotext.read_infotext(text) == infotext.Pasted(expected)
    # no version wrote this, and an upgrade fails at it
    pasted = infotext.read_infotext("v2; peak_time=0.2; time_decay=soon")
    assert pasted.settings == Settings(peak_time=0.2)
    assert len(pasted.left_out) == 2


def test_only_changes_are_written():
    assert infotext.write_infotext(Settings()) == "v1"
    changed = Settings(method="Near-sighted Tile", tile_size=24, block_weights={"OUT03": 0.5})
    expected = "v1; method=Near-sighted Tile; tile_size=24; block_weights=OUT03=0.5"
    assert infotext.write_infotext(changed) == expected


def paste(text):
    """What the targets of a page get: (whether it is switched on, the controls' values)."""
    enabled, *controls = [target({infotext.KEY: text}) for target in infotext.paste_targets(list)]
    return enabled, controls


any_bad_part = st.sampled_from([
    "!!!", "from_the_future=1", "tile_size=900", "peak_time=", "=0.5", "v1", "method=ToMe",
    "in_mode", "time_decay=nan", "peak_time=9=9", "keep_middle=maybe", "<b>", "v0",
    "global_ratio=" + "9" * 400, "x" * 5000, "\ud800=\ud800",
])  # fmt: skip


@given(any_settings, st.data())
def test_what_is_valid_is_taken_whatever_stands_between_it(settings, data):
    version, *parts = infotext.write_infotext(settings).split("; ")
    named = {part.partition("=")[0] for part in parts}
    strangers = [p for p in data.draw(st.lists(any_bad_part)) if p.partition("=")[0] not in named]
    mixed = data.draw(st.permutations([*parts, *strangers]))
    pasted = infotext.read_infotext("; ".join([version, *mixed]))
    assert pasted.settings == settings
    left = {part.partition("=")[0] for part in mixed} - named
    assert len(pasted.left_out) == len([p for p in mixed if p not in parts and "=" not in p]) + len(
        {p.partition("=")[0] for p in mixed if p not in parts and "=" in p}
    )
    assert bool(left) == bool(pasted.left_out)


def test_without_a_version_every_part_counts():
    expected = Settings(peak_time=0.2, tile_size=24)
    for text in (
        "peak_time=0.2; tile_size=24",
        "tile_size = 24;peak_time = 0.2;",
        "v1;;peak_time=0.2; tile_size=24",
    ):
        assert infotext.read_infotext(text) == infotext.Pasted(expected)
    pasted = infotext.read_infotext("v0; peak_time=0.2; tile_size=24")
    assert pasted == infotext.Pasted(expected, ("'v0' is not of the form name=value",))


@pytest.mark.parametrize(
    "text",
    ["!!!", "", ";", "v0", "v", "on", "from_the_future=1", "peak_time=soon; !!!", "version=1"],
)
def test_a_text_of_which_nothing_is_ours_switches_off_and_leaves_the_controls(text):
    assert paste(text) == (False, [None] * len(CONTROLS))


def test_one_bad_site_costs_no_other_one_its_weight():
    text = "v1; block_weights=IN01=0.5 IN99=1 OUT03=0 M00=7 OUT04 IN02=x out09=2"
    pasted = infotext.read_infotext(text)
    assert dict(pasted.settings.block_weights) == {"IN01": 0.5, "OUT03": 0, "OUT09": 2}
    for site in ("'IN99'", "[M00]", "[OUT04]", "[IN02]"):
        assert sum(site in reason for reason in pasted.left_out) == 1
    assert len(pasted.left_out) == 4


def test_what_only_together_is_too_much_costs_the_ratio_in_every_order():
    parts = ["method=Token Merging", "merge_stride_x=1", "merge_ratio=0.7", "merge_cross=true"]
    expected = Settings(method="Token Merging", merge_stride_x=1, merge_cross=True)
    for order in itertools.permutations(parts):
        pasted = infotext.read_infotext("; ".join(["v1", *order]))
        assert pasted.settings == expected
        (reason,) = pasted.left_out
        assert reason.startswith("merge_ratio must be between 0 and 0.5 with strides of 1 x 2")
    # nothing can be merged away at all, not even the default
    pasted = infotext.read_infotext("v1; method=Token Merging; merge_stride_x=1; merge_stride_y=1")
    assert pasted.settings == Settings(method="Token Merging", merge_stride_x=1)
    # the strides are read with the ratio, not before or after it
    text = "v1; future=1; merge_ratio=0.9; method=Token Merging; merge_stride_x=4; merge_stride_y=4"
    assert infotext.read_infotext(text).settings.merge_ratio == 0.9


def test_one_paste_is_one_line_of_the_log_and_a_note_on_the_page(caplog):
    text = "v1; peak_time=0.2; from_the_future=1; tile_size=900; <b>"
    for times in (1, 2):  # the same text again is another paste
        enabled, controls = paste(text)
        assert enabled
        assert controls[1] == 0.2
        assert len(caplog.records) == times
    said = caplog.records[-1].getMessage()
    note = infotext.paste_note({infotext.KEY: text})
    for words in ("from_the_future", "tile_size must be between 16 and 64, got '900'"):
        assert words in said
        assert html.escape(words) in note
    assert "<b>" in said
    assert "<b>" not in note
    for silent in ({}, {infotext.KEY: "v1; peak_time=0.2"}):
        assert infotext.paste_note(silent) == ""


def test_a_text_of_any_length_is_a_line_of_some_length(caplog):
    for text in (
        "!" * 10**6,
        ";".join(["x" * 100] * 5000),
        "; ".join(f"x{i}={i}" for i in range(10000)),
    ):
        caplog.clear()
        paste(f"v1; peak_time=0.2; {text}")
        (record,) = caplog.records
        assert len(record.getMessage()) < 5000
        assert "\n" not in record.getMessage()
        assert len(infotext.paste_note({infotext.KEY: f"v1; {text}"})) < 6000


@given(st.text())
def test_a_paste_never_fails(text):
    enabled, controls = paste(text)
    assert enabled in (True, False)
    assert len(controls) == len(CONTROLS)
    infotext.paste_note({infotext.KEY: text})

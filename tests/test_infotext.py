"""Settings in the infotext of an image, and what a paste makes of it."""

import html
import itertools
import json
import random
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from slothful import Moment, Reduce, Settings, plan_site
from slothful.planning import draws
from slothful_webui import infotext
from slothful_webui.arguments import read_arguments
from slothful_webui.controls import CONTROLS
from slothful_webui.upgrades import REDRAWN, Upgrade, is_redrawn
from tests.recording import RECORDED, all_sites, cases, settings_of, variants
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


def test_a_foreign_image_switches_off_and_leaves_the_controls():
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


def test_images_of_older_versions_are_upgraded_step_by_step(monkeypatch):
    def rename(values):
        return {"peak_time" if name == "peak" else name: text for name, text in values.items()}

    def halve(values):
        return {**values, "time_decay": str(float(values["time_decay"]) / 2)}

    monkeypatch.setattr(infotext, "UPGRADES", (Upgrade(rename), Upgrade(halve)))
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
    assert len(pasted.left_out) == len(pasted.reasons) == 2


def test_only_changes_are_written():
    assert infotext.write_infotext(Settings()) == "v2"
    changed = Settings(method="Near-sighted Tile", tile_size=24, block_weights={"OUT03": 0.5})
    expected = "v2; method=Near-sighted Tile; tile_size=24; block_weights=OUT03=0.5"
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
    assert record.getMessage().endswith("unknown parameter 'x11'; 9988 more")


@given(st.text())
def test_a_paste_never_fails(text):
    enabled, controls = paste(text)
    assert enabled in (True, False)
    assert len(controls) == len(CONTROLS)
    infotext.paste_note({infotext.KEY: text})


# -- images of version 1, whose draws had no names


def drawn_without_a_name(site, moment, draw):
    """The generator of version 1, the same for all that is drawn."""
    return random.Random(f"{site.name} {moment.timestep}")


def plans(settings):
    """Those of many sites, of a large and a small grid, early and late; without what a pool of the
    whole cell does not use.
    """
    found = []
    for site, side, time in itertools.product(all_sites(), (96, 31), (0.1, 0.4, 0.9)):
        grid = (side // site.depth, side // site.depth)
        plan = plan_site(settings, Moment(1000 - 1000 * time, time), site, grid)
        own = plan.reduction if isinstance(plan, Reduce) else None
        whole = own is not None and own.k_blend == own.v_blend == 1
        found.append((str(plan), plan.geometry) if whole else plan)
    return found


def plans_of_version_1(settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draws, "generator", drawn_without_a_name)
        return plans(settings)


NEAR = dict(method="Near-sighted Attention", time_decay=0)
DRAWN_ANEW = [
    dict(method="Near-sighted Tile", tile_shift="random"),
    dict(method="Plain Tiles", tile_shift="random", plain_tile_size=64, time_decay=0),
    dict(method="Plain Tiles", tile_shift="random", plain_tile_size=64, plain_swap=1),
    NEAR,
    NEAR | dict(kept_token="jittered"),
    NEAR | dict(kept_token="first", tile_shift="random"),
    NEAR | dict(in_slothful=0, in_k_blend=1, in_v_blend=1, out_k_blend=1, out_v_blend=0.5),
    NEAR | dict(in_slothful=1, out_slothful=0, block_weights={"IN01": 2, "IN04": 2}),
]


@pytest.mark.parametrize("values", DRAWN_ANEW, ids=str)
def test_a_paste_of_version_1_says_where_the_image_will_differ(values, caplog):
    settings = Settings.from_mapping(values)
    assert plans(settings) != plans_of_version_1(settings)
    written = infotext.write_infotext(settings)
    old = re.sub(r"^v\d+", "v1", written)
    assert infotext.read_infotext(old) == infotext.Pasted(settings, (), (REDRAWN,))
    paste(old)
    (record,) = caplog.records
    assert record.getMessage().endswith(REDRAWN)
    note = infotext.paste_note({infotext.KEY: old})
    assert REDRAWN in note
    assert infotext.LEFT_OUT not in note
    both = infotext.paste_note({infotext.KEY: f"{old}; from_the_future=1"})
    assert both.count(REDRAWN) == both.count(infotext.LEFT_OUT) == 1
    without_version = written.partition("; ")[2]
    for present in (written, without_version):
        assert infotext.read_infotext(present) == infotext.Pasted(settings)


@given(any_settings)
def test_a_paste_of_version_1_says_nothing_where_the_image_is_the_same(settings):
    assume(not is_redrawn(settings))
    assert plans(settings) == plans_of_version_1(settings)
    old = re.sub(r"^v\d+", "v1", infotext.write_infotext(settings))
    assert infotext.read_infotext(old) == infotext.Pasted(settings)


def test_all_that_was_recorded_anew_is_known_to_differ():
    redrawn = json.loads(RECORDED.read_text(encoding="utf-8"))["redrawn"]
    named = variants()
    of_outputs = {f"{name} / {layout}": name for name, layout in cases()}
    assert redrawn
    for entry in redrawn:
        assert is_redrawn(settings_of(named[of_outputs.get(entry, entry)])), entry

"""Every way to set a parameter in the real webui: API, infotext, plot, settings, ui-config."""

import json
import re

import numpy as np
import pytest

from slothful_webui.controls import CONTROLS
from slothful_webui.options import LEVELS
from tests.webui import BOTH, NEEDS_WEBUI, SLOTHFUL, encode
from tests.webui_hosts import FORGE, NEEDS_INFOTEXT, REFORGE, unless

pytestmark = [NEEDS_WEBUI, pytest.mark.usefixtures("leaves_nothing")]

PLOT = "x/y/z plot"


def entries(webui, name):
    """The arguments that the API reports for a script, for txt2img and img2img."""
    return [e["args"] for e in webui.get("/sdapi/v1/script-info") if e["name"] == name.lower()]


def test_the_api_reports_the_declarations(webui):
    reported = entries(webui, "Slothful Attention")
    assert len(reported) == 2
    for enabled, *controls, compare in reported:
        assert compare["value"] is False  # the hidden box that a comparison ticks
        assert (enabled["label"], enabled["value"]) == ("Slothful Attention", False)
        for entry, control in zip(controls, CONTROLS, strict=True):
            parameter = control.parameter
            assert entry["label"] == control.label
            assert entry["value"] == control.default
            assert (entry["minimum"], entry["maximum"]) == (parameter.minimum, parameter.maximum)
            assert entry["step"] == parameter.step
            assert entry["choices"] == (list(parameter.choices) or None)


def test_the_pages_defaults_are_the_declared_ones(webui):
    """ui-config.json, where the webui writes the defaults that a user may edit."""
    config = json.loads((webui.folder / "ui-config.json").read_text())
    for tab in ("txt2img", "img2img"):
        prefix = f"customscript/slothful_attention.py/{tab}"
        for control in CONTROLS:
            assert config[f"{prefix}/{control.label}/value"] == control.default
        assert not any(f"{prefix}/Preset" in key for key in config)


@NEEDS_INFOTEXT
def test_the_infotext_field_of_a_request_gives_the_picture_that_it_describes(webui):
    wanted = [{**BOTH[0], "block_weights": {"OUT09": 0.5}, "keep_middle": False}]
    pictures, infotext = webui.generate(wanted)
    again, described = webui.generate(infotext=infotext)
    assert np.array_equal(pictures[0], again[0])
    assert described == infotext


@NEEDS_INFOTEXT
def test_arguments_go_before_the_infotext_field(webui, off):
    _, infotext = webui.generate(BOTH)
    picture = webui.generate([{"enabled": False}], infotext=infotext)[0][0]
    assert np.array_equal(picture, off)


def test_png_info_knows_the_key(webui):
    pictures, infotext = webui.generate(BOTH)
    status, answer = webui.post("/sdapi/v1/png-info", {"image": encode(pictures[0], infotext)})
    assert status == 200
    assert answer["parameters"]["Slothful Attention"].startswith("v2; method=Near-sighted")


def plot(webui, axes, **body):
    """Run the X/Y/Z plot with up to three (label, values); its answer."""
    declared = entries(webui, PLOT)[0]  # reForge's has more
    labels = declared[0]["choices"]
    arguments = []
    for label, values in [*axes, ("Nothing", ""), ("Nothing", "")][:3]:
        is_list = isinstance(values, list)
        arguments += [labels.index(label), "" if is_list else values, values if is_list else []]
    for entry in declared[len(arguments) :]:
        arguments.append(entry["value"] or entry["label"] == "Include Sub Images")
    return webui.post_generation(script_name=PLOT, script_args=arguments, **body)


def test_a_plot_over_two_parameters(webui, off):
    axes = [
        ("[Slothful] Enabled", ["false", "true"]),
        ("[Slothful] Input blocks: strength", "12, 6"),
    ]
    pictures, info = plot(webui, axes, alwayson_scripts={"Slothful Attention": {"args": SLOTHFUL}})
    grid, *cells = pictures
    assert grid.shape[0] > 2 * 256
    assert np.array_equal(cells[0], off)
    assert np.array_equal(cells[0], cells[2])
    assert not np.array_equal(cells[1], cells[3])
    texts = info["infotexts"][1:]
    assert ["Slothful Attention" in text for text in texts] == [False, True, False, True]
    assert "in_slothful" not in texts[1].partition("Slothful Attention: ")[2].partition(",")[0]
    assert "in_slothful=6" in texts[3]


def test_a_plot_over_presets_and_blocks(webui, off):
    axes = [
        ("[Slothful] Preset", ["soft", "hard contrast"]),
        ("[Slothful] Block weights", "OUT09=0 OUT10=0 OUT11=0 IN01=0 IN02=0, OUT09=2"),
    ]
    pictures, _ = plot(webui, axes)
    cells = pictures[1:]
    assert len(cells) == 4
    assert all(not np.array_equal(a, b) for i, a in enumerate(cells) for b in cells[i + 1 :])


@pytest.mark.parametrize(
    ("label", "values", "message"),
    [
        ("[Slothful] Peak time", "0.2, 7", "peak_time must be between 0 and 1, got"),
        ("[Slothful] Block weights", "IN99=1", "block_weights has no block 'IN99'"),
        ("[Slothful] Preset", ["nothing"], "there is no preset 'nothing'"),
        ("[Slothful] Method", ["ToMe"], "method must be one of"),
        ("[Slothful] Enabled", ["true", "maybe"], "enabled must be true or false, got 'maybe'"),
        ("[Slothful] Peak time", "0-1 [x]", "peak_time must be between 0 and 1, got '0-1"),
    ],
)
def test_a_plot_refuses_bad_values_before_it_begins(webui, label, values, message):
    before = len(webui.log.read_text())
    with pytest.raises(RuntimeError, match=message):
        plot(webui, [(label, values)])
    assert "%|" not in webui.log.read_text()[before:]  # no bar of progress: no step was made


def test_a_plot_refuses_values_that_contradict_each_other_before_it_begins(webui):
    merging = {"Slothful Attention": {"args": [{"method": "Token Merging"}]}}
    ratios, strides = ("[Slothful] Merge ratio", "0.5, 0.7"), "[Slothful] Merge stride x"
    before = len(webui.log.read_text())
    with pytest.raises(RuntimeError, match=r"merge_ratio must be between 0 and 0.5 with str"):
        plot(webui, [ratios, (strides, "2, 1")], alwayson_scripts=merging)
    # a bar of progress at 0, and no step
    assert not re.search(r"[1-9]%\|", webui.log.read_text()[before:])
    images, _ = plot(webui, [ratios, (strides, "4, 2")], alwayson_scripts=merging)
    assert len(images) == 1 + 4


def test_a_plot_takes_quoted_lists_with_blanks_after_the_commas(webui):
    axes = [("[Slothful] Block weights", '"OUT09=0, OUT10=0", "IN01=0, IN02=0"')]
    _, info = plot(webui, axes)
    own = [text.partition("block_weights=")[2].partition(",")[0] for text in info["infotexts"][1:]]
    assert own == ["OUT09=0 OUT10=0", "IN01=0 IN02=0"]


@unless(FORGE, REFORGE, reason="lists no extension's settings (API)")
def test_the_setting_for_the_console_is_one_of_the_hosts(webui):
    assert webui.get("/sdapi/v1/options")["slothful_console"] == next(iter(LEVELS))


def test_the_console_shows_the_plan_where_the_setting_says_so(webui):
    before = len(webui.log.read_text())
    webui.generate(BOTH)
    assert "64 tokens" not in webui.log.read_text()[before:]
    webui.generate(BOTH, override_settings={"slothful_console": list(LEVELS)[-1]})
    said = webui.log.read_text()[before:]
    assert "Slothful Attention at timestep 999:\n  IN01: 32x32 tokens, strength" in said
    assert "OUT11: 32x32 tokens" in said


def test_a_client_that_others_wrote(webui, off):
    webuiapi = pytest.importorskip("webuiapi")
    client = webuiapi.WebUIApi(host="127.0.0.1", port=webui.port, sampler="Euler", steps=3)
    options = dict(prompt="a red circle on a blue background", seed=1, width=256, height=256,
                   cfg_scale=5)  # fmt: skip
    plain = client.txt2img(**options)
    assert np.array_equal(np.asarray(plain.image.convert("RGB")), off)
    ours = client.txt2img(**options, alwayson_scripts={"Slothful Attention": {"args": BOTH}})
    assert np.array_equal(np.asarray(ours.image.convert("RGB")), webui.generate(BOTH)[0][0])
    assert "Slothful Attention: v2" in ours.info["infotexts"][0]
    back = client.img2img(images=[plain.image], denoising_strength=0.5, **options,
                          alwayson_scripts={"Slothful Attention": {"args": SLOTHFUL}})  # fmt: skip
    direct = webui.generate(SLOTHFUL, init_images=[encode(off)], denoising_strength=0.5)[0][0]
    assert np.array_equal(np.asarray(back.image.convert("RGB")), direct)
    with pytest.raises(RuntimeError, match="peak_time must be between 0 and 1"):
        client.txt2img(
            **options, alwayson_scripts={"Slothful Attention": {"args": [{"peak_time": 3}]}}
        )

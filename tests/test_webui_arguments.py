"""What requests of the real webui may hold: odd values, lists of older pages, infotexts, plots."""

import json
import re

import numpy as np
import pytest

from slothful import Settings
from slothful_webui.controls import values_of
from tests.test_arguments import RELEASED, sent, told
from tests.webui import NEEDS_WEBUI, REQUEST, SLOTHFUL, reason_in
from tests.webui_hosts import NEEDS_INFOTEXT

pytestmark = [NEEDS_WEBUI, pytest.mark.usefixtures("leaves_nothing")]

SMALL = dict(steps=1, width=128, height=128)


@pytest.fixture(scope="module")
def small_off(webui):
    return webui.generate(**SMALL)[0][0]


ODD = {
    "310 digits": (["@"], "9" * 310, "enabled must be true or false"),
    "310 digits by name": ([{"peak_time": "@"}], "9" * 310, "peak_time must be between 0 and 1"),
    "310 digits by place": ([True, "Slothful Attention", "@"], "9" * 310, "peak_time must be"),
    "310 digits of a site": (
        [{"block_weights": {"IN01": "@"}}], "9" * 310, r"block_weights\[IN01\] must be",
    ),
    "nested": ([{"peak_time": "@"}], "[" * 300 + "]" * 300, "peak_time must be between 0 and 1"),
    "nested by place": ([True, "@"], "[" * 300 + "]" * 300, "method must be one of"),
    "nested text": (["@"], json.dumps('{"peak_time": ' + "[" * 10**5), "the arguments are not"),
    "not a number": ([{"peak_time": "@"}], "NaN", "peak_time must be between 0 and 1, got nan"),
    "half a letter": ([{"method": "@"}], '"\\ud800"', "method must be one of"),
    "half a letter's name": (["@"], '{"\\ud800": 1}', "unknown parameter"),
    "lines": ([{"method": "@"}], json.dumps("x\n" * 5000), "method must be one of"),
    "a long text": ([{"method": "@"}], json.dumps("x" * 10**4), "method must be one of"),
    "an object behind one": ([{}, "@"], "{}", "method must be among the values of the object"),
    "a method behind one": ([{}, "@"], '"Plain Tiles"', "method must be among the values of the"),
    "a word": ([{"compare": "@"}], '"maybe"', "compare must be true or false, got 'maybe'"),
}  # fmt: skip


@pytest.mark.parametrize(("args", "value", "message"), ODD.values(), ids=ODD)
def test_no_value_makes_an_image_without_the_effect(webui, args, value, message):
    body = {"prompt": "x", **SMALL, "alwayson_scripts": {"Slothful Attention": {"args": args}}}
    text = json.dumps(body).replace('"@"', value)
    before = len(webui.log.read_text())
    status, answer = webui.post_text("/sdapi/v1/txt2img", text)
    assert status == 500
    assert re.match(f"Slothful Attention: {message}", reason_in(answer))
    assert len(reason_in(answer)) < 500
    assert len(webui.log.read_text()) - before < 50_000


@pytest.mark.parametrize(
    "args", [[], [None], [False], [{"enabled": False, "peak_time": 9}], [{"enabled": False}, "x"]]
)
def test_off_is_off(webui, small_off, args):
    assert np.array_equal(webui.generate(args, **SMALL)[0][0], small_off)


@pytest.mark.parametrize("length", RELEASED)
def test_the_list_of_every_page_that_there_was_keeps_its_meaning(webui, small_off, length):
    settings = Settings(in_slothful=7, time_decay=0, block_weights={"IN01": 0.5, "OUT09": 2})
    names = RELEASED[length]
    list_ = webui.generate([True, *sent(names, settings, False)], **SMALL)
    by_name = webui.generate([told(names, settings).changed()], **SMALL)
    assert np.array_equal(list_[0][0], by_name[0][0])
    assert list_[1] == by_name[1]
    assert not np.array_equal(list_[0][0], small_off)
    if "compare" in names:
        images, _ = webui.generate([True, *sent(names, settings, True)], **SMALL)
        assert len(images) >= 2
        assert any(np.array_equal(image, small_off) for image in images)


def described(text):
    return f"{REQUEST}, Slothful Attention: {text}"


@NEEDS_INFOTEXT
@pytest.mark.parametrize(
    ("text", "key", "left_out"),
    [
        ("peak_time=0.2; tile_size=24", "v1; peak_time=0.2; tile_size=24", ()),
        ("!!!", None, ("'!!!'",)),
        ("v1; future=1; peak_time=0.2; tile_size=900; block_weights=IN01=0.5 XX=1",
         "v1; peak_time=0.2; block_weights=IN01=0.5", ("'future'", "tile_size", "'XX'")),
        ("v1; method=Token Merging; merge_stride_x=1; merge_ratio=0.7",
         "v1; method=Token Merging; merge_stride_x=1", ("merge_ratio",)),
    ],
)  # fmt: skip
def test_of_an_infotext_the_valid_is_taken_and_the_rest_named_once(webui, text, key, left_out):
    before = len(webui.log.read_text())
    _, made = webui.generate(infotext=described(text))
    if key is None:
        assert "Slothful Attention" not in made
    else:
        own = made.partition("Slothful Attention: v")[2].partition("; ")[2].partition(",")[0]
        assert own == key.partition("; ")[2]
    lines = [line for line in webui.log.read_text()[before:].splitlines() if "Left out" in line]
    assert len(lines) == bool(left_out)
    assert all(part in lines[0] for part in left_out)


@NEEDS_INFOTEXT
def test_an_object_goes_before_an_infotext_and_a_value_behind_it_is_still_refused(webui):
    text = described("v1; method=Near-sighted Tile; tile_size=24; vae_tiles=true")
    images, made = webui.generate([{"time_decay": 0}], infotext=text)
    assert np.array_equal(images[0], webui.generate([{"time_decay": 0}])[0][0])
    assert "Near-sighted" not in made
    with pytest.raises(RuntimeError, match="method must be among the values of the object"):
        webui.generate([{"time_decay": 0}, "Plain Tiles"], infotext=text)


def test_a_drawing_is_made_as_the_page_asks(webui):
    body = {"values": values_of(Settings()), "fields": {"steps": 150}}
    status, drawn = webui.post("/slothful-attention/drawing", body)
    assert (status, drawn["model"]) == (200, "loaded")
    (one,) = drawn["passes"]
    assert one["step_count"] == 150
    assert one["steps"][-1] == 149
    assert len(one["steps"]) < 150
    for wrong in ({"steps": 151}, {"width": 8193}, {"hires": True, "width": 4096, "hr_scale": 4}):
        status, said = webui.post("/slothful-attention/drawing", {**body, "fields": wrong})
        assert (status, list(said)) == (200, ["error"])
    assert webui.post("/slothful-attention/drawing", {**body, "more": "x" * 10**7})[0] == 413
    assert not np.array_equal(webui.generate(SLOTHFUL)[0][0], webui.generate()[0][0])

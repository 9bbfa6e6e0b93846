"""Costs of this machine and the wish "lazy" in the real webui, over its API."""

import re
import time

import pytest

from slothful import Settings
from slothful_webui.controls import values_of
from tests.test_webui_interface import plot
from tests.test_webui_models import said_while
from tests.webui import NEEDS_WEBUI

pytestmark = [NEEDS_WEBUI, pytest.mark.usefixtures("leaves_nothing")]

MEASURE, DRAWING = "/slothful-attention/measure", "/slothful-attention/drawing"
SMALL = dict(width=128, height=128, steps=12)


def drawn(webui, **settings):
    fields = {**SMALL, "sampler": "Euler"}
    settings = {"method": "Sleep only", **settings}
    body = {"values": values_of(Settings(**settings)), "fields": fields}
    status, answer = webui.post(DRAWING, body)
    assert status == 200
    return answer


def test_the_machine_is_measured_and_the_page_tells_seconds(webui):
    params = webui.folder / "params.txt"
    webui.generate(steps=2)
    before = params.read_text() if params.exists() else None
    assert webui.post(MEASURE, {})[1]["running"]
    for _ in range(600):
        state = webui.get(MEASURE)
        if not state["running"]:
            break
        time.sleep(0.5)
    assert state == {"running": False, "share": 1.0, "error": None}
    assert (webui.folder / "slothful-presets" / "machine" / "costs.json").is_file()
    # it is no image that somebody asked for
    assert (params.read_text() if params.exists() else None) == before
    plain, asleep = (drawn(webui, **s)["seconds"] for s in ({}, {"sleep": "deep blocks"}))
    assert plain["left"] == pytest.approx(plain["without"])
    assert asleep["left"] < asleep["without"] == pytest.approx(plain["without"])
    _, said = said_while(webui, [{"method": "Sleep only", "sleep": "deep blocks"}], **SMALL)
    assert re.search(r"the U-Net took [\d.]+ s instead of about [\d.]+ s", said)


def test_a_wish_gives_explicit_values_that_make_the_image_again(webui):
    pictures, infotext = webui.generate([{"lazy": "balanced"}], **SMALL)
    found = re.search(r"Slothful Attention: (v\d+; [^,\n]+)", infotext)[1]
    assert "sleep=deep blocks" in found
    assert "lazy" not in found
    explicit = dict(part.split("=") for part in found.split("; ")[1:])
    again, told = webui.generate([explicit], **SMALL)
    assert (again[0] == pictures[0]).all()
    assert told == infotext


def test_off_is_bit_identical_and_claims_nothing(webui):
    plain, _ = webui.generate(**SMALL)
    off, infotext = webui.generate([{"lazy": "off"}], **SMALL)
    assert (off[0] == plain[0]).all()
    assert "Slothful Attention" not in infotext


@pytest.mark.parametrize("level", ["much", 3, ["off"]])
def test_a_wish_that_is_none_is_refused_with_what_is_allowed(webui, level):
    with pytest.raises(RuntimeError, match="lazy must be one of off, gentle, balanced, strong"):
        webui.generate([{"lazy": level}], **SMALL)


def test_a_plot_has_a_row_of_wishes(webui):
    _, info = plot(webui, [("[Slothful] Lazy", ["off", "balanced"])], **SMALL)
    found = ["sleep=deep blocks" in text for text in info["infotexts"]]
    assert found[-2:] == [False, True]

"""Measuring this machine: in the background, over the route, from the command line."""

import json
import threading
import time
import types

import pytest

import slothful
from slothful import Settings
from slothful.unet import measuring
from slothful_webui import engine, routes
from slothful_webui.controls import values_of
from slothful_webui.costs import CostsFile
from slothful_webui.measuring import NO_MODEL, Measurement, MeasuringError, measure_machine
from slothful_webui.presets import SHIPPED, PresetFolders
from standalone.checkpoint import SMALL, load
from standalone.runner import find_host_modules
from tests.unets import make_unet, module_state

gradio = pytest.importorskip("gradio", reason="the routes' tests need gradio")

from fastapi import FastAPI  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402

find_host_modules()
DRAWING, MEASURE = "/slothful-attention/drawing", "/slothful-attention/measure"


def model_of(unet):
    return types.SimpleNamespace(model=types.SimpleNamespace(diffusion_model=unet))


def within_nothing(act):
    """A host whose U-Net is not called by PyTorch."""


def wait_for_end(client):
    for _ in range(400):
        state = client.get(MEASURE).json()
        if not state["running"]:
            return state
        time.sleep(0.05)
    raise AssertionError(state)


def test_it_runs_once_at_a_time_and_says_how_far_it_is_and_why_it_failed():
    begun, go_on, runs = threading.Event(), threading.Event(), []

    def measure(progress):
        runs.append(1)
        progress(0.5)
        begun.set()
        assert go_on.wait(20)
        raise OSError("no space left")

    measurement = Measurement(measure)
    app = FastAPI()
    routes.add_routes(app, None, lambda: object(), PresetFolders([SHIPPED]), measurement)
    client = TestClient(app)
    assert client.get(MEASURE).json() == {"running": False, "share": 0.0, "error": None}
    assert client.post(MEASURE).json()["running"]
    assert begun.wait(20)
    state = {"running": True, "share": 0.5, "error": None}
    assert client.post(MEASURE).json() == client.get(MEASURE).json() == state
    go_on.set()
    assert wait_for_end(client) == {"running": False, "share": 1.0, "error": "no space left"}
    assert runs == [1]


def test_without_a_model_nothing_is_measured():
    def measure(progress):
        raise AssertionError

    app = FastAPI()
    presets = PresetFolders([SHIPPED])
    routes.add_routes(app, None, lambda: None, presets, Measurement(measure))
    answer = TestClient(app).post(MEASURE).json()
    assert answer == {"running": False, "share": 0.0, "error": NO_MODEL}


def test_a_unet_that_pytorch_does_not_run_is_told(tmp_path):
    with pytest.raises(MeasuringError, match="not run by PyTorch"):
        measure_machine(within_nothing, engine.machine_of, CostsFile(tmp_path))
    assert not list(tmp_path.iterdir())


def test_what_is_measured_is_what_the_page_tells_of_time(tmp_path, monkeypatch):
    """The costs of the loaded model, through the host's own way to make an image."""
    from modules import shared

    monkeypatch.setattr(measuring, "SIZES", (64, 128))
    model = load(SMALL)
    monkeypatch.setattr(shared, "sd_model", model, raising=False)
    unet = engine.unet_of(model)
    before = module_state(unet), vars(shared.cmd_opts).copy()
    presets = PresetFolders([SHIPPED, tmp_path])

    def measure(progress):
        kept = CostsFile(tmp_path)
        found = measure_machine(engine.within_a_call, engine.machine_of, kept, progress)
        assert found == kept.load(engine.machine_of(unet), slothful.shape_of(unet))

    app = FastAPI()
    routes.add_routes(app, None, lambda: model, presets, Measurement(measure))
    client = TestClient(app)
    fields = {"width": 256, "height": 256, "steps": 10}
    none = values_of(Settings(method="Sleep only"))
    assert client.post(DRAWING, json={"values": none, "fields": fields}).json()["seconds"] is None
    assert client.post(MEASURE).json()["running"]
    assert wait_for_end(client)["error"] is None
    assert (module_state(unet), vars(shared.cmd_opts)) == before
    assert presets.names() == PresetFolders([SHIPPED]).names()  # it is no damaged preset

    def seconds(settings, **changes):
        body = {"values": values_of(settings), "fields": {**fields, **changes}}
        return client.post(DRAWING, json=body).json()["seconds"]

    plain = seconds(Settings(method="Sleep only"))
    assert plain["left"] == pytest.approx(plain["without"])
    asleep = seconds(Settings(method="Sleep only", sleep="deep blocks"))
    assert asleep["left"] < asleep["without"] == pytest.approx(plain["without"])
    # every step but the last calls twice
    twice = seconds(Settings(method="Sleep only"), sampler="Heun")
    assert twice["without"] == pytest.approx(1.9 * plain["without"])
    hires = seconds(Settings(method="Sleep only"), hires=True, hr_scale=1, denoising_strength=1)
    assert hires["without"] > 1.5 * plain["without"]


def test_a_file_that_is_damaged_is_told_on_the_page(tmp_path):
    kept = CostsFile(tmp_path)
    kept.path.parent.mkdir()
    kept.path.write_text("{")
    model = model_of(make_unet("sd1"))
    app = FastAPI()
    routes.add_routes(app, None, lambda: model, PresetFolders([SHIPPED, tmp_path]))
    body = {"values": values_of(Settings()), "fields": {"steps": 2}}
    answer = TestClient(app).post(DRAWING, json=body).json()
    assert answer["seconds"] is None
    assert answer["costs_problem"]["file"] == "costs.json"
    assert "{file} was ignored" in answer["costs_problem"]["text"]


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    from standalone.__main__ import main

    monkeypatch.setattr(measuring, "SIZES", (64, 128))
    assert main(["measure", "--presets", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    path = tmp_path / "machine" / "costs.json"
    assert str(path) in said
    assert json.loads(path.read_text())["measured"][0]["precision"] == "float32"

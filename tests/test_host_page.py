"""The embedded host's page without a browser: its server, its infotexts, its jobs."""

import itertools
import json
import socket
import threading
import urllib.request

import pytest

from slothful import Settings
from slothful_webui.controls import values_of
from slothful_webui.presets import SHIPPED, PresetFolders
from standalone.__main__ import main
from standalone.checkpoint import SMALL, load
from standalone.infotext import parse_infotext
from standalone.jobs import Progress, end_jobs, run_job
from standalone.processing import Processing, create_infotext, process_images
from standalone.runner import ScriptRunner

pytest.importorskip("gradio", reason="the page's tests need gradio")


@pytest.fixture(scope="module")
def model():
    return load(SMALL)


def fetch(port, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=900) as answer:
        return answer.read().decode()


def test_an_infotext_is_read_as_it_was_written(model):
    request = Processing(
        model, prompt="two, lines:\nof prompt", negative_prompt="none: of, this", seed=9, steps=7,
        width=128, height=192, enable_hr=True, hr_scale=1.5, cfg_scale=2.5,
    )  # fmt: skip
    request.extra_generation_params["Slothful Attention"] = "v1; peak_time=0.25; tile_size=20"
    parameters = parse_infotext(create_infotext(request, 9, request.prompt))
    expected = {
        "Prompt": "two, lines:\nof prompt", "Negative prompt": "none: of, this", "Seed": "9",
        "Steps": "7", "Size": "128x192", "CFG scale": "2.5", "Hires upscale": "1.5",
        "Slothful Attention": "v1; peak_time=0.25; tile_size=20",
    }  # fmt: skip
    assert {name: parameters[name] for name in expected} == expected


def test_a_plain_prompt_has_no_parameters():
    assert parse_infotext("a cat: sitting") == {"Prompt": "a cat: sitting", "Negative prompt": ""}
    assert parse_infotext("") == {"Prompt": "", "Negative prompt": ""}


def test_a_job_reports_every_step_and_shows_what_it_has(model):
    request = Processing(model, width=64, height=64, steps=3)
    *steps, processed = run_job(request, ScriptRunner())
    assert [(one.name, one.step, one.steps) for one in steps] == [("base", i, 3) for i in (1, 2, 3)]
    assert all(isinstance(one, Progress) for one in steps)
    assert steps[0].preview.size == (64, 64)
    assert len(processed.images) == 1


def test_a_job_that_fails_says_why_and_the_next_one_runs(model):
    request = Processing(model, width=64, height=64, steps=1)
    with pytest.raises(RuntimeError, match="peak_time must be between 0 and 1"):
        list(run_job(request, ScriptRunner([{"peak_time": 3}])))
    assert list(run_job(Processing(model, width=64, height=64, steps=1), ScriptRunner()))


def test_a_job_that_is_ended_stops_at_its_step_and_the_next_picture_is_whole(model):
    job = run_job(Processing(model, width=64, height=64, steps=150), ScriptRunner())
    next(job)
    end_jobs()
    assert len(list(job)) < 150
    whole = Processing(model, width=64, height=64, steps=3)
    steps = []
    whole.progress = lambda *step: steps.append(step)
    process_images(whole, ScriptRunner())
    assert len(steps) == 3
    assert len(list(run_job(Processing(model, width=64, height=64, steps=3), ScriptRunner()))) == 4


def test_a_job_waits_for_one_whose_page_was_left(model):
    jobs = [run_job(Processing(model, width=64, height=64, steps=20), ScriptRunner()) for _ in "ab"]
    calls = []
    handle = model.model.diffusion_model.register_forward_pre_hook(
        lambda *_: calls.append(threading.get_ident())
    )
    try:
        next(jobs[0])
        jobs[0].close()
        assert len(list(jobs[1])) == 21
    finally:
        handle.remove()
    assert len(list(itertools.groupby(calls))) == 2


def test_the_page_is_served_to_this_machine_alone(embedded):
    page = fetch(embedded.port, "/")
    order = [page.index(name) for name in ("window.localization", "host/host.js", "slothful_start")]
    assert order == sorted(order)
    # another address of this machine, which a server that listens to all of them would answer at
    with socket.socket() as other:
        other.settimeout(2)
        assert other.connect_ex(("127.0.0.2", embedded.port)) != 0


def test_the_routes_answer(embedded):
    presets = json.loads(fetch(embedded.port, "/slothful-attention/presets"))
    assert {"soft", "fast 1024"} <= {preset["name"] for preset in presets}
    soft = next(preset for preset in presets if preset["name"] == "soft")
    assert soft["settings"] == PresetFolders([SHIPPED]).load("soft").settings.as_dict()
    body = {"values": values_of(Settings()), "fields": {"width": 256, "height": 256, "steps": 4}}
    drawn = json.loads(fetch(embedded.port, "/slothful-attention/drawing", body))
    assert len(drawn["passes"][0]["times"]) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "80"], "port must be 0 or between 1024 and 65535, got 80"),
        (["--language", "xx"], "language must be one of ja_JP, got 'xx'"),
        (["--model", "nowhere.safetensors"], "nowhere.safetensors: no such checkpoint"),
    ],
)
def test_bad_input_is_one_line_and_status_2(capsys, arguments, message):
    assert main(["page", "--no-browser", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0

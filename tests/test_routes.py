"""The extension's own routes: who may use them, what they answer, how much work they do."""

import asyncio
import json
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slothful import Settings
from slothful_webui import routes
from slothful_webui.controls import values_of
from slothful_webui.drawing import MOST_MOMENTS, describe
from slothful_webui.passes import LIMITS, FieldError, Fields, limits_of
from slothful_webui.presets import SHIPPED, PresetFolders
from slothful_webui.turns import MOST_WAITING, TurnError, Turns
from standalone.runner import find_host_modules
from tests.unets import make_unet

gradio = pytest.importorskip("gradio", reason="the routes' tests need gradio")

from fastapi import Depends, FastAPI, HTTPException  # noqa: E402
from fastapi.security import HTTPBasic  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402

find_host_modules()

PRESETS = PresetFolders([SHIPPED])
BODY = {"values": values_of(Settings()), "fields": {"width": 256, "height": 256, "steps": 4}}
DRAWING, LIST = "/slothful-attention/drawing", "/slothful-attention/presets"


def page_of(auth=None, **sliders):
    """A gradio page as the webui launches one, with sliders by their ids, and its application."""
    with gradio.Blocks() as demo:
        for name, maximum in sliders.items():
            gradio.Slider(1, maximum, elem_id=name)
    demo.auth = auth
    return demo, gradio.routes.App.create_app(demo)


def client_of(app, demo=None, model=None):
    routes.add_routes(app, demo, lambda: model, PRESETS)
    return TestClient(app)


def statuses(client, **options):
    """Of both routes."""
    return [client.post(DRAWING, json=BODY, **options).status_code,
            client.get(LIST, **options).status_code]  # fmt: skip


# -- the login


def test_without_a_login_everybody_may_use_them():
    for app in (FastAPI(), page_of()[1]):
        client = client_of(app)
        assert statuses(client) == [200, 200]
        assert client.post(DRAWING, json=BODY).json()["passes"][0]["width"] == 256
        assert {"name", "own", "description", "settings"} <= client.get(LIST).json()[0].keys()


def test_who_may_not_see_the_page_may_not_use_them():
    demo, app = page_of(auth=[("anna", "secret")])
    client = client_of(app, demo)
    assert client.get("/config").status_code == 401
    assert statuses(client) == [401, 401]
    assert statuses(client, cookies={"access-token": "guessed"}) == [401, 401]
    login = client.post("/login", data={"username": "anna", "password": "secret"})
    assert login.status_code == 200
    cookies = {"access-token-unsecure": login.cookies["access-token-unsecure"]}
    assert client.get("/config", cookies=cookies).status_code == 200
    assert statuses(client, cookies=cookies) == [200, 200]


def test_where_there_is_no_page_the_apis_password_counts():
    basic = Depends(HTTPBasic())

    def check(credentials=basic):
        if credentials.password != "secret":
            raise HTTPException(401)

    def options():
        return {}

    app = FastAPI()
    app.add_api_route("/sdapi/v1/options", options, dependencies=[Depends(check)])
    client = client_of(app)
    assert statuses(client) == [401, 401]
    assert statuses(client, auth=("anna", "guessed")) == [401, 401]
    assert statuses(client, auth=("anna", "secret")) == [200, 200]


def test_who_is_not_logged_in_is_not_read():
    """However long and wrong a request is, the login is asked for first."""
    demo, app = page_of(auth=[("anna", "secret")])
    client = client_of(app, demo)
    assert client.post(DRAWING, content=b"[" * 10**6).status_code == 401


# -- what a request may hold


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b"[" * 60_000, b'{"values": ' + b"9" * 5000],
    ids=lambda content: str(content[:12]),
)  # fmt: skip
def test_what_is_no_request_of_a_page_is_refused(content):
    answer = client_of(FastAPI()).post(DRAWING, content=content)
    assert answer.status_code == 400
    assert answer.json() == {"error": "the request must be a JSON object"}


def test_a_request_that_is_longer_than_any_of_a_page_is_not_looked_at():
    client = client_of(FastAPI())
    whole = json.dumps(BODY).encode()
    for length, status in ((routes.MOST_BYTES, 200), (routes.MOST_BYTES + 1, 413), (10**7, 413)):
        assert client.post(DRAWING, content=whole.ljust(length)).status_code == status
    answer = client.post(DRAWING, content=b"[" * 10**6)
    assert answer.json() == {"error": "the request must have at most 65536 bytes"}


any_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
any_fields = st.dictionaries(
    st.sampled_from([*LIMITS, "sampler", "scheduler", "img2img", "hires", "hr_sampler", "limits"])
    | st.text(max_size=9),
    any_value | st.integers(0, 3000),
)


@given(st.fixed_dictionaries({}, optional={
    "values": st.just(BODY["values"]) | st.lists(any_value, max_size=90) | any_value,
    "fields": any_fields | any_value,
}))  # fmt: skip
def test_every_object_gets_a_drawing_or_an_error_that_is_cut(body):
    answer = routes.answer(body, None)
    assert "passes" in answer or len(answer["error"]) < 500


def test_a_long_value_is_cut():
    for name, value in (
        ("width", "9" * 60_000),
        ("steps", list(range(9999))),
        ("hr_scale", 10**400),
    ):
        said = routes.answer({**BODY, "fields": {name: value}}, None)["error"]
        assert said.startswith(f"{name} must be between ")
        assert len(said) < 300
    values = ["x" * 60_000, *BODY["values"][1:]]
    assert len(routes.answer({**BODY, "values": values}, None)["error"]) < 300


# -- what a page can ask for


def test_sizes_and_steps_end_where_the_pages_sliders_end():
    for name, (low, high) in LIMITS.items():
        for value in (low, high):
            Fields(**{name: value})
        for value in (low - 1, high + 1, float("nan"), float("inf"), True, None):
            with pytest.raises(FieldError, match=f"{name} must be between {low} and {high}, got "):
                Fields(**{name: value})
    # each side of the hires pass may be within them, and their product not
    for fields in (
        {"width": 4096, "hr_scale": 4},
        {"height": 64, "width": 8192, "hr_resize_y": 2048},
    ):
        with pytest.raises(FieldError, match=r"^hires size must be at most 8192x8192, got"):
            Fields(hires=True, **fields)
        Fields(hires=False, **fields)


def test_sliders_that_the_user_widened_widen_the_limits():
    demo, app = page_of(
        txt2img_steps=200, img2img_steps=400, txt2img_hr_scale=3, txt2img_width=9000
    )
    limits = limits_of(demo)
    assert limits == {**LIMITS, "steps": (1, 400)}
    client = client_of(app, demo)
    for steps, key in ((400, "passes"), (401, "error")):
        body = {**BODY, "fields": {"steps": steps}}
        assert key in client.post(DRAWING, json=body).json()
    assert limits_of(None) == LIMITS


# -- how much is drawn


@pytest.fixture(scope="module")
def model():
    return SimpleNamespace(model=SimpleNamespace(diffusion_model=make_unet("sd1")))


@pytest.mark.parametrize("steps", [1, 2, MOST_MOMENTS - 1, MOST_MOMENTS, MOST_MOMENTS + 1, 150])
@pytest.mark.parametrize("axis", Settings.parameter("time_axis").choices)
def test_of_many_steps_evenly_spaced_ones_are_drawn(model, steps, axis):
    settings = Settings(time_axis=axis)
    (drawn,) = describe(settings, Fields(steps=steps), model)["passes"]
    shown = drawn["steps"]
    assert drawn["step_count"] == steps
    assert len(shown) == min(steps, MOST_MOMENTS)
    assert (shown[0], shown[-1]) == (0, steps - 1)
    gaps = {later - step for step, later in zip(shown, shown[1:])}
    assert not gaps or max(gaps) - min(gaps) <= 1
    for row in (drawn["times"], drawn["noise"], *drawn["sites"].values()):
        assert len(row) == len(shown)


def test_what_is_drawn_of_a_step_is_what_would_be_of_all_of_them(model, monkeypatch):
    settings = Settings(method="Near-sighted Tile", tile_shift="alternating", kept_token="jittered")
    fields = Fields(steps=120)
    some = describe(settings, fields, model)
    monkeypatch.setattr("slothful_webui.drawing.MOST_MOMENTS", 1000)
    every = describe(settings, fields, model)
    for name, row in some["passes"][0]["sites"].items():
        for place, step in enumerate(some["passes"][0]["steps"]):
            one = row[place], every["passes"][0]["sites"][name][step]
            plans = [None if number < 0 else each["plans"][number]
                     for number, each in zip(one, (some, every))]  # fmt: skip
            assert plans[0] == plans[1]
    assert some["passes"][0]["left"] == every["passes"][0]["left"]
    assert some["nothing"] == every["nothing"]


LARGEST = dict(width=2048, height=2048, steps=150, hires=True, hr_scale=4, hr_steps=150)


@pytest.mark.parametrize("method", Settings.parameter("method").choices)
@pytest.mark.parametrize("mode", ["2D_AVG", "1D_AVG"])
@pytest.mark.parametrize("kept", ["first", "merged"])
def test_the_largest_drawing_looks_at_few_moments(model, method, mode, kept):
    settings = Settings(
        method=method, in_mode=mode, out_mode=mode, kept_token=kept, tile_shift="random",
        tile_halo=8, rounding="smooth", in_slothful=3.5, only_where_it_pays=True,
    )  # fmt: skip
    drawn = describe(settings, Fields(**LARGEST), model)
    moments = [len(each["steps"]) for each in drawn["passes"]]
    # there alone each token of each tile is counted
    one_by_one = method == "Near-sighted Attention" and kept == "first"
    assert moments == ([9, 1] if one_by_one else [MOST_MOMENTS, MOST_MOMENTS])
    assert drawn["passes"][1]["steps"][0] < 149
    assert len(json.dumps(drawn)) < 10**6


# -- one at a time


def test_of_a_page_the_newest_drawing_counts():
    async def ask():
        turns, started, release = Turns(), threading.Event(), threading.Event()

        def first(go_on):
            started.set()
            release.wait()
            go_on()

        running = asyncio.create_task(turns.take("page", first))
        await asyncio.to_thread(started.wait)
        waiting = asyncio.create_task(turns.take("page", lambda go_on: "second"))
        await asyncio.sleep(0)
        newest = asyncio.create_task(turns.take("page", lambda go_on: "third"))
        await asyncio.sleep(0)
        release.set()
        return await asyncio.gather(running, waiting, newest, return_exceptions=True)

    first, second, third = asyncio.run(ask())
    assert third == "third"
    for ended in (first, second):
        assert isinstance(ended, TurnError)
        assert str(ended) == "a newer drawing has been asked for"


def test_pages_are_served_one_after_the_other():
    busy, most = [], []

    def work(go_on):
        busy.append(1)
        most.append(len(busy))
        busy.pop()
        return True

    async def ask():
        turns = Turns()
        return await asyncio.gather(*(turns.take(str(page), work) for page in range(8)))

    assert all(asyncio.run(ask()))
    assert max(most) == 1


def test_too_many_pages_do_not_wait():
    async def ask():
        turns, release = Turns(), threading.Event()
        first = asyncio.create_task(turns.take("first", lambda go_on: release.wait()))
        await asyncio.sleep(0)
        others = [asyncio.create_task(turns.take(str(page), lambda go_on: True))
                  for page in range(MOST_WAITING + 3)]  # fmt: skip
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        release.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        # and afterwards they may come again
        return answers, await turns.take("9", lambda go_on: True)

    answers, later = asyncio.run(ask())
    refused = [each for each in answers if isinstance(each, TurnError)]
    assert [str(each) for each in refused] == ["too many drawings are waiting"] * 3
    assert later is True


def test_work_that_fails_leaves_the_turn_to_others():
    async def ask():
        turns = Turns()
        failed = await asyncio.gather(turns.take("a", lambda go_on: 1 / 0), return_exceptions=True)
        return failed, await turns.take("a", lambda go_on: True)

    (failed,), after = asyncio.run(ask())
    assert isinstance(failed, ZeroDivisionError)
    assert after is True


def test_a_drawing_ends_between_two_sites(model):
    calls = []

    def go_on():
        calls.append(1)
        if len(calls) == 3:
            raise TurnError("a newer drawing has been asked for")

    with pytest.raises(TurnError):
        routes.answer(BODY, model, go_on=go_on)
    assert len(calls) == 3


def test_a_drawing_that_a_newer_one_ends_says_so(monkeypatch):
    async def take(turns, page, work):
        raise TurnError("a newer drawing has been asked for")

    monkeypatch.setattr(Turns, "take", take)
    answer = client_of(FastAPI()).post(f"{DRAWING}?page=x", json=BODY)
    assert answer.status_code == 429
    assert answer.json() == {"error": "a newer drawing has been asked for"}

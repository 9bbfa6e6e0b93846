"""What needs a server of its own: other ways to hold the model, and reloading the scripts."""

import base64
import json
import urllib.error
import urllib.request

import numpy as np
import pytest

from slothful import Settings
from slothful_webui.controls import CONTROLS, values_of
from slothful_webui.infotext import write_infotext
from standalone.checkpoint import SMALL
from standalone.model.install_into_webui import install
from tests.browser import NEEDS_CHROMIUM, opened
from tests.webui import BOTH, NEEDS_WEBUI, REQUEST, ROOT, Webui
from tests.webui_hosts import FORGE, REFORGE, unless

pytestmark = NEEDS_WEBUI


@pytest.fixture
def own_server(tmp_path):
    """Starts servers with flags of their own, and stops them."""
    servers = []

    def start(*flags, name="webui", second_copy=None, stored=None):
        """`name` is its data folder's, `second_copy` that of another folder of the extension.
        `stored` are the page's defaults by tab and label, as somebody wrote them down.
        """
        folder = tmp_path / f"{name}{len(servers)}"
        (folder / "models" / "Stable-diffusion").mkdir(parents=True)
        install(folder, SMALL)
        if second_copy is not None:
            (folder / "extensions").mkdir()
            (folder / "extensions" / second_copy).symlink_to(ROOT)
        if stored is not None:
            prefix = "customscript/slothful_attention.py"
            config = {f"{prefix}/{label}": value for label, value in stored.items()}
            (folder / "ui-config.json").write_text(json.dumps(config))
        servers.append(Webui(folder, flags))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@unless(FORGE, REFORGE, reason="moves weights as it sees fit")
@pytest.mark.parametrize("flag", ["--medvram", "--lowvram"])
def test_memory_saving_gives_the_same_pictures(webui, own_server, flag):
    server = own_server(flag)
    for args in (None, BOTH):
        expected = webui.generate(args)[0][0].astype(int)
        assert np.abs(server.generate(args)[0][0] - expected).max() <= 2
    hooks = server.hooks()  # its own hooks move the model's parts
    server.generate(BOTH)
    assert server.hooks() == hooks


@unless(FORGE, REFORGE, reason="stores weights as it sees fit")
def test_weights_stored_in_8_bits(own_server):
    server = own_server()
    status, _ = server.post("/sdapi/v1/options", {"fp8_storage": "Enable"})
    assert status == 200
    off = server.generate()[0][0]
    said = len(server.log.read_text())
    changed = server.generate(BOTH)[0][0]
    assert not np.array_equal(changed, off)
    assert ": skipped " not in server.log.read_text()[said:]
    assert server.hooks() == 0
    assert np.array_equal(server.generate()[0][0], off)


def test_of_two_copies_one_is_used_and_both_are_named(own_server):
    """One beside the other, as a clone and a zip leave them; the path has letters of all kinds."""
    copies = "slothful-attention", "slothful-attention-main"
    server = own_server(name="Bilder für 絵 ", second_copy=copies[1])
    said = server.log.read_text()
    folders = [server.folder / "extensions" / name for name in copies]
    assert f"installed twice: {folders[0]} is used, {folders[1]} is not" in said
    assert "conflicting option string" not in said
    scripts = server.get("/sdapi/v1/scripts")["txt2img"]
    assert scripts.count("slothful attention") == 1
    plot = next(e for e in server.get("/sdapi/v1/script-info") if e["name"] == "x/y/z plot")
    axes = plot["args"][0]["choices"]
    assert len(axes) == len(set(axes))
    assert "Slothful Attention: v2" in server.generate(BOTH)[1]
    assert server.hooks() == 0


@NEEDS_CHROMIUM
def test_after_reload_of_the_script_bodies_the_page_still_works(own_server):
    """The webui then calls the old scripts' callbacks and the new ones'."""
    server = own_server()
    off = server.generate()[0][0]
    settings = Settings.from_mapping(BOTH[0])
    with opened(server.port) as page:
        page.paste(f"{REQUEST}, Slothful Attention: {write_infotext(settings)}")
        page.wait_until(lambda: page.enabled)
        before = page.generate()
        page.go_to("Settings")
        page.page.locator("#settings .tab-nav button", has_text="Actions").click()
        page.page.locator("#settings_reload_script_bodies").click()
        page.page.wait_for_timeout(3000)
        page.go_to("txt2img")
        assert np.array_equal(page.generate(), before)
        page.enable(False)
        assert np.array_equal(page.generate(), off)
    assert server.hooks() == 0


def test_stored_values_out_of_range_stop_nothing_that_does_not_use_them(own_server):
    labels = {name: Settings.parameter(name).label for name in ("merge_ratio", "tile_size")}
    labels |= {"time_decay": Settings.parameter("time_decay").label}
    stored = {f"txt2img/{labels[name]}/value": 99 for name in ("merge_ratio", "tile_size")}
    stored |= {f"txt2img/{label}/maximum": 99 for label in labels.values()}
    server = own_server(stored=stored)
    page = values_of(Settings())
    places = {name: 1 + [c.name for c in CONTROLS].index(name) for name in labels}

    def arguments(**values):
        """What the page sends, with the values that it was stored with."""
        sent = [True, *page, False]
        for name, value in {"merge_ratio": 99, "tile_size": 99, **values}.items():
            sent[places[name]] = value
        return sent

    images, infotext = server.generate(arguments())
    assert np.array_equal(images[0], server.generate([{}])[0][0])
    assert "99" not in infotext
    merging = arguments()
    merging[1] = "Token Merging"
    for sent, message in (
        (arguments(time_decay=99), "time_decay must be between 0 and 4, got 99"),
        (merging, "merge_ratio must be between 0 and 1, got 99"),
    ):
        with pytest.raises(RuntimeError, match=message):
            server.generate(sent)


ROUTES = ("/slothful-attention/presets", "/slothful-attention/drawing")
BODY = json.dumps({"values": values_of(Settings()), "fields": {}})


def answers(server, path, **headers):
    """The status of a route, asked as the page does."""
    if path.endswith("drawing"):
        return server.post_text(path, BODY, **headers)[0]
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_who_is_not_logged_in_gets_401_as_from_the_page(own_server):
    server = own_server("--gradio-auth", "anna:secret")
    for headers in ({}, {"Cookie": "access-token=guessed; access-token-unsecure=guessed"}):
        assert answers(server, "/config", **headers) == 401
        assert [answers(server, path, **headers) for path in ROUTES] == [401, 401]
    login = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/login", b"username=anna&password=secret"
    )
    with urllib.request.urlopen(login, timeout=60) as answer:
        cookies = [line.partition(";")[0] for line in answer.headers.get_all("Set-Cookie")]
    own = {"Cookie": "; ".join(cookies)}
    assert [answers(server, path, **own) for path in ("/config", *ROUTES)] == [200, 200, 200]


def test_without_a_page_the_password_of_the_api_is_asked_for(own_server):
    server = own_server("--nowebui", "--api-auth", "anna:secret")
    own = {"Authorization": "Basic " + base64.b64encode(b"anna:secret").decode()}
    wrong = {"Authorization": "Basic " + base64.b64encode(b"anna:guessed").decode()}
    for path in ("/sdapi/v1/options", *ROUTES):
        assert [answers(server, path, **h) for h in ({}, wrong, own)] == [401, 401, 200]

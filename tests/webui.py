"""Starts an installation of the real webui, Forge or reForge for the tests, and talks to it.

`WEBUI_DIR` names the installation, `WEBUI_PYTHON` its interpreter (default: its venv). Nothing in
the installation is changed: extensions, models and settings lie in a folder of the test's own.
"""

import base64
import io
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.webui_hosts import FORGE, HOST, WEBUI, describe_small_model, flags_of

ROOT = Path(__file__).resolve().parents[1]
NEEDS_WEBUI = pytest.mark.skipif(
    "WEBUI_DIR" not in os.environ, reason="WEBUI_DIR names no installation of the webui"
)
SETTINGS = {
    "show_progress_type": "Approx cheap",  # the default downloads a model for SDXL
    # what the tests override: the webui restores only what its settings file holds
    "token_merging_ratio": 0.0, "hypertile_enable_unet": False, "hypertile_max_depth_unet": 3,
    "hypertile_max_tile_unet": 256,
    "skip_early_cond": 0.0, "batch_cond_uncond": True, "slothful_console": "problems",
    "s_min_uncond": 0.0, "pad_cond_uncond": False,
}  # fmt: skip
SLOTHFUL = [{"time_decay": 0, "in_slothful": 9, "out_slothful": 9}]
TILES = [{"method": "Near-sighted Tile", "tile_size": 16}]
BOTH = [{"method": "Near-sighted Attention", "base_tile_size": 16, "peak_tile_size": 16}]
REQUEST = (
    "a red circle on a blue background\n"
    "Steps: 3, Sampler: Euler, CFG scale: 5, Seed: 1, Size: 256x256"
)
"""The infotext of the tests' usual request."""
MERGING = [{"method": "Token Merging", "time_decay": 0, "merge_mlp": True}]
PLAIN = [{"method": "Plain Tiles", "time_decay": 0, "plain_tile_size": 64, "tile_halo": 1}]
DOWNSAMPLED = [{"method": "Token Downsampling", "time_decay": 0, "kept_token": "jittered"}]
AGENTS = [{"method": "Agent Attention", "time_decay": 0, "agent_every": 2, "sleep_min_steps": 1}]
CHANNELS = [{"method": "Sleep only", **{f"channels_depth_{i}": 0.5 for i in (1, 2, 3)}}]
METHODS = {
    "slothful": SLOTHFUL, "tile": TILES, "both": BOTH, "merging": MERGING, "plain": PLAIN,
    "downsampled": DOWNSAMPLED, "agents": AGENTS, "channels": CHANNELS,
}  # fmt: skip


class Webui:
    """A running webui with this extension and the probe installed."""

    def __init__(self, folder: Path, flags: tuple[str, ...] = ()):
        installation = Path(os.environ["WEBUI_DIR"]).resolve()
        python = os.environ.get("WEBUI_PYTHON", str(installation / "venv" / "bin" / "python"))
        (folder / "extensions").mkdir(parents=True, exist_ok=True)
        (folder / "extensions" / "slothful-attention").symlink_to(ROOT)
        (folder / "extensions" / "probe").symlink_to(ROOT / "tests" / "webui_probe")
        if HOST.probe is not None:
            (folder / "extensions" / "sizes").symlink_to(ROOT / "tests" / HOST.probe)
            describe_small_model(folder / "small-model")
        (folder / "config.json").write_text(json.dumps(SETTINGS))
        self.folder = folder
        self.port = free_port()
        self.log = folder / "log.txt"
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
        own = ("--data-dir", str(folder), "--port", str(self.port))
        command = [python, "launch.py", *flags_of(HOST, installation), *own, *flags]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                command, cwd=installation, env=environment, stdout=log, stderr=log
            )
        self.wait_for_start()

    def wait_for_start(self, times: int = 1) -> None:
        """Wait until it has started, or has reloaded its page so many times less one."""
        # by its log: a request before the webui has added its middleware breaks its start
        for _ in range(900):
            if self.log.read_text().count("Startup time:") >= times and self._listens():
                return
            if self._process.poll() is not None:
                break
            time.sleep(1)
        self.stop()
        raise RuntimeError("the webui did not start:\n" + self.log.read_text()[-3000:])

    def _listens(self) -> bool:
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(timeout=300)

    def get(self, path: str):
        """The JSON that a GET answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=900) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict) -> tuple[int, dict]:
        """(status, JSON) of a POST."""
        return self.post_text(path, json.dumps(body))

    def post_text(self, path: str, text: str, **headers: str) -> tuple[int, dict]:
        """(status, JSON) of a POST of JSON as text."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            text.encode(),
            {"Content-Type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=900) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def generate(self, args: list | None = None, *, fault: str = "", **body):
        """(pictures as arrays, infotext) of a request; raises on an error status."""
        scripts = {"Probe": {"args": [fault]}}
        if args is not None:
            scripts["Slothful Attention"] = {"args": args}
        pictures, info = self.post_generation(alwayson_scripts=scripts, **body)
        return pictures, info["infotexts"][0]

    def post_generation(self, **body):
        """(pictures as arrays, info) of a request; raises `RuntimeError` on an error status."""
        path = "img2img" if "init_images" in body else "txt2img"
        defaults = dict(
            prompt="a red circle on a blue background", seed=1, steps=3, width=256, height=256,
            sampler_name="Euler", cfg_scale=5,
            # otherwise the API keeps the overrides of a request
            override_settings_restore_afterwards=True,
        )  # fmt: skip
        if HOST is not WEBUI and body.get("enable_hr"):
            defaults["hr_cfg"] = 5  # its own has no negative side in the hires pass
        if HOST is FORGE and body.get("enable_hr"):
            defaults["hr_additional_modules"] = ["Use same choices"]  # without them it fails
        status, answer = self.post(f"/sdapi/v1/{path}", {**defaults, **body})
        if status != 200:
            raise RuntimeError(f"{status}: {reason_in(answer)}")
        return [_decode(text) for text in answer["images"]], json.loads(answer["info"])

    def hooks(self) -> int:
        """Hooks and replaced forwards on the U-Nets and VAEs of all loaded models."""
        return len(self.get("/probe/hooks")["hooks"])


def reason_in(answer: dict) -> str:
    """What an answer that is an error says."""
    return answer.get("errors") or answer.get("message") or str(answer)  # Forge's is a message


def encode(picture: np.ndarray, infotext: str | None = None) -> str:
    """A picture as the API takes it, with the infotext in its `parameters` chunk."""
    chunks = PngImagePlugin.PngInfo()
    if infotext is not None:
        chunks.add_text("parameters", infotext)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", pnginfo=chunks)
    return base64.b64encode(buffer.getvalue()).decode()


def _decode(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]

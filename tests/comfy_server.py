"""Starts an existing installation of ComfyUI for the tests, and talks to it.

`COMFYUI_DIR` names the installation, `COMFYUI_PYTHON` its interpreter (default: its venv). Nothing
in the installation is changed: nodes, models and images lie in a folder of the test's own.
"""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from standalone.checkpoint import SMALL, unpacked
from tests.webui import free_port

ROOT = Path(__file__).resolve().parents[1]
NEEDS_COMFYUI = pytest.mark.skipif(
    "COMFYUI_DIR" not in os.environ, reason="COMFYUI_DIR names no installation of ComfyUI"
)
CHECKPOINT = "small.safetensors"
"""Under which ComfyUI finds the small model."""


class Comfy:
    """A running ComfyUI with this folder, under each of the names in `copies`, and the probe."""

    def __init__(self, folder: Path, copies: tuple[str, ...] = ("slothful-attention-webui-main",)):
        installation = Path(os.environ["COMFYUI_DIR"]).resolve()
        python = os.environ.get("COMFYUI_PYTHON", str(installation / "venv" / "bin" / "python"))
        for part in ("custom_nodes", "models/checkpoints", "front"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for copy in copies:
            (folder / "custom_nodes" / copy).symlink_to(ROOT)
        (folder / "custom_nodes" / "probe").symlink_to(ROOT / "tests" / "comfy_probe")
        checkpoint = unpacked(SMALL)
        (folder / "models" / "checkpoints" / CHECKPOINT).symlink_to(checkpoint)
        (folder / "front" / "index.html").write_text("<html></html>")
        self.folder, self.port, self.log = folder, free_port(), folder / "log.txt"
        command = [
            python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(self.port),
            "--base-directory", str(folder), "--front-end-root", str(folder / "front"),
            "--database-url", "sqlite:///:memory:", "--disable-auto-launch",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                command, cwd=installation, env=environment, stdout=log, stderr=log
            )
        for _ in range(300):
            if "To see the GUI go to" in self.said():
                return
            if self._process.poll() is not None:
                break
            time.sleep(1)
        self.stop()
        raise RuntimeError("ComfyUI did not start:\n" + self.said()[-3000:])

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(timeout=60)

    def said(self, since: int = 0) -> str:
        """The log, from a position on."""
        return self.log.read_text(encoding="utf-8", errors="replace")[since:]

    def get(self, path: str):
        """The JSON that a GET answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict) -> tuple[int, dict]:
        """(status, JSON) of a POST."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def image(self, *chain: tuple[str, dict], **options) -> np.ndarray:
        """The first image of a workflow of one sampler, behind a chain of nodes."""
        flow = Workflow()
        saved = flow.save(flow.sample(flow.chain(*chain), **options))
        return self.run(flow.nodes)[saved][0]

    def run(self, prompt: dict) -> dict[str, list[np.ndarray]]:
        """The images of each node that saves some, of a prompt in the API's form. Raises
        `RuntimeError` with what ComfyUI says where it refuses or fails.
        """
        status, answer = self.post("/prompt", {"prompt": prompt})
        if status != 200:
            raise RuntimeError(json.dumps(answer))
        name = answer["prompt_id"]
        for _ in range(3000):
            history = self.get(f"/history/{name}")
            if name in history:
                break
            time.sleep(0.1)
        ended = history[name]
        if ended["status"]["status_str"] != "success":
            raise RuntimeError(json.dumps(ended["status"]["messages"]))
        outputs = ended["outputs"].items()
        return {node: [self._image(each) for each in out["images"]] for node, out in outputs}

    def _image(self, saved: dict) -> np.ndarray:
        path = self.folder / saved["type"] / saved["subfolder"] / saved["filename"]
        return np.asarray(Image.open(path).convert("RGB"))


def told(comfy: Comfy, since: int) -> list[str]:
    """The lines in the log from a position on that are ours."""
    lines = (line.partition("Slothful Attention: ") for line in comfy.said(since).splitlines())
    return [said for _, found, said in lines if found]


def image_and_told(comfy: Comfy, *chain, **options) -> tuple[np.ndarray, list[str]]:
    """The image behind a chain of nodes, and what we said meanwhile."""
    since = len(comfy.said())
    return comfy.image(*chain, **options), told(comfy, since)


def flow_images(comfy: Comfy, flow: "Workflow", saved: list[str]) -> list[np.ndarray]:
    """The first image of each node that saves some."""
    made = comfy.run(flow.nodes)
    return [made[name][0] for name in saved]


def prompt_of(comfy: Comfy, drawn: dict) -> dict:
    """A workflow as ComfyUI's page saves it, in the API's form."""
    links = {link[0]: [str(link[1]), link[2]] for link in drawn["links"]}
    prompt = {}
    for node in drawn["nodes"]:
        kind = node["type"]
        declared = comfy.get(f"/object_info/{kind}")[kind]["input"]
        inputs = {each["name"]: links[each["link"]] for each in node["inputs"]}
        values = list(node.get("widgets_values", []))
        for name, (form, *options) in (declared["required"] | declared.get("optional", {})).items():
            if isinstance(form, list) or form in ("INT", "FLOAT", "STRING", "BOOLEAN"):
                inputs[name] = values.pop(0)
                if options and options[0].get("control_after_generate"):
                    values.pop(0)
        assert not values, f"{kind} has more values than inputs"
        prompt[str(node["id"])] = {"class_type": kind, "inputs": inputs}
    return prompt


class Workflow:
    """A prompt in the API's form, built node by node; each node is known by a number. Begins with
    the small model and two texts.
    """

    MODEL, TEXT, VAE = ["1", 0], ["1", 1], ["1", 2]

    def __init__(self):
        self.nodes: dict[str, dict] = {}
        self.add("ProbeLoader", ckpt_name=CHECKPOINT)
        words = "a red circle on a blue background"
        self.positive = self.add("CLIPTextEncode", clip=self.TEXT, text=words)
        self.negative = self.add("CLIPTextEncode", clip=self.TEXT, text="")

    def add(self, kind: str, **inputs) -> list:
        """Add a node; the link to its first output, [name, 0]."""
        name = str(len(self.nodes) + 1)
        self.nodes[name] = {"class_type": kind, "inputs": inputs}
        return [name, 0]

    def chain(self, *nodes: tuple[str, dict]) -> list:
        """A model, sent from the loader through nodes that each have an input `model`."""
        model = self.MODEL
        for kind, inputs in nodes:
            model = self.add(kind, model=model, **inputs)
        return model

    def sample(self, model: list, latent: list | None = None, *, size=(128, 128), batch=1,
               **options) -> list:  # fmt: skip
        """A sampler; its latent."""
        if latent is None:
            width, height = size
            latent = self.add("EmptyLatentImage", width=width, height=height, batch_size=batch)
        usual = dict(
            seed=1, steps=3, cfg=5.0, sampler_name="euler", scheduler="normal", denoise=1.0,
            positive=self.positive, negative=self.negative,
        )  # fmt: skip
        return self.add("KSampler", model=model, latent_image=latent, **{**usual, **options})

    def save(self, latent: list) -> str:
        """Save the images of a latent; the name of the node."""
        images = self.add("VAEDecode", samples=latent, vae=self.VAE)
        return self.add("SaveImage", images=images, filename_prefix="test")[0]

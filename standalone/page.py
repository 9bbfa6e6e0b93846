"""The embedded host's page: a small webui around the extension's own accordion.

Components have the ids that the webui gives to theirs, so the extension's JavaScript, and whoever
drives the page, finds them in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from standalone.runner import load_script_class
from standalone.tab import Tab

Models = Mapping[str, Callable[[], Any]]
"""Checkpoints by name, each loaded when it is chosen."""

TABS = ("txt2img", "img2img")
_THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])


class Checkpoints:
    """The checkpoints of the page; `shared.sd_model` is the chosen one."""

    def __init__(self, models: Models):
        self.models = dict(models)
        self._loaded: dict[str, Any] = {}
        self.name = next(iter(self.models))
        self.choose(self.name)

    def choose(self, name: str) -> None:
        """Load a checkpoint, unless it has been before, and make it the current one."""
        from modules import shared

        if name not in self._loaded:
            self._loaded[name] = self.models[name]()
        self.name, shared.sd_model = name, self._loaded[name]

    def current(self) -> tuple[str, Any]:
        """The name and the model of the chosen one."""
        return self.name, self._loaded[self.name]


def build_page(models: Models, folder: Path) -> gr.Blocks:
    """The page. Pictures are written to `folder`, with their infotext inside."""
    script_class = load_script_class()
    checkpoints = Checkpoints(models)
    with gr.Blocks(title="Slothful Attention", theme=_THEME, analytics_enabled=False) as page:
        chosen = gr.Dropdown(
            list(models), value=checkpoints.name, label="Checkpoint",
            elem_id="setting_sd_model_checkpoint",
        )  # fmt: skip
        chosen.change(checkpoints.choose, [chosen], show_progress=False).then(
            None, [chosen], _js="(name) => embeddedHost.setCheckpoint(name)"
        )
        with gr.Tabs(elem_id="tabs"):
            tabs = {}
            for name in TABS:
                script = script_class()
                script.is_img2img, script.is_txt2img = name == "img2img", name == "txt2img"
                with gr.Tab(name, id=name, elem_id=f"tab_{name}"):
                    tabs[name] = Tab(name, script, checkpoints.current, folder)
            with gr.Tab("PNG Info", id="pnginfo", elem_id="tab_pnginfo"):
                _build_png_info(tabs)
    return page.queue()


def _build_png_info(tabs: Mapping[str, Tab]) -> None:
    """Shows a picture's parameters, and sends them to a tab."""
    image = gr.Image(
        label="Image", type="pil", image_mode=None, elem_id="pnginfo_image", height=320
    )
    text = gr.Textbox(label="Parameters", lines=4, elem_id="pnginfo_text")
    read = lambda picture: picture.info.get("parameters", "") if picture else ""  # noqa: E731
    image.change(read, [image], [text], show_progress=False)
    with gr.Row():
        for name, tab in tabs.items():
            button = gr.Button(f"Send to {name}", elem_id=f"{name}_tab")
            sent = button.click(tab.paste_values, [text], tab.pasted, show_progress=False)
            sent.then(None, _js=f"() => embeddedHost.openTab('{name}')")

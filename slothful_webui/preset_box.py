"""The page's box of presets: a name, and the buttons that load, save, delete and reset."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from slothful import Settings, SettingsError
from slothful_webui.controls import named, values_of
from slothful_webui.presets import Preset, PresetError, PresetFolders

OWN = "Slothful Attention: "
"""How notices begin, for other extensions have theirs at the same place."""


logger = logging.getLogger(__name__)


class PresetBox(NamedTuple):
    """The components: the name, the four buttons, and where the page's script puts the name of the
    preset that is clicked.
    """

    name: Any
    load: Any
    save: Any
    delete: Any
    reset: Any
    picked: Any


def build_presets(gr: Any, elem_id: Callable[[str], str]) -> PresetBox:
    """The components; call inside the accordion. `elem_id` is the script's."""
    # the page's script draws the presets here, each as a button
    gr.HTML(f'<div id="{elem_id("preset_buttons")}" class="slothful"></div>')
    # not a dropdown, which completes what is typed to a name that contains it
    name = gr.Textbox(
        value="",
        label="Preset",
        max_lines=1,
        elem_id=elem_id("preset"),
        info="Click a preset to load it, or type a name and save the values below under it.",
    )
    with gr.Row(elem_id=elem_id("presets")):
        buttons = [
            gr.Button(text, elem_id=elem_id(f"preset_{text.lower()}"), size="sm", min_width=60)
            for text in ("Load", "Save", "Delete", "Reset")
        ]
    picked = gr.Textbox(elem_id=elem_id("preset_pick"), visible=False)
    name.do_not_save_to_config = picked.do_not_save_to_config = True
    return PresetBox(name, *buttons, picked)


def connect_presets(
    gr: Any, box: PresetBox, presets: PresetFolders, controls: Sequence[Any], has_queue: bool = True
) -> None:
    """Let the buttons act on `controls`, the components of `controls.CONTROLS`. What they did, or
    why they could not, is shown as a notice. `has_queue`: whether the page has gradio's queue.
    """

    def refuse(error: Exception) -> Any:
        """Show why something could not be done; what a component is left as."""
        if not has_queue:  # without it no warning is shown, but what is raised
            raise gr.Error(OWN + str(error)) from None
        # gradio writes a traceback for what is raised
        logger.warning("%s%s", OWN, error)
        gr.Warning(OWN + str(error))
        return gr.update()

    def load(name: str | None) -> list[Any]:
        try:
            return values_of(presets.load(_stripped(name)).settings)
        except PresetError as error:
            return [refuse(error)] * len(controls)

    def pick(clicked: str) -> list[Any]:
        name = clicked.rpartition("/")[0]  # the page's script counts clicks behind it
        return [name, *load(name)]

    def save(name: str | None, *values: Any) -> Any:
        name = _stripped(name)
        replaces = presets.is_own(name)
        try:
            presets.save(Preset(name, Settings.from_mapping(named(values))))
        except (PresetError, SettingsError) as error:
            return refuse(error)
        gr.Info(
            OWN + (f"replaced the preset {name!r}" if replaces else f"saved the preset {name!r}")
        )
        return name

    def delete(name: str | None) -> Any:
        name = _stripped(name)
        try:
            presets.delete(name)
        except PresetError as error:
            return refuse(error)
        gr.Info(OWN + f"deleted the preset {name!r}")
        return ""

    quiet = dict(show_progress=False)
    box.load.click(load, [box.name], list(controls), **quiet)
    saved = box.save.click(save, [box.name, *controls], [box.name], **quiet)
    deleted = box.delete.click(delete, [box.name], [box.name], **quiet)
    box.reset.click(lambda: values_of(Settings()), [], list(controls), **quiet)
    for event in (saved, deleted):  # `then`, which other hosts' gradio has too
        event.then(None, _js="() => slothfulAttention.loadPresets()")
    box.picked.input(pick, [box.picked], [box.name, *controls], **quiet)


def _stripped(name: str | None) -> str:
    return (name or "").strip()

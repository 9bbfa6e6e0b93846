"""What the page's presets do. Its script draws them, each as a button, and hands over what is
clicked or typed.
"""

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
    """Hidden components: where the page's script puts the names of presets that are to be loaded,
    saved and deleted, and a button that resets.
    """

    load: Any
    save: Any
    delete: Any
    reset: Any


def build_presets(gr: Any, elem_id: Callable[[str], str]) -> PresetBox:
    """The components; call inside the accordion. `elem_id` is the script's."""
    boxes = [
        gr.Textbox(elem_id=elem_id(f"preset_{what}"), visible=False)
        for what in ("load", "save", "delete")
    ]
    for box in boxes:
        box.do_not_save_to_config = True
    return PresetBox(*boxes, gr.Button("Reset", elem_id=elem_id("preset_reset"), visible=False))


def connect_presets(
    gr: Any, box: PresetBox, presets: PresetFolders, controls: Sequence[Any], has_queue: bool = True
) -> None:
    """Let what is asked for act on `controls`, the components of `controls.CONTROLS`. What was
    done, or why it could not be, is shown as a notice. `has_queue`: whether the page has gradio's
    queue.
    """

    def refuse(error: Exception) -> None:
        """Show why something could not be done."""
        if not has_queue:  # without it no warning is shown, but what is raised
            raise gr.Error(OWN + str(error)) from None
        # gradio writes a traceback for what is raised
        logger.warning("%s%s", OWN, error)
        gr.Warning(OWN + str(error))

    def load(asked: str) -> list[Any]:
        try:
            return values_of(presets.load(_name_in(asked)).settings)
        except PresetError as error:
            refuse(error)
            return [gr.update()] * len(controls)

    def save(asked: str, *values: Any) -> None:
        name = _name_in(asked)
        replaces = presets.is_own(name)
        try:
            presets.save(Preset(name, Settings.from_mapping(named(values))))
        except (PresetError, SettingsError) as error:
            refuse(error)
        else:
            done = f"replaced the preset {name!r}" if replaces else f"saved the preset {name!r}"
            gr.Info(OWN + done)

    def delete(asked: str) -> None:
        name = _name_in(asked)
        try:
            presets.delete(name)
        except PresetError as error:
            refuse(error)
        else:
            gr.Info(OWN + f"deleted the preset {name!r}")

    quiet = dict(show_progress=False)
    box.load.input(load, [box.load], list(controls), **quiet)
    saved = box.save.input(save, [box.save, *controls], [], **quiet)
    deleted = box.delete.input(delete, [box.delete], [], **quiet)
    box.reset.click(lambda: values_of(Settings()), [], list(controls), **quiet)
    for event in (saved, deleted):  # `then`, which other hosts' gradio has too
        event.then(None, _js="() => slothfulAttention.loadPresets()")


def _name_in(asked: str) -> str:
    """The name that is asked for. The page's script counts, for gradio tells of changes alone."""
    return asked.rpartition("/")[0].strip()

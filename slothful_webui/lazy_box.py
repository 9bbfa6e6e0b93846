"""What the page's control for a wish sets: a few buttons, which its script draws."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from slothful import Settings, SettingsError
from slothful_webui.controls import values_of
from slothful_webui.passes import FieldError
from slothful_webui.preset_box import OWN

logger = logging.getLogger(__name__)


class LazyBox(NamedTuple):
    """Hidden boxes: what the page's script asks for, and what was chosen."""

    asked: Any
    chosen: Any


def build_lazy(gr: Any, elem_id: Callable[[str], str]) -> LazyBox:
    """The components; call inside the accordion. `elem_id` is the script's."""
    boxes = LazyBox(
        gr.Textbox(elem_id=elem_id("lazy_ask"), visible=False),
        gr.Textbox(elem_id=elem_id("lazy_chosen"), visible=False),
    )
    for box in boxes:
        box.do_not_save_to_config = True
    return boxes


def connect_lazy(
    gr: Any,
    box: LazyBox,
    choose: Callable[[Mapping[str, Any]], Settings],
    controls: Sequence[Any],
) -> None:
    """Let what is asked for set `controls`, the components of `controls.CONTROLS`."""

    def pick(text: str) -> list[Any]:
        try:
            asked = json.loads(text)
            settings = choose(asked)
        except (SettingsError, FieldError, ValueError) as error:
            logger.warning("%s%s", OWN, error)
            gr.Warning(OWN + str(error))
            return [gr.update()] * (1 + len(controls))
        chosen = {**asked, "settings": settings.as_dict()}
        return [json.dumps(chosen), *values_of(settings)]

    box.asked.input(pick, [box.asked], [box.chosen, *controls], show_progress=False)

"""What the page's script asks the server for, besides what gradio does.

The drawings follow a slider while it is dragged. Gradio renders its page anew for every answer of
its own, which takes the webui's large page too long for that, hence these two routes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slothful import Settings, SettingsError
from slothful_webui.controls import named
from slothful_webui.drawing import describe
from slothful_webui.passes import FieldError, Fields
from slothful_webui.presets import PresetFolders

PREFIX = "/slothful-attention"


def add_routes(app: Any, loaded_model: Callable[[], Any], presets: PresetFolders) -> None:
    """Add the routes to the webui's FastAPI application.

    `loaded_model` gives the webui's model without loading one, None if there is none.
    """

    def drawing(body: dict[str, Any]) -> dict[str, Any]:
        return answer(body, loaded_model())

    def preset_list() -> list[dict[str, Any]]:
        return [
            {
                "name": preset.name,
                "own": presets.is_own(preset.name),
                "description": preset.description,
                "settings": preset.settings.as_dict(),
            }
            for preset in map(presets.load, presets.names())
        ]

    # not async: FastAPI then runs them on threads of their own, beside the page's
    app.add_api_route(f"{PREFIX}/drawing", drawing, methods=["POST"])
    app.add_api_route(f"{PREFIX}/presets", preset_list, methods=["GET"])


def answer(body: dict[str, Any], model: Any) -> dict[str, Any]:
    """The drawing of `body["values"]`, the values of `controls.CONTROLS` in their order, and
    `body["fields"]`, the page's own fields by name; or {"error": what is wrong with them}.
    """
    values, fields = body.get("values"), body.get("fields")
    if not isinstance(values, Sequence) or not isinstance(fields, dict):
        return {"error": "values must be a list and fields a mapping"}
    try:
        settings = Settings.from_mapping(named(values))
        return describe(settings, Fields.from_mapping(fields), model)
    except (SettingsError, FieldError) as error:
        # not an error status: a field in which somebody still types is no fault of the page
        return {"error": str(error)}

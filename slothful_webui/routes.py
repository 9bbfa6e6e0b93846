"""What the page's script asks the server for, besides what gradio does.

The drawings follow a slider while it is dragged. Gradio renders its page anew for every answer of
its own, which takes the webui's large page too long for that, hence these two routes. Who may not
see the page may not use them, and nobody can keep the server busy with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from slothful import Settings, SettingsError
from slothful_webui.controls import named
from slothful_webui.costs import CostsFile
from slothful_webui.drawing import describe
from slothful_webui.measuring import NO_MODEL, Measurement
from slothful_webui.passes import FieldError, Fields, Limits, limits_of
from slothful_webui.presets import PresetFolders
from slothful_webui.turns import TurnError, Turns

PREFIX = "/slothful-attention"

MOST_BYTES = 64 * 1024
"""The longest request of a drawing; the page's own have about 2 kB."""


def add_routes(
    app: Any,
    demo: Any,
    loaded_model: Callable[[], Any],
    presets: PresetFolders,
    measurement: Measurement | None = None,
) -> None:
    """Add the routes to the webui's FastAPI application.

    `demo` is the webui's page, None where it has none. `loaded_model` gives its model without
    loading one, None if there is none. `measurement` measures it.
    """
    from fastapi import Request  # here, so that reading an answer's parts needs no server
    from fastapi.responses import JSONResponse

    turns = Turns()
    limits = limits_of(demo)
    costs_file = CostsFile(presets.folders[-1])

    async def drawing(request, page: str = ""):
        content = await _read(request)
        if content is None:
            error = f"the request must have at most {MOST_BYTES} bytes"
            return JSONResponse({"error": error}, 413)
        body = _parse(content)
        if body is None:
            return JSONResponse({"error": "the request must be a JSON object"}, 400)
        # a page that has no name of its own is known by its computer
        name = page[:64] or getattr(request.client, "host", "")

        def ask(go_on):
            return answer(body, loaded_model(), limits, go_on, costs_file)

        try:
            told = await turns.take(name, ask)
        except TurnError as error:
            return JSONResponse({"error": str(error)}, 429)
        return JSONResponse(told)

    drawing.__annotations__["request"] = Request  # which the module does not have
    login = _login(app)
    app.add_api_route(f"{PREFIX}/drawing", drawing, methods=["POST"], dependencies=login)
    # not async: FastAPI then runs it on a thread of its own, beside the page's
    app.add_api_route(f"{PREFIX}/presets", presets.for_page, methods=["GET"], dependencies=login)
    if measurement is None:
        return

    def measure() -> dict[str, Any]:
        if loaded_model() is None:
            return {**measurement.state(), "error": NO_MODEL}
        return measurement.start()

    path = f"{PREFIX}/measure"
    app.add_api_route(path, measure, methods=["POST"], dependencies=login)
    app.add_api_route(path, measurement.state, methods=["GET"], dependencies=login)


def _login(app: Any) -> list[Any]:
    """What the host asks of a request for its page, or for its API where it has no page."""
    for path in ("/config", "/sdapi/v1/options"):
        for route in app.routes:
            if getattr(route, "path", "") == path:
                return list(route.dependencies)
    return []


async def _read(request: Any) -> bytes | None:
    """The body of a request, None if it is too long: then it is let pass, and not kept."""
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length <= MOST_BYTES:
            parts.append(part)
        else:
            parts.clear()
    return b"".join(parts) if length <= MOST_BYTES else None


def _parse(content: bytes) -> Mapping[str, Any] | None:
    """The JSON object that a body is, None if it is none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def answer(
    body: Mapping[str, Any],
    model: Any,
    limits: Limits | None = None,
    go_on: Callable[[], None] = lambda: None,
    costs_file: CostsFile | None = None,
) -> dict[str, Any]:
    """The drawing of `body["values"]`, the values of `controls.CONTROLS` in their order, and
    `body["fields"]`, the page's own fields by name; or {"error": what is wrong with them}.

    `limits` are those of the page's fields. `go_on` is called now and then, and may raise.
    """
    values, fields = body.get("values"), body.get("fields")
    if not isinstance(values, list) or not isinstance(fields, dict):
        return {"error": "values must be a list and fields a mapping"}
    try:
        settings = Settings.from_mapping(named(values))
        asked = Fields.from_mapping(fields, limits)
        return describe(settings, asked, model, go_on, costs_file)
    except (SettingsError, FieldError) as error:
        # not an error status: a field in which somebody still types is no fault of the page
        return {"error": str(error)}

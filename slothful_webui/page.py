"""The components of the page, made from the declarations of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slothful import Parameter, Settings

GROUPS = {
    "main": None,
    "schedule": "Schedule",
    "in": "Input blocks",
    "out": "Output blocks",
    "tiling": "Tiles",
    "blocks": "Single blocks",
}
"""The groups in the order of the page, with their headings."""


def build_controls(elem_id: Callable[[str], str]) -> list[Any]:
    """One component for each parameter, in the order of `Settings.parameters()`.

    `elem_id` is the script's; call inside the accordion.
    """
    import gradio as gr  # here, so that generating without a page needs no gradio

    components: dict[str, Any] = {}
    for group, heading in GROUPS.items():
        parameters = [p for p in Settings.parameters() if p.group == group]
        with gr.Group() if heading is None else gr.Accordion(heading, open=False):
            for parameter in parameters:
                components[parameter.name] = _component(gr, parameter, elem_id(parameter.name))
    return [components[parameter.name] for parameter in Settings.parameters()]


def _component(gr: Any, parameter: Parameter, elem_id: str) -> Any:
    common = dict(label=parameter.label, elem_id=elem_id, info=parameter.help)
    if parameter.kind == "bool":
        return gr.Checkbox(value=parameter.default, **common)
    if parameter.kind == "choice":
        return gr.Dropdown(choices=list(parameter.choices), value=parameter.default, **common)
    if parameter.kind == "weights":
        placeholder = "IN01=0.5 OUT03=0"
        return gr.Textbox(
            value=parameter.format(parameter.default), placeholder=placeholder, **common
        )
    return gr.Slider(
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        step=parameter.step,
        # a float, because the webui casts pasted text to the type of the default
        value=float(parameter.default),
        **common,
    )

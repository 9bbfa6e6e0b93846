"""The components of the page, made from the declarations of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slothful import Parameter, Settings, SettingsError
from slothful_webui.presets import Preset, PresetError, PresetFolders

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


def add_presets(
    controls: Sequence[Any], presets: PresetFolders, elem_id: Callable[[str], str]
) -> None:
    """A list of presets and the buttons that load, save and reset all controls.

    None of these components is an argument of the script; errors are shown as a notice.
    """
    import gradio as gr

    parameters = Settings.parameters()

    def values_of(settings: Settings) -> list[Any]:
        values = settings.as_dict()
        return [
            gr.update(value=p.format(values[p.name]) if p.kind == "weights" else values[p.name])
            for p in parameters
        ]

    def load(name: str) -> list[Any]:
        try:
            return values_of(presets.load(name or "").settings)
        except PresetError as error:
            raise gr.Error(str(error)) from error

    def save(name: str, *values: Any) -> Any:
        try:
            named = dict(zip((p.name for p in parameters), values))
            presets.save(Preset((name or "").strip(), Settings.from_mapping(named)))
        except (PresetError, SettingsError, OSError) as error:
            raise gr.Error(str(error)) from error
        return gr.update(choices=presets.names(), value=name.strip())

    with gr.Row(elem_id=elem_id("presets")):
        name = gr.Dropdown(
            choices=presets.names(),
            value=None,
            label="Preset",
            allow_custom_value=True,
            elem_id=elem_id("preset"),
        )
        name.do_not_save_to_config = True
        buttons = [
            gr.Button(text, elem_id=elem_id(f"preset_{text.lower()}"), size="sm")
            for text in ("Load", "Save", "Reset")
        ]
    buttons[0].click(load, inputs=[name], outputs=list(controls), show_progress=False)
    buttons[1].click(save, inputs=[name, *controls], outputs=[name], show_progress=False)
    buttons[2].click(
        lambda: values_of(Settings()), inputs=[], outputs=list(controls), show_progress=False
    )


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

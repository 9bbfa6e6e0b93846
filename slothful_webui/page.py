"""The components of the page, made from the declarations of the parameters."""

from __future__ import annotations

from collections.abc import Callable
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


def build_controls(elem_id: Callable[[str], str], presets: PresetFolders) -> list[Any]:
    """The row of presets and one component for each parameter; the latter are returned, in the
    order of `Settings.parameters()`.

    `elem_id` is the script's; call inside the accordion.
    """
    import gradio as gr  # here, so that generating without a page needs no gradio

    name = gr.Dropdown(
        choices=presets.names(),
        value=None,
        label="Preset",
        allow_custom_value=True,
        elem_id=elem_id("preset"),
        info="Choose one and load it, or type a name and save the values below under it.",
    )
    name.do_not_save_to_config = True
    with gr.Row(elem_id=elem_id("presets")):
        buttons = [
            gr.Button(text, elem_id=elem_id(f"preset_{text.lower()}"), size="sm", min_width=60)
            for text in ("Load", "Save", "Reset")
        ]
    components: dict[str, Any] = {}
    for group, heading in GROUPS.items():
        parameters = [p for p in Settings.parameters() if p.group == group]
        with gr.Group() if heading is None else gr.Accordion(heading, open=False):
            for parameter in parameters:
                components[parameter.name] = _component(gr, parameter, elem_id(parameter.name))
    controls = [components[parameter.name] for parameter in Settings.parameters()]
    load, save, reset = _preset_actions(gr, presets)
    for button, action, inputs, outputs in (
        (buttons[0], load, [name], controls),
        (buttons[1], save, [name, *controls], [name]),
        (buttons[2], reset, [], controls),
    ):
        button.click(action, inputs=inputs, outputs=outputs, show_progress=False)
    return controls


def _preset_actions(gr: Any, presets: PresetFolders) -> tuple[Callable, Callable, Callable]:
    """What the buttons do: load(name) and reset() give all controls' values, save(name, *values)
    the list of presets. What goes wrong is shown as a notice.
    """
    parameters = Settings.parameters()

    def values_of(settings: Settings) -> list[Any]:
        values = settings.as_dict()
        return [p.format(values[p.name]) if p.kind == "weights" else values[p.name]
                for p in parameters]  # fmt: skip

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

    return load, save, lambda: values_of(Settings())


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

"""The components of the page, made from the declarations of the parameters."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slothful import FAMILY_SITES, Settings
from slothful_webui.controls import CONTROLS, Control
from slothful_webui.infotext import paste_note
from slothful_webui.lazy_box import build_lazy, connect_lazy
from slothful_webui.preset_box import build_presets, connect_presets
from slothful_webui.presets import PresetFolders

GROUPS = {
    "main": None,
    "schedule": "Schedule",
    "in": "Input blocks",
    "out": "Output blocks",
    "kept": "Kept tokens",
    "tiling": "Tiles",
    "merging": "Token merging",
    "downsampling": "Token downsampling",
    "agents": "Agents",
    "sleep": "Sleep",
    "negative": "Negative prompt",
    "channels": "Fewer channels",
    "limits": "Where it applies",
    "sizes": "Width and height apart",
    "blocks": "Individual blocks",
    "vae": "VAE",
}
"""The groups in the order of the page, with their headings."""

SITE_ROWS = {"IN": "Input blocks", "M": "Middle block", "OUT": "Output blocks"}
"""The rows of the single blocks by the first letters of their names."""


def build_controls(
    elem_id: Callable[[str], str],
    presets: PresetFolders,
    site_names: Callable[[], Sequence[str] | None],
    has_queue: bool = True,
    choose: Callable[[Mapping[str, Any]], Settings] = lambda asked: Settings(),
) -> tuple[list[Any], Any]:
    """All components of the page; returned are those of `CONTROLS`, in that order, and the hidden
    box that makes a request a comparison.

    `elem_id` is the script's. `site_names` gives the sites of the loaded model, None where that is
    not known. `has_queue`: whether the page has gradio's queue. `choose` gives the
    settings of a wish, see `lazy.choose_for_page`. Call inside the accordion.
    """
    import gradio as gr  # here, so that generating without a page needs no gradio

    gr.HTML(_panel(elem_id("drawings")))
    lazy_box = build_lazy(gr, elem_id)
    preset_box = build_presets(gr, elem_id)
    components: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    with gr.Accordion("Advanced", open=False, elem_id=elem_id("advanced")):
        gr.HTML(f'<div id="{elem_id("details")}" class="slothful"></div>')
        for group, heading in GROUPS.items():
            with gr.Group() if heading is None else gr.Accordion(heading, open=False) as block:
                groups[group] = block
                _fill_group(gr, group, elem_id, components)
    compare = gr.Checkbox(False, label="Compare", elem_id=elem_id("compare"), visible=False)
    compare.do_not_save_to_config = True
    controls = [components[control.name] for control in CONTROLS]
    connect_presets(gr, preset_box, presets, controls, has_queue)
    connect_lazy(gr, lazy_box, choose, controls)
    _show_what_applies(gr, elem_id, components, groups, site_names)
    return controls, compare


def build_paste_note(elem_id: Callable[[str], str]) -> tuple[Any, Callable[[Any], Any]]:
    """The line that says what was left out of a paste, and its target for the webui's paste fields.

    Call behind the accordion, which is closed where nothing of a paste was ours.
    """
    import gradio as gr

    def show(parameters: Any) -> Any:
        text = paste_note(parameters)
        # the id is not gradio's, which would give it to two elements
        return gr.update(value=f'<div id="{elem_id("left_out")}">{text}</div>', visible=bool(text))

    note = gr.HTML(visible=False)
    return note, show


def _panel(elem_id: str) -> str:
    """Where the page's script draws, with the declarations that it needs."""
    declarations = [
        {
            "name": control.name,
            "kind": control.parameter.kind,
            "group": control.parameter.group,
            "site": control.is_site,
            "label": control.label,
            "brief": control.parameter.brief,
            "help": control.parameter.help if control.parameter.brief else "",
            "strength": control.parameter.is_strength,
            "methods": control.parameter.methods,
            "idle": control.parameter.idle,
            "choices": control.parameter.choices,
            "minimum": control.parameter.minimum,
            "maximum": control.parameter.maximum,
            "step": control.parameter.step,
        }
        for control in CONTROLS
    ]
    text = html.escape(json.dumps(declarations))
    # the id is not gradio's, which would give it to two elements
    return f'<div id="{elem_id}" class="slothful slothful-panel" data-controls="{text}"></div>'


def _fill_group(
    gr: Any, group: str, elem_id: Callable[[str], str], components: dict[str, Any]
) -> None:
    members = [control for control in CONTROLS if control.parameter.group == group]
    for control in (c for c in members if not c.is_site):
        components[control.name] = _component(gr, control, elem_id(control.name))
    sites = [control for control in members if control.is_site]
    if not sites:
        return
    gr.Markdown(sites[0].parameter.help)
    for start, heading in SITE_ROWS.items():
        gr.Markdown(f"**{heading}**")
        with gr.Row():
            for control in (c for c in sites if c.name.rstrip("0123456789") == start):
                components[control.name] = _component(gr, control, elem_id(control.name))


def _show_what_applies(
    gr: Any,
    elem_id: Callable[[str], str],
    components: dict[str, Any],
    groups: dict[str, Any],
    site_names: Callable[[], Sequence[str] | None],
) -> None:
    """Hide what the method does not use and the blocks that the loaded model does not have.

    The page's script clicks the hidden button whenever another model may have been loaded.
    """
    dependent = [c for c in CONTROLS if c.is_site or c.parameter.methods]
    dependent_groups = [g for g in groups if GROUPS[g] and _methods_of(g)]

    def update(method: str) -> list[Any]:
        sites = site_names()
        sites = FAMILY_SITES["SD1, SD2"] if sites is None else sites
        shown = [
            control.name in sites if control.is_site else method in control.parameter.methods
            for control in dependent
        ]
        shown += [method in _methods_of(group) for group in dependent_groups]
        return [gr.update(visible=visible) for visible in shown]

    refresh = gr.Button("Refresh", elem_id=elem_id("refresh"), visible=False)
    outputs = [components[c.name] for c in dependent] + [groups[g] for g in dependent_groups]
    for event in (components["method"].change, refresh.click):
        event(update, inputs=[components["method"]], outputs=outputs, show_progress=False)


def _methods_of(group: str) -> set[str]:
    """The methods that use a group; empty if all do."""
    used = [c.parameter.methods for c in CONTROLS if c.parameter.group == group]
    return set().union(*used) if all(used) else set()


def _component(gr: Any, control: Control, elem_id: str) -> Any:
    parameter = control.parameter
    common = dict(label=control.label, elem_id=elem_id)
    if not control.is_site:
        common["info"] = parameter.short_help
    if parameter.kind == "bool":
        return gr.Checkbox(value=control.default, **common)
    if parameter.kind == "choice":
        return gr.Dropdown(choices=list(parameter.choices), value=control.default, **common)
    return gr.Slider(
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        step=parameter.step,
        # a float, because the webui casts pasted text to the type of the default
        value=float(control.default),
        **common,
    )

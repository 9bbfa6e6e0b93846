"""The script that the webui loads: glue between its callbacks and the extension."""

from __future__ import annotations

from pathlib import Path

from modules import paths, script_callbacks, scripts, shared
from modules.ui_components import InputAccordion

from slothful import UnsupportedModelError, find_sites
from slothful_webui import (
    axes,
    comparison,
    engine,
    infotext,
    lazy,
    measuring,
    options,
    page,
    routes,
    sampling,
    vae_scope,
)
from slothful_webui.arguments import read_arguments, wants_comparison
from slothful_webui.copies import is_second_copy
from slothful_webui.costs import CostsFile
from slothful_webui.presets import SHIPPED, PresetFolders
from slothful_webui.sampling import TITLE, refusing
from slothful_webui.scope import SamplingScope


class SlothfulAttentionScript(scripts.Script):
    """One instance for each tab. It keeps no state: everything lives in `p` and in `p.sample`."""

    def title(self):
        return TITLE

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        with InputAccordion(False, label=TITLE, elem_id=self.elem_id("enable")) as enabled:
            controls, compare = page.build_controls(
                self.elem_id,
                _presets(),
                _site_names,
                has_queue=not getattr(shared.cmd_opts, "no_gradio_queue", False),
                choose=_choose,
            )
        targets = infotext.paste_targets(_disregarded_keys)
        self.infotext_fields = list(zip([enabled, *controls], targets))
        self.infotext_fields.append(page.build_paste_note(self.elem_id))
        self.paste_field_names = [infotext.KEY]
        return [enabled, *controls, compare]

    def before_process(self, p, *args):
        for part in (sampling, comparison, vae_scope):
            part.begin_request(p)

    @refusing
    def process(self, p, *args):
        options.follow_console_setting(shared.opts)
        compares = wants_comparison(args) and comparison.begin(p, shared.opts)
        # before p.init, which encodes the image of img2img, in a comparison for both
        settings = None if compares else _settings(p, args)
        vae_scope.open_vae(p, settings, engine.running_vae)

    @refusing
    def before_process_batch(self, p, *args, batch_number=0, **kwargs):
        if batch_number == 0:
            comparison.begin_batches(p)

    @refusing
    def process_batch(self, p, *args, batch_number=0, **kwargs):
        # the cells of a plot share this dict, so what another cell wrote is taken out
        p.extra_generation_params.pop(infotext.KEY, None)
        comparison.begin_batch(p, batch_number)
        settings = _settings(p, args)
        if settings is None:
            SamplingScope.begin_without_effect(p)
        else:
            running = engine.running_unet, engine.running_vae
            SamplingScope(p, settings, *running, _known_costs).begin()

    @refusing
    def before_hr(self, p, *args):
        SamplingScope.before_sampling()

    @refusing
    def process_before_every_sampling(self, p, *args, **kwargs):
        SamplingScope.before_sampling()

    @refusing
    def postprocess_batch(self, p, *args, **kwargs):
        SamplingScope.end(p)

    def postprocess(self, p, *args):
        comparison.end_request(p)


def _settings(p, args):
    """The settings for the present batch, None where it is made without the effect."""
    with_effect = comparison.with_effect(p)
    if with_effect is False:
        return None
    overrides = axes.overrides_of(p)
    if with_effect and wants_comparison(args):
        overrides = {**overrides, "enabled": True}
    return read_arguments(args, overrides, lambda level: _choose_for(level, p))


def _choose_for(level, p):
    """The settings of a wish for a request."""
    return lazy.choose_for_request(level, p, engine.loaded_model(), _costs_file())


def _choose(asked):
    """The settings of a wish for what the page's fields ask for."""
    return lazy.choose_for_page(asked, engine.loaded_model(), _costs_file())


def _costs_file():
    return CostsFile(_presets().folders[-1])


def _site_names():
    """The sites of the loaded model; None before one is loaded."""
    model = engine.loaded_model()
    if model is None:
        return None
    try:
        return [found.site.name for found in find_sites(engine.unet_of(model))]
    except UnsupportedModelError:
        return []


def _disregarded_keys():
    """The keys that the user's settings keep out of a paste (webui 1.7 and later)."""
    return getattr(shared.opts, "infotext_skip_pasting", [])


def _presets():
    """The shipped presets and the user's, whose folder preload.py's argument can move."""
    own = getattr(shared.cmd_opts, "slothful_presets", None)
    return PresetFolders([SHIPPED, Path(own or Path(paths.data_path) / "slothful-presets")])


def _known_costs(unet, shape):
    """The costs of a U-Net on this machine, None where they were not measured."""
    return _costs_file().load(engine.machine_of(unet), shape)


def _measure(progress):
    measuring.measure_machine(engine.within_a_call, engine.machine_of, _costs_file(), progress)


def _add_axes():
    axes.add_axes(scripts.scripts_data, _presets())


if is_second_copy(__file__, scripts.scripts_data):
    del SlothfulAttentionScript  # the webui takes up every script that it finds in here
else:
    script_callbacks.on_cfg_denoiser(SamplingScope.before_denoiser)
    script_callbacks.on_ui_settings(lambda: options.add_options(shared))
    script_callbacks.on_app_started(
        lambda demo, app: routes.add_routes(
            app, demo, engine.loaded_model, _presets(), measuring.Measurement(_measure)
        )
    )
    # The plot copies its axes when its page is built: without a page that is before
    # `on_before_ui`, and where extensions load first, its script is not there yet when this one is
    # imported.
    _add_axes()
    script_callbacks.on_before_ui(_add_axes)

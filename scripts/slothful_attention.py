"""The script that the webui loads: glue between its callbacks and the extension."""

from __future__ import annotations

import contextlib
from pathlib import Path

from modules import paths, script_callbacks, scripts, shared
from modules.ui_components import InputAccordion

from slothful import SettingsError, UnsupportedModelError, find_sites
from slothful_webui import axes, comparison, engine, infotext, options, page, routes, vae_scope
from slothful_webui.arguments import read_arguments, wants_comparison
from slothful_webui.presets import SHIPPED, PresetFolders
from slothful_webui.scope import TITLE, SamplingScope, wrap_sample


class SlothfulAttentionScript(scripts.Script):
    """One instance for each tab. It keeps no state: everything lives in `p` and in `p.sample`."""

    def title(self):
        return TITLE

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        with InputAccordion(False, label=TITLE, elem_id=self.elem_id("enable")) as enabled:
            controls, compare = page.build_controls(self.elem_id, _presets(), _site_names)
        targets = infotext.paste_targets(_disregarded_keys)
        self.infotext_fields = list(zip([enabled, *controls], targets))
        self.paste_field_names = [infotext.KEY]
        return [enabled, *controls, compare]

    def before_process(self, p, *args):
        if _compares(args):
            comparison.double_batches(p)

    def process(self, p, *args):
        settings = None
        if _compares(args):
            comparison.pair_batches(p)
        else:
            with contextlib.suppress(SettingsError):  # told in process_batch
                settings = read_arguments(args, axes.overrides_of(p))
        # before p.init, which encodes the picture of img2img, in a comparison for both
        vae_scope.open_vae(p, settings, engine.running_vae)

    def process_batch(self, p, *args, batch_number=0, **kwargs):
        options.follow_console_setting(shared.opts)
        # the cells of a plot share this dict, so what another cell wrote is taken out
        p.extra_generation_params.pop(infotext.KEY, None)
        overrides = axes.overrides_of(p)
        try:
            if wants_comparison(args):
                overrides = {**overrides, "enabled": comparison.has_effect(batch_number)}
            settings = read_arguments(args, overrides)
        except SettingsError as error:
            wrap_sample(p, lambda error=error: _refusal(error))
            return
        if settings is None:
            return
        p.extra_generation_params[infotext.KEY] = infotext.write_infotext(settings)
        # again: another request may have run inside this one and closed it
        vae_scope.open_vae(p, settings, engine.running_vae)
        wrap_sample(p, SamplingScope(p, settings, engine.running_unet, engine.running_vae).opened)

    def before_hr(self, p, *args):
        SamplingScope.before_hires()

    def postprocess_batch(self, p, *args, **kwargs):
        vae_scope.close_vae()


def _compares(args):
    """Whether the request is a comparison; what is wrong with it `process_batch` will say."""
    try:
        return wants_comparison(args)
    except SettingsError:
        return False


@contextlib.contextmanager
def _refusal(error):
    """Fail from inside `p.sample`, where the page and the API's caller get to see it; an exception
    from a callback is swallowed by the webui, and the picture would silently lack the effect.
    """
    raise RuntimeError(f"{TITLE}: {error}") from error
    yield


def _site_names():
    """The sites of the loaded model; None before one is loaded."""
    model = engine.loaded_model()
    if model is None:
        return None
    try:
        return [site.name for site in find_sites(engine.unet_of(model))]
    except UnsupportedModelError:
        return []


def _disregarded_keys():
    """The keys that the user's settings keep out of a paste (webui 1.7 and later)."""
    return getattr(shared.opts, "infotext_skip_pasting", [])


def _presets():
    """The shipped presets and the user's, whose folder preload.py's argument can move."""
    own = getattr(shared.cmd_opts, "slothful_presets", None)
    return PresetFolders([SHIPPED, Path(own or Path(paths.data_path) / "slothful-presets")])


def _add_axes():
    axes.add_axes(scripts.scripts_data, _presets())


script_callbacks.on_cfg_denoiser(SamplingScope.before_denoiser)
script_callbacks.on_ui_settings(lambda: options.add_options(shared))
script_callbacks.on_app_started(
    lambda demo, app: routes.add_routes(app, engine.loaded_model, _presets())
)
# The plot copies its axes when its page is built: without a page that is before `on_before_ui`,
# and where extensions load first, its script is not there yet when this one is imported.
_add_axes()
script_callbacks.on_before_ui(_add_axes)

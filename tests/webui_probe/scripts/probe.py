"""An extension for the tests: reports what hangs on the models, and fails where it is told to."""

import inspect
import itertools

import torch
from modules import script_callbacks, scripts, sd_models, shared
from probe_faults import CALLBACKS, DENOISER_CALLBACKS

PLANNED = "planned fault"


class Probe(scripts.Script):
    """Its one argument names a fault: a callback that raises, or what happens inside which call of
    the U-Net, as in "unet 2": "unet" (an exception), "memory" (out of memory), "interrupt", "skip".
    "encode" and "decode" are exceptions in the next call of that part of the VAE. "residuals" adds
    to what the blocks of the U-Net give, as ControlNet does. "attention" wraps the attentions'
    `forward`, as an extension does, and counts its calls.
    """

    fault, asked = "", 0

    def title(self):
        return "Probe"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        import gradio

        return [gradio.Textbox("", label="Fault", elem_id=self.elem_id("fault"))]

    def setup(self, p, fault="", *args):
        Probe.fault = fault

    def arm(self):
        """Let the planned thing happen in the planned call of the U-Net."""
        event, _, number = Probe.fault.partition(" ")
        if event in ("encode", "decode"):
            vae_part = getattr(_parts(shared.sd_model)[1], f"{event}r")

            def fail(*_):
                hook.remove()
                _fail()

            hook = vae_part.register_forward_pre_hook(fail)
        unet = _parts(shared.sd_model)[0]
        if event == "residuals":
            takes_them = "control" in inspect.signature(unet.forward).parameters
            make = _given_residuals if takes_them else _with_residuals
            unet.forward = make(unet, int(number))
        if event == "attention":
            _wrap_attention(unet)
        if event not in _EVENTS:
            return
        calls = []

        def act(*_):
            calls.append(1)
            if len(calls) == int(number):
                handle.remove()
                _EVENTS[event]()

        # reForge calls the layers of a block, and never the block itself
        handle = unet.output_blocks[5][0].register_forward_hook(act)


_wrapped = {}


def _wrap_attention(unet):
    attention = type(next(m.attn1 for m in unet.modules() if hasattr(m, "attn1")))
    own = _wrapped.setdefault(attention, attention.forward)

    def forward(*args, **kwargs):
        Probe.asked += 1
        return own(*args, **kwargs)

    Probe.asked, attention.forward = 0, forward


def _unwrap_attentions():
    for attention, own in _wrapped.items():
        attention.forward = own
    _wrapped.clear()


def _with_residuals(unet, planned):
    """The forward of one of ldm's U-Nets that adds something in its planned call."""
    from ldm.modules.diffusionmodules.util import timestep_embedding

    calls = itertools.count(1)

    def forward(x, timesteps=None, context=None, **kwargs):
        amount = 0.1 if next(calls) == planned else 0.0
        embedding = unet.time_embed(timestep_embedding(timesteps, unet.model_channels))
        skips, h = [], x
        for block in unet.input_blocks:
            h = block(h, embedding, context)
            skips.append(h)
        h = unet.middle_block(h, embedding, context) + amount
        for block in unet.output_blocks:
            h = block(torch.cat([h, skips.pop() + amount], dim=1), embedding, context)
        return unet.out(h)

    return forward


def _given_residuals(unet, planned):
    """The same in Forge and reForge, whose U-Nets are called with what to add."""
    calls, own = itertools.count(1), unet.forward

    def forward(*args, **kwargs):
        amount = torch.full((1, 1, 1, 1), 0.1 if next(calls) == planned else 0.0)
        kwargs["control"] = {"middle": [amount], "output": [amount] * len(unet.output_blocks)}
        return own(*args, **kwargs)

    return forward


def _callback(name):
    def callback(self, p, *args, **kwargs):
        # the picture of img2img is encoded between the two
        if name == ("process" if Probe.fault == "encode" else "process_batch"):
            self.arm()
        if name == "postprocess" and Probe.fault.startswith("residuals"):
            del _parts(shared.sd_model)[0].forward
        if name == "postprocess":
            _unwrap_attentions()
        if Probe.fault == name:
            raise RuntimeError(PLANNED)

    return callback


for _name in CALLBACKS:
    setattr(Probe, _name, _callback(_name))


def _fail():
    raise RuntimeError(PLANNED)


def _run_out_of_memory():
    raise torch.cuda.OutOfMemoryError(PLANNED)


_EVENTS = {
    "unet": _fail,
    "memory": _run_out_of_memory,
    "interrupt": lambda: shared.state.interrupt(),
    "skip": lambda: shared.state.skip(),
}


def _fail_on(name):
    def callback(params):
        if Probe.fault == name:
            raise RuntimeError(PLANNED)

    return callback


def _parts(model):
    """U-Net and VAE of a model, in the webui or in Forge."""
    objects = getattr(model, "forge_objects", None)
    if objects is None:
        return model.model.diffusion_model, model.first_stage_model
    return objects.unet.model.diffusion_model, objects.vae.first_stage_model


_KINDS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def _hooks():
    """Where hooks and replaced `forward`s are on the U-Nets and VAEs that are loaded.

    HyperTile's own wrappers, which stay for good, are not counted.
    """
    loaded = getattr(sd_models.model_data, "loaded_sd_models", [])  # Forge holds one only
    models = {id(model): model for model in loaded}
    models[id(shared.sd_model)] = shared.sd_model
    found = []
    for model in models.values():
        for name, module in (named for part in _parts(model) for named in part.named_modules()):
            hooks = vars(module)
            found += [name for kind in _KINDS for _ in hooks[kind]]
            if "forward" in hooks and "__webui_hypertile_params" not in hooks:
                found.append(f"{name}.forward")
    return found


def _add_routes(_, app):
    @app.get("/probe/hooks")
    def hooks():
        return {"hooks": _hooks(), "asked": Probe.asked}


script_callbacks.on_app_started(_add_routes)
for _name in DENOISER_CALLBACKS:
    getattr(script_callbacks, f"on_{_name}")(_fail_on(_name))

"""Nodes for the tests: load models that ComfyUI has no sizes for, fail where they are told to, and
tell what was left on a model.
"""

import weakref

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import comfy.supported_models_base
import comfy.utils
import folder_paths
import nodes
import torch
from aiohttp import web
from comfy import sd1_clip
from server import PromptServer

PLANNED = "planned fault"
TEXT_SIZES = dict(
    hidden_size=96, intermediate_size=384, num_attention_heads=4, num_hidden_layers=3,
    projection_dim=96,
)  # fmt: skip
UNET_SIZES = dict(context_dim=96, model_channels=96)
XL_SIZES = dict(
    context_dim=96, model_channels=32, transformer_depth=[0, 0, 3, 3, 3, 3],
    adm_in_channels=96 + 6 * 256,
)  # fmt: skip
VAE_SIZES = dict(
    double_z=True, z_channels=4, resolution=256, in_channels=3, out_ch=3, ch=96,
    ch_mult=[1, 1, 1, 1], num_res_blocks=1, attn_resolutions=[], dropout=0.0,
)  # fmt: skip

_models = weakref.WeakSet()
"""All that are loaded, as they were first given out."""
_seen = []
"""Of each call of the U-Net behind `ProbeTimes`: the timestep, and the time in the pass."""


class _SmallText(sd1_clip.SD1ClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None, **kwargs):
        options = {**(model_options or {}), "clip_l_model_config": TEXT_SIZES}
        super().__init__(device, dtype, options, **kwargs)


class _Small(comfy.supported_models.SD15):
    unet_config = comfy.supported_models.SD15.unet_config | UNET_SIZES

    def clip_target(self, state_dict=None):
        return comfy.supported_models_base.ClipTarget(sd1_clip.SD1Tokenizer, _SmallText)


class _SmallXL(comfy.supported_models.SDXL):
    unet_config = comfy.supported_models.SDXL.unet_config | XL_SIZES
    process_clip_state_dict = comfy.supported_models.SD15.process_clip_state_dict
    clip_target = _Small.clip_target


comfy.supported_models.models += [_Small, _SmallXL]


class _Node:
    FUNCTION = "run"
    CATEGORY = "probe"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}


class _FreshNode(_Node):
    """What comes behind it is computed, and never from ComfyUI's cache."""

    @classmethod
    def IS_CHANGED(cls, **_):
        return float("nan")


class ProbeLoader(_Node):
    """The small model, or one with its text model and VAE. ComfyUI's own VAE has 128 channels."""

    RETURN_TYPES = ("MODEL", "CLIP", "VAE")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"ckpt_name": (folder_paths.get_filename_list("checkpoints"),)}}

    def run(self, ckpt_name):
        path = folder_paths.get_full_path_or_raise("checkpoints", ckpt_name)
        weights = comfy.utils.load_torch_file(path)
        start = "first_stage_model."
        of_vae = {k[len(start) :]: v for k, v in weights.items() if k.startswith(start)}
        model, text, *_ = comfy.sd.load_state_dict_guess_config(dict(weights), output_vae=False)
        vae = comfy.sd.VAE(sd=of_vae, config={"params": {"ddconfig": VAE_SIZES, "embed_dim": 4}})
        _models.add(model)
        return model, text, vae


class ProbeFresh(_FreshNode):
    """The same model."""

    def run(self, model):
        return (model,)


class ProbeNoUnet(_Node):
    """A model whose network is no U-Net, as those of Flux and SD3."""

    def run(self, model):
        other = comfy.model_patcher.ModelPatcher(
            _Transformer.inside(model.model), model.load_device, model.offload_device
        )
        return (other,)


class _Transformer(torch.nn.Module):
    """Shaped like one: blocks in a row, called as ComfyUI calls its networks."""

    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(2))
        for number, block in enumerate(self.blocks):
            torch.nn.init.constant_(block.weight, 0.1 * number)
            torch.nn.init.zeros_(block.bias)
        self.dtype = torch.float32

    @classmethod
    def inside(cls, model):
        """A model like another one, with this network."""
        copy = type(model).__new__(type(model))
        copy.__dict__.update(model.__dict__)
        copy._modules = dict(model._modules)
        copy.diffusion_model = cls()
        return copy

    def forward(self, x, timesteps=None, context=None, **kwargs):
        moved = x.movedim(1, -1)
        for block in self.blocks:
            moved = moved + block(moved)
        return moved.movedim(-1, 1)


class ProbeFault(_FreshNode):
    """Something happens inside the U-Net, in the given attention to the prompt (1, 2, ...)."""

    @classmethod
    def INPUT_TYPES(cls):
        events = (["error", "interrupt", "memory"],)
        return {"required": {"model": ("MODEL",), "event": events, "at": ("INT", {"default": 20})}}

    def run(self, model, event, at):
        calls = []

        def act(n, context, value, options):
            calls.append(1)
            if len(calls) == at:
                if event == "error":
                    raise RuntimeError(PLANNED)
                if event == "memory":
                    raise comfy.model_management.OOM_EXCEPTION(PLANNED)
                nodes.interrupt_processing()
                comfy.model_management.throw_exception_if_processing_interrupted()
            return n, context, value

        clone = model.clone()
        clone.set_model_attn2_patch(act)
        return (clone,)


class ProbePicturePrompt(_Node):
    """More tokens for the attention to the prompt, as IP-Adapter adds them."""

    def run(self, model):
        def add(n, context, value, options):
            more = context.flip(1)[:, :4] * 0.5
            return n, torch.cat([context, more], 1), torch.cat([value, more], 1)

        clone = model.clone()
        clone.set_model_attn2_patch(add)
        return (clone,)


class ProbeControl(_Node):
    """A ControlNet with random weights."""

    RETURN_TYPES = ("CONTROL_NET",)

    def run(self, model):
        sizes = {**model.model.model_config.unet_config, "hint_channels": 3}
        sizes |= dict(dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init)
        sizes.pop("out_channels", None)
        state = torch.random.get_rng_state()
        torch.manual_seed(5)
        network = comfy.cldm.cldm.ControlNet(**sizes)
        for weights in network.parameters():
            torch.nn.init.normal_(weights, std=0.02)
        torch.random.set_rng_state(state)
        return (comfy.controlnet.ControlNet(network, global_average_pooling=False),)


class ProbeTimes(_FreshNode):
    """Notes what time it is for the settings that are at work, at each call of the U-Net."""

    def run(self, model):
        _seen.clear()

        def note(executor, x, timesteps, *args, **kwargs):
            result = executor(x, timesteps, *args, **kwargs)
            hooks = executor.class_obj._forward_pre_hooks.values()
            owners = [getattr(getattr(h, "_function", None), "__self__", None) for h in hooks]
            moments = [owner.moment for owner in owners if hasattr(owner, "moment")]
            _seen.append((float(timesteps[0]), [(m.time, m.size) for m in moments]))
            return result

        clone = model.clone()
        clone.add_wrapper_with_key("diffusion_model", "probe", note)
        return (clone,)


@PromptServer.instance.routes.get("/probe/left")
async def left(request):
    """What is on the loaded models: hooks, replaced forwards, wrappers and patches."""
    found = []
    for model in _models:
        for name, module in model.model.named_modules():
            hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
            found += [f"{name}: hook {hook}" for hook in hooks]
            found += [f"{name}: forward"] * ("forward" in module.__dict__)
        found += [f"wrapper {each}" for each in model.wrappers.values() if each]
        options = model.model_options["transformer_options"]
        found += [f"option {name}" for name, value in options.items() if value]
    return web.json_response(found)


@PromptServer.instance.routes.get("/probe/times")
async def times(request):
    """What `ProbeTimes` has noted since it last ran."""
    return web.json_response(_seen)


NODE_CLASS_MAPPINGS = {
    each.__name__: each
    for each in (
        ProbeLoader,
        ProbeFresh,
        ProbeNoUnet,
        ProbeFault,
        ProbePicturePrompt,
        ProbeControl,
        ProbeTimes,
    )
}

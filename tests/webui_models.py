"""Checkpoints of the other families, and extra networks, for the tests in the real webui.

Text model and autoencoder are the small model's; the U-Net has the family's layout and random
weights. The pictures mean nothing, but every module is of the class that users of the family run.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from standalone.checkpoint import SMALL, unpacked
from standalone.model.tokenizer import ensure_tokenizer
from tests.unets import LAYOUTS, make_unet

CONTEXT = 96
SIZES = ("original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple")
SIZE_WIDTH = 16
WIDTH = OmegaConf.load(SMALL.with_suffix(".yaml")).model.params.unet_config.params.model_channels
"""Channels of the small model's finest level."""


def install_lora(folder: Path) -> None:
    """A LoRA named "probe" for the small model's finest level."""
    random, weights = _random_numbers(), {}
    for block, part in itertools.product(range(3), "qkv"):
        name = f"lora_unet_up_blocks_3_attentions_{block}_transformer_blocks_0_attn1_to_{part}"
        weights |= {
            f"{name}.lora_down.weight": random(4, WIDTH),
            f"{name}.lora_up.weight": random(WIDTH, 4),
            f"{name}.alpha": torch.tensor(4.0),
        }
    folder.mkdir(parents=True)
    save_file(weights, folder / "probe.safetensors")


def _random_numbers():
    """Makes tensors of a shape; the same ones in the same order every time."""
    generator = torch.Generator().manual_seed(1)
    return lambda *shape: torch.randn(*shape, generator=generator) * 0.2


def install_extra_networks(webui: Path) -> None:
    """A LoRA and a hypernetwork, both named "probe", for the small model's finest level."""
    install_lora(webui / "models" / "Lora")
    random = _random_numbers()
    layers = [
        {
            "linear.0.weight": random(2 * WIDTH, WIDTH),
            "linear.0.bias": torch.zeros(2 * WIDTH),
            "linear.1.weight": random(WIDTH, 2 * WIDTH),
            "linear.1.bias": torch.zeros(WIDTH),
        }
        for _ in "kv"
    ]
    hypernetwork = {
        WIDTH: layers, "name": "probe", "layer_structure": [1, 2, 1], "step": 1,
        "activation_func": "linear", "is_layer_norm": False, "use_dropout": False,
        "sd_checkpoint": None, "sd_checkpoint_name": None, "optional_info": None,
        "weight_initialization": "Normal", "activate_output": False,
        "last_layer_dropout": False, "dropout_structure": None,
    }  # fmt: skip
    (webui / "models" / "hypernetworks").mkdir()
    # the old format: the webui refuses what newer versions of torch put into theirs
    path = webui / "models" / "hypernetworks" / "probe.pt"
    torch.save(hypernetwork, path, _use_new_zipfile_serialization=False)


def install_families(webui: Path) -> None:
    """Checkpoints named "other" (SD1), "sd2" (v-prediction) and "sdxl" in a webui's data folder."""
    target = webui / "models" / "Stable-diffusion"
    weights, config = load_file(unpacked(SMALL)), OmegaConf.load(SMALL.with_suffix(".yaml"))
    folder = str(ensure_tokenizer(target / "families-tokenizer"))
    config.model.params.cond_stage_config.params.version = folder
    for name, make in (("other", _other), ("sd2", _sd2), ("sdxl", _sdxl)):
        own_weights, own_config = make(weights, config.copy())
        save_file(
            {key: weight.contiguous() for key, weight in own_weights.items()},
            target / f"{name}.safetensors",
        )
        OmegaConf.save(own_config, target / f"{name}.yaml")


def _other(weights, config):
    """The small model with a disturbed U-Net: another checkpoint of the same layout."""
    generator = torch.Generator().manual_seed(3)
    noise = {
        key: 1 + 0.02 * torch.randn(weight.shape, generator=generator)
        for key, weight in weights.items()
        if key.startswith("model.diffusion_model.")
    }
    return {key: weight * noise.get(key, 1) for key, weight in weights.items()}, config


def _sd2(weights, config):
    config.model.params.parameterization = "v"
    unet = {k: v for k, v in LAYOUTS["sd2"].items() if k != "model_channels"}
    params = config.model.params.unet_config.params
    del params["num_heads"]
    OmegaConf.update(params, "model_channels", 32)
    for key, value in unet.items():
        OmegaConf.update(params, key, value)
    return _without_unet(weights) | _unet_weights("sd2"), config


def _sdxl(weights, config):
    first = {k: v for k, v in weights.items() if k.startswith("first_stage_model.")}
    text = {
        key.replace("cond_stage_model.", "conditioner.embedders.0."): weight
        for key, weight in weights.items()
        if key.startswith("cond_stage_model.")
    }
    vector = len(SIZES) * 2 * SIZE_WIDTH
    unet = _sdxl_unet(vector)
    return first | text | unet, OmegaConf.create(_sdxl_config(config, vector))


def _sdxl_unet(vector):
    """Its weights, with a vector of so many numbers besides the text."""
    unet = _unet_weights("sdxl", num_classes=None, context_dim=[CONTEXT] * 3)
    width = 4 * LAYOUTS["sdxl"]["model_channels"]
    generator = torch.Generator().manual_seed(4)
    for index, columns in ((0, vector), (2, width)):
        name = f"model.diffusion_model.label_emb.0.{index}"
        unet[f"{name}.weight"] = 0.05 * torch.randn(width, columns, generator=generator)
        unet[f"{name}.bias"] = torch.zeros(width)
    return unet


def install_sdxl_for_comfy(folder: Path) -> None:
    """A checkpoint named "sdxl" in the sizes that ComfyUI's probe knows: ComfyUI makes 256 numbers
    of each of six sizes, and adds those of the text as a whole.
    """
    folder.mkdir(parents=True)
    weights = _without_unet(load_file(unpacked(SMALL))) | _sdxl_unet(CONTEXT + 6 * 256)
    own = {key: weight.contiguous() for key, weight in weights.items()}
    save_file(own, folder / "sdxl.safetensors")


def _sdxl_config(config, vector):
    sgm = "sgm.modules.diffusionmodules"
    first = config.model.params.first_stage_config
    first.target = "sgm.models.autoencoder.AutoencoderKLInferenceWrapper"
    first.params.ddconfig.attn_type = "vanilla"
    layout = LAYOUTS["sdxl"]
    text = dict(
        is_trainable=False,
        input_key="txt",
        target="sgm.modules.encoders.modules.FrozenCLIPEmbedder",
        params=dict(version=config.model.params.cond_stage_config.params.version),
    )
    sizes = [
        dict(
            is_trainable=False,
            input_key=key,
            target="sgm.modules.encoders.modules.ConcatTimestepEmbedderND",
            params=dict(outdim=SIZE_WIDTH),
        )
        for key in SIZES
    ]
    denoiser = dict(
        num_idx=1000,
        weighting_config=dict(target=f"{sgm}.denoiser_weighting.EpsWeighting"),
        scaling_config=dict(target=f"{sgm}.denoiser_scaling.EpsScaling"),
        discretization_config=dict(target=f"{sgm}.discretizer.LegacyDDPMDiscretization"),
    )
    unet = dict(
        adm_in_channels=vector, num_classes="sequential", use_checkpoint=False, in_channels=4,
        out_channels=4, model_channels=layout["model_channels"], num_res_blocks=2,
        attention_resolutions=layout["attention_resolutions"],
        channel_mult=layout["channel_mult"], num_head_channels=layout["num_head_channels"],
        use_linear_in_transformer=True, transformer_depth=layout["transformer_depth"],
        context_dim=CONTEXT, spatial_transformer_attn_type="softmax",
        use_spatial_transformer=True, legacy=False,
    )  # fmt: skip
    params = dict(
        scale_factor=config.model.params.scale_factor,
        disable_first_stage_autocast=True,
        denoiser_config=dict(target=f"{sgm}.denoiser.DiscreteDenoiser", params=denoiser),
        network_config=dict(target=f"{sgm}.openaimodel.UNetModel", params=unet),
        conditioner_config=dict(
            target="sgm.modules.GeneralConditioner", params=dict(emb_models=[text, *sizes])
        ),
        first_stage_config=first,
    )
    return dict(model=dict(target="sgm.models.diffusion.DiffusionEngine", params=params))


def _without_unet(weights):
    return {k: v for k, v in weights.items() if not k.startswith("model.diffusion_model.")}


def _unet_weights(layout, **changes):
    unet = make_unet(layout, **{"context_dim": CONTEXT, **changes})
    return {f"model.diffusion_model.{k}": w for k, w in unet.state_dict().items()}

"""Loads checkpoints in SD1's format without the webui: .safetensors or .pack, its .yaml beside
it."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from standalone.model.packed import SMALL, CheckpointError, unpacked
from standalone.model.tokenizer import ensure_tokenizer

CLIP_VIT_L = "openai/clip-vit-large-patch14"
_PARTS = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.")


class TextEncoder(nn.Module):
    """CLIP's text model and tokenizer, with the attribute names of ldm's FrozenCLIPEmbedder."""

    def __init__(self, tokenizer: Path, config: CLIPTextConfig):
        super().__init__()
        self.tokenizer = CLIPTokenizer.from_pretrained(str(tokenizer))
        self.transformer = CLIPTextModel(config)

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """(batch, 77, width): the last layer's states for each text, cut after 77 tokens."""
        tokens = self.tokenizer(
            list(texts), truncation=True, max_length=77, padding="max_length", return_tensors="pt"
        )
        device = self.transformer.device
        return self.transformer(tokens["input_ids"].to(device)).last_hidden_state


class StableDiffusion(nn.Module):
    """U-Net, autoencoder and text model under the names that ldm's LatentDiffusion gives them.

    Latents are (batch, 4, height / 8, width / 8); pictures (batch, 3, height, width) in [-1, 1].
    """

    def __init__(self, config: DictConfig, folder: Path):
        super().__init__()
        params = config.model.params
        self.model = nn.Module()
        self.model.diffusion_model = _instantiate(params.unet_config)
        self.first_stage_model = _instantiate(params.first_stage_config)
        self.cond_stage_model = TextEncoder(*text_model_of(params.cond_stage_config, folder))
        self.scale_factor = float(params.get("scale_factor", 1.0))
        self.parameterization = params.get("parameterization", "eps")
        steps = params.get("timesteps", 1000)
        # SD's "linear" schedule is linear in the square root (Rombach et al., 2022)
        roots = torch.linspace(params.linear_start**0.5, params.linear_end**0.5, steps).double()
        cumulative = torch.cumprod(1 - roots**2, dim=0).float()
        self.register_buffer("alphas_cumprod", cumulative, persistent=False)

    def apply_model(self, x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        """The U-Net's prediction for latents x at timesteps t (batch,) given text states cond."""
        return self.model.diffusion_model(x, t, context=cond)

    def get_learned_conditioning(self, texts: Sequence[str]) -> torch.Tensor:
        """(batch, 77, width): what the U-Net attends to for these texts."""
        return self.cond_stage_model(texts)

    def encode_first_stage(self, pictures: torch.Tensor) -> torch.Tensor:
        """The scaled latents of pictures: the posterior's mode, so no random number is drawn."""
        return self.scale_factor * self.first_stage_model.encode(pictures).mode()

    def decode_first_stage(self, latents: torch.Tensor) -> torch.Tensor:
        """The pictures of scaled latents."""
        return self.first_stage_model.decode(latents / self.scale_factor)


def text_model_of(config: DictConfig, folder: Path) -> tuple[Path, CLIPTextConfig]:
    """The tokenizer's folder and the text model's shape that a configuration names.

    `version` is CLIP ViT-L, as in every published SD1 configuration, or a folder (relative to
    `folder`, the configuration's own) with the files that transformers reads.
    """
    version = OmegaConf.select(config, "params.version") or CLIP_VIT_L
    if version == CLIP_VIT_L:
        shape = dict(hidden_size=768, intermediate_size=3072)
        depth = dict(num_hidden_layers=12, num_attention_heads=12)
        return ensure_tokenizer(SMALL.parent / "clip"), CLIPTextConfig(**shape, **depth)
    tokenizer = ensure_tokenizer(folder / version)
    return tokenizer, CLIPTextConfig.from_pretrained(str(tokenizer))


def build(config_path: Path) -> StableDiffusion:
    """A model with random weights, drawn from a generator of its own.

    Raises `CheckpointError` when the configuration is missing or is not SD1's.
    """
    if not config_path.is_file():
        raise CheckpointError(f"{config_path}: no such configuration (.yaml beside the checkpoint)")
    try:
        config = OmegaConf.load(config_path)
        _check_config(config, config_path)
        # ldm prints as it builds; standard output belongs to the command line
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):
            torch.manual_seed(0)
            return StableDiffusion(config, config_path.parent)
    except CheckpointError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{config_path}: not a usable SD1 configuration: {reason}") from error


def load(
    path: str | Path,
    *,
    config_path: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> StableDiffusion:
    """A checkpoint in SD1's format, or a pack of one, ready to sample with.

    `config_path` defaults to the .yaml of the same name. Raises `CheckpointError` for a missing
    file, a file that is not safetensors, another model family and shapes that do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        weights = load_file(unpacked(path))
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from error
    for prefix in _PARTS:
        if not any(name.startswith(prefix) for name in weights):
            raise CheckpointError(f"{path}: not an SD1 checkpoint, it has no weights '{prefix}*'")
    model = build(Path(config_path) if config_path else path.with_suffix(".yaml"))
    wanted = model.state_dict()
    for name, parameter in wanted.items():
        if name not in weights and not name.endswith("position_ids"):
            raise CheckpointError(f"{path}: not this configuration's model, it lacks '{name}'")
        if name in weights and weights[name].shape != parameter.shape:
            shapes = f"{tuple(weights[name].shape)} instead of {tuple(parameter.shape)}"
            raise CheckpointError(f"{path}: '{name}' has shape {shapes}")
    model.load_state_dict({n: w for n, w in weights.items() if n in wanted}, strict=False)
    model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
    model.model.diffusion_model.dtype = dtype  # ldm casts the latent to this
    return model


def _check_config(config: DictConfig, path: Path) -> None:
    target = OmegaConf.select(config, "model.target") or ""
    if not target.endswith("LatentDiffusion"):
        raise CheckpointError(f"{path}: model.target must be ldm's LatentDiffusion, got '{target}'")
    text_model = OmegaConf.select(config, "model.params.cond_stage_config.target") or ""
    if not text_model.endswith("FrozenCLIPEmbedder"):
        raise CheckpointError(
            f"{path}: cond_stage_config.target must be FrozenCLIPEmbedder (SD1), got '{text_model}'"
        )


def _instantiate(config: DictConfig) -> Any:
    module, _, name = config.target.rpartition(".")
    return getattr(importlib.import_module(module), name)(
        **OmegaConf.to_container(config.get("params", {}))
    )

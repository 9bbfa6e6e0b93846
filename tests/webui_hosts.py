"""Which of the webui's family `WEBUI_DIR` names, and how it runs the small model on a CPU."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from standalone.model.tokenizer import TEXT_MODEL, ensure_tokenizer

_COMMON = (
    "--skip-install", "--skip-prepare-environment", "--skip-torch-cuda-test", "--api",
    "--server-name", "127.0.0.1", "--no-download-sd-model", "--do-not-download-clip",
    "--disable-nan-check",
)  # fmt: skip
_ON_CPU = ("--always-cpu", "--all-in-fp32")


@dataclasses.dataclass(frozen=True)
class Host:
    """A host, its flags, and the folder of tests/ with the extension that tells it of the small
    model's sizes, where it knows only those that it lists.
    """

    name: str
    flags: tuple[str, ...]
    probe: str | None = None


WEBUI = Host("webui", (*_COMMON, "--use-cpu", "all", "--precision", "full", "--no-half"))
FORGE = Host("Forge", (*_COMMON, *_ON_CPU), "forge_probe")
REFORGE = Host("reForge", (*_COMMON, *_ON_CPU), "reforge_probe")


def host_in(installation: Path) -> Host:
    """The host of an installation."""
    for folder, host in (("backend", FORGE), ("ldm_patched", REFORGE)):
        if (installation / folder).is_dir():
            return host
    return WEBUI


HOST = host_in(Path(os.environ.get("WEBUI_DIR", "")).resolve())
"""The host that the tests run against."""


def unless(*hosts: Host, reason: str) -> pytest.MarkDecorator:
    """A mark of what does not fit some hosts; the reason follows the host's name."""
    return pytest.mark.skipif(HOST in hosts, reason=f"{HOST.name} {reason}")


CHECKPOINTS = ("small", "other", "sdxl") if HOST is WEBUI else ("small", "other")
"""Those of the tests that the host knows."""

NEVER_CALLED = set() if HOST is WEBUI else {"cfg_denoised"}
"""The callbacks that the host has and never calls."""

SPLITS_SIDES = HOST is WEBUI
"""Whether the two sides are computed in separate calls when that is set or a prompt is longer."""

NEEDS_FAMILIES = unless(FORGE, REFORGE, reason="knows no small models of SD2 and SDXL")
NEEDS_HYPERTILE = unless(FORGE, REFORGE, reason="has no HyperTile in its settings")
NEEDS_HYPERNETWORKS = unless(FORGE, REFORGE, reason="applies no hypernetworks")
NEEDS_OPTIMIZATIONS = unless(FORGE, REFORGE, reason="chooses its attention once, at its start")
NEEDS_INFOTEXT = unless(FORGE, reason="fails with every request that has an infotext (API)")


def flags_of(host: Host, installation: Path) -> tuple[str, ...]:
    """All flags. Forge shows its own scripts only from folders that it is told of."""
    allowed = ("--gradio-allowed-path", str(installation)) if host is FORGE else ()
    return (*host.flags, *allowed)


def describe_small_model(folder: Path) -> None:
    """Write the small model's sizes where the probes look for them: in the formats of the
    transformers and diffusers packages.
    """
    vae = {
        "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, "latent_channels": 4,
        "block_out_channels": [96] * 4, "layers_per_block": 1, "norm_num_groups": 32,
        "act_fn": "silu", "sample_size": 256,
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
    }  # fmt: skip
    scheduler = {
        "_class_name": "PNDMScheduler", "num_train_timesteps": 1000, "steps_offset": 1,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
    }  # fmt: skip
    index = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    ensure_tokenizer(folder / "tokenizer")
    files = {
        "text_encoder/config": TEXT_MODEL, "vae/config": vae, "model_index": index,
        "scheduler/scheduler_config": scheduler,
    }  # fmt: skip
    for name, content in files.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2))

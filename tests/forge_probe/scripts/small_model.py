"""An extension for the tests: lets Forge know a checkpoint of SD1's layout in the small model's
sizes.
"""

from pathlib import Path

from huggingface_guess import model_list
from modules import paths


class Small(model_list.SD15):
    """SD1's layout, 96 channels wide, as is the context; text model and VAE as described beside."""

    huggingface_repo = str(Path(paths.data_path).resolve() / "small-model")
    unet_config = {  # noqa: RUF012
        **model_list.SD15.unet_config, "model_channels": 96, "context_dim": 96
    }  # fmt: skip


model_list.models.append(Small)

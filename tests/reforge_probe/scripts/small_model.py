"""An extension for the tests: lets reForge know a checkpoint of SD1's layout in the small model's
sizes. It fixes those of the text model and of the VAE, too.
"""

from pathlib import Path

from ldm_patched.modules import sd, sd1_clip, supported_models, supported_models_base
from modules import paths

TEXT_MODEL = str(Path(paths.data_path).resolve() / "small-model" / "text_encoder" / "config.json")
CHANNELS = 96
VAE = dict(
    double_z=True, z_channels=4, resolution=256, in_channels=3, out_ch=3, ch=CHANNELS,
    ch_mult=[1, 1, 1, 1], num_res_blocks=1, attn_resolutions=[], dropout=0.0,
)  # fmt: skip


class SmallTextModel(sd1_clip.SDClipModel):
    def __init__(self, device="cpu", dtype=None, model_options={}):  # noqa: B006
        super().__init__(
            device=device, dtype=dtype, return_projected_pooled=False,
            textmodel_json_config=TEXT_MODEL, model_options=model_options,
        )  # fmt: skip


class SmallText(sd1_clip.SD1ClipModel):
    def __init__(self, device="cpu", dtype=None, model_options={}, **kwargs):  # noqa: B006
        super().__init__(device, dtype, model_options, clip_model=SmallTextModel, **kwargs)


class Small(supported_models.SD15):
    unet_config = {  # noqa: RUF012
        **supported_models.SD15.unet_config, "model_channels": 96, "context_dim": CHANNELS
    }  # fmt: skip

    def clip_target(self, state_dict={}):  # noqa: B006
        return supported_models_base.ClipTarget(sd1_clip.SD1Tokenizer, SmallText)


def _make_vae(self, sd=None, device=None, config=None, **kwargs):
    first = (sd or {}).get("decoder.conv_in.weight")
    if first is not None and len(first) == CHANNELS:
        config = {"params": {"ddconfig": dict(VAE), "embed_dim": 4}}
    _make_any_vae(self, sd=sd, device=device, config=config, **kwargs)


supported_models.models.append(Small)
_make_any_vae, sd.VAE.__init__ = sd.VAE.__init__, _make_vae

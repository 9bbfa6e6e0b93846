"""The places where the probe can fail."""

CALLBACKS = (
    "before_process", "process", "before_process_batch", "after_extra_networks_activate",
    "process_batch", "process_before_every_sampling", "before_hr", "post_sample",
    "postprocess_batch", "postprocess_batch_list", "postprocess_image",
    "postprocess_maskoverlay", "postprocess_image_after_composite", "postprocess",
)  # fmt: skip
"""Of a script; each runs in every txt2img, `before_hr` with hires fix only."""

DENOISER_CALLBACKS = ("cfg_denoiser", "cfg_denoised", "cfg_after_cfg")
"""Of `script_callbacks`, at each evaluation of the model."""

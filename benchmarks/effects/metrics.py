"""What is measured of a picture, alone and against the picture without the effect.

Pictures are uint8 (height, width, 3). Measures are of well-kept libraries: scikit-image for
filters, colours and SSIM, torchmetrics for MS-SSIM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from skimage.color import rgb2gray, rgb2hsv
from skimage.feature import canny
from skimage.filters import laplace
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure as ms_ssim,
)

from slothful import LATENT_FACTOR
from standalone.model.analyse import analyse, object_mask
from standalone.model.judges import JUDGES
from standalone.model.reader import distance
from standalone.model.scenes import Scene, SimpleScene

HIGH_FREQUENCY = 1 / LATENT_FACTOR
"""Cycles a pixel from which on a frequency is high: a period of 8 pixels, one latent."""

LOOKS = ("sharpness", "contrast", "saturation", "edge_density", "high_frequency")
"""Measures of one picture."""
LIKENESS = ("ssim", "ms_ssim", "mask_iou", "distance")
"""Measures of two pictures; 1 where they are the same, but for the last, which is 0 there."""
FIDELITY = ("colour", "shape", "count", "caption")
"""Whether a picture shows what its caption says, 0 or 1; "caption" is all of it, and known of all
kinds of scenes, the others of simple ones."""


def looks(picture: np.ndarray) -> dict[str, float]:
    """The `LOOKS` of a picture.

    Sharpness is the variance of the Laplacian, contrast the standard deviation of luminance
    (RMS), saturation the mean of HSV's S, edge density the part of the pixels that Canny's detector
    marks, high frequency the part of the spectrum's energy, its mean left out, from
    `HIGH_FREQUENCY` on. All but sharpness are between 0 and 1.
    """
    gray = rgb2gray(picture)
    return {
        "sharpness": float(laplace(gray).var()),
        "contrast": float(gray.std()),
        "saturation": float(rgb2hsv(picture)[..., 1].mean()),
        "edge_density": float(canny(gray, sigma=1).mean()),
        "high_frequency": _high_frequency(gray),
    }


def _high_frequency(gray: np.ndarray) -> float:
    height, width = gray.shape
    # a window, because the picture does not go on at the opposite edge
    window = np.hanning(height)[:, None] * np.hanning(width)[None]
    energy = np.abs(np.fft.rfft2((gray - gray.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    total = energy.sum()
    return float(energy[radius >= HIGH_FREQUENCY].sum() / total) if total > 0 else 0.0


def likeness(picture: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """The `LIKENESS` of two pictures of one size.

    SSIM and MS-SSIM (Wang et al., 2004 and 2003), the intersection over union of the areas that
    differ in colour from the background, of two pictures without such areas 1, and the distance of
    what our reader sees in them, in the way of LPIPS (Zhang et al., 2018).
    """
    pair = [torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() for p in (picture, reference)]
    # five scales need more than 160 pixels; smaller pictures are measured at fewer
    scales = _SCALES if min(picture.shape[:2]) > 160 else _SCALES[:3]
    ours, theirs = object_mask(picture), object_mask(reference)
    union = (ours | theirs).sum()
    return {
        "ssim": float(structural_similarity(picture, reference, **_SSIM)),
        "ms_ssim": float(ms_ssim(*pair, data_range=255.0, betas=scales)),
        "mask_iou": float((ours & theirs).sum() / union) if union else 1.0,
        "distance": distance(picture, reference),
    }


_SSIM = dict(
    channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
)
"""The window and the statistics of SSIM's authors."""
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of MS-SSIM's scales, of its authors."""


def fidelity(picture: np.ndarray, scene: Scene, kind: str = "simple") -> dict[str, float]:
    """The `FIDELITY` of a picture to the scene, of a kind of `KINDS`, whose caption it was made
    from; NaN what is not known of the kind.
    """
    if not isinstance(scene, SimpleScene):
        right = float(JUDGES[kind](scene, picture).right)
        return {**dict.fromkeys(FIDELITY, math.nan), "caption": right}
    seen = analyse(picture)
    colour = (seen.colour, seen.background) == (scene.colour, scene.background)
    shape, count = seen.shape == scene.shape, seen.count == scene.count
    every = colour and shape and count
    return {name: float(value) for name, value in zip(FIDELITY, (colour, shape, count, every))}


def seam_energy(picture: np.ndarray, borders: tuple[Sequence[int], Sequence[int]]) -> float:
    """How much more the picture changes across tile borders than elsewhere: 1 is not at all.

    `borders` are the rows and the columns, in pixels, at which a tile begins. The mean absolute
    difference of neighbouring luminances across them, over that across all other multiples of 8
    pixels, where the decoder has seams of its own. NaN without borders.
    """
    gray = rgb2gray(picture)
    at, elsewhere = [], []
    for axis, places in enumerate(borders):
        steps = np.abs(np.diff(gray, axis=axis)).mean(axis=1 - axis)
        for place in range(LATENT_FACTOR, gray.shape[axis], LATENT_FACTOR):
            (at if place in places else elsewhere).append(steps[place - 1])
    if not at or not elsewhere:
        return math.nan
    return float(np.mean(at) / max(np.mean(elsewhere), 1e-6))

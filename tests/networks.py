"""The small model's networks with random weights, none of them zero, for the tests."""

from pathlib import Path

import torch

from standalone import model
from standalone.checkpoint import build

CONFIG = Path(model.__file__).with_name("small.yaml")


def random_model():
    """ldm's and transformers' networks as small.yaml has them."""
    built = build(CONFIG)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return built.requires_grad_(False)


def random_weights() -> dict[str, torch.Tensor]:
    """Their weights, under the names of a checkpoint."""
    return random_model().state_dict()

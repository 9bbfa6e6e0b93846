"""Options of the command line that several benchmarks have, and what can be wrong with them."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence

import torch

from benchmarks.speed.attention import BACKENDS
from benchmarks.speed.models import FAMILIES

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def add_models(parser: argparse.ArgumentParser) -> None:
    """--model, --device, --dtype and --backend: full-size U-Nets, and how they are computed."""
    cuda = torch.cuda.is_available()
    add = parser.add_argument
    add("--model", nargs="+", choices=list(FAMILIES), default=["sd15"], metavar="MODEL",
        help=", ".join(FAMILIES))  # fmt: skip
    add("--device", default="cuda" if cuda else "cpu")
    add("--dtype", choices=list(DTYPES), default="fp16" if cuda else "fp32")
    add("--backend", choices=list(BACKENDS), default="sdpa", help="how attention is computed")


def read_size(text: str) -> tuple[int, int]:
    """(width, height) in pixels; raises `ValueError` for what is no size."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) % 64 == int(height) % 64 == 0):
        raise ValueError(f"size must be WIDTHxHEIGHT in multiples of 64, got {text!r}")
    return int(width), int(height)


def check_only(beginnings: Sequence[str], names: Collection[str]) -> None:
    """Raises `ValueError` where no variant begins with one of these."""
    for text in beginnings:
        if not any(name.startswith(text) for name in names):
            known = ", ".join(names)
            raise ValueError(f"--only: no variant begins with {text!r}; there are {known}")


def check_dtype(device: str, dtype: str) -> None:
    """Raises `ValueError` for half precision on a CPU, whose group norm cannot mix dtypes."""
    if device == "cpu" and dtype != "fp32":
        raise ValueError(f"--dtype must be fp32 on a CPU, got {dtype!r}")

"""On what a benchmark ran, in the words that stand beside its figures."""

from __future__ import annotations

import os

import torch

from slothful_webui.engine import processor_name


def machine_name(device: str) -> str:
    """The card, if it is one, and its host: processor, cores, threads of a CPU, torch's version."""
    host = f"{processor_name()}, {os.cpu_count()} cores"
    if torch.device(device).type == "cuda":
        host = f"{torch.cuda.get_device_name(device)}, host {host}"
    else:
        host = f"{host}, {torch.get_num_threads()} threads"
    return f"{host}, torch {torch.__version__}"

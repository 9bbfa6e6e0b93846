"""How many kernels a GPU would be told to start, counted without one.

python -m benchmarks.speed.launches                 SD1.5 and SDXL at 512 and 1024 pixels
python -m benchmarks.speed.launches --list          which operations these are
python -m benchmarks.speed.launches --host          how long a CPU takes to ask for them

Each self-attention is called alone, in half precision, on torch's device "meta", which has shapes
but no numbers and takes the ways that a GPU takes. Counted are the operations that torch is asked
for, without those that only look at a tensor in another way or set memory aside; attention counts
as one. An operation may start several kernels (a sort does), so this is a lower bound where there
are any of these. What a step finds made (layouts) is made before.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import slothful
from benchmarks.speed.calibrate import OneSite
from benchmarks.speed.machine import machine_name
from benchmarks.speed.models import FAMILIES, blank_unet
from benchmarks.speed.options import read_size
from benchmarks.speed.report import markdown
from benchmarks.speed.timing import NONE
from slothful import Settings
from slothful.planning.site import grid_of
from slothful.settings.methods import METHODS, SUBSAMPLING
from slothful.tokens import likeness, token_merging, weighted_attention
from slothful.unet.measuring import at_work
from slothful.unet.sites import SiteModules
from standalone.attention import sdpa_attention
from standalone.console import replace_unknown_letters

BATCH = 2
NO_KERNEL = (
    "empty",
    "new_empty",
    "empty_like",
    "empty_strided",
    "detach",
    "_unsafe_view",
    "device",
)
"""Operations that start none, besides views."""
FEW = dict(channels=96, grid=(8, 8))
"""Of a site at which a CPU computes next to nothing, so that its time is the host's."""
CALLS, TURNS = 20, 15


class Launches(TorchDispatchMode):
    """Counts the operations that start a kernel, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, made = func.overloadpacket.__name__, func(*args, **(kwargs or {}))
        on_host = isinstance(made, torch.Tensor) and made.device.type == "cpu"
        if not (func.is_view or name in NO_KERNEL or on_host):
            self.counts[name] += 1
        return made

    @property
    def count(self) -> int:
        """Of all names."""
        return sum(self.counts.values())


class _OneKernel(TorchFunctionMode):
    """Attention is one kernel, whatever "meta" makes of it."""

    def __init__(self, launches: Launches):
        super().__init__()
        self._launches = launches

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            self._launches.counts["attention"] += 1
            query, _, value = args[:3]
            # in memory as a GPU's kernels leave it, so that joining the heads is a view
            answer = query.transpose(1, 2)
            return value.new_empty(*answer.shape[:-1], value.shape[-1]).transpose(1, 2)
        return func(*args, **(kwargs or {}))


@contextmanager
def counting() -> Iterator[Launches]:
    """Within, what is asked for is counted, as if there were a GPU's kernel for a bias, and its
    atomic additions.
    """
    launches = Launches()
    has_kernel = mock.patch.object(weighted_attention, "_has_kernel", return_value=True)
    adds = mock.patch.object(token_merging, "adds_in_any_order", return_value=True)
    with has_kernel, adds, launches, _OneKernel(launches):
        yield launches


def variants() -> dict[str, Settings]:
    """Each method with its defaults at its peak, and those that keep tokens without merging."""
    steady = Settings(time_decay=0.0, only_where_it_pays=False)
    found = {method: steady.replace(method=method) for method in METHODS}
    for method in (*SUBSAMPLING, "Token Downsampling"):
        for kept in ("first", "jittered"):
            found[f"{method}, {kept} token"] = steady.replace(method=method, kept_token=kept)
    return found


@torch.no_grad()
def launches_of(
    unet: nn.Module, settings: Settings | None, size: tuple[int, int]
) -> dict[str, Counter[str]]:
    """What the self-attentions of each site where the settings apply, or of all sites without
    settings, start at an image of (width, height) pixels.

    `unet`: see `blank_unet`.
    """
    found: dict[str, Counter[str]] = {}
    with at_work(settings, unet) if settings else nullcontext() as application, sdpa_attention():
        for modules in slothful.find_sites(unet):
            site = modules.site
            grid = grid_of(*size, site.level)
            tokens = torch.empty(BATCH, grid[0] * grid[1], site.channels, device="meta").half()
            for _ in range(2):  # the first makes layouts
                if application and application.plan_at(site.name, grid, 500.0) is None:
                    break
                with counting() as launches:
                    _call(modules, tokens)
            else:
                found[site.name] = launches.counts
    return found


def _call(modules: SiteModules, tokens: torch.Tensor) -> None:
    for attention in modules.attentions:
        attention(tokens)


def more_launches(unet: nn.Module, settings: Settings, size: tuple[int, int]) -> dict[str, float]:
    """By site, how many more each of its self-attentions starts than without settings; those that
    find similar tokens once for several layers share that.
    """
    plain, ours = launches_of(unet, None, size), launches_of(unet, settings, size)
    layers = {each.site.name: each.site.layers for each in slothful.find_sites(unet)}
    return {
        name: (sum(counts.values()) - sum(plain[name].values())) / layers[name]
        for name, counts in ours.items()
    }


@torch.inference_mode()
def host_seconds() -> dict[str, float]:
    """What a transformer of one layer takes this CPU, in the ways that a GPU takes, by variant: the
    least of several turns, in the processor's own time; "no patch" is the first.
    """
    unet, grid = OneSite(FEW["channels"]).eval(), FEW["grid"]
    given = torch.randn(1, FEW["channels"], *grid), torch.tensor([500.0]), torch.randn(1, 77, 64)
    chosen: dict[str, Settings | None] = {NONE: None, **variants()}
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    with mock.patch.object(likeness, "in_few_steps", _always), sdpa_attention():
        for _ in range(TURNS):
            for name, settings in chosen.items():
                works = slothful.applied(unet, settings) if settings else nullcontext()
                with works as application:
                    unet(*given)
                    if application and not any(application.plans.values()):
                        continue
                    begin = time.process_time()
                    for _ in range(CALLS):
                        unet(*given)
                    seconds[name].append((time.process_time() - begin) / CALLS)
    return {name: min(times) for name, times in seconds.items() if times}


def _always(device: torch.device) -> bool:
    """A plain function, for mock's own takes longer than what is timed."""
    return True


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when the input was wrong, after one line that says what."""
    replace_unknown_letters()
    parser = argparse.ArgumentParser(
        prog="benchmarks.speed.launches", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--model", nargs="+", choices=list(FAMILIES), default=["sd15", "sdxl"], metavar="MODEL")
    add("--size", nargs="+", default=["512x512", "1024x1024"], metavar="WIDTHxHEIGHT")
    add("--host", action="store_true", help="the host's time instead")
    add("--list", action="store_true", help="which operations these are, site by site")
    args = parser.parse_args(arguments)
    try:
        sizes = [read_size(text) for text in args.size]
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.host:
        _print_host()
        return 0
    for model in args.model:
        unet = blank_unet(model).half()
        names = [f"{width}x{height}" for width, height in sizes]
        lines = []
        for name, settings in variants().items():
            cells = [name]
            for size in sizes:
                if args.list:
                    _list(unet, settings, size, name)
                more = sorted(set(more_launches(unet, settings, size).values()))
                cells.append(" / ".join(f"{each:g}" for each in more) or "-")
            lines.append(cells)
        print(f"\n{model}: kernels more than no patch, an attention\n")
        print(markdown(["variant", *names], lines), flush=True)
    return 0


def _print_host() -> None:
    torch.set_num_threads(1)  # several wait for each other in the processor's own time
    seconds = host_seconds()
    none = seconds[NONE]
    print(f"{machine_name('cpu')}\n")
    lines = [
        [name, f"{1000 * each:.3f}", f"{1000 * (each - none):.3f}", f"{each / none:.2f}"]
        for name, each in seconds.items()
    ]
    print(markdown(["variant", "ms a transformer", "more", "of no patch"], lines))


def _list(unet: nn.Module, settings: Settings, size: tuple[int, int], name: str) -> None:
    plain = launches_of(unet, None, size)
    for site, counts in launches_of(unet, settings, size).items():
        print(size, name, site, dict(counts - plain[site]), "without", dict(plain[site] - counts))


if __name__ == "__main__":
    sys.exit(main())

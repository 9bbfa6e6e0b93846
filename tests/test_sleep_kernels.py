"""What sleeps starts no kernel."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import slothful
from slothful import PassClock
from slothful.unet.asleep import Asleep
from tests.sleeping import STEPS, Request, SlowSleep, sleeping
from tests.unets import make_unet


class Operations(TorchDispatchMode):
    """Counts the operations that would start a kernel."""

    VIEWS = ("view", "expand", "transpose", "permute", "slice", "select", "split", "chunk", "t.")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        leaves = torch.utils._pytree.tree_leaves((args, kwargs or {}))
        name = str(func).removeprefix("aten.")
        views = name.startswith(self.VIEWS) or "unsafe_view" in name or name.startswith("detach")
        self.count += not views and not any(isinstance(leaf, Asleep) for leaf in leaves)
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def operations(unet, request, settings, steps) -> list[int]:
    """How many each call starts."""
    counts = []
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        for timestep in steps:
            with Operations() as mode:
                request.run(unet, timestep)
            counts.append(mode.count)
    return counts


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_a_call_whose_deep_blocks_sleep_starts_what_its_awake_blocks_start(layout):
    unet, request = make_unet(layout), Request(layout)
    slow = SlowSleep(layout, "deep blocks")
    counts = operations(unet, request, sleeping("deep blocks"), STEPS[:2])
    slow.run(request, STEPS[0], False, "only")
    with Operations() as mode:
        slow.run(request, STEPS[1], True, "only")
    # what its rows are conditioned on is read: a few for each tensor of conditioning
    assert counts[1] <= mode.count + 5 + 3 * len(request.keywords) * (3 if layout == "sdxl" else 1)
    assert counts[1] < counts[0] / 2


@pytest.mark.parametrize("part", ["self-attention", "attention", "transformers"])
def test_what_sleeps_starts_nothing(part):
    unet, request = make_unet("sd1"), Request("sd1")
    counts = operations(unet, request, sleeping(part), STEPS[:2])
    started = {"count": 0}
    modules = {"self-attention": ["attn1"], "attention": ["attn1", "attn2"]}.get(part)
    inside = [
        module
        for name, module in unet.named_modules()
        if (modules and name.rpartition(".")[2] in modules)
        or (not modules and type(module).__name__ == "SpatialTransformer")
    ]
    handles = []
    for module in inside:
        mode = Operations()

        def before(module, args, mode=mode):
            mode.__enter__()

        def after(module, args, output, mode=mode):
            mode.__exit__(None, None, None)
            started["count"] += mode.count

        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after))
    with torch.no_grad():
        request.run(unet, STEPS[0])
    for handle in handles:
        handle.remove()
    added = len(inside) if part == "transformers" else 0  # what each adds to its input
    assert counts[0] - counts[1] >= started["count"] - added

"""Sleep in a U-Net: what sleeps is not computed, gives what it gave, and nothing else changes."""

import copy
import gc
import random
import weakref

import pytest
import torch
from ldm.modules.attention import SpatialTransformer
from ldm.modules.diffusionmodules.util import timestep_embedding
from torch.utils._python_dispatch import TorchDispatchMode

import slothful
from slothful import PassClock, Settings, SettingsError
from slothful.unet.asleep import Asleep
from slothful.unet.prediction import Prediction
from tests.unets import make_unet, module_state

PARTS = ("self-attention", "attention", "transformers", "deep blocks", "whole calls")
STEPS = (950.0, 800.0, 650.0, 500.0, 350.0, 200.0, 50.0)


def sleeping(part: str, **changes) -> Settings:
    values = dict(
        method="Sleep only",
        sleep=part,
        sleep_every=2,
        sleep_first=0,
        sleep_last=0,
        keep_middle=False,
    )
    return Settings(**{**values, **changes})


class Request:
    """What one call of the U-Net is made with: rows by their prompts, at a size."""

    def __init__(self, layout: str, prompts=(0, 1), size=(16, 16), seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.latent = torch.randn(len(prompts), 4, *size, generator=generator)
        contexts = [
            torch.randn(7, 24, generator=torch.Generator().manual_seed(prompt))
            for prompt in prompts
        ]
        context = torch.stack(contexts)
        self.keywords = {"context": context}
        if layout == "sdxl":
            self.keywords = {"context": [context] * 3, "y": torch.tensor(prompts) % 10}
        self.key = (tuple(prompts), size)

    def run(self, unet, timestep: float) -> torch.Tensor:
        timesteps = torch.full((len(self.latent),), timestep)
        return unet(self.latent, timesteps, **self.keywords)


class Recorder(torch.nn.Module):
    """Around a module: keeps what it gives, or gives what is put into it."""

    def __init__(self, module, adds: bool):
        torch.nn.Module.__init__(self)
        self.module, self.adds = module, adds
        self.kept = self.given = None

    def forward(self, x, *args, **kwargs):
        if self.given is not None:
            return x + self.given if self.adds else self.given
        answer = self.module(x, *args, **kwargs)
        self.kept = answer - x if self.adds else answer
        return answer


class TransformerRecorder(Recorder, SpatialTransformer):
    """What a block of the U-Net takes for a transformer, and hands the prompt to."""


class SlowSleep:
    """The same in plain words, for a U-Net of its own: what a part gave is looked up by step."""

    def __init__(self, layout: str, part: str, awake_blocks: int = 3):
        self.layout, self.part, self.awake_blocks = layout, part, awake_blocks
        self.unet = make_unet(layout)
        self.kept: dict = {}
        self.recorders = []
        for parent in list(self.unet.modules()):
            for name, child in list(parent.named_children()):
                if self._sleeps(name, child):
                    kind = TransformerRecorder if part == "transformers" else Recorder
                    recorder = kind(child, adds=part == "transformers")
                    self._put(parent, name, recorder)
                    self.recorders.append(recorder)

    @staticmethod
    def _put(parent, name, module):
        if isinstance(parent, torch.nn.Sequential):
            parent[int(name)] = module
        else:
            setattr(parent, name, module)

    def _sleeps(self, name, module) -> bool:
        if self.part == "transformers":
            return type(module).__name__ == "SpatialTransformer"
        names = {"self-attention": ("attn1",), "attention": ("attn1", "attn2")}
        return name in names.get(self.part, ())

    def run(self, request: Request, timestep: float, asleep: bool, key) -> torch.Tensor:
        kept = self.kept.get(key) if asleep else None
        if self.part in ("deep blocks", "whole calls"):
            with torch.no_grad():
                return self._by_blocks(request, timestep, kept, key)
        for index, recorder in enumerate(self.recorders):
            recorder.given = None if kept is None else kept[index]
        output = request.run(self.unet, timestep)
        if kept is None:
            self.kept[key] = [recorder.kept for recorder in self.recorders]
        return output

    def _by_blocks(self, request, timestep, kept, key):
        unet, x = self.unet, request.latent
        alpha = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        alpha = float((1 - alpha).cumprod(0)[int(timestep)])
        if self.part == "whole calls" and kept is not None:
            return (x - alpha**0.5 * kept) / (1 - alpha) ** 0.5
        context = request.keywords["context"]
        timesteps = torch.full((len(x),), timestep)
        embedding = unet.time_embed(timestep_embedding(timesteps, unet.model_channels))
        if "y" in request.keywords:
            embedding = embedding + unet.label_emb(request.keywords["y"])
        last = len(unet.output_blocks) - self.awake_blocks
        shallow = []
        h = x
        for index, block in enumerate(unet.input_blocks):
            if self.part == "deep blocks" and kept is not None and index == self.awake_blocks:
                break
            h = block(h, embedding, context)
            shallow.append(h)
        if self.part == "deep blocks" and kept is not None:
            h = kept
        else:
            h = unet.middle_block(h, embedding, context)
        for index, block in enumerate(unet.output_blocks):
            if self.part == "deep blocks" and kept is not None and index < last:
                continue
            h = block(torch.cat([h, shallow.pop()], dim=1), embedding, context)
            if self.part == "deep blocks" and index == last - 1 and kept is None:
                self.kept[key] = h
        output = unet.out(h)
        if self.part == "whole calls":
            self.kept[key] = (x - (1 - alpha) ** 0.5 * output) / alpha**0.5
        return output


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_every_other_step_is_what_a_slow_formulation_gives(part, layout):
    unet, slow, request = make_unet(layout), SlowSleep(layout, part), Request(layout)
    with slothful.applied(unet, sleeping(part)) as application:
        application.begin_pass("base", PassClock(STEPS))
        for index, timestep in enumerate(STEPS):
            expected = slow.run(request, timestep, index % 2 == 1, "only")
            output = request.run(unet, timestep)
            torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


EVENTS = ("joined", "joined", "joined", "split", "positive alone", "other prompt", "larger", "AND")
REQUESTS = {
    "joined": [(0, 1)],
    "split": [(0,), (1,)],
    "positive alone": [(1,)],
    "other prompt": [(2, 1)],
    "larger": [(0, 1)],
    "AND": [(0, 2, 1), (3, 1)],
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_any_sequence_of_calls_is_what_a_slow_formulation_gives(part, seed):
    """Split calls, skipped negative rows, other prompts and sizes, passes, jumps back in time and
    failures, in any order: a call whose memory does not fit is computed.
    """
    chance = random.Random(f"{part} {seed}")
    unet, slow = make_unet("sd1"), SlowSleep("sd1", part)
    state = module_state(unet)
    with slothful.applied(unet, sleeping(part, sleep_every=3)) as application:
        for _ in range(3):
            application.begin_pass("base", PassClock(STEPS))
            slow.kept.clear()
            known: dict = {}  # when each call was last computed
            index, event = 0, "joined"
            while index < len(STEPS):
                if chance.random() < 0.4:
                    event = chance.choice(EVENTS)
                if index > 2 and chance.random() < 0.1:
                    index -= 2  # as Restart does
                    slow.kept.clear()
                    known.clear()
                since = index - index % 3
                application.begin_step()
                for number, prompts in enumerate(REQUESTS[event]):
                    size = (16, 24) if event == "larger" else (16, 16)
                    request = Request("sd1", prompts, size, seed=chance.randrange(100))
                    if number == 0 and chance.random() < 0.1:
                        broken = Request("sd1", prompts, size)
                        broken.keywords = {"context": torch.ones(len(prompts), 7, 99)}
                        with pytest.raises(RuntimeError):
                            broken.run(unet, STEPS[index])
                        application.begin_step()  # the sampler tries again
                    key = (number, request.key)
                    asleep = index != since and known.get(key, -1) >= since
                    if not asleep:
                        known[key] = index
                    expected = slow.run(request, STEPS[index], asleep, key)
                    output = request.run(unet, STEPS[index])
                    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
                index += 1
    assert module_state(unet) == state


@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_where_every_step_is_awake_the_images_are_the_same_to_the_bit(part):
    unet, request = make_unet("sd1"), Request("sd1")
    plain = [request.run(unet, timestep) for timestep in STEPS]
    for always in (dict(sleep_every=1), dict(sleep_first=1), dict(passes="hires"), {}):
        settings = sleeping(part, **always) if always else Settings(method="Sleep only")
        with slothful.applied(unet, settings) as application:
            application.begin_pass("base", PassClock(STEPS))
            for timestep, expected in zip(STEPS, plain):
                assert torch.equal(request.run(unet, timestep), expected)


@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_rows_do_not_depend_on_what_else_is_in_the_batch(part):
    unet = make_unet("sd1")
    one, two = Request("sd1", (0, 1)), Request("sd1", (0, 1, 2, 3))
    one.latent = two.latent[:2].clone()
    answers = []
    for request in (one, two):
        with slothful.applied(unet, sleeping(part)) as application:
            application.begin_pass("base", PassClock(STEPS))
            answers.append([request.run(unet, timestep)[:2] for timestep in STEPS])
    for alone, together in zip(*answers):
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


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


@torch.no_grad()
def test_residuals_reach_the_blocks_that_are_awake():
    """As ControlNet adds them: to what every block gave, by a forward of its own."""
    unet, slow, request = make_unet("sd1"), SlowSleep("sd1", "deep blocks"), Request("sd1")

    def with_residuals(model, amount):
        def forward(x, timesteps, context=None, **kwargs):
            embedding = model.time_embed(timestep_embedding(timesteps, model.model_channels))
            hs, h = [], x
            for block in model.input_blocks:
                h = block(h, embedding, context)
                hs.append(h)
            h = model.middle_block(h, embedding, context)
            h = h + amount * torch.ones(h.shape)
            for block in model.output_blocks:
                skip = hs.pop()
                skip = skip + amount * torch.ones(skip.shape)
                h = block(torch.cat([h, skip], dim=1), embedding, context)
            return model.out(h)

        return forward

    amount = 0.3
    unet.forward = with_residuals(unet, amount)
    with slothful.applied(unet, sleeping("deep blocks")) as application:
        application.begin_pass("base", PassClock(STEPS))
        request.run(unet, STEPS[0])
        output = request.run(unet, STEPS[1])
        # the same from the kept tensor and the awake blocks, by hand
        (entries,) = application._sleeper._memory._entries.values()
        h = entries["deep"][-1].value
    model, hs, x = slow.unet, [], request.latent
    timesteps = torch.full((2,), STEPS[1])
    embedding = model.time_embed(timestep_embedding(timesteps, model.model_channels))
    for block in model.input_blocks[:3]:
        x = block(x, embedding, request.keywords["context"])
        hs.append(x)
    for block in model.output_blocks[-3:]:
        h = block(torch.cat([h, hs.pop() + amount], 1), embedding, request.keywords["context"])
    torch.testing.assert_close(output, model.out(h), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_hooks_of_others_see_what_they_always_see():
    """What they do to an answer is done once, not once more to what was kept."""
    unet, request = make_unet("sd1"), Request("sd1")
    attention = next(m for n, m in unet.named_modules() if n.endswith("attn1"))
    seen = []

    def double(module, args, answers):
        seen.append(answers.clone())
        return answers * 2

    for early in (True, False):
        handles = [attention.register_forward_hook(double)] if early else []
        with slothful.applied(unet, sleeping("self-attention")) as application:
            if not early:
                handles.append(attention.register_forward_hook(double))
            application.begin_pass("base", PassClock(STEPS))
            request.run(unet, STEPS[0])
            request.run(unet, STEPS[1])
        handles[0].remove()
    for first, again in (seen[:2], seen[2:]):
        assert torch.equal(first, again)


@torch.no_grad()
def test_who_writes_into_what_was_given_makes_the_next_call_compute_it():
    unet, request = make_unet("sd1"), Request("sd1")
    attention = next(m for n, m in unet.named_modules() if n.endswith("attn1"))

    def write(module, args, answers):
        answers.mul_(2)

    handle = attention.register_forward_hook(write)
    with slothful.applied(unet, sleeping("self-attention")) as application:
        application.begin_pass("base", PassClock(STEPS))
        request.run(unet, STEPS[0])
        request.run(unet, STEPS[1])
        assert application.plans["IN01"] is None
        assert type(application.plans["OUT11"]).__name__ == "Sleep"
    handle.remove()


@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_nothing_is_left_after_success_and_after_a_failure(part):
    unet, request = make_unet("sd1"), Request("sd1")
    block = unet.output_blocks[-1]
    mine = block.forward
    block.forward = lambda *args, **kwargs: mine(*args, **kwargs)  # somebody else's
    state = module_state(unet)
    kept = []

    def run(fails: bool) -> None:
        with slothful.applied(unet, sleeping(part)) as application:
            application.begin_pass("base", PassClock(STEPS))
            request.run(unet, STEPS[0])
            entries = application._sleeper._memory._entries
            kept.extend(
                weakref.ref(entry.value)
                for parts in entries.values()
                for several in parts.values()
                for entry in several
            )
            if fails:
                unet.out[-1].register_forward_pre_hook(lambda m, a: 1 / 0)
            request.run(unet, STEPS[1])

    run(fails=False)
    assert module_state(unet) == state
    if part != "whole calls":  # where it sleeps, nothing runs that could fail
        with pytest.raises(ZeroDivisionError):
            run(fails=True)
        unet.out[-1]._forward_pre_hooks.clear()
        assert module_state(unet) == state
    gc.collect()
    assert kept
    assert not any(reference() is not None for reference in kept)


@torch.no_grad()
def test_methods_are_applied_while_awake():
    unet, request = make_unet("sd1"), Request("sd1")
    method = Settings(method="Slothful Attention", in_slothful=4, out_slothful=4, time_decay=0)
    with slothful.applied(unet, method):
        alone = [request.run(unet, timestep) for timestep in STEPS]
    settings = method.replace(sleep="self-attention", sleep_first=0, sleep_last=0)
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        kinds = []
        for index, timestep in enumerate(STEPS):
            output = request.run(unet, timestep)
            kinds.append({type(plan).__name__ for plan in application.plans.values() if plan})
            if index % 2 == 0:
                assert torch.equal(output, alone[index])
    assert kinds == [{"Reduce"}, {"Sleep"}] * 3 + [{"Reduce"}]


@torch.no_grad()
def test_a_copy_of_the_unet_is_awake_and_free():
    unet, request = make_unet("sd1"), Request("sd1")
    plain = request.run(unet, STEPS[1])
    with slothful.applied(unet, sleeping("deep blocks")) as application:
        application.begin_pass("base", PassClock(STEPS))
        request.run(unet, STEPS[0])
        twin = copy.deepcopy(unet)
        assert torch.equal(request.run(twin, STEPS[1]), plain)


def test_as_many_awake_blocks_as_there_are_leave_nothing_to_sleep():
    unet = make_unet("sdxl")
    message = "sleep_awake_blocks must be between 1 and 8 for this model, got 11"
    state = module_state(unet)
    with (
        pytest.raises(SettingsError, match=message),
        slothful.applied(unet, sleeping("deep blocks", sleep_awake_blocks=11)),
    ):
        pass
    assert module_state(unet) == state


@pytest.mark.parametrize("kind", ["noise", "velocity"])
def test_an_output_and_its_denoised_image_say_the_same(kind):
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(2, 9, 8, 8, generator=generator)  # an inpainting model's
    output = torch.randn(2, 4, 8, 8, generator=generator)
    prediction = Prediction(kind)
    for timestep in (999.0, 500.5, 1.0):
        denoised = prediction.denoised(latent, output, timestep)
        again = prediction.output(latent, denoised, timestep)
        torch.testing.assert_close(again, output, rtol=1e-3, atol=1e-3)

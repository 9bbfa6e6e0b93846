"""Nodes with other layouts, LoRA and guidance in a real ComfyUI, and the negative side asleep."""

import numpy as np
import pytest

from tests.comfy_server import NEEDS_COMFYUI, Workflow, flow_images, image_and_told, told

pytestmark = [NEEDS_COMFYUI, pytest.mark.usefixtures("leaves_nothing_in_comfy")]

SLOTHFUL = ("Slothful_SlothfulAttention", {"time_decay": 0.0})
SLEEP = ("Slothful_Sleep", {"sleep_min_steps": 1, "sleep_first": 0.1, "sleep_last": 0.05})
EVERY_OTHER = {"negative_first": 0.0, "negative_last": 0.0, "negative_every": 2.0}
HALF = ("Slothful_NegativePrompt", EVERY_OTHER)
AWAKE = ("Slothful_NegativePrompt", {**EVERY_OTHER, "negative_every": 1.0})
LORA = ("LoraLoaderModelOnly", {"lora_name": "probe.safetensors", "strength_model": 1.0})
STEPS = 10
ASLEEP = "negative side asleep in 5 of 10 steps"


def sampled(flow, chain=(), xl=False, **options):
    """Save what a sampler makes behind a chain of nodes, with a model of SD1's layout or SDXL's."""
    if not xl:
        return flow.save(flow.sample(flow.chain(*chain), steps=STEPS, **options))
    model = flow.add("ProbeLoader", ckpt_name="sdxl.safetensors")
    text = [model[0], 1]
    words = {"positive": "a red circle", "negative": "a green square"}
    sides = {n: flow.add("CLIPTextEncode", clip=text, text=each) for n, each in words.items()}
    for kind, inputs in chain:
        model = flow.add(kind, model=model, **inputs)
    return flow.save(flow.sample(model, steps=STEPS, **sides, **options))


SAMPLERS = [
    dict(chain=(LORA, SLOTHFUL)),
    dict(chain=(SLOTHFUL, SLEEP, HALF), xl=True),
    dict(chain=(LORA,)),
    dict(xl=True),
    dict(chain=(HALF, LORA)),
    dict(),
]
"""Of one workflow."""


def test_each_sampler_of_a_workflow_gets_what_its_own_wires_bring(comfy):
    """With a LoRA and without, of either layout: as it would alone."""
    alone = []
    for options in SAMPLERS:
        flow = Workflow()
        alone += flow_images(comfy, flow, [sampled(flow, seed=3, **options)])
    assert len({image.tobytes() for image in alone}) == len(SAMPLERS)
    comfy.image(seed=4)  # so that nothing comes from ComfyUI's cache
    flow = Workflow()
    saved = [sampled(flow, seed=3, **options) for options in SAMPLERS]
    together = flow_images(comfy, flow, saved)
    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))


def test_a_model_of_sdxls_layout_says_where(comfy):
    flow, since = Workflow(), len(comfy.said())
    flow_images(comfy, flow, [sampled(flow, (SLOTHFUL,), xl=True, seed=5)])
    (line,) = told(comfy, since)
    assert line.startswith("applied in IN04")
    assert "IN01" not in line


SAMPLED = {
    "one image": {},
    "two": dict(batch=2),
    "Heun": dict(sampler_name="heun"),
    "with noise": dict(sampler_name="dpmpp_sde"),
    "LCM": dict(sampler_name="lcm"),
    "odd size": dict(size=(136, 104)),
}


@pytest.mark.parametrize("options", SAMPLED.values(), ids=SAMPLED)
def test_the_negative_side_sleeps(comfy, options):
    options = dict(steps=STEPS, seed=6, **options)
    plain = comfy.image(**options)
    half, lines = image_and_told(comfy, HALF, **options)
    assert ASLEEP in lines[0]
    assert not np.array_equal(half, plain)
    assert np.array_equal(comfy.image(AWAKE, **options), plain)


def test_the_image_does_not_depend_on_the_order_of_the_nodes(comfy):
    options = dict(steps=STEPS, seed=7)
    first, lines = image_and_told(comfy, HALF, SLEEP, SLOTHFUL, **options)
    assert f"of {STEPS} steps; {ASLEEP}" in lines[0]
    assert ASLEEP in lines[0]
    assert np.array_equal(comfy.image(SLOTHFUL, HALF, SLEEP, **options), first)


def test_without_a_negative_side_nothing_sleeps(comfy):
    options = dict(steps=STEPS, seed=8, cfg=1.0)
    image, lines = image_and_told(comfy, HALF, **options)
    assert np.array_equal(image, comfy.image(**options))
    assert lines[0].startswith("nothing was applied")


def conditions(flow, kind):
    """Two sides that are more than a text each."""
    other = flow.add("CLIPTextEncode", clip=flow.TEXT, text="a blue square, " * 30)
    if kind == "long":
        return dict(positive=other)
    if kind == "two prompts":
        both = flow.add("ConditioningCombine", conditioning_1=flow.positive, conditioning_2=other)
        return dict(positive=both)
    if kind == "area":
        area = dict(width=64, height=128, x=64, y=0, strength=1.0)
        part = flow.add("ConditioningSetArea", conditioning=other, **area)
        both = flow.add("ConditioningCombine", conditioning_1=flow.positive, conditioning_2=part)
        return dict(positive=both)
    late = flow.add("ConditioningSetTimestepRange", conditioning=other, start=0.5, end=1.0)
    early = flow.add("ConditioningSetTimestepRange", conditioning=flow.positive, start=0.0, end=0.5)
    return dict(positive=flow.add("ConditioningCombine", conditioning_1=early, conditioning_2=late))


@pytest.mark.parametrize("kind", ["long", "two prompts", "area", "by time"])
def test_sides_of_more_than_a_text(comfy, kind):
    """Each node alone in a workflow of its own; an area is computed apart."""
    images, lines = [], []
    for chain in ((), (HALF,), (AWAKE,)):
        flow, since = Workflow(), len(comfy.said())
        saved = sampled(flow, chain, seed=9, **conditions(flow, kind))
        images += flow_images(comfy, flow, [saved])
        lines += told(comfy, since)
    plain, half, awake = images
    assert np.array_equal(awake, plain)
    assert "negative side asleep in" in lines[0]
    assert not np.array_equal(half, plain)


GUIDED = {
    "PerturbedAttentionGuidance": {"scale": 3.0},
    "SelfAttentionGuidance": {"scale": 0.5, "blur_sigma": 2.0},
    "RescaleCFG": {"multiplier": 0.7},
    "FreeU_V2": {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2},
}


@pytest.mark.parametrize("name", GUIDED)
def test_beside_other_guidance(comfy, name):
    """Of ComfyUI's own, which calls the model more often or looks at both sides."""
    other, options = (name, GUIDED[name]), dict(steps=STEPS, seed=10)
    plain = comfy.image(other, **options)
    assert np.array_equal(comfy.image(other, AWAKE, **options), plain)
    half, lines = image_and_told(comfy, other, HALF, **options)
    assert np.array_equal(comfy.image(HALF, other, **options), half)
    assert not np.array_equal(half, plain)
    assert "negative side asleep in" in lines[0]


def test_with_three_conditions_all_are_computed_and_it_is_said(comfy):
    images, lines = [], []
    for chain in ((), (HALF,)):
        flow, since = Workflow(), len(comfy.said())
        third = flow.add("CLIPTextEncode", clip=flow.TEXT, text="a green square")
        model = flow.chain(*chain)
        guider = flow.add(
            "DualCFGGuider", model=model, cond1=flow.positive, cond2=third,
            negative=flow.negative, cfg_conds=5.0, cfg_cond2_negative=5.0, style="regular",
        )  # fmt: skip
        sigmas = flow.add(
            "BasicScheduler", model=model, scheduler="normal", steps=STEPS, denoise=1.0
        )
        latent = flow.add(
            "SamplerCustomAdvanced",
            noise=flow.add("RandomNoise", noise_seed=11),
            guider=guider,
            sampler=flow.add("KSamplerSelect", sampler_name="euler"),
            sigmas=sigmas,
            latent_image=flow.add("EmptyLatentImage", width=128, height=128, batch_size=1),
        )
        images += flow_images(comfy, flow, [flow.save(latent)])
        lines += told(comfy, since)
    assert np.array_equal(*images)
    assert lines[0].startswith("nothing was applied")

"""The node of the negative prompt in a real ComfyUI, over its API."""

import re

import numpy as np
import pytest

from tests.comfy_server import NEEDS_COMFYUI, Comfy, Workflow

pytestmark = NEEDS_COMFYUI

NODE = "Slothful_NegativePrompt"
WITHIN = {"negative": "in the attention", "negative_first": 0.0, "negative_last": 0.0}


@pytest.fixture(scope="module")
def comfy(tmp_path_factory):
    server = Comfy(tmp_path_factory.mktemp("comfy"))
    yield server
    server.stop()


def made(comfy, values=None, text="a green square", given=None, **options):
    """(image, the line that is ours) with a sampler's negative prompt, and the node's own."""
    flow, since = Workflow(), len(comfy.said())
    if given is not None:
        own = flow.add("CLIPTextEncode", clip=flow.TEXT, text=given)
        values = {**values, "negative_prompt": own}
    negative = flow.add("CLIPTextEncode", clip=flow.TEXT, text=text)
    model = flow.chain(*([] if values is None else [(NODE, values)]))
    saved = flow.save(flow.sample(model, negative=negative, **options))
    image = comfy.run(flow.nodes)[saved][0]
    said = re.findall(r"Slothful Attention: (.*)", comfy.said(since))
    assert comfy.get("/probe/left") == []
    return image, "".join(said)


@pytest.mark.parametrize("form", ["NAG", "VSF"])
@pytest.mark.parametrize("options", [dict(cfg=1.0), dict(cfg=5.0), dict(cfg=1.0, batch=2)], ids=str)
def test_the_negative_prompt_acts_in_the_attention(comfy, options, form):
    values = {**WITHIN, "negative_form": form}
    plain, _ = made(comfy, **options)
    image, said = made(comfy, values, **options)
    assert said.startswith("negative prompt in the attention in 3 of 3 steps")
    other, _ = made(comfy, values, text="a blue background", **options)
    given, _ = made(comfy, values, given="a blue background", **options)
    assert not np.array_equal(image, plain)
    assert not np.array_equal(image, other)
    assert np.array_equal(given, other)


def test_guidance_has_no_effect_there(comfy):
    images = [made(comfy, WITHIN, cfg=scale)[0].astype(int) for scale in (1.0, 5.0)]
    assert np.abs(images[0] - images[1]).max() <= 2


@pytest.mark.parametrize("mix", ["push", "share", "repel"])
def test_keys_are_mixed(comfy, mix):
    values = {"negative": "computed", "mix": mix}
    plain, _ = made(comfy)
    image, said = made(comfy, values)
    assert not np.array_equal(image, plain)
    assert said.startswith("applied in") or said == ""
    assert np.array_equal(made(comfy, {**values, "mix_amount": 0.0})[0], plain)
    alone, said = made(comfy, values, cfg=1.0)
    assert "only one of the two sides is in the batch" in said
    assert np.array_equal(alone, made(comfy, cfg=1.0)[0])

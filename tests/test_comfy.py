"""The nodes in a real ComfyUI, over its API."""

import json

import numpy as np
import pytest

from standalone.comfy_texts import NODE_TEXTS
from tests.comfy_server import (
    CHECKPOINT,
    NEEDS_COMFYUI,
    ROOT,
    Comfy,
    Workflow,
    flow_images,
    image_and_told,
    prompt_of,
    told,
)

pytestmark = [NEEDS_COMFYUI, pytest.mark.usefixtures("leaves_nothing_in_comfy")]

TILED = (192, 192)
"""A size that is larger than the smallest tiles."""
STRONG = {"time_decay": 0.0}
METHODS = {
    "Slothful_SlothfulAttention": {**STRONG, "in_v_blend": 1.0},
    "Slothful_NearSightedTile": {},
    "Slothful_NearSightedAttention": {**STRONG, "base_tile_size": 16, "peak_tile_size": 16},
    "Slothful_PlainTiles": {**STRONG, "plain_tile_size": 64, "tile_halo": 1},
    "Slothful_TokenMerging": {**STRONG, "merge_mlp": True},
    "Slothful_TokenDownsampling": STRONG,
}
SLOTHFUL = ("Slothful_SlothfulAttention", METHODS["Slothful_SlothfulAttention"])
EARLY = {"sleep_min_steps": 1, "sleep_first": 0.1, "sleep_last": 0.05}
SLEEP = ("Slothful_Sleep", EARLY)
OTHER_SETTINGS = ("Slothful_SlothfulAttention", {"time_decay": 0.0, "in_slothful": 4.0})


@pytest.mark.parametrize("method", METHODS)
def test_each_method_changes_the_image_and_says_where(comfy, method):
    image, lines = image_and_told(comfy, (method, METHODS[method]), size=TILED)
    assert not np.array_equal(image, comfy.image(size=TILED))
    assert len(lines) == 1
    assert lines[0].startswith("applied in IN01")


def test_values_may_be_left_out_and_have_the_defaults(comfy):
    node = "Slothful_NearSightedTile"
    declared = comfy.get(f"/object_info/{node}")[node]["input"]["optional"]
    values = {name: options["default"] for name, (_, options) in declared.items()}
    assert values["tile_size"] == 16
    images = [comfy.image((node, each), size=TILED) for each in ({}, values)]
    assert np.array_equal(*images)


def test_settings_without_effect_give_the_same_image_and_the_reason(comfy, comfy_off):
    weak = {"in_slothful": 1.0, "out_slothful": 1.0}
    image, lines = image_and_told(comfy, ("Slothful_SlothfulAttention", weak))
    assert np.array_equal(image, comfy_off)
    assert lines == ["nothing was applied: the strength never exceeds 1 in these steps and blocks"]


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("dpmpp_2m", {}),
        ("dpmpp_sde", {}),
        ("lcm", {"cfg": 1.0}),
        ("heunpp2", {}),
        ("uni_pc", {}),
        ("ddim", {"scheduler": "ddim_uniform"}),
    ],
)
def test_samplers(comfy, sampler, options):
    options = dict(sampler_name=sampler, **options)
    assert not np.array_equal(comfy.image(SLOTHFUL, **options), comfy.image(**options))


@pytest.mark.parametrize("options", [{"size": (136, 104)}, {"batch": 2}], ids=str)
def test_sizes_and_batches(comfy, options):
    assert not np.array_equal(comfy.image(SLOTHFUL, **options), comfy.image(**options))


def test_an_image_does_not_depend_on_what_else_is_sampled(comfy, comfy_off):
    """Two samplers in one workflow, with the settings and without, in either order."""
    alone = comfy.image(SLOTHFUL)
    for first in ((), (SLOTHFUL,)):
        flow = Workflow()
        second = () if first else (SLOTHFUL,)
        saved = [flow.save(flow.sample(flow.chain(*chain))) for chain in (first, second)]
        images = flow_images(comfy, flow, saved)
        plain, changed = images if not first else images[::-1]
        assert np.array_equal(plain, comfy_off)
        assert np.array_equal(changed, alone)


TIMES = ("ProbeTimes", {})


@pytest.mark.parametrize("scheduler", ["normal", "karras"])
def test_the_pass_clock_is_exact(comfy, scheduler):
    """Of each pass of its own, also where it begins inside the schedule."""
    timed = ("Slothful_SlothfulAttention", {"time_axis": "pass progress"})
    flow = Workflow()
    latent = flow.sample(flow.chain(timed), steps=3, scheduler=scheduler, seed=11)
    model = flow.chain(timed, TIMES)
    options = dict(steps=5, denoise=0.6, scheduler=scheduler)
    saved = flow.save(flow.sample(model, latent, **options))
    assert saved in comfy.run(flow.nodes)
    seen = comfy.get("/probe/times")
    assert len(seen) == 5
    for step, (timestep, moments) in enumerate(seen):
        assert timestep < 900
        ((time, size),) = moments
        assert time == pytest.approx(step / 4)
        assert size == [128, 128]


def test_the_time_of_a_model_with_other_timesteps_is_that_of_the_pass(comfy):
    edm = ("ModelSamplingContinuousEDM", {"sampling": "eps", "sigma_max": 14.6, "sigma_min": 0.03})
    comfy.image(edm, SLOTHFUL, TIMES, steps=3, seed=12)
    seen = comfy.get("/probe/times")
    assert all(timestep < 1 for timestep, _ in seen)
    assert [moments[0][0] for _, moments in seen] == pytest.approx([0, 0.5, 1])


def test_sleep_alone_and_beside_a_method_in_either_order(comfy, comfy_off):
    alone, lines = image_and_told(comfy, SLEEP, steps=8)
    assert "; asleep in 3 of 8 steps; " in lines[0]
    first, lines = image_and_told(comfy, SLEEP, SLOTHFUL, steps=8)
    assert "; asleep in 3 of 8 steps; " in lines[0]
    second = comfy.image(SLOTHFUL, SLEEP, steps=8)
    assert np.array_equal(first, second)
    method, plain = comfy.image(SLOTHFUL, steps=8), comfy.image(steps=8)
    different = [alone, first, method, plain]
    assert len({image.tobytes() for image in different}) == 4


@pytest.mark.parametrize("part", ["self-attention", "attention", "transformers", "whole calls"])
def test_each_part_can_sleep(comfy, part):
    sleep = ("Slothful_Sleep", {"sleep": part, **EARLY})
    image, lines = image_and_told(comfy, sleep, steps=8, sampler_name="dpmpp_2m")
    assert not np.array_equal(image, comfy.image(steps=8, sampler_name="dpmpp_2m"))
    assert "asleep in 3 of 8 steps" in lines[0]


def test_a_wish_gives_what_its_settings_give(comfy):
    wish = ("Slothful_Lazy", {"lazy": "gentle"})
    wished, lines = image_and_told(comfy, wish, steps=12)
    assert "; asleep in " in lines[0]
    # the gentlest that the study knows, as arithmetic decides
    chosen = ("Slothful_Sleep", {"sleep": "deep blocks", "sleep_every": 2})
    assert np.array_equal(wished, comfy.image(chosen, steps=12))
    plain = comfy.image(steps=12)
    assert not np.array_equal(wished, plain)
    assert np.array_equal(comfy.image(("Slothful_Lazy", {"lazy": "off"}), steps=12), plain)
    # one takes the place of the other
    assert np.array_equal(comfy.image(SLOTHFUL, wish, steps=12), wished)
    assert np.array_equal(comfy.image(wish, SLOTHFUL, steps=12), comfy.image(SLOTHFUL, steps=12))


def test_whole_calls_cannot_sleep_where_the_prediction_is_not_known(comfy):
    sleep = ("Slothful_Sleep", {"sleep": "whole calls", **EARLY})
    edm = ("ModelSamplingContinuousEDM", {"sampling": "eps", "sigma_max": 14.6, "sigma_min": 0.03})
    with pytest.raises(RuntimeError, match="whole calls cannot sleep with this model"):
        comfy.image(edm, sleep)


def test_of_two_methods_the_last_is_applied_and_the_log_says_so(comfy):
    alone = comfy.image(SLOTHFUL)
    image, lines = image_and_told(
        comfy, ("Slothful_TokenMerging", {}), SLOTHFUL, seed=1, cfg=5.00001
    )
    assert lines[0] == "Slothful Attention replaces Token Merging; a model has one method"
    assert np.array_equal(comfy.image(OTHER_SETTINGS, SLOTHFUL), alone)
    assert image.shape == alone.shape


HYPERTILE = ("HyperTile", {"tile_size": 32, "swap_size": 2, "max_depth": 0, "scale_depth": False})
TOME = ("TomePatchModel", {"ratio": 0.5})


@pytest.mark.parametrize("other", [HYPERTILE, TOME], ids=lambda node: node[0])
@pytest.mark.parametrize("order", ["before", "behind"])
def test_blocks_that_others_change_are_skipped(comfy, other, order):
    chain = (other, SLOTHFUL) if order == "before" else (SLOTHFUL, other)
    image, lines = image_and_told(comfy, *chain)
    (line,) = lines
    assert "skipped IN01" in line
    assert "applied in" in line
    assert not np.array_equal(image, comfy.image(other))


def test_beside_more_tokens_in_the_prompt(comfy):
    more = ("ProbePicturePrompt", {})
    image = comfy.image(more, SLOTHFUL)
    assert np.array_equal(image, comfy.image(SLOTHFUL, more))
    others = [comfy.image(more), comfy.image(SLOTHFUL), image]
    assert len({each.tobytes() for each in others}) == 3


def test_beside_a_controlnet(comfy):
    flow = Workflow()
    hint = flow.add("EmptyImage", width=128, height=128, batch_size=1, color=0xFF0000)
    network = flow.add("ProbeControl", model=flow.MODEL)
    control = flow.add(
        "ControlNetApplyAdvanced", positive=flow.positive, negative=flow.negative, image=hint,
        control_net=network, strength=1.0, start_percent=0.0, end_percent=1.0,
    )  # fmt: skip
    conditions = dict(positive=control, negative=[control[0], 1])
    saved = []
    for chain in ((), (SLOTHFUL,)):
        saved.append(flow.save(flow.sample(flow.chain(*chain), **conditions)))
    saved.append(flow.save(flow.sample(flow.chain(SLOTHFUL))))
    images = flow_images(comfy, flow, saved)
    assert len({each.tobytes() for each in images}) == 3


HALF = ("Slothful_NegativePrompt", {"negative_first": 0.0})
MERGING = ("Slothful_TokenMerging", METHODS["Slothful_TokenMerging"])


@pytest.mark.parametrize("event", ["error", "memory", "interrupt"])
@pytest.mark.parametrize("node", [SLOTHFUL, MERGING, SLEEP, HALF], ids=lambda node: node[0])
def test_nothing_is_left_after_what_happens_inside_the_unet(comfy, node, event):
    with pytest.raises(RuntimeError) as error:
        comfy.image(node, ("ProbeFault", {"event": event, "at": 20}), steps=10)
    assert ("interrupted" if event == "interrupt" else "planned fault") in str(error.value)
    assert comfy.get("/probe/left") == []


def test_a_model_without_a_unet_is_as_if_off(comfy):
    flow = Workflow()
    saved = []
    for chain in ((), (SLOTHFUL,)):
        model = flow.add("ProbeNoUnet", model=flow.MODEL)
        for kind, inputs in chain:
            model = flow.add(kind, model=model, **inputs)
        saved.append(flow.save(flow.sample(model)))
    since = len(comfy.said())
    plain, other = flow_images(comfy, flow, saved)
    assert np.array_equal(plain, other)
    (line,) = told(comfy, since)
    assert line.startswith("nothing was applied: _Transformer is not a Stable Diffusion 1, 2 or XL")


BAD = {
    "in_slothful": (99, "bigger than max of 50"),
    "in_mode": ("3D_AVG", "not in list"),
    "block_weights": ("IN99=0", "block_weights has no block 'IN99'"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_values_are_refused_before_anything_runs(comfy, name):
    value, said = BAD[name]
    flow = Workflow()
    model = flow.chain(("Slothful_SlothfulAttention", {name: value}))
    flow.save(flow.sample(model))
    status, answer = comfy.post("/prompt", {"prompt": flow.nodes})
    assert status == 400
    assert said in json.dumps(answer)


def test_values_that_contradict_each_other_fail_with_our_words(comfy):
    merging = {"merge_ratio": 0.6, "merge_stride_x": 1, "merge_stride_y": 2}
    with pytest.raises(RuntimeError) as error:
        comfy.image(("Slothful_TokenMerging", merging))
    said = "merge_ratio must be between 0 and 0.5 with strides of 1 x 2, got 0.6"
    assert said in str(error.value)


def test_block_weights_are_text(comfy):
    node, values = SLOTHFUL
    _, lines = image_and_told(comfy, (node, {**values, "block_weights": "IN01=0, out11=0"}))
    assert "IN01" not in lines[0]
    assert "IN02" in lines[0]
    assert "OUT11" not in lines[0]


EXAMPLES = sorted((ROOT / "example_workflows").glob("*.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_run(comfy, path):
    """With the small model in the place of theirs, and small images."""
    drawn = json.loads(path.read_text(encoding="utf-8"))
    drawn["nodes"][0].update(type="ProbeLoader", widgets_values=[CHECKPOINT])
    prompt = prompt_of(comfy, drawn)
    for node in prompt.values():
        sizes = {"EmptyLatentImage": {"width": 128, "height": 128}, "KSampler": {"steps": 10}}
        node["inputs"] |= sizes.get(node["class_type"], {})
    since = len(comfy.said())
    images = [image for images in comfy.run(prompt).values() for image in images]
    assert images
    ours = [node for node in prompt.values() if node["class_type"].startswith("Slothful_")]
    assert ours
    assert all("applied in" in line for line in told(comfy, since))
    if path.stem == "compare-off-on":
        assert not np.array_equal(*images)


def test_comfyui_lists_the_examples_and_reads_the_japanese_texts(comfy):
    (folder,) = (comfy.folder / "custom_nodes").glob("slothful*")
    listed = comfy.get("/workflow_templates")[folder.name]
    assert sorted(listed) == [path.stem for path in EXAMPLES]
    japanese = comfy.get("/i18n")["ja"]["nodeDefs"]
    assert japanese == json.loads(NODE_TEXTS.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_it_installs_in_any_folder_and_of_two_copies_one_is_used(tmp_path):
    """Letters that are not ASCII, no git, twice by mistake."""
    folder = tmp_path / "コンフィ ü"
    server = Comfy(folder, ("slothful-attention-webui", "slothful-attention-webui-main"))
    try:
        assert server.said().count("Slothful Attention is installed twice") == 1
        image, lines = image_and_told(server, SLOTHFUL)
        assert len(lines) == 1
        assert not np.array_equal(image, server.image())
        assert server.get("/probe/left") == []
    finally:
        server.stop()

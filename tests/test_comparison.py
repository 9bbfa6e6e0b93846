"""Comparisons: every picture twice with the same seed, first without the effect, then with it."""

import re

import numpy as np
import pytest

from slothful import Settings, SettingsError
from slothful_webui.arguments import wants_comparison
from slothful_webui.controls import CONTROLS, values_of
from standalone.checkpoint import SMALL, load
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner
from tests.batches import besides

STRONG = {"in_slothful": 12, "out_slothful": 9, "time_decay": 0}


@pytest.fixture(scope="module")
def model():
    return load(SMALL)


def generate(model, args, **values):
    options = dict(prompt="a red circle on a blue background", width=64, height=64, steps=2)
    request = Processing(model, **{**options, **values})
    processed = process_images(request, ScriptRunner(args))
    return [np.asarray(image) for image in processed.images], processed.infotexts


@pytest.mark.parametrize("enabled", [True, False])
def test_a_comparison_is_the_two_pictures_that_one_would_make_one_after_the_other(model, enabled):
    both, infotexts = generate(model, [{**STRONG, "enabled": enabled, "compare": True}])
    off, on = generate(model, None)[0][0], generate(model, [STRONG])[0][0]
    assert len(both) == 2
    assert np.array_equal(both[0], off)
    assert np.array_equal(both[1], on)
    assert not np.array_equal(off, on)
    assert "Slothful Attention" not in infotexts[0]
    assert "Slothful Attention: v2; " in infotexts[1]


def test_pairs_of_several_batches_share_their_seeds(model):
    args = [{**STRONG, "compare": True}]
    both = generate(model, args, n_iter=2, batch_size=2, seed=5)[0]
    plain = generate(model, None, n_iter=2, batch_size=2, seed=5)[0]
    changed = generate(model, [STRONG], n_iter=2, batch_size=2, seed=5)[0]
    expected = [*plain[:2], *changed[:2], *plain[2:], *changed[2:]]
    assert len(both) == 8
    assert all(np.array_equal(one, other) for one, other in zip(both, expected))


def test_a_request_that_runs_again_is_not_doubled_again(model):
    runner = ScriptRunner([{**STRONG, "compare": True}])
    request = Processing(model, width=64, height=64, steps=1)
    for _ in range(2):
        assert len(process_images(request, runner).images) == 2
        assert request.n_iter == 1  # the webui names files by it
    request.n_iter = 2
    assert len(process_images(request, runner).images) == 4


# -- requests that others change, repeat or make


class Neighbour:
    """Another extension, whose callbacks run before or after ours."""

    def __init__(self, **callbacks):
        for name, callback in callbacks.items():
            setattr(self, name, callback)


class Neighbours(ScriptRunner):
    """Our script between two others."""

    def __init__(self, args, before=None, after=None):
        super().__init__(args)
        self.others = before, after

    def call(self, callback, *positional, **details):
        before, after = (getattr(each, callback, lambda *_, **__: None) for each in self.others)
        before(*positional, **details)
        super().call(callback, *positional, **details)
        after(*positional, **details)


COMPARED = [{**STRONG, "compare": True}]
SMALL_REQUEST = dict(prompt="a red circle on a blue background", width=64, height=64, steps=1)


def run_beside(model, before=None, after=None, args=COMPARED, **values):
    request = Processing(model, **{**SMALL_REQUEST, **values})
    return process_images(request, Neighbours(args, before, after))


def seeds_and_effects(processed):
    """(prompt, seed, whether the infotext has our key) of each image."""
    found = []
    for text in processed.infotexts:
        seed = int(re.search(r"Seed: (\d+)", text)[1])
        found.append((text.splitlines()[0], seed, "Slothful Attention: v" in text))
    return found


def pairs_of(*drawn):
    return [(prompt, seed, effect) for prompt, seed in drawn for effect in (False, True)]


def with_prompts(p, prompts):
    p.all_prompts, p.all_negative_prompts = prompts, [""] * len(prompts)
    p.all_seeds = [20 + index for index in range(len(prompts))]


def test_prompts_that_another_extension_makes_before_ours_come_in_pairs(model):
    def process(p):
        with_prompts(p, [f"prompt {index}" for index in range(p.n_iter * p.batch_size)])

    made = run_beside(model, before=Neighbour(process=process), n_iter=2)
    assert seeds_and_effects(made) == pairs_of(("prompt 0", 20), ("prompt 1", 21))
    assert besides(made.comments) == []


def test_prompts_that_another_extension_changes_after_ours_come_in_pairs(model):
    def process(p):
        with_prompts(p, [f"prompt {index}" for index, _ in enumerate(p.all_prompts)])

    made = run_beside(model, after=Neighbour(process=process), n_iter=2)
    assert seeds_and_effects(made) == pairs_of(("prompt 0", 20), ("prompt 1", 21))
    assert besides(made.comments) == []


def test_as_many_prompts_as_batches_that_another_extension_makes_are_all_used(model):
    def process(p):
        with_prompts(p, [f"prompt {index}" for index in range(p.n_iter * p.batch_size)])

    made = run_beside(model, after=Neighbour(process=process))
    assert seeds_and_effects(made) == [("prompt 0", 20, True), ("prompt 1", 21, True)]
    assert "not compared: another extension changed" in made.comments[0]


def test_more_images_that_another_extension_makes_before_ours_come_in_pairs(model):
    def process(p):
        with_prompts(p, ["one", "two", "three"])
        p.n_iter = 3

    made = run_beside(model, before=Neighbour(process=process))
    assert seeds_and_effects(made) == pairs_of(("one", 20), ("two", 21), ("three", 22))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_where_another_extension_sets_their_number_after_ours_none_is_lost(model, count):
    prompts = [f"prompt {index}" for index in range(count)]

    def process(p):
        with_prompts(p, prompts)
        p.n_iter = count

    made = run_beside(model, after=Neighbour(process=process))
    assert seeds_and_effects(made) == [(each, 20 + i, True) for i, each in enumerate(prompts)]
    assert besides(made.comments) == [
        "Slothful Attention: not compared: another extension changed the number of images"
    ]


def test_a_batch_that_becomes_smaller_gives_true_pairs(model):
    """img2img lowers the size of the batch to the number of its images."""

    def process(p):
        p.batch_size = 1  # what p.init does between two callbacks

    made = run_beside(model, after=Neighbour(process=process), batch_size=2, n_iter=2, seed=5)
    prompt = SMALL_REQUEST["prompt"]
    assert seeds_and_effects(made) == pairs_of((prompt, 5), (prompt, 6))


def test_a_pair_of_two_prompts_is_told(model):
    def before_process_batch(p, batch_number, **details):
        p.prompts[:] = [f"prompt {batch_number}"] * len(p.prompts)

    made = run_beside(model, after=Neighbour(before_process_batch=before_process_batch))
    assert [effect for _, _, effect in seeds_and_effects(made)] == [False, True]
    assert "different prompts or seeds" in made.comments[0]


def test_a_selected_script_gets_the_images_that_it_asks_for(model):
    request = Processing(model, **SMALL_REQUEST)
    request.script_args = (2, "anything")
    made = process_images(request, ScriptRunner(COMPARED))
    assert seeds_and_effects(made) == [(SMALL_REQUEST["prompt"], 0, True)]
    assert "not compared: the script 2 is selected" in made.comments[0]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_request_inside_another_is_part_of_the_outer_ones_image(model, enabled):
    """A detailer makes its images with all scripts, and takes the first one."""
    made = []
    args = [{**STRONG, "compare": True, "enabled": enabled}]

    def postprocess_batch(p, **details):
        inner = Processing(model, **{**SMALL_REQUEST, "prompt": "a detail"})
        made.append(process_images(inner, ScriptRunner(args)))

    outer = run_beside(model, after=Neighbour(postprocess_batch=postprocess_batch), args=args)
    assert [effect for _, _, effect in seeds_and_effects(outer)] == [False, True]
    assert [seeds_and_effects(inner) for inner in made] == [
        [("a detail", 0, False)], [("a detail", 0, True)]
    ]  # fmt: skip


def test_images_that_would_be_saved_under_one_name_are_not_compared(model, monkeypatch):
    from modules import shared

    settings = dict(samples_save=True, save_images_add_number=False)
    for name, value in settings.items():
        monkeypatch.setattr(shared.opts, name, value, raising=False)
    for pattern, count in (("[seed]", 1), ("[seed]-[generation_number]", 2)):
        monkeypatch.setattr(shared.opts, "samples_filename_pattern", pattern, raising=False)
        assert len(generate(model, COMPARED, width=64, height=64, steps=1)[0]) == count


def test_the_pages_box_comes_after_all_controls():
    values = [True, *values_of(Settings())]
    assert len(values) == 1 + len(CONTROLS)
    assert not wants_comparison(values)
    assert not wants_comparison([*values, False])
    assert wants_comparison([*values, True])


def test_compare_is_true_or_false(model):
    with pytest.raises(SettingsError, match="compare must be true or false, got 'maybe'"):
        wants_comparison([{"compare": "maybe"}])
    with pytest.raises(RuntimeError, match="compare must be true or false"):
        generate(model, [{"compare": "maybe"}])

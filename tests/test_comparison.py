"""Comparisons: every picture twice with the same seed, first without the effect, then with it."""

import numpy as np
import pytest

from slothful import Settings, SettingsError
from slothful_webui.arguments import wants_comparison
from slothful_webui.controls import CONTROLS, values_of
from standalone.checkpoint import SMALL, load
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner

STRONG = {"in_slothful": 12, "out_slothful": 9, "time_decay": 0}


@pytest.fixture(scope="module")
def model():
    return load(SMALL)


def generate(model, args, **values):
    options = dict(prompt="a red circle on a blue background", width=128, height=128, steps=3)
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
    assert "Slothful Attention: v1; " in infotexts[1]


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
    assert len(process_images(request, runner).images) == 2
    assert len(process_images(request, runner).images) == 2


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

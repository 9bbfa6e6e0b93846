"""The rivals do what their papers say, and leave the U-Net as it was."""

import gc
import weakref

import pytest
import torch

import slothful
from benchmarks.rivals import RIVALS, DeepCache, EasyCache, Spectrum, TGate
from benchmarks.rivals.spectrum import chebyshev_weights
from slothful import PassClock, Settings, find_sites
from slothful.planning.forecast import forecast_weights
from tests.unets import inputs, make_unet, module_state

CALLS = 10
TIMESTEPS = torch.linspace(950, 50, CALLS).tolist()


@pytest.fixture(scope="module")
def unets():
    return {layout: make_unet(layout) for layout in ("sd1", "sdxl")}


def requests(unet, calls=CALLS, batch=2, change=0.3):
    """The arguments of each call of a pass: latents that change from one to the next."""
    latent, timesteps, keywords = inputs(unet, batch=batch, height=8, width=8)
    generator = torch.Generator().manual_seed(5)
    for index in range(calls):
        yield latent, timesteps * 0 + TIMESTEPS[index], keywords
        latent = latent + change * torch.randn(latent.shape, generator=generator)


@torch.no_grad()
def outputs(unet, **options):
    return [unet(*call[:2], **call[2]) for call in requests(unet, **options)]


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
@pytest.mark.parametrize(("interval", "branch"), [(3, 0), (2, 1), (4, 2)])
def test_deepcache_is_ours_with_its_schedule_and_its_cache_point(unets, layout, interval, branch):
    unet = unets[layout]
    with DeepCache(unet, interval, branch) as rival:
        rival.begin_pass(CALLS)
        theirs = outputs(unet)
    settings = Settings(
        method="Sleep only", sleep="deep blocks", sleep_every=interval,
        sleep_awake_blocks=branch + 1, sleep_first=0, sleep_last=0, sleep_forecast="last",
    )  # fmt: skip
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(TIMESTEPS))
        ours = outputs(unet)
    assert application.asleep_steps == CALLS - len(range(0, CALLS, interval))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
    assert not torch.equal(theirs[1], outputs(unet)[1])


def rows_of(unet, side, seen):
    """Hooks that note of how many rows keys of a kind of attention are made."""
    return [
        getattr(layer, side).to_k.register_forward_hook(
            lambda module, args, output: seen.append((side, len(output)))
        )
        for modules in find_sites(unet)
        for layer in modules.layers
    ]


@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_tgate_computes_what_its_schedule_says(unets, layout):
    unet, seen, found = unets[layout], [], []
    handles = [*rows_of(unet, "attn1", seen), *rows_of(unet, "attn2", seen)]
    layers = sum(len(modules.layers) for modules in find_sites(unet))
    with TGate(unet, gate=0.7, interval=4, warm_up=1) as rival, torch.no_grad():
        rival.begin_pass(CALLS)
        results = []
        for latent, timesteps, keywords in requests(unet):
            results.append(unet(latent, timesteps, **keywords))
            assert all(seen.count(each) == layers for each in set(seen))
            found.append(set(seen))
            seen.clear()
        kinds = rival.kinds(CALLS)
    for handle in handles:
        handle.remove()
    both, prompt, half = {("attn1", 2), ("attn2", 2)}, {("attn2", 2)}, {("attn1", 1)}
    # self-attention: in calls 0 and 1, of which the latter is kept, in 4 and in 6, the gate
    assert found == [both, both, prompt, prompt, both, prompt, both, half, half, half]
    assert [kinds.index(kind) for kind in dict.fromkeys(kinds)] == [0, 2, 6, 7]
    plain = outputs(unet, calls=2)
    assert all(torch.equal(a, b) for a, b in zip(results, plain))
    assert all(torch.equal(*result.chunk(2)) for result in results[7:])


def test_after_the_gate_cross_attention_is_the_mean_of_both_halves(unets):
    unet = unets["sd1"]
    attentions = [layer.attn2 for modules in find_sites(unet) for layer in modules.layers]
    gate, after = list(requests(unet))[4:6]
    with TGate(unet, gate=0.5, interval=1) as rival, torch.no_grad():
        rival.begin_pass(CALLS)
        rival.index = 4
        unet(*gate[:2], **gate[2])
        result = unet(*after[:2], **after[2])
    kept = {}
    handles = [
        attention.register_forward_hook(lambda m, args, output: kept.update({m: output.mean(0)}))
        for attention in attentions
    ]
    with torch.no_grad():
        unet(*gate[:2], **gate[2])
        for handle in handles:
            handle.remove()
        handles = [
            attention.register_forward_hook(lambda m, args, output: kept[m].expand_as(output))
            for attention in attentions
        ]
        expected = unet(*after[:2], **after[2])
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(result[1], expected[1])


def test_easycache_skips_while_the_estimated_change_is_small(unets):
    """Against the rule in plain words, on what the U-Net gives alone."""
    unet, threshold = unets["sd1"], 0.25
    calls = [latent for latent, _, _ in requests(unet, change=0.05)]
    plain = outputs(unet, change=0.05)
    with EasyCache(unet, threshold, start=0.2, end=0.9) as rival:
        rival.begin_pass(CALLS)
        results = outputs(unet, change=0.05)
        skipped = list(rival.skipped)
    estimate, computed = 0.0, []
    for index in range(CALLS):
        small = False
        if 2 <= index < 9 and len(computed) > 1:
            last, before = computed[-1], computed[-2]
            rate = (plain[last] - plain[before]).abs().mean() / (
                calls[last] - calls[before]
            ).abs().mean()
            moved = (calls[index] - calls[index - 1]).abs().mean()
            estimate += float(rate * moved / plain[last].abs().mean())
            small = estimate < threshold
        if small:
            expected = calls[index] + plain[computed[-1]] - calls[computed[-1]]
            torch.testing.assert_close(results[index], expected)
        else:
            estimate = 0.0
            assert torch.equal(results[index], plain[index])
            computed.append(index)
    assert skipped == [index for index in range(CALLS) if index not in computed]
    assert 1 < len(skipped) < 7


def test_easycache_skips_the_calls_that_are_fixed(unets):
    unet = unets["sd1"]
    with EasyCache(unet, fixed={3, 4}) as rival:
        rival.begin_pass(CALLS)
        outputs(unet)
        assert rival.skipped == [3, 4]
        assert [i for i, kind in enumerate(rival.kinds(CALLS)) if kind == "skipped"] == [3, 4]


@pytest.mark.parametrize(("growth", "passes"), [(0.75, 14), (3.0, 10)])
def test_spectrum_computes_as_many_of_50_calls_as_its_authors_say(unets, growth, passes):
    assert Spectrum(unets["sd1"], growth=growth).kinds(50).count("computed") == passes


@pytest.mark.parametrize("steps", [(0, 2, 4), (3, 7, 8), (10, 13, 16)])
def test_spectrums_fit_is_our_curve_with_our_degree_and_penalties(steps):
    at = steps[-1] + 2
    theirs = chebyshev_weights(steps, at, (0.0, 0.01, 0.1), (steps[0], at))
    torch.testing.assert_close(
        theirs, torch.tensor(forecast_weights("curve", steps, at), dtype=torch.float64)
    )


def test_spectrum_forecasts_the_features_before_the_last_layers(unets):
    unet, features = unets["sd1"], []
    handle = unet.out.register_forward_pre_hook(lambda module, args: features.append(args[0]))
    outputs(unet)
    handle.remove()
    with Spectrum(unet, warm_up=4, share=1.0, degree=2, ridge=0.0) as rival:
        rival.begin_pass(CALLS)
        results = outputs(unet)
        kinds = rival.kinds(CALLS)
    assert kinds[:6] == [*["computed"] * 4, "forecast", "computed"]
    # least squares of a parabola through the first four
    powers = torch.arange(5.0).unsqueeze(1) ** torch.arange(3)
    kept = torch.stack(features[:4]).flatten(1)
    fitted = powers[4:] @ torch.linalg.lstsq(powers[:4], kept).solution
    with torch.no_grad():
        expected = unet.out(fitted.view_as(features[0]))
    torch.testing.assert_close(results[4], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", RIVALS)
def test_the_unet_is_what_it_was(unets, name):
    unet, calls = unets["sd1"], 6
    before, plain, kept = module_state(unet), outputs(unet, calls=1), []

    def fail():
        with RIVALS[name](unet) as rival:
            rival.begin_pass(calls)
            for result in outputs(unet, calls=calls):
                assert result.isfinite().all()
                kept.append(weakref.ref(result))
            with pytest.raises(RuntimeError, match="call 7 of a pass of 6"):
                outputs(unet, calls=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert module_state(unet) == before
    assert torch.equal(outputs(unet, calls=1)[0], plain[0])
    gc.collect()
    assert not any(each() is not None for each in kept)

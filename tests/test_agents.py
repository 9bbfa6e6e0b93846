"""Agent attention against its formula in plain words, and what agents remember."""

import pytest
import torch

import slothful
from slothful import Agents, Moment, PassClock, Settings, plan_site
from slothful.tokens.kept import kept_index
from tests.sites import site_at
from tests.sleeping import STEPS, Request
from tests.unets import make_unet, run

SETTINGS = dict(
    method="Agent Attention", time_decay=0, keep_middle=False, in_slothful=4, out_slothful=6,
    in_depth_decay=0, out_depth_decay=0,
)  # fmt: skip
CELLS = dict(SETTINGS, agent_pool="cells")
IN01 = site_at("IN01", 0, 1, 1)


class Textbook:
    """softmax(Q A') [softmax(A K') V] + k V in the place of an attn1's attention, A being the means
    of the queries of 2 x 2 or 3 x 2 tokens, each taken by itself.
    """

    def __init__(self, attention, cell, shortcut, grid):
        self.attention, self.cell, self.shortcut, self.grid = attention, cell, shortcut, grid

    def __call__(self, x, context=None, mask=None, **kwargs):
        attention, (height, width), (tall, wide) = self.attention, self.grid, self.cell
        projected = (attention.to_q(x), attention.to_k(x), attention.to_v(x))
        q, k, v = (t.unflatten(2, (attention.heads, -1)).transpose(1, 2) for t in projected)
        cells = [
            [y * width + x for y in range(top, min(top + tall, height))
             for x in range(left, min(left + wide, width))]
            for top in range(0, height, tall) for left in range(0, width, wide)
        ]  # fmt: skip
        agents = torch.stack([q[:, :, cell].mean(dim=2) for cell in cells], dim=2)
        scale = q.shape[-1] ** -0.5
        seen = (agents @ k.mT * scale).softmax(dim=-1) @ v
        answers = (q @ agents.mT * scale).softmax(dim=-1) @ seen + self.shortcut * v
        return attention.to_out(answers.transpose(1, 2).flatten(2))


def error(changed, expected):
    return float((changed - expected).norm() / expected.norm())


@torch.no_grad()
@pytest.mark.parametrize("shortcut", [0, 0.25])
@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
def test_it_is_its_formula(layout, shortcut):
    unet = make_unet(layout)
    plain = run(unet)
    with slothful.applied(unet, Settings(**CELLS, agent_shortcut=shortcut)) as application:
        changed = run(unet)
        plans = application.plans
    assert all(isinstance(plan, Agents) for plan in plans.values())
    for found in slothful.find_sites(unet):
        cell = (3, 2) if found.site.side == "out" else (2, 2)
        for attention in found.attentions:
            grid = plans[found.site.name].grid
            attention.forward = Textbook(attention, cell, shortcut, grid)
    assert error(changed, run(unet)) < 1e-5
    assert error(changed, plain) > 1e-4


@torch.no_grad()
def test_merged_agents_are_the_queries_that_are_similar():
    """Of tokens that come in four kinds, here and there, the merged agents are these four."""
    unet = make_unet("sd1")
    attention = slothful.find_sites(unet)[0].attentions[0]
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(4, 32, generator=generator)
    rows = torch.randint(4, (256,), generator=generator)
    tokens = kinds[rows][None]
    settings = Settings(**SETTINGS)
    with slothful.applied(unet, settings) as application:
        plan = application.plan_at("IN01", (16, 16), 600.0)
        changed = attention(tokens)
    assert plan.pool.merges
    # each kept token is an agent of its kind; it asks all tokens, and all ask the agents
    kept = kept_index(plan.pool.reduction, tokens.device)
    q, k, v = (
        projection(tokens[0]).unflatten(1, (8, -1)).transpose(0, 1)
        for projection in (attention.to_q, attention.to_k, attention.to_v)
    )
    scale = q.shape[-1] ** -0.5
    agents = q[:, kept]
    seen = (agents @ k.mT * scale).softmax(dim=-1) @ v
    answers = (q @ agents.mT * scale).softmax(dim=-1) @ seen
    expected = attention.to_out(answers.transpose(0, 1).flatten(1))[None]
    assert error(changed, expected) < 1e-5


def test_the_number_of_agents_follows_the_strength():
    def agents(time, **changes):
        settings = Settings(method="Agent Attention", **changes)
        plan = plan_site(settings, Moment(1000 * (1 - time), time), IN01, (48, 48))
        return None if plan is None else plan.key_count

    assert agents(0.4, in_slothful=4) == 24 * 24
    assert agents(0.4, in_slothful=16) == 12 * 12
    assert agents(0.4, in_slothful=16, block_weights={"IN01": 0.25}) == 24 * 24
    assert agents(0.0, in_slothful=2, time_decay=4) is None
    assert agents(0.4, in_slothful=1) is None


def repeating(**changes):
    return Settings(**{**SETTINGS, "agent_every": 2, "sleep_min_steps": 1, **changes})


@torch.no_grad()
@pytest.mark.parametrize("layout", ["sd1", "sdxl"])
@pytest.mark.parametrize("shortcut", [0, 0.25])
def test_agents_repeat_what_they_saw(layout, shortcut):
    """In a step in which they repeat, keys do not matter, and queries do."""
    unet, settings = make_unet(layout), repeating(agent_shortcut=shortcut)
    request, other = Request(layout), Request(layout, seed=1)
    key_weights = [a.to_k.weight for f in slothful.find_sites(unet) for a in f.attentions]
    with slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(STEPS))
        first = request.run(unet, STEPS[0])
        looked = [plan.since for plan in application.plans.values()]
        kept = [weight.clone() for weight in key_weights]
        for weight in key_weights:
            weight.fill_(float("nan"))
        repeated = request.run(unet, STEPS[1])
        repeats = [plan.since for plan in application.plans.values()]
        assert torch.isfinite(repeated).all()
        for weight, own in zip(key_weights, kept):
            weight.copy_(own)
        application.begin_pass("base", PassClock(STEPS))
        other.run(unet, STEPS[0])
        assert not torch.equal(request.run(unet, STEPS[1]), repeated)
    assert set(looked) == {None}
    assert set(repeats) == {0}
    assert not torch.equal(first, repeated)


@torch.no_grad()
@pytest.mark.parametrize("change", ["prompts", "size", "rows", "back", "pass", "second call"])
def test_what_does_not_fit_is_looked_at_anew(change):
    unet, plain = make_unet("sd1"), repeating(agent_every=1)
    request, timestep = Request("sd1"), STEPS[1]
    second = {
        "prompts": Request("sd1", prompts=(0, 2)),
        "size": Request("sd1", size=(16, 24)),
        "rows": Request("sd1", prompts=(0,)),
    }.get(change, request)
    with slothful.applied(unet, repeating()) as application:
        application.begin_pass("base", PassClock(STEPS))
        request.run(unet, STEPS[0])
        if change == "back":
            application.begin_pass("base", PassClock(STEPS))
            request.run(unet, STEPS[3])
        if change == "pass":
            application.begin_pass("hires", PassClock(STEPS))
        if change == "second call":
            request.run(unet, timestep)
        given = second.run(unet, timestep)
    with slothful.applied(unet, plain):
        assert torch.equal(given, second.run(unet, timestep))


@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch():
    unet = make_unet("sd1")
    together, alone = Request("sd1", prompts=(0, 1)), Request("sd1", prompts=(0,))
    given = []
    for request in (together, alone):
        request.latent[0] = alone.latent[0]
        with slothful.applied(unet, repeating()) as application:
            application.begin_pass("base", PassClock(STEPS))
            request.run(unet, STEPS[0])
            given.append(request.run(unet, STEPS[1])[:1])
    assert error(*given) < 1e-5


@torch.no_grad()
def test_nothing_is_held_after_an_error_or_the_end(sd1_unet):
    def fail(*_):
        raise RuntimeError("on purpose")

    request = Request("sd1")
    with slothful.applied(sd1_unet, repeating()) as application:
        application.begin_pass("base", PassClock(STEPS))
        request.run(sd1_unet, STEPS[0])
        dictionaries = application._sleeper.dictionaries
        assert dictionaries._memory._entries
        handle = sd1_unet.out.register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="on purpose"):
            request.run(sd1_unet, STEPS[1])
        handle.remove()
        request.run(sd1_unet, STEPS[2])
        assert {plan.since for plan in application.plans.values()} == {None}
    assert not dictionaries._memory._entries

"""What `slothful.applied` does to real U-Nets, and that it leaves nothing behind."""

import functools
import types

import pytest
import torch
from torch.utils._pytree import tree_map

import slothful
from slothful import Settings
from tests import unets
from tests.unets import LAYOUTS, make_unet, module_state, plain_attention

SIZE = dict(height=16, width=24)
run = functools.partial(unets.run, batch=1, **SIZE)
inputs = functools.partial(unets.inputs, **SIZE)

STRONG = dict(in_slothful=12, out_slothful=9, in_depth_decay=0.5, out_depth_decay=0.5, time_decay=0)
KEPT = dict(kept_token="jittered")
BLENDED = dict(in_k_blend=0.3, in_v_blend=0.8, out_k_blend=0.5, out_v_blend=0.5)
SMALL_TILES = dict(method="Near-sighted Attention", base_tile_size=16, peak_tile_size=16)
ALL_ACT = {
    "slothful": Settings(**STRONG),
    "slothful 1D pool": Settings(**STRONG, **BLENDED, in_mode="1D_MAX", out_mode="2D_MAX"),
    "slothful smooth": Settings(**STRONG, **BLENDED, rounding="smooth", keep_middle=False),
    "tile shifted": Settings(method="Near-sighted Tile", tile_size=16, tile_shift="random"),
    "near-sighted": Settings(**SMALL_TILES, **STRONG),
    "slothful kept": Settings(**STRONG, **KEPT),
    "tile kept": Settings(method="Near-sighted Tile", tile_size=16, **KEPT),
    "near-sighted pool": Settings(**SMALL_TILES, **STRONG, **BLENDED, tile_shift="alternating"),
}
every_method = pytest.mark.parametrize("settings", ALL_ACT.values(), ids=ALL_ACT)


@every_method
def test_every_method_changes_the_output_and_keeps_it_finite(any_unet, settings):
    plain = run(any_unet)
    with slothful.applied(any_unet, settings) as application:
        changed = run(any_unet)
    assert any(plan is not None for plan in application.plans.values())
    assert application.notes == {}
    assert changed.shape == plain.shape
    assert changed.isfinite().all()
    assert not torch.equal(changed, plain)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(in_slothful=1, out_slothful=0.5, in_depth_decay=0, time_decay=0),
        Settings(in_slothful=0, out_slothful=0, in_v_blend=1),
        Settings(method="Near-sighted Tile", tile_size=64, tile_shift="random"),
        Settings(method="Near-sighted Attention", base_tile_size=64, peak_tile_size=64,
                 in_slothful=1, out_slothful=1),
        Settings(**STRONG, block_weights={name: 0 for name in slothful.KNOWN_SITES}),
        Settings(**STRONG, min_size=512),
        Settings(**STRONG, passes="hires"),
    ],
    ids=["strength 1", "strength 0", "one tile", "one tile, strength 1", "weights", "size", "pass"],
)  # fmt: skip
def test_nothing_to_do_is_bit_identical(any_unet, settings):
    plain = run(any_unet)
    with slothful.applied(any_unet, settings) as application:
        assert torch.equal(run(any_unet), plain)
    assert not any(application.plans.values())


def test_where_nothing_can_act_no_block_has_a_hook(sd1_unet):
    """Each would take time at every call."""
    before = module_state(sd1_unet)
    with slothful.applied(sd1_unet, Settings(in_slothful=1, out_slothful=1)):
        during = module_state(sd1_unet)
    assert [name for name in before if during[name] != before[name]] == [""]  # the U-Net itself


ENDINGS = ("success", "exception", "interrupt", "in the attention")
ENDED = [
    pytest.param(layout, settings, ending, id=f"{layout}-{ending}-{name}")
    for i, layout in enumerate(LAYOUTS)
    for j, (name, settings) in enumerate(ALL_ACT.items())
    for ending in (ENDINGS if layout == "sd1" else (ENDINGS[(i + j) % len(ENDINGS)],))
]
"""Each ending with each of the settings on SD1; on the others each of the settings with one."""


@pytest.mark.parametrize(("any_unet", "settings", "ending"), ENDED, indirect=["any_unet"])
def test_nothing_is_left_on_any_module(any_unet, settings, ending):
    before, plain = module_state(any_unet), run(any_unet)
    error = {"exception": RuntimeError, "interrupt": KeyboardInterrupt}.get(ending, RuntimeError)

    def fail(*_):
        raise error("planned")

    def sample():
        with slothful.applied(any_unet, settings):
            run(any_unet)
            if ending == "in the attention":
                attention = slothful.find_sites(any_unet)[1].attentions[0]
                handle = attention.to_out.register_forward_hook(fail)
                try:
                    run(any_unet)
                finally:
                    handle.remove()
            if ending != "success":
                fail()

    if ending == "success":
        sample()
    else:
        with pytest.raises(error, match="planned"):
            sample()
    assert module_state(any_unet) == before
    assert torch.equal(run(any_unet), plain)


def test_in_nested_use_the_innermost_acts_and_all_is_undone(sd1_unet):
    strong, gentle = ALL_ACT["slothful"], Settings(in_slothful=2, out_slothful=2, time_decay=0)
    before = module_state(sd1_unet)
    alone = {}
    for settings in (strong, gentle):
        with slothful.applied(sd1_unet, settings):
            alone[settings] = run(sd1_unet)
    with slothful.applied(sd1_unet, strong):
        with slothful.applied(sd1_unet, gentle):
            assert torch.equal(run(sd1_unet), alone[gentle])
        assert torch.equal(run(sd1_unet), alone[strong])
    assert module_state(sd1_unet) == before


@every_method
def test_images_of_a_batch_do_not_depend_on_each_other(any_unet, settings):
    call = inputs(any_unet, batch=5)
    with slothful.applied(any_unet, settings):
        image, again = (_of_rows(any_unet, call, [0, *others])[0] for others in ([1, 2], [3, 4]))
    assert torch.equal(image, again)


@every_method
def test_images_do_not_depend_on_the_size_of_their_batch(any_unet, settings):
    # of these inputs no two tokens are so similar that rounding decides which joins which
    call = inputs(any_unet, batch=3, seed=3)
    with slothful.applied(any_unet, settings):
        together = _of_rows(any_unet, call, [0, 1, 2])
        for row in range(3):
            alone = _of_rows(any_unet, call, [row])
            torch.testing.assert_close(together[row : row + 1], alone)


def _of_rows(unet, call, rows):
    """What some rows of a call give."""
    latent, timesteps, keywords = tree_map(lambda tensor: tensor[rows], call)
    return unet(latent, timesteps, **keywords)


@every_method
def test_the_same_call_gives_the_same_output_and_draws_no_random_number(sd1_unet, settings):
    state = torch.random.get_rng_state()
    outputs = []
    for _ in range(2):
        with slothful.applied(sd1_unet, settings):
            outputs.append(run(sd1_unet))
    assert torch.equal(*outputs)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_method
def test_half_precision_follows_full_precision(settings, dtype):
    unet = make_unet("sd1")
    latent, timesteps, keywords = inputs(unet)
    with slothful.applied(unet, settings):
        expected = unet(latent, timesteps, **keywords)
        unet.to(dtype).dtype = dtype  # ldm casts its input to this
        for norm in (m for m in unet.modules() if isinstance(m, torch.nn.GroupNorm)):
            norm.float()  # ldm computes these in full precision
        unet.time_embed.register_forward_pre_hook(lambda _, args: (args[0].to(dtype),))
        actual = unet(latent.to(dtype), timesteps, context=keywords["context"].to(dtype))
    assert actual.dtype == dtype
    tolerance = 0.02 if dtype is torch.float16 else 0.15
    torch.testing.assert_close(actual.float(), expected, atol=tolerance, rtol=tolerance)


def test_blend_zero_is_plain_attention_to_the_subsampled_tokens(sd1_unet):
    settings = Settings(in_slothful=6, in_depth_decay=0, time_decay=0, kept_token="first")
    attention = slothful.find_sites(sd1_unet)[0].attentions[0]
    tokens = torch.randn(2, 20 * 28, 32, generator=torch.Generator().manual_seed(3))
    # strength 6 is a stride of 3 by 2
    grid = tokens.reshape(2, 20, 28, 32)
    subsampled = grid[:, ::3, ::2].reshape(2, -1, 32)
    expected = attention(tokens, context=subsampled)
    actual = _at_site(sd1_unet, settings, attention, tokens, (20, 28))
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("blends", [(0.0, 0.0), (1.0, 1.0), (0.25, 0.75)])
@pytest.mark.parametrize("grid", [(36, 44), (17, 50), (33, 33)])
@pytest.mark.parametrize("shift", ["none", "random", "alternating"])
def test_near_sighted_attention_against_a_slow_formulation(sd1_unet, blends, grid, shift):
    """Every query's keys and values are collected one by one, in plain loops."""
    settings = Settings(
        method="Near-sighted Attention",
        base_tile_size=16,
        peak_tile_size=16,
        tile_shift=shift,
        in_k_blend=blends[0],
        in_v_blend=blends[1],
        in_depth_decay=0,
        in_slothful=6,
        time_decay=0,
        kept_token="first",
    )
    found = slothful.find_sites(sd1_unet)[0]
    site, attention = found.site, found.attentions[0]
    height, width = grid
    tokens = torch.randn(1, height * width, 32, generator=torch.Generator().manual_seed(5))
    actual = _at_site(sd1_unet, settings, attention, tokens, grid)
    moment = slothful.Moment(600.0, 0.4)
    plan = slothful.plan_site(settings, moment, site, grid)
    picture = tokens[0].reshape(height, width, 32)

    def cells(area, step_y, step_x, size_y, size_x, blend):
        rows = []
        for y in range(0, area.shape[0], step_y):
            for x in range(0, area.shape[1], step_x):
                cell = area[y : y + size_y, x : x + size_x]
                rows.append(torch.lerp(cell[0, 0], cell.mean((0, 1)), blend))
        return torch.stack(rows)

    # strength 6 is 3x2; the thinned cells lie 6 * windows / 0.8 tokens apart
    spacing = 6 * len(plan.tiling) / 0.8
    step_y = int(-(-(spacing**0.5) // 1))
    step_x = int(-(-spacing / step_y // 1))
    places = [(y, x) for y in range(0, height, step_y) for x in range(0, width, step_x)]
    rows, columns = plan.tiling.rows, plan.tiling.columns

    def held(y, x):
        """Which thinned cells begin in the window at (y, x)."""
        inside = [y <= a < y + rows.size and x <= b < x + columns.size for a, b in places]
        return torch.tensor(inside)

    most = max(int((~held(y, x)).sum()) for y in rows.starts for x in columns.starts)
    for i, y in enumerate(rows.starts):
        for j, x in enumerate(columns.starts):
            window = picture[y : y + rows.size, x : x + columns.size]
            # all cells outside, and as many of the window's as it takes to have the most
            chosen = ~held(y, x)
            chosen[held(y, x).nonzero()[: most - int(chosen.sum())]] = True
            key, value = (
                torch.cat(
                    [
                        cells(window, 3, 2, 3, 2, blend),
                        cells(picture, step_y, step_x, 3, 2, blend)[chosen],
                    ]
                )
                for blend in blends
            )
            owned = picture[
                rows.edges[i] : rows.edges[i + 1], columns.edges[j] : columns.edges[j + 1]
            ]
            expected = _attend(attention, owned.reshape(-1, 32), key, value)
            answered = actual[0].reshape(height, width, 32)[
                rows.edges[i] : rows.edges[i + 1], columns.edges[j] : columns.edges[j + 1]
            ]
            torch.testing.assert_close(answered.reshape(-1, 32), expected, rtol=1e-4, atol=1e-5)


def _attend(attention, queries, keys, values):
    q, k, v = attention.to_q(queries), attention.to_k(keys), attention.to_v(values)
    parts = []
    for head in range(attention.heads):
        d = q.shape[1] // attention.heads
        s = slice(head * d, (head + 1) * d)
        parts.append(torch.softmax(q[:, s] @ k[:, s].T * d**-0.5, dim=1) @ v[:, s])
    return attention.to_out(torch.cat(parts, dim=1))


def _at_site(unet, settings, attention, tokens, grid):
    """Call one attn1 as its U-Net would, with the moment of timestep 600 and this grid."""
    found = next(s for s in slothful.find_sites(unet) if attention in s.attentions)
    with slothful.applied(unet, settings) as application:
        application.plan_at(found.site.name, grid, timestep=600.0)
        return attention(tokens, context=None)


@every_method
def test_the_webuis_attention_functions_and_call_forms_are_served(any_unet, settings, monkeypatch):
    """sgm passes two more arguments by name; ControlNet passes the tokens as their own context."""
    with slothful.applied(any_unet, settings):
        expected = run(any_unet)
    attentions = [a for site in slothful.find_sites(any_unet) for a in site.attentions]
    monkeypatch.setattr(type(attentions[0]), "forward", plain_attention)
    sgm = {"additional_tokens": None, "n_times_crossframe_attn_in_self": 0}
    for call in (
        lambda attn, x: attn(x, context=None, **sgm),
        lambda attn, x: attn(x, context=x),
        lambda attn, x: attn(x, x),
    ):
        for block in (b for m in any_unet.modules() for b in getattr(m, "transformer_blocks", ())):

            def forward(x, context=None, block=block, call=call):
                x = call(block.attn1, block.norm1(x)) + x
                x = block.attn2(block.norm2(x), context=context) + x
                return block.ff(block.norm3(x)) + x

            monkeypatch.setattr(block, "forward", forward)
        with slothful.applied(any_unet, settings) as application:
            torch.testing.assert_close(run(any_unet), expected, rtol=1e-3, atol=1e-4)
        assert application.notes == {}


def test_foreign_keys_and_merged_tokens_are_left_alone(sd1_unet):
    attention = slothful.find_sites(sd1_unet)[0].attentions[0]
    generator = torch.Generator().manual_seed(7)
    tokens, bank = torch.randn(2, 2, 16 * 24, 32, generator=generator)
    foreign = torch.cat([tokens, bank], dim=1)
    settings = ALL_ACT["slothful"]
    with slothful.applied(sd1_unet, settings) as application:
        run(sd1_unet, height=16, width=24)
        assert torch.equal(attention(tokens, context=foreign), plain(attention, tokens, foreign))
        assert application.notes == {"IN01": "another extension supplies its keys"}
        application.notes.clear()
        merged = tokens[:, :200]
        assert torch.equal(attention(merged), plain(attention, merged, None))
        assert application.notes == {
            "IN01": "its tokens are already merged, e.g. by built-in token merging"
        }


def plain(attention, tokens, context):
    """The unhooked forward."""
    return type(attention).forward(attention, tokens, context=context)


def test_a_site_where_another_extension_acts_is_left_alone(sd1_unet):
    plain_output = run(sd1_unet)
    reason = "HyperTile acts there"
    with slothful.applied(
        sd1_unet, ALL_ACT["slothful"], yields_to=lambda attention, grid: reason
    ) as application:
        assert torch.equal(run(sd1_unet), plain_output)
    assert set(application.notes.values()) == {reason}


def test_the_application_follows_another_unet(sd1_unet):
    other = make_unet("sdxl", seed=4)
    states = module_state(sd1_unet), module_state(other)
    expected = [run(sd1_unet), run(other)]
    with slothful.applied(sd1_unet, ALL_ACT["slothful"]) as application:
        application.follow(other)
        assert module_state(sd1_unet) == states[0]
        assert torch.equal(run(sd1_unet), expected[0])
        assert not torch.equal(run(other), expected[1])
    assert (module_state(sd1_unet), module_state(other)) == states


def test_a_model_without_sites_is_refused_by_name():
    context = slothful.applied(torch.nn.Linear(2, 2), Settings())
    with pytest.raises(slothful.UnsupportedModelError, match="Linear is not a Stable Diffusion"):
        context.__enter__()


def test_a_hypernetwork_transforms_keys_and_values_that_come_from_different_tokens(sd1_unet):
    """The webui's hypernetworks sit between the context and to_k / to_v, token by token."""
    attention = slothful.find_sites(sd1_unet)[0].attentions[0]

    def with_hypernetwork(module, x, context=None, mask=None):
        context = x if context is None else context
        key, value = module.to_k(context * 1.5), module.to_v(context - 2.0)
        heads = (t.unflatten(2, (8, -1)).transpose(1, 2) for t in (module.to_q(x), key, value))
        out = torch.nn.functional.scaled_dot_product_attention(*heads)
        return module.to_out(out.transpose(1, 2).flatten(2))

    settings = Settings(
        in_slothful=4, in_v_blend=1, in_depth_decay=0, time_decay=0, kept_token="first"
    )
    tokens = torch.randn(1, 16 * 24, 32, generator=torch.Generator().manual_seed(9))
    attention.forward = types.MethodType(with_hypernetwork, attention)
    try:
        actual = _at_site(sd1_unet, settings, attention, tokens, (16, 24))
    finally:
        del attention.forward
    grid = tokens[0].reshape(16, 24, 32)
    keys = grid[::2, ::2].reshape(-1, 32)
    values = grid.reshape(8, 2, 12, 2, 32).mean((1, 3)).reshape(-1, 32)
    expected = _attend(attention, tokens[0], keys * 1.5, values - 2.0)
    torch.testing.assert_close(actual[0], expected, rtol=1e-4, atol=1e-5)

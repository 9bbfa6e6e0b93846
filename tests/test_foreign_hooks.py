"""Other people's hooks and masks: a block that has them is left to them, and a note says so."""

import contextlib
import functools

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import slothful
from slothful import Settings
from slothful.unet.foreign import CROSS_CHANGED, HOOKED, MLP_CHANGED
from slothful.unet.obstacles import (
    ANSWERS,
    FRAMES,
    KEYS,
    MASK,
    MASK_OR_VALUES,
    MERGED,
    TENSOR,
    VALUES,
)
from tests import unets
from tests.unets import make_unet, module_state

TOKENS = 16 * 24
run = functools.partial(unets.run, batch=1, height=16, width=24)
STRONG = dict(in_slothful=12, out_slothful=9, in_depth_decay=0.5, out_depth_decay=0.5, time_decay=0)
MERGING = dict(method="Token Merging", time_decay=0, merge_ratio=0.7, merge_cross=True,
               merge_mlp=True)  # fmt: skip
METHODS = {
    "reduction": Settings(**STRONG),
    "windows": Settings(method="Near-sighted Tile", tile_size=16, tile_shift="random"),
    "merging": Settings(**MERGING),
    "all merged": Settings(**MERGING, merge_keys_only=False),
    "agents": Settings(method="Agent Attention", time_decay=0),
    "channels": Settings(method="Near-sighted Tile", tile_size=16, channels_depth_1=0.5),
}
every_method = pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
either_order = pytest.mark.parametrize("first", ["ours", "theirs"])


def first_block(unet):
    return slothful.find_sites(unet)[0].layers[0]


class Probe:
    """Somebody's hook on a part of the first block: it works with all tokens in their order."""

    def __init__(self, part, kind):
        self.part, self.kind, self.seen = part, kind, []

    def put_on(self, unet):
        module = first_block(unet).get_submodule(self.part)
        if self.kind == "pre-hook":
            return module.register_forward_pre_hook(lambda _, args: self.see(args[0])).remove
        if self.kind == "hook":
            return module.register_forward_hook(lambda _, args, out: self.see(out)).remove
        original = module.forward

        def forward(x, *args, **kwargs):
            self.see(x)
            return original(x, *args, **kwargs)

        module.forward = forward
        return functools.partial(delattr, module, "forward")

    def see(self, tokens):
        self.seen.append(tokens.shape[1])


PROBES = [
    (part, kind)
    for part in ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out", "attn1.to_out.0")
    for kind in ("pre-hook", "hook", "replaced forward")
] + [("attn1", "pre-hook"), ("attn1", "hook")]


@contextlib.contextmanager
def both(unet, settings, probe, first):
    """Ours and theirs on a U-Net, in either order."""
    with contextlib.ExitStack() as stack:
        if first == "theirs":
            stack.callback(probe.put_on(unet))
        application = stack.enter_context(slothful.applied(unet, settings))
        if first == "ours":
            run(unet)  # theirs comes while ours is at work
            application.notes.clear()
            stack.callback(probe.put_on(unet))
        yield application


PAIRS = [
    pytest.param(*probe, settings, ("ours", "theirs")[(i + j) % 2], id="-".join((*probe, name)))
    for i, probe in enumerate(PROBES)
    for j, (name, settings) in enumerate(METHODS.items())
]
"""Each probe with each method, in the one order or the other."""


@pytest.mark.parametrize(("part", "kind", "settings", "first"), PAIRS)
def test_whoever_looks_into_a_self_attention_sees_all_tokens(sd1_unet, settings, part, kind, first):
    before, probe = module_state(sd1_unet), Probe(part, kind)
    with both(sd1_unet, settings, probe, first) as application:
        output = run(sd1_unet)
        assert application.notes == {"IN01": HOOKED}
        assert set(application.applied_sites) - {"IN01"}
    assert set(probe.seen) == {TOKENS}
    assert output.isfinite().all()
    assert module_state(sd1_unet) == before


@pytest.mark.parametrize(("part", "note"), [("attn2", CROSS_CHANGED), ("ff", MLP_CHANGED)])
@pytest.mark.parametrize("kind", ["pre-hook", "hook", "replaced forward"])
@either_order
def test_regional_prompts_and_the_like_get_all_tokens(sd1_unet, part, note, kind, first):
    for settings in METHODS.values():
        probe = Probe(part, kind)
        with both(sd1_unet, settings, probe, first) as application:
            run(sd1_unet)
            assert application.notes == (
                {"IN01": note} if settings.method.startswith("Tok") else {}
            )
        assert set(probe.seen) == {TOKENS}


def test_a_part_that_is_not_merged_may_be_changed_by_anybody(sd1_unet):
    settings = Settings(**{**MERGING, "merge_cross": False, "merge_mlp": False})
    with both(sd1_unet, settings, Probe("attn2", "replaced forward"), "theirs") as application:
        run(sd1_unet)
        assert application.notes == {}
    assert "IN01" in application.applied_sites


def test_once_theirs_is_gone_ours_is_applied_again(sd1_unet):
    settings = METHODS["windows"]
    with slothful.applied(sd1_unet, settings):
        expected = run(sd1_unet)
    with slothful.applied(sd1_unet, settings) as application:
        remove = Probe("attn1.to_v", "hook").put_on(sd1_unet)
        aside = run(sd1_unet)
        remove()
        assert torch.equal(run(sd1_unet), expected)
    assert not torch.equal(aside, expected)
    assert application.notes == {"IN01": HOOKED}
    assert "IN01" in application.applied_sites


# agents leave it all tokens
@pytest.mark.parametrize("settings", [s for name, s in METHODS.items() if name != "agents"])
def test_a_replaced_attention_that_knows_of_all_tokens_is_asked_without_ours(settings):
    unet = make_unet("sd1")
    attention, original = first_block(unet).attn1, first_block(unet).attn1.forward
    stored, calls = [], []
    first_block(unet).norm1.register_forward_hook(lambda _, args, out: stored.append(out))

    def forward(x, *args, **kwargs):
        calls.append(x.shape)
        return original(stored[-1])

    attention.forward = forward
    with slothful.applied(unet, settings) as application:
        assert run(unet).isfinite().all()
        assert len(calls) == 2
        assert run(unet).isfinite().all()
        assert len(calls) == 3  # once it is known, ours leaves it alone
    assert application.notes == {"IN01": ANSWERS}
    assert application.applied_sites
    assert "IN01" not in application.applied_sites


class Network(nn.Module):
    """A network of the kind of LoRA that takes a projection's place, token by token."""

    def __init__(self, projection):
        super().__init__()
        self.down = nn.Linear(projection.in_features, 2, bias=False)
        self.up = nn.Linear(2, projection.out_features, bias=False)
        self.projection = [projection.forward]  # not a child
        projection.forward = self.forward

    def forward(self, x):
        return self.projection[0](x) + self.up(self.down(x))


def send_me_to_gpu(module, _):
    """The name of the webui's hook with --lowvram; moves the module's weights."""


def move_weights(unet):
    handles = [m.register_forward_pre_hook(send_me_to_gpu) for m in first_block(unet).modules()]
    return lambda: [handle.remove() for handle in handles]


def add_network(unet):
    projection = first_block(unet).attn1.to_k
    with torch.random.fork_rng():
        Network(projection)
    return functools.partial(delattr, projection, "forward")


def prune_weights(unet):
    projection = first_block(unet).attn1.to_k
    prune.l1_unstructured(projection, "weight", amount=0.5)
    return lambda: prune.remove(projection, "weight")


@pytest.mark.parametrize("harmless", [move_weights, add_network, prune_weights])
@every_method
def test_what_works_on_weights_or_token_by_token_goes_with_ours(settings, harmless):
    unet = make_unet("sd1")
    with slothful.applied(unet, settings) as application:
        take_off = harmless(unet)
        run(unet)
        take_off()
    assert application.notes == {}
    assert "IN01" in application.applied_sites


# -- arguments


def forge_attention(module, x, context=None, value=None, mask=None, transformer_options=None):
    """The signature of the attention in Forge, reForge and ComfyUI."""
    context = x if context is None else context
    value = context if value is None else value
    query, key, value = module.to_q(x), module.to_k(context), module.to_v(value)
    heads = (t.unflatten(2, (module.heads, -1)).transpose(1, 2) for t in (query, key, value))
    out = nn.functional.scaled_dot_product_attention(*heads)
    return module.to_out(out.transpose(1, 2).flatten(2))


def patched(monkeypatch, unet, call):
    """Each block calls its attn1 as `call(attn1, tokens)` does."""
    monkeypatch.setattr(type(first_block(unet).attn1), "forward", forge_attention)
    for block in (b for m in unet.modules() for b in getattr(m, "transformer_blocks", ())):

        def forward(x, context=None, block=block):
            x = call(block.attn1, block.norm1(x)) + x
            x = block.attn2(block.norm2(x), context=context) + x
            return block.ff(block.norm3(x)) + x

        monkeypatch.setattr(block, "forward", forward)


OPTIONS = {"patches": {}, "sigmas": torch.ones(2)}
IDENTITIES = {
    "by name": lambda attn, n: attn(n, context=n, value=n, transformer_options=OPTIONS),
    "value alone": lambda attn, n: attn(n, value=n),
    "by position": lambda attn, n: attn(n, n, n, None, OPTIONS),
    "no value": lambda attn, n: attn(n, None, None, None, OPTIONS),
    "all by name": lambda attn, n: attn(x=n, context=n, value=n),
}


@pytest.mark.parametrize("call", IDENTITIES.values(), ids=IDENTITIES)
@every_method
def test_a_patch_that_leaves_the_tokens_alone_is_no_obstacle(monkeypatch, settings, call):
    unet = make_unet("sd1")
    patched(monkeypatch, unet, lambda attn, n: attn(n))
    with slothful.applied(unet, settings):
        expected = run(unet)
    patched(monkeypatch, unet, call)
    with slothful.applied(unet, settings) as application:
        assert torch.equal(run(unet), expected)
    assert application.notes == {}


FOREIGN = {
    "values": (lambda attn, n: attn(n, context=n, value=n + 1), VALUES),
    "values alone": (lambda attn, n: attn(n, value=n + 1), VALUES),
    "keys": (lambda attn, n: attn(n, context=n + 1, value=n), KEYS),
    "values by position": (lambda attn, n: attn(n, n, n + 1), MASK_OR_VALUES),
    "mask by position": (lambda attn, n: attn(n, n, None, torch.ones(4)), MASK_OR_VALUES),
    "mask by name": (lambda attn, n: attn(n, mask=torch.ones(4)), MASK),
}


@pytest.mark.parametrize(("call", "note"), FOREIGN.values(), ids=FOREIGN)
@every_method
def test_a_patch_with_keys_or_values_of_its_own_is_left_alone(monkeypatch, settings, call, note):
    unet = make_unet("sd1")
    patched(monkeypatch, unet, call)
    plain = run(unet)
    with slothful.applied(unet, settings) as application:
        assert torch.equal(run(unet), plain)
    assert set(application.notes.values()) == {note}
    assert application.applied_sites == ()
    assert note in application.why_nothing()


@pytest.mark.parametrize(
    ("keywords", "note"),
    [
        (lambda n: {"rotation": n[:1]}, TENSOR),
        (lambda n: {"rotation": (n[:1], n[:1])}, TENSOR),
        (lambda n: {"additional_tokens": n}, FRAMES),
        (lambda n: {"n_times_crossframe_attn_in_self": 2}, FRAMES),
        (lambda n: {"scale": 0.5, "options": OPTIONS, "temperature": torch.ones(())}, None),
    ],
)
def test_whatever_else_may_hold_tokens_is_an_obstacle(monkeypatch, keywords, note):
    unet = make_unet("sd1")
    plain = forge_attention
    patched(monkeypatch, unet, lambda attn, n: attn(n, **keywords(n)))
    attention = type(first_block(unet).attn1)
    monkeypatch.setattr(attention, "forward", lambda m, x, context=None, **_: plain(m, x, context))
    with slothful.applied(unet, METHODS["reduction"]) as application:
        run(unet)
    assert set(application.notes.values()) == ({note} if note else set())


@pytest.mark.parametrize("keys_too", [True, False])
def test_a_merging_patch_keeps_its_blocks_and_ours_has_the_others(monkeypatch, keys_too):
    """It merges at the finest level and returns other tokens; Forge's own merges queries alone."""
    unet = make_unet("sd1")

    def merging(attn, n):
        if n.shape[1] < TOKENS:
            return attn(n, context=n, value=n)
        half = n[:, ::2]
        keys = half if keys_too else n
        return attn(half, context=keys, value=keys).repeat_interleave(2, dim=1)

    patched(monkeypatch, unet, merging)
    finest = {f.site.name for f in slothful.find_sites(unet) if f.site.depth == 1}
    with slothful.applied(unet, METHODS["reduction"]) as application:
        assert run(unet).isfinite().all()
    assert application.notes == dict.fromkeys(finest, MERGED)
    assert application.applied_sites
    assert not finest & set(application.applied_sites)

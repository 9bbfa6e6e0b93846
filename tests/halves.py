"""The negative prompt in cross-attention and keys mixed between the halves, in plain words: row by
row, head by head.
"""

import contextlib

import torch

import slothful
from slothful import PassClock, Settings
from tests.negatives import step
from tests.sleeping import STEPS

ATTENDS = dict(
    method="Sleep only",
    negative="in the attention",
    negative_first=0,
    negative_last=0,
    negative_scale=4,
    negative_tau=1.2,
    negative_alpha=0.75,
    negative_strength=0.6,
)


def attending(**changes) -> Settings:
    """The negative prompt in the attention of all steps, unless something else is asked for."""
    return Settings(**{**ATTENDS, **changes})


def mixing(mix, **changes) -> Settings:
    """Keys mixed at all sites, and nothing else."""
    usual = dict(method="Sleep only", mix=mix, mix_amount=0.7, keep_middle=False)
    return Settings(**{**usual, **changes})


def played(unet, settings, request, steps=STEPS, **told):
    """What a pass of one request gives, call by call, and the application."""
    with torch.no_grad(), slothful.applied(unet, settings) as application:
        application.begin_pass("base", PassClock(steps))
        outputs = [step(application, unet, request, timestep, **told) for timestep in steps]
    return outputs, application


def heads_of(module, tokens):
    """(tokens, inner) -> a list of (tokens, channels), one for each head."""
    return tokens.unflatten(1, (module.heads, -1)).unbind(1)


def attended(query, key, value):
    """Of one head: (queries, channels)."""
    scores = query @ key.T / query.shape[1] ** 0.5
    return scores.softmax(1) @ value


def slow_cross(negative, settings):
    """A `forward` of cross-attention for one row, in which a negative prompt (tokens, channels)
    acts.
    """

    def forward(module, x, context=None, mask=None):
        query = heads_of(module, module.to_q(x[0]))
        sides = []
        for text in (context[0], negative):
            key, value = heads_of(module, module.to_k(text)), heads_of(module, module.to_v(text))
            sides.append((key, value))
        answers = []
        for head, each in enumerate(query):
            (key, value), (other_key, other_value) = ((k[head], v[head]) for k, v in sides)
            if settings.negative_form == "VSF":
                keys = torch.cat([key, other_key])
                values = torch.cat([value, -settings.negative_strength * other_value])
                answers.append((attended(each, keys, values), None))
            else:
                answers.append((attended(each, key, value), attended(each, other_key, other_value)))
        positive = torch.cat([one for one, _ in answers], dim=1)
        if settings.negative_form == "NAG":
            other = torch.cat([one for _, one in answers], dim=1)
            scale, tau = settings.negative_scale, settings.negative_tau
            moved = scale * positive - (scale - 1) * other
            for token, before in zip(moved, positive):
                ratio = float(token.abs().sum() / before.abs().sum())
                token *= min(ratio, tau) / ratio
            alpha = settings.negative_alpha
            positive = alpha * moved + (1 - alpha) * positive
        return module.to_out(positive[None])

    return forward


@contextlib.contextmanager
def replaced(unet, name, forward):
    """While the context lasts, `forward(module, ...)` is that of all attentions of a name."""
    modules = [m for own, m in unet.named_modules() if own.endswith(name)]
    for module in modules:
        module.forward = forward.__get__(module)
    try:
        yield
    finally:
        for module in modules:
            del module.forward


def slow_attended(unet, request, timestep, settings):
    """What a call gives in whose attention negative prompts act: prompt by prompt, and for the
    negative prompt of an image the mean of what its prompts gave.
    """
    context = request.keywords["context"]
    context = context[0] if isinstance(context, list) else context
    texts = {row.image: context[i] for i, row in enumerate(request.rows) if row.negative}
    output = torch.zeros_like(request.latent)
    for index, row in enumerate(request.rows):
        if not row.negative:
            with replaced(unet, "attn2", slow_cross(texts[row.image], settings)):
                output[index] = alone(unet, request, index, timestep)
    for index, row in enumerate(request.rows):
        if row.negative:
            own = [(each, output[i]) for i, each in enumerate(request.rows)
                   if not each.negative and each.image == row.image]  # fmt: skip
            total = sum(each.weight for each, _ in own)
            output[index] = sum(one * each.weight for each, one in own) / total
    return output


def alone(unet, request, index, timestep):
    """One row of a request, on its own."""
    row = slice(index, index + 1)
    keywords = {
        name: [each[row] for each in value] if isinstance(value, list) else value[row]
        for name, value in request.keywords.items()
    }
    return unet(request.latent[row], torch.full((1,), float(timestep)), **keywords)[0]


def slow_mixed(mix, amounts, request):
    """A `forward` of self-attention in which keys are mixed between the rows of a request;
    `amounts`: by the module, 0 where there are none.
    """

    def forward(module, x, context=None, mask=None):
        amount, answers = amounts[module], []
        query, key, value = (
            projection(x) for projection in (module.to_q, module.to_k, module.to_v)
        )
        for index, row in enumerate(request.rows):
            other = next(i for i, each in enumerate(request.rows)
                         if each.image == row.image and each.negative != row.negative)  # fmt: skip
            heads = []
            for q, own, theirs, v in zip(
                *(heads_of(module, each) for each in (query[index], key[index], key[other],
                                                      value[index]))
            ):  # fmt: skip
                if mix == "push" or amount == 0:
                    pushed = own if row.negative else own + amount * (own - theirs)
                    heads.append(attended(q, pushed, v))
                    continue
                scores = torch.cat([q @ own.T, q @ theirs.T], dim=1) / q.shape[1] ** 0.5
                weights = scores.exp() * torch.tensor([1.0, amount]).repeat_interleave(len(own))
                sign = -1 if mix == "repel" else 1
                heads.append(weights @ torch.cat([v, sign * v]) / weights.sum(1, keepdim=True))
            answers.append(torch.cat(heads, dim=1))
        return module.to_out(torch.stack(answers))

    return forward

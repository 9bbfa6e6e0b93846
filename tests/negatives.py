"""What the tests of the negative side share: calls whose rows are known, and its sleep in plain
words.
"""

import torch

from slothful import Row, Settings
from tests.sleeping import Request

SIDES = dict(
    method="Sleep only",
    negative="asleep",
    negative_first=0,
    negative_last=0,
    sleep_min_steps=1,
)


def one_sided(**changes) -> Settings:
    """The negative side asleep in every other step, unless something else is asked for."""
    return Settings(**{**SIDES, **changes})


class Sides(Request):
    """A call of the U-Net for rows by (image, prompt): prompt 0 is the negative one, and of the
    others the first of an image is its first. All rows of an image have one latent.
    """

    def __init__(self, layout, *rows, size=(8, 8)):
        super().__init__(layout, tuple(prompt for _, prompt in rows), size)
        noise = {
            image: torch.randn(4, *size, generator=torch.Generator().manual_seed(image))
            for image, _ in rows
        }
        self.latent = torch.stack([noise[image] for image, _ in rows])
        seen = [[each for i, each in rows[:place] if i == image and each]
                for place, (image, _) in enumerate(rows)]  # fmt: skip
        self.rows = [
            Row(image, prompt == 0, len(before) if prompt else 0)
            for (image, prompt), before in zip(rows, seen)
        ]
        self.pairs = {
            index: self.rows.index(Row(row.image))
            for index, row in enumerate(self.rows)
            if row.negative
        }


def step(application, unet, request, timestep, rows=None):
    """One step of a sampler that calls the U-Net once; what that gives."""
    application.begin_step()
    application.expect_rows(request.rows if rows is None else rows)
    return request.run(unet, timestep)


class SlowNegative:
    """What negative rows are, in plain words: row by row, each image on its own."""

    def __init__(self, unet):
        self.unet, self.differences = unet, {}

    def forget(self):
        self.differences.clear()

    def run(self, request, timestep, index) -> tuple[torch.Tensor, bool]:
        """What a call gives in a step, and whether the negative side sleeps: in every other step,
        where the differences are known of the step before.
        """
        output = request.run(self.unet, timestep)
        names = dict(self._names(request))
        known = [self.differences.get(name, (None, -1))[1] for name in names.values()]
        asleep = index % 2 == 1 and all(step >= index - 1 for step in known)
        for negative, name in names.items():
            positive = request.pairs[negative]
            if asleep:
                output[negative] = output[positive] - self.differences[name][0]
            else:
                self.differences[name] = output[positive] - output[negative], index
        return output, asleep

    def _names(self, request):
        """By negative row: its image, size and texts."""
        context = request.keywords["context"]
        context = context[0] if isinstance(context, list) else context
        for negative, positive in request.pairs.items():
            texts = context[[positive, negative]].numpy().tobytes()
            yield negative, (request.rows[negative].image, request.latent.shape[2:], texts)

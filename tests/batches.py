"""A request's batches as the webui runs them around the script's scope."""

import re

from slothful import Settings
from slothful_webui.scope import SamplingScope
from standalone.runner import find_host_modules
from tests.unets import run

find_host_modules()  # the page's language is a setting of the host


DONE = re.compile(r"^(Slothful Attention: )?(.*?)(; )?the U-Net took ([\d.]+) s( instead of .*)?$")


def untimed(line):
    """A line under an image without the seconds that the U-Net took."""
    return DONE.sub(r"\1\2", line)


def besides(lines):
    """The lines under an image, without that of what was done where nothing slept."""
    return [line for line in lines if not DONE.match(line) or "asleep in" in line]


class Request:
    """A generation request whose sampling is one call of a U-Net."""

    width, height = 256, 192

    def __init__(self, unet):
        self.unet = unet
        self.comments = []
        self.extra_generation_params = {}

    def sample(self):
        return run(self.unet)

    def close(self):
        pass

    def comment(self, text):
        self.comments.append(text)


STRONG = Settings(in_slothful=12, out_slothful=9, in_depth_decay=0.5, time_decay=0)
NOTHING = Settings(in_slothful=1, out_slothful=1)


def begin_batch(request, settings=STRONG, current_unet=None):
    SamplingScope(request, settings, current_unet or (lambda: request.unet)).begin()


def sample_batch(request, settings=STRONG, current_unet=None):
    """The samples of one batch, from its beginning to its end."""
    begin_batch(request, settings, current_unet)
    samples = request.sample()
    SamplingScope.end(request)
    return samples

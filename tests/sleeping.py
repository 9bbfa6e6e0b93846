"""What the tests of sleep share: calls of a small U-Net, and sleep in plain words."""

import torch
from ldm.modules.attention import SpatialTransformer
from ldm.modules.diffusionmodules.util import timestep_embedding

from slothful import Settings
from tests.unets import make_unet

PARTS = ("self-attention", "attention", "transformers", "deep blocks", "whole calls")
STEPS = (950.0, 800.0, 650.0, 500.0, 350.0, 200.0, 50.0)


def sleeping(part: str, **changes) -> Settings:
    values = dict(
        method="Sleep only",
        sleep=part,
        sleep_every=2,
        sleep_first=0,
        sleep_last=0,
        sleep_awake_blocks=3,
        sleep_forecast="last",
        sleep_min_steps=1,
        keep_middle=False,
    )
    return Settings(**{**values, **changes})


class Request:
    """What one call of the U-Net is made with: rows by their prompts, at a size."""

    def __init__(self, layout: str, prompts=(0, 1), size=(16, 16), seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.latent = torch.randn(len(prompts), 4, *size, generator=generator)
        contexts = [
            torch.randn(7, 24, generator=torch.Generator().manual_seed(prompt))
            for prompt in prompts
        ]
        context = torch.stack(contexts)
        self.keywords = {"context": context}
        if layout == "sdxl":
            self.keywords = {"context": [context] * 3, "y": torch.tensor(prompts) % 10}
        self.key = (tuple(prompts), size)

    def run(self, unet, timestep: float) -> torch.Tensor:
        timesteps = torch.full((len(self.latent),), timestep)
        return unet(self.latent, timesteps, **self.keywords)


class Recorder(torch.nn.Module):
    """Around a module: keeps what it gives, or gives what is put into it."""

    def __init__(self, module, adds: bool):
        torch.nn.Module.__init__(self)
        self.module, self.adds = module, adds
        self.kept = self.given = None

    def forward(self, x, *args, **kwargs):
        if self.given is not None:
            return x + self.given if self.adds else self.given
        answer = self.module(x, *args, **kwargs)
        self.kept = answer - x if self.adds else answer
        return answer


class TransformerRecorder(Recorder, SpatialTransformer):
    """What a block of the U-Net takes for a transformer, and hands the prompt to."""


class SlowSleep:
    """The same in plain words, for a U-Net of its own: what a part gave is looked up by step."""

    def __init__(self, layout: str, part: str, awake_blocks: int = 3, seed: int = 0):
        self.layout, self.part, self.awake_blocks = layout, part, awake_blocks
        self.unet = make_unet(layout, seed)
        self.kept: dict = {}
        self.recorders = []
        for parent in list(self.unet.modules()):
            for name, child in list(parent.named_children()):
                if self._sleeps(name, child):
                    kind = TransformerRecorder if part == "transformers" else Recorder
                    recorder = kind(child, adds=part == "transformers")
                    self._put(parent, name, recorder)
                    self.recorders.append(recorder)

    @staticmethod
    def _put(parent, name, module):
        if isinstance(parent, torch.nn.Sequential):
            parent[int(name)] = module
        else:
            setattr(parent, name, module)

    def _sleeps(self, name, module) -> bool:
        if self.part == "transformers":
            return type(module).__name__ == "SpatialTransformer"
        names = {"self-attention": ("attn1",), "attention": ("attn1", "attn2")}
        return name in names.get(self.part, ())

    def run(self, request: Request, timestep: float, asleep: bool, key) -> torch.Tensor:
        kept = self.kept.get(key) if asleep else None
        if self.part in ("deep blocks", "whole calls"):
            with torch.no_grad():
                return self._by_blocks(request, timestep, kept, key)
        for index, recorder in enumerate(self.recorders):
            recorder.given = None if kept is None else kept[index]
        output = request.run(self.unet, timestep)
        if kept is None:
            self.kept[key] = [recorder.kept for recorder in self.recorders]
        return output

    def _by_blocks(self, request, timestep, kept, key):
        unet, x = self.unet, request.latent
        alpha = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        alpha = float((1 - alpha).cumprod(0)[int(timestep)])
        if self.part == "whole calls" and kept is not None:
            return (x - alpha**0.5 * kept) / (1 - alpha) ** 0.5
        context = request.keywords["context"]
        timesteps = torch.full((len(x),), timestep)
        embedding = unet.time_embed(timestep_embedding(timesteps, unet.model_channels))
        if "y" in request.keywords:
            embedding = embedding + unet.label_emb(request.keywords["y"])
        last = len(unet.output_blocks) - self.awake_blocks
        shallow = []
        h = x
        for index, block in enumerate(unet.input_blocks):
            if self.part == "deep blocks" and kept is not None and index == self.awake_blocks:
                break
            h = block(h, embedding, context)
            shallow.append(h)
        if self.part == "deep blocks" and kept is not None:
            h = kept
        else:
            h = unet.middle_block(h, embedding, context)
        for index, block in enumerate(unet.output_blocks):
            if self.part == "deep blocks" and kept is not None and index < last:
                continue
            h = block(torch.cat([h, shallow.pop()], dim=1), embedding, context)
            if self.part == "deep blocks" and index == last - 1 and kept is None:
                self.kept[key] = h
        output = unet.out(h)
        if self.part == "whole calls":
            self.kept[key] = (x - (1 - alpha) ** 0.5 * output) / alpha**0.5
        return output

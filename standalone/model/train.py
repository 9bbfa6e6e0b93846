"""Trains the small model: autoencoder, text model, then text model and U-Net together.

    python -m standalone.model.train autoencoder
    python -m standalone.model.train text
    python -m standalone.model.train unet --size 128
    python -m standalone.model.train unet --size 256 --steps 1000

Every command resumes from its newest state in the working folder and can be stopped at any time.
The U-Net begins on small pictures, where a step is cheap, and ends at the size of use.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from standalone.attention import sdpa_attention
from standalone.checkpoint import StableDiffusion, build
from standalone.model.scenes import COLOURS, COUNTS, SHAPES, TEXTURES, draw, random_scene

CONFIG = Path(__file__).parent / "small.yaml"
LATENT_STD = 1 / 0.18215
"""The spread that SD1's scale factor expects of the autoencoder's latents."""
HELD_OUT_SEED = 10_000_000
"""Training draws from seeds below this one, evaluation from it on."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--work", type=Path, default=Path("outputs/training"))
    parser.add_argument("--steps", type=int, default=2000, help="steps of this stage in all")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=128, help="side of the pictures, in pixels")
    parser.add_argument("--pictures", type=int, default=12000, help="pictures to draw and encode")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build(CONFIG).to(device)
    with sdpa_attention():
        STAGES[args.stage](model, args)


# -- the autoencoder


def train_autoencoder(model: StableDiffusion, args: argparse.Namespace) -> None:
    """Absolute error, a term on edges and a little KL; at the end latents are scaled to SD1's."""
    autoencoder, path = model.first_stage_model, args.work / "autoencoder.pt"
    optimizer = torch.optim.AdamW(autoencoder.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    device = next(autoencoder.parameters()).device
    start = _resume(path, autoencoder, optimizer)
    pictures = _crops(args.batch, 64, seed=start)
    for step in _steps(start, args.steps, optimizer, 2 * args.rate):
        batch = next(pictures).to(device)
        with _autocast(device):
            posterior = autoencoder.encode(batch)
            noise = torch.randn_like(posterior.mean)
            rebuilt = autoencoder.decode(posterior.mean + posterior.std * noise).float()
        error = (rebuilt - batch).abs().mean()
        loss = error + _edge_error(rebuilt, batch) + 1e-6 * posterior.kl().mean()
        _descend(loss, optimizer, autoencoder)
        if step % 100 == 0:
            print(f"autoencoder {step}: absolute error {error.item():.4f}", flush=True)
            _save(path, step, autoencoder, optimizer)
    _scale_latents(autoencoder, next(_crops(32, 128, seed=1)).to(device))
    torch.save(autoencoder.state_dict(), args.work / "autoencoder-final.pt")


def _edge_error(rebuilt: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
    return sum((rebuilt.diff(dim=d) - batch.diff(dim=d)).abs().mean() for d in (2, 3))


@torch.no_grad()
def _scale_latents(autoencoder: nn.Module, batch: torch.Tensor) -> None:
    """Fold mean and spread of the latents into the two 1x1 convolutions between the halves."""
    moments = autoencoder.quant_conv(autoencoder.encoder(batch))
    mean = moments[:, :4].mean((0, 2, 3))
    factor = LATENT_STD / moments[:, :4].std((0, 2, 3))
    convolution = autoencoder.quant_conv
    convolution.weight[:4] *= factor[:, None, None, None]
    convolution.bias[:4] = (convolution.bias[:4] - mean) * factor
    convolution.bias[4:] += 2 * factor.log()  # the log-variances move along
    after = autoencoder.post_quant_conv
    after.bias += (after.weight[:, :, 0, 0] * mean).sum(1)
    after.weight /= factor[None, :, None, None]


def _crops(batch: int, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Endless batches (batch, 3, size, size) in [-1, 1] from pictures of 128 and 256 pixels."""
    generator = np.random.default_rng(seed)
    while True:
        crops = []
        for _ in range(batch):
            side = int(generator.choice([128, 256]))
            picture = draw(random_scene(generator), side)
            y, x = generator.integers(0, side - size + 1, 2)
            crops.append(picture[y : y + size, x : x + size])
        yield _to_tensor(np.stack(crops))


# -- the text model


def train_text(model: StableDiffusion, args: argparse.Namespace) -> None:
    """Learn to tell the parts of a caption apart, so that the U-Net finds them ready to use.

    Linear heads read colour, background, shape, count and texture from the states after the
    caption's end, which are what the U-Net will attend to; the heads are thrown away.
    """
    text_model, path = model.cond_stage_model.transformer, args.work / "text.pt"
    choices = {"colour": list(COLOURS), "background": list(COLOURS), "shape": list(SHAPES)}
    choices |= {"count": list(COUNTS), "texture": list(TEXTURES)}
    width = text_model.config.hidden_size
    heads = nn.ModuleDict({name: nn.Linear(width, len(c)) for name, c in choices.items()})
    trained = nn.ModuleList([text_model, heads]).to(text_model.device)
    optimizer = torch.optim.AdamW(trained.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
    start = _resume(path, trained, optimizer)
    generator = np.random.default_rng(start)
    for step in _steps(start, args.steps, optimizer, args.rate):
        scenes = [random_scene(generator) for _ in range(args.batch)]
        captions = _tokenize(model, [scene.caption for scene in scenes]).to(text_model.device)
        states = text_model(captions).last_hidden_state
        end = captions.argmax(dim=1)  # the end token has the highest number; it also pads
        read = torch.tensor([generator.integers(e, 77) for e in end.tolist()])
        read = states[torch.arange(len(scenes)), read]
        loss, right = 0.0, []
        for name, values in choices.items():
            wanted = torch.tensor([values.index(getattr(scene, name)) for scene in scenes])
            guessed = heads[name](read)
            loss = loss + F.cross_entropy(guessed, wanted.to(guessed.device))
            right.append((guessed.argmax(1).cpu() == wanted).float().mean().item())
        _descend(loss, optimizer, trained)
        if step % 50 == 0:
            print(f"text {step}: {loss.item():.3f}, right {np.mean(right):.3f}", flush=True)
            _save(path, step, trained, optimizer)
    torch.save(text_model.state_dict(), args.work / "text-final.pt")


# -- the U-Net and the text model


def train_unet(model: StableDiffusion, args: argparse.Namespace) -> None:
    """Noise prediction with 10 % empty captions; an exponential average of the weights is kept."""
    weights = torch.load(args.work / "autoencoder-final.pt", map_location="cpu")
    model.first_stage_model.load_state_dict(weights)
    text_model = model.cond_stage_model.transformer
    text_model.load_state_dict(torch.load(args.work / "text-final.pt", map_location="cpu"))
    trained = nn.ModuleList([model.model.diffusion_model, text_model])
    device = next(trained.parameters()).device
    latents, tokens = _encoded(model, args, device)
    path = args.work / f"unet-{args.size}.pt"
    before = sorted(args.work.glob("unet-*.pt"), key=lambda p: int(p.stem.split("-")[1]))
    before = [p for p in before if int(p.stem.split("-")[1]) < args.size]
    if before and not path.exists():
        state = torch.load(before[-1], map_location=device)
        trained.load_state_dict(state["average"])
    average = copy.deepcopy(trained)
    optimizer = torch.optim.AdamW(trained.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
    start = _resume(path, trained, optimizer, average)
    generator = torch.Generator().manual_seed(start)
    empty = _tokenize(model, [""])
    seen, since = [], time.monotonic()
    for step in _steps(start, args.steps, optimizer, args.rate):
        picks = torch.randint(len(latents), (args.batch,), generator=generator)
        dropped = torch.rand(args.batch, generator=generator) < 0.1
        captions = torch.where(dropped[:, None], empty, tokens[picks]).to(device)
        # colours and shapes are decided at high noise, so these timesteps come more often
        timesteps = 1000 * torch.rand(args.batch, generator=generator) ** 0.7
        timesteps = timesteps.long().clamp(max=999).to(device)
        clean = latents[picks].to(device).float()
        noise = torch.randn(clean.shape, generator=generator).to(device)
        level = model.alphas_cumprod[timesteps][:, None, None, None]
        noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
        with _autocast(device):
            context = text_model(captions).last_hidden_state
            predicted = model.apply_model(noisy, timesteps, context).float()
        loss = F.mse_loss(predicted, noise)
        _descend(loss, optimizer, trained)
        _average(average, trained, step)
        seen.append(loss.item())
        if step % 50 == 0:
            pace = (time.monotonic() - since) / len(seen)
            print(
                f"unet {args.size} px {step}: {np.mean(seen):.4f}, {pace:.2f} s a step", flush=True
            )
            _save(path, step, trained, optimizer, average)
            seen, since = [], time.monotonic()


@torch.no_grad()
def _encoded(
    model: StableDiffusion, args: argparse.Namespace, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled latents (pictures, 4, size/8, size/8) in half precision and caption tokens
    (pictures, 77), drawn once and kept in the working folder.
    """
    path = args.work / f"latents-{args.size}.pt"
    if path.exists():
        return torch.load(path)
    latents, captions = [], []
    for first in range(0, args.pictures, 16):
        seeds = range(first + args.size * 10_000, first + args.size * 10_000 + 16)
        scenes = [random_scene(np.random.default_rng(seed)) for seed in seeds]
        captions += [scene.caption for scene in scenes]
        batch = _to_tensor(np.stack([draw(scene, args.size) for scene in scenes])).to(device)
        with _autocast(device):
            latents.append(model.encode_first_stage(batch).half().cpu())
        if first % 1600 == 0:
            print(f"drew and encoded {first} pictures of {args.size} px", flush=True)
    encoded = torch.cat(latents), _tokenize(model, captions)
    torch.save(encoded, path)
    return encoded


def _tokenize(model: StableDiffusion, captions: list[str]) -> torch.Tensor:
    tokenizer = model.cond_stage_model.tokenizer
    options = dict(truncation=True, max_length=77, padding="max_length", return_tensors="pt")
    return tokenizer(captions, **options)["input_ids"]


@torch.no_grad()
def _average(average: nn.Module, trained: nn.Module, step: int) -> None:
    decay = min(0.997, (1 + step) / (10 + step))
    for kept, new in zip(average.parameters(), trained.parameters()):
        kept.lerp_(new, 1 - decay)


# -- shared by both


def _steps(start: int, end: int, optimizer: torch.optim.Optimizer, rate: float) -> Iterator[int]:
    """Counts steps while the learning rate warms up and follows a half cosine down."""
    for step in range(start + 1, end + 1):
        warmup = min(step / 100, 1.0)
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / end)
        for group in optimizer.param_groups:
            group["lr"] = rate * warmup * (0.02 + 0.98 * cosine)
        yield step


def _descend(loss: torch.Tensor, optimizer: torch.optim.Optimizer, trained: nn.Module) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
    optimizer.step()


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def _to_tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def _save(path: Path, step: int, trained: nn.Module, optimizer, average=None) -> None:
    state = {"step": step, "trained": trained.state_dict(), "optimizer": optimizer.state_dict()}
    if average is not None:
        state["average"] = average.state_dict()
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)  # whole or not at all, also when stopped here


def _resume(path: Path, trained: nn.Module, optimizer, average=None) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu")
    trained.load_state_dict(state["trained"])
    optimizer.load_state_dict(state["optimizer"])
    if average is not None:
        average.load_state_dict(state["average"])
    print(f"{path.name}: resumed at step {state['step']}", flush=True)
    return state["step"]


STAGES = {"autoencoder": train_autoencoder, "text": train_text, "unet": train_unet}

if __name__ == "__main__":
    main()

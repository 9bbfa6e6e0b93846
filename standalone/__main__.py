"""The command line of the embedded host.

python -m standalone page
python -m standalone measure
python -m standalone grid
python -m standalone txt2img --prompt "a house left of a tree in a meadow" --enable
python -m standalone img2img --image image.png --prompt "a flat drawing of a fox" --enable
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from slothful import Settings, SettingsError
from standalone.checkpoint import SMALL, CheckpointError, load
from standalone.console import replace_unknown_letters, true_text
from standalone.grid import draw_grid
from standalone.infotext import save_png
from standalone.processing import DEFAULT_PROMPT, InputError, Processing, process_images
from standalone.runner import ScriptRunner
from standalone.samplers import SAMPLERS


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 2 when the input was wrong, after one line that says what."""
    replace_unknown_letters()
    args = _parser().parse_args(arguments)
    try:
        COMMANDS[args.command](args)
    except (CheckpointError, InputError, SettingsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="standalone", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("txt2img", "images from a prompt"),
        ("img2img", "images from an image and a prompt"),
        ("grid", "one image without the extension and one with each method, and their times"),
    ):
        command = commands.add_parser(name, help=text)
        _add_generation(command, name)
        _add_settings(command, name)
    _add_page(commands.add_parser("page", help="a page in the browser, for this machine only"))
    measure = commands.add_parser("measure", help="time the parts of a U-Net on this machine")
    measure.add_argument("--model", type=Path, default=SMALL, help="an SD1 checkpoint")
    measure.add_argument("--presets", type=Path, help="the folder beside whose presets it is kept")
    return parser


def _add_page(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--model", type=Path, default=SMALL, help="an SD1 checkpoint with its .yaml next to it")
    add("--port", type=int, default=7865, help="1024 to 65535, or 0 for any that is free")
    add("--out", type=Path, default=Path("outputs"), help="folder for the images")
    add("--language", default="", help="a file in localizations/, for instance ja_JP")
    add("--no-browser", action="store_true", help="do not open a browser")


def _add_generation(command: argparse.ArgumentParser, name: str) -> None:
    add = command.add_argument
    add("--prompt", default=DEFAULT_PROMPT, type=true_text)
    add("--negative-prompt", default="", type=true_text)
    add("--model", type=Path, default=SMALL, help="an SD1 checkpoint with its .yaml next to it")
    add("--seed", type=int, default=7)
    # the grid's images are as large as the model is trained for, where every method has an effect
    size, steps = ("512x512", 12) if name == "grid" else ("256x256", 20)
    add("--size", default=size, help="WIDTHxHEIGHT, pixels")
    add("--steps", type=int, default=steps)
    add("--cfg-scale", type=float, default=5.0)
    add("--sampler", default="Euler", help=", ".join(SAMPLERS))
    add("--batch-size", type=int, default=1)
    add("--batch-count", type=int, default=1)
    add("--out", type=Path, default=Path("outputs"), help="folder for the images")
    if name == "img2img":
        add("--image", type=Path, required=True)
        add("--denoising-strength", type=float, default=0.7)
    else:
        add("--hires", type=float, default=1.0, help="scale of a second, larger pass")
        add("--denoising-strength", type=float, default=0.7, help="of the hires pass")


def _add_settings(command: argparse.ArgumentParser, name: str) -> None:
    group = command.add_argument_group("Slothful Attention")
    if name != "grid":
        group.add_argument("--enable", action="store_true", help="switch the extension on")
    for parameter in Settings.parameters():
        default = parameter.format(parameter.default) or "none"
        text = f"{parameter.help} ({parameter.range_text}; default {default})".replace("%", "%%")
        group.add_argument(f"--{parameter.name.replace('_', '-')}", metavar="VALUE", help=text)


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given; checked here, before a model is loaded."""
    names = [parameter.name for parameter in Settings.parameters()]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    Settings.from_mapping(given)
    return given


def make_request(args: argparse.Namespace, model: Any = None) -> Processing:
    """The request that the command line describes. Raises `InputError`, `CheckpointError`."""
    width, _, height = args.size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise InputError(f"size must be WIDTHxHEIGHT, for instance 512x512, got {args.size!r}")
    hires = getattr(args, "hires", 1.0)
    values = dict(
        prompt=args.prompt, negative_prompt=args.negative_prompt, seed=args.seed,
        steps=args.steps, cfg_scale=args.cfg_scale, width=int(width), height=int(height),
        sampler_name=args.sampler, batch_size=args.batch_size, n_iter=args.batch_count,
        denoising_strength=args.denoising_strength, enable_hr=hires != 1, hr_scale=hires,
        model_name=args.model.stem, progress=_show_progress,
    )  # fmt: skip
    Processing(None, **values)  # the numbers are checked before the model is loaded
    images = [_read_image(args.image)] if args.command == "img2img" else []
    return Processing(model or load(args.model), init_images=images, **values)


def _generate(args: argparse.Namespace) -> None:
    settings = _settings(args)
    processed = process_images(
        make_request(args), ScriptRunner([{"enabled": args.enable, **settings}])
    )
    saved = [
        save_png(image, infotext, args.out / f"{args.command}-{args.seed + index}.png")
        for index, (image, infotext) in enumerate(zip(processed.images, processed.infotexts))
    ]
    for path, infotext in zip(saved, processed.infotexts):  # after all are safe on the disk
        print(f"{path}\n{infotext}")
    for comment in processed.comments:
        print(comment)
    print(f"U-Net: {processed.unet_seconds:.2f} s")


def _read_image(path: Path) -> Image.Image:
    if not path.is_file():
        raise InputError(f"image: {path}: no such file")
    try:
        image = Image.open(path)
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"image: {path}: not a readable image") from error
    return image


def _show_progress(name: str, step: int, steps: int) -> None:
    width = 30
    done = "#" * (width * step // steps)
    end = "\n" if step >= steps else ""
    if sys.stderr.isatty():
        print(f"\r{name} pass [{done:<{width}}] {step}/{steps}", end=end, file=sys.stderr)
    elif end:
        print(f"{name} pass: {steps} steps", file=sys.stderr)


def _grid(args: argparse.Namespace) -> None:
    settings = _settings(args)
    settings.pop("method", None)
    draw_grid(args, settings, make_request, save_png)


def _page(args: argparse.Namespace) -> None:
    from standalone.server import serve  # gradio takes seconds to import

    if not (args.port == 0 or 1024 <= args.port <= 65535):
        raise InputError(f"port must be 0 or between 1024 and 65535, got {args.port}")
    models = {args.model.stem: functools.partial(load, args.model)}
    serve(models, args.out, args.port, args.language, open_browser=not args.no_browser)


def _measure(args: argparse.Namespace) -> None:
    from standalone.measuring import measure

    measure(load(args.model), args.presets)


COMMANDS = {
    "txt2img": _generate,
    "img2img": _generate,
    "grid": _grid,
    "page": _page,
    "measure": _measure,
}

if __name__ == "__main__":
    sys.exit(main())

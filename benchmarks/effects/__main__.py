"""What every parameter does to images of the small model.

python -m benchmarks.effects                     the whole study; run it again to continue
python -m benchmarks.effects --only claims       a part of it: contest, claims, presets, sweeps
python -m benchmarks.effects --report            only the tables and plots, from the images so far
python -m benchmarks.effects --quick --json      a few figures within a minute

Every image is made once and measured against the one without the effect of the same prompt and
seed. Writes to --out: effects.csv (a row for each image), summary.csv (means and 95 %
intervals), claims.md, sliders.md, plots and contact sheets; and what benchmarks.pictures.quality
writes, which makes the contest of quality against cost. Stopped, it keeps what is finished.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

import slothful
from benchmarks.effects import report, variants
from benchmarks.effects.claims import as_markdown, judge_claims
from benchmarks.effects.cost import attention_left, unet_left
from benchmarks.effects.metrics import LOOKS
from benchmarks.effects.runs import FIRST_PROMPT, Conditions, Study, StudyError, order
from benchmarks.effects.sweeps import sweeps
from benchmarks.effects.table import Table, write_summary
from benchmarks.effects.variants import Variant, plain
from benchmarks.pictures import quality
from slothful import Settings, SettingsError
from standalone.checkpoint import SMALL, CheckpointError
from standalone.console import replace_unknown_letters
from standalone.processing import InputError
from standalone.samplers import SAMPLERS

CONTEST = "contest"
LARGE = ("80% of the steps", "65% of the steps", "50% of the steps", "DeepCache 3", "tomesd 0.5",
         "downsampled keys 2", "asleep gentle", "asleep half", "Slothful Attention",
         "Slothful Attention, asleep half", "Near-sighted Tile", "Near-sighted Attention",
         "Token Merging", "Token Merging 0.7", "Token Downsampling")  # fmt: skip
"""What contends at 512x512, where an image takes five times as long."""
PARTS = {
    "claims": variants.claims,
    "presets": variants.presets,
    "sweeps": sweeps,
}
QUICK_MEASURES = ("change", "mask_iou", *(f"{name}_change" for name in LOOKS))
QUICK = {"steps": 3, "seeds": 2}
QUICK_VARIANTS = {
    "Slothful Attention": {},
    "average on V": dict(in_v_blend=1, out_v_blend=1, in_slothful=9, out_slothful=9),
    "maximum on V": dict(in_v_blend=1, out_v_blend=1, in_slothful=9, out_slothful=9,
                         in_mode="2D_MAX", out_mode="2D_MAX"),
    "Near-sighted Attention, tiles 16": dict(method="Near-sighted Attention", base_tile_size=16,
                                             peak_tile_size=16),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when the input was wrong or the disk full, after one line that says what;
    130 when it was interrupted.
    """
    replace_unknown_letters()
    args = _parser().parse_args(arguments)
    try:
        return _quick(args) if args.quick else _study(args)
    except (CheckpointError, StudyError, InputError, SettingsError, OSError) as error:
        print(f"error: {error}; finished images and rows are kept", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; what is finished is kept in {args.out}, the same command continues",
              file=sys.stderr)  # fmt: skip
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.effects", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--model", type=Path, default=SMALL, help="an SD1 checkpoint with its .yaml next to it")
    parts = [CONTEST, *PARTS]
    add("--only", nargs="+", choices=parts, default=parts, metavar="PART", help=", ".join(parts))
    add("--parameters", nargs="+", metavar="NAME", help="sweep these only")
    add("--prompts", type=_count, default=12, help="of the claims and the presets")
    add("--sweep-prompts", type=_count, default=2, help="of the sweeps, the first of them")
    add("--seeds", type=_count, default=2, help="of each prompt")
    add("--first-prompt", type=_count, default=FIRST_PROMPT, help="seed of the prompts' scenes")
    add("--first-seed", type=_count, default=1)
    add("--steps", type=_count, default=8)
    add("--sampler", default="Euler", choices=list(SAMPLERS), metavar="NAME",
        help=", ".join(SAMPLERS))  # fmt: skip
    add("--cfg-scale", type=float, default=5.0)
    add("--denoising-strength", type=float, default=0.6)
    add("--out", type=Path, default=Path("outputs/effects"))
    add("--report", action="store_true", help="make no images")
    add("--quick", action="store_true", help="a few variants of one prompt")
    add("--json", action="store_true", help="with --quick: one JSON object")
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _conditions(args: argparse.Namespace) -> Conditions:
    return Conditions(
        "", args.steps, args.sampler, args.cfg_scale, args.denoising_strength, args.first_prompt,
        args.first_seed, args.seeds,
    )  # fmt: skip


def _study(args: argparse.Namespace) -> int:
    if CONTEST in args.only and (code := _contest(args)):
        return code
    chosen = {name: list(PARTS[name]()) for name in PARTS if name in args.only}
    if not chosen:  # the contest writes its own report, and the others' stay
        return 0
    study = Study(args.model, args.out, _conditions(args))
    if args.parameters:
        names = {Settings.parameter(name).name for name in args.parameters}
        chosen["sweeps"] = [v for v in chosen.get("sweeps", []) if v.parameter in names]
    if not args.report:
        make_pictures(study, chosen, args)
    write_report(study, chosen, args)
    return 0


def _contest(args: argparse.Namespace) -> int:
    """Quality against cost, at both sizes."""
    for wanted in (
        ["--size", "256x256", "--images", "12"],
        ["--size", "512x512", "--images", "6", "--only", *LARGE],
    ):
        wanted += ["--report"] * args.report
        code = quality.main(["--model", str(args.model), "--out", str(args.out), *wanted])
        if code:
            return code
    return 0


def _prompts(args: argparse.Namespace, part: str) -> range:
    """The prompts of a part's pictures."""
    return range(args.sweep_prompts if part == "sweeps" else args.prompts)


def make_pictures(
    study: Study, chosen: dict[str, Sequence[Variant]], args: argparse.Namespace
) -> None:
    """Make and measure what is missing, with a progress bar."""
    tasks = [
        (variant, task, prompt)
        for part, listed in chosen.items()
        for variant, task in order(listed)
        for prompt in _prompts(args, part)
    ]
    by_name = {variant.name: variant for listed in chosen.values() for variant in listed}
    missing = [each for each in tasks if study.missing(*each)]
    with tqdm(missing, unit="prompt", desc="images") as bar:
        for variant, task, prompt in bar:
            bar.set_postfix_str(f"{task}: {variant.name}"[:48])
            reference = by_name.get(variant.reference, plain(variant.size))
            study.run(variant, reference, task, prompt)


def write_report(
    study: Study, chosen: dict[str, Sequence[Variant]], args: argparse.Namespace
) -> None:
    """Tables, plots and contact sheets of all that has been measured."""
    table, out = Table(study.rows.values()), study.out
    keys = [(task, v.name, measure) for listed in chosen.values() for v, task in order(listed)
            for measure in report.measures()]  # fmt: skip
    write_summary(table, dict.fromkeys(keys), out / "summary.csv")
    written = [study.table, out / "summary.csv"]
    if "claims" in chosen:
        (out / "claims.md").write_text(as_markdown(judge_claims(table)), encoding="utf-8")
        written.append(out / "claims.md")
    if "sweeps" in chosen:
        written += report.draw_sweeps(table, chosen["sweeps"], out)
        shape = slothful.shape_of(study.model.model.diffusion_model)
        left = functools.partial(unet_left, shape, study.conditions)
        sliders = report.sweep_table(table, chosen["sweeps"], left)
        (out / "sliders.md").write_text(sliders, encoding="utf-8")
        written.append(out / "sliders.md")
    for part, listed in chosen.items():
        groups = report.by_parameter(listed) if part == "sweeps" else {part: list(listed)}
        if part == "claims":
            by_name = {variant.name: variant for variant in listed}
            for name, shown in variants.HIGHLIGHTS.items():
                groups[name] = [by_name[each] for each in shown]
        prompts = _prompts(args, part)
        for name, group in groups.items():
            for task in group[0].tasks:
                path = out / "sheets" / f"{name}-{task}.png"
                report.contact_sheet(study, group, task, prompts, path)
    print(*written, out / "sheets", sep="\n")


def _quick(args: argparse.Namespace) -> int:
    """A few figures of a few pictures, in a folder that is thrown away."""
    listed = [plain(variants.REDUCED_SIZE)]
    listed += [Variant(name, settings) for name, settings in QUICK_VARIANTS.items()]
    listed.append(Variant("tomesd 0.5", peer="tomesd 0.5"))
    args.steps, args.seeds = QUICK["steps"], QUICK["seeds"]
    with tempfile.TemporaryDirectory() as folder:
        study = Study(args.model, Path(folder), _conditions(args))
        for variant in listed:
            study.run(variant, listed[0], "txt2img", 0)
        table = Table(study.rows.values())
        figures = {}
        for variant in listed:
            own = {m: round(table.mean(variant.name, m).mean, 5) for m in QUICK_MEASURES}
            left = attention_left(study.model, variant, study.conditions)
            figures[variant.name] = {"attention_left": round(left, 4), **own}
    if args.json:
        print(json.dumps({"pictures": QUICK["seeds"], "steps": args.steps, "variants": figures}))
        return 0
    for name, values in figures.items():
        print(name, *(f"{key} {value:g}" for key, value in values.items()), sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())

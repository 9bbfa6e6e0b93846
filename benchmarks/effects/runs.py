"""Makes the pictures of a study and measures them; what is finished is never made again."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.effects.metrics import FIDELITY, LIKENESS, LOOKS, fidelity, likeness, looks
from benchmarks.effects.metrics import seam_energy as measure_seams
from benchmarks.effects.peers import PEERS
from benchmarks.effects.variants import Variant, plain
from slothful import LATENT_FACTOR, Settings
from slothful.planning.tiling import plan_tiling
from slothful.settings.methods import NEAR_SIGHTED, NEAR_SIGHTED_TILE
from standalone.checkpoint import load
from standalone.infotext import save_png
from standalone.model.scenes import KINDS, ComposedScene, Scene, draw
from standalone.processing import Processing, process_images
from standalone.runner import ScriptRunner, load_script_class

PROMPT_KINDS = ("simple", "thing", "landscape", "simple", "pair", "several", "thing", "related",
                "landscape", "simple", "thing", "mirrored")  # fmt: skip
"""The kinds of the scenes whose captions are the prompts, in turn."""
FIRST_PROMPT = 30_000_000
"""Prompts are captions of scenes drawn from this seed on; training and evaluation use others."""
HIRES_SCALE = 1.5
KEYS = ("task", "size", "variant", "prompt", "seed")
COLUMNS = (*KEYS, "kind", *LOOKS, *(f"{name}_change" for name in LOOKS), *LIKENESS, *FIDELITY,
           "seam_energy", "seam_energy_off")  # fmt: skip
"""One row a picture. `_change` is relative to the picture without the effect: 0.1 is 10 % more."""


class StudyError(ValueError):
    """The study cannot go on as asked; one line that says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What all pictures of a study share; another study needs another folder."""

    model: str
    steps: int
    sampler: str
    cfg_scale: float
    denoising_strength: float
    first_prompt: int
    first_seed: int
    seeds: int


class Study:
    """The pictures and rows of one folder.

    `rows` holds a row for every picture measured so far, by its `KEYS`. Raises `CheckpointError`
    for a missing model, `StudyError` where the folder holds a study under other conditions or a
    damaged table.
    """

    def __init__(self, model_path: Path, out: Path, conditions: Conditions):
        self.model = load(model_path)
        digest = hashlib.sha256(model_path.read_bytes()).hexdigest()[:12]
        self.conditions = dataclasses.replace(conditions, model=f"{model_path.stem} {digest}")
        self.out = out
        self._script = load_script_class()()
        self._claim_folder()
        self.rows: dict[tuple[str, ...], dict[str, str]] = read_rows(self.table)

    @property
    def table(self) -> Path:
        """The CSV file of all rows."""
        return self.out / "effects.csv"

    def _claim_folder(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        path, own = self.out / "conditions.json", dataclasses.asdict(self.conditions)
        if path.exists():
            found = json.loads(path.read_text())
            other = [f"{k} {found.get(k)!r} instead of {v!r}" for k, v in own.items()
                     if found.get(k) != v]  # fmt: skip
            if other:
                raise StudyError(
                    f"{self.out} holds a study with {', '.join(other)}; name another folder with "
                    "--out"
                )
        path.write_text(json.dumps(own, indent=2))

    def missing(self, variant: Variant, task: str, prompt: int) -> list[int]:
        """The seeds of which there is no row yet."""
        key = (task, str(variant.size), variant.name, str(prompt))
        return [seed for seed in self.seeds(prompt) if (*key, str(seed)) not in self.rows]

    def seeds(self, prompt: int) -> range:
        """The seeds of a prompt's pictures; no two prompts share one."""
        first = self.conditions.first_seed + 1000 * prompt
        return range(first, first + self.conditions.seeds)

    def run(self, variant: Variant, reference: Variant, task: str, prompt: int) -> None:
        """Make and measure the pictures of one variant and prompt, all seeds, if there are any to
        make. `reference` is the variant that `variant.reference` names.
        """
        if not (seeds := self.missing(variant, task, prompt)):
            return
        scene = scene_of(self.conditions.first_prompt, prompt)
        ours = self.pictures(variant, task, prompt, scene)
        theirs = self.pictures(reference, task, prompt, scene)
        off = self.pictures(plain(variant.size), task, prompt, scene)
        rows = []
        for seed in seeds:
            index = self.seeds(prompt).index(seed)
            kind = kind_of(prompt)
            pictures = ours[index], theirs[index], off[index]
            key = dict(zip(KEYS, (task, variant.size, variant.name, prompt, seed)))
            rows.append({**key, "kind": kind, **measure(*pictures, scene, kind, variant)})
        self._append(rows)

    def pictures(self, variant: Variant, task: str, prompt: int, scene: Scene) -> list[np.ndarray]:
        """uint8 (height, width, 3) for each seed, made unless they are on the disk."""
        paths = [self.path(variant, task, prompt, seed) for seed in self.seeds(prompt)]
        if not all(path.exists() for path in paths):
            request = self._request(variant, task, prompt, scene)
            around = contextlib.nullcontext()
            if variant.peer:
                around = PEERS[variant.peer](self.model.model.diffusion_model)
            with around:
                made = process_images(request, ScriptRunner(variant.args, self._script))
            for image, infotext, path in zip(made.images, made.infotexts, paths):
                part = save_png(image, infotext, path.with_suffix(".part.png"))
                part.replace(path)
        return [np.asarray(Image.open(path)) for path in paths]

    def path(self, variant: Variant, task: str, prompt: int, seed: int) -> Path:
        """Where a picture lies."""
        return self.out / "pictures" / task / variant.key / f"{prompt}-{seed}.png"

    def _request(self, variant: Variant, task: str, prompt: int, scene: Scene) -> Processing:
        request = Processing(
            self.model, prompt=scene.caption, seed=self.seeds(prompt)[0],
            steps=self.conditions.steps, cfg_scale=self.conditions.cfg_scale,
            width=variant.size, height=variant.size, sampler_name=self.conditions.sampler,
            batch_size=self.conditions.seeds, enable_hr=task == "hires", hr_scale=HIRES_SCALE,
            denoising_strength=self.conditions.denoising_strength,
        )  # fmt: skip
        if task == "img2img" and isinstance(scene, ComposedScene):
            own = self.pictures(plain(variant.size), "txt2img", prompt, scene)
            request.init_images = [Image.fromarray(picture) for picture in own]
        elif task == "img2img":
            request.init_images = [Image.fromarray(draw(scene, variant.size))]
        return request

    def _append(self, rows: list[dict[str, Any]]) -> None:
        """Add rows to the table in one write, so that an interruption leaves whole lines."""
        new = not self.table.exists()
        with self.table.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if new:
                writer.writeheader()
            writer.writerows(rows)
        for row in rows:
            texts = {name: str(value) for name, value in row.items()}
            self.rows[tuple(texts[name] for name in KEYS)] = texts


def read_rows(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """The rows of a table by their `KEYS`; none where there is no table.

    Raises `StudyError` for a file with other columns. A last line that was cut off is left out.
    """
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise StudyError(f"{path}: not a table of this study; name another folder with --out")
        whole = (row for row in reader if None not in row.values())
        return {tuple(row[name] for name in KEYS): row for row in whole}


def kind_of(prompt: int) -> str:
    """The kind of the prompt's scene."""
    return PROMPT_KINDS[prompt % len(PROMPT_KINDS)]


def scene_of(first_prompt: int, prompt: int) -> Scene:
    """The scene whose caption is a prompt; its kind depends on the prompt's place alone."""
    return KINDS[kind_of(prompt)][1](np.random.default_rng(first_prompt + prompt))


def measure(
    picture: np.ndarray,
    reference: np.ndarray,
    off: np.ndarray,
    scene: Scene,
    kind: str,
    variant: Variant,
) -> dict[str, float]:
    """Everything that a row says of a picture. `off` is the picture without the effect."""
    own, before = looks(picture), _looks_of(off.tobytes(), off.shape)
    changes = {f"{n}_change": own[n] / before[n] - 1 if before[n] else np.nan for n in LOOKS}
    seams = borders(variant)
    return {
        **own, **changes, **likeness(picture, reference), **fidelity(picture, scene, kind),
        "seam_energy": measure_seams(picture, seams), "seam_energy_off": measure_seams(off, seams),
    }  # fmt: skip


@functools.lru_cache(maxsize=64)
def _looks_of(values: bytes, shape: tuple[int, ...]) -> dict[str, float]:
    return looks(np.frombuffer(values, np.uint8).reshape(shape))


def borders(variant: Variant) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The rows and columns, in pixels, at which a tile of the finest level begins without shift.

    Variants without tiles are measured at the borders of tiles of 16 tokens, pictures that one such
    tile would cover in their middle.
    """
    settings = Settings.from_mapping(variant.settings or {})
    sizes = {NEAR_SIGHTED_TILE: settings.tile_size, NEAR_SIGHTED: settings.peak_tile_size}
    grid = variant.size // LATENT_FACTOR
    size = sizes.get(settings.method, 16)
    side = next((each for each in (size, 16) if each < grid), -(-grid // 2))
    tiling = plan_tiling(grid, grid, side)
    return tuple(
        tuple(LATENT_FACTOR * start for start in axis.edges[1:-1])
        for axis in (tiling.rows, tiling.columns)
    )


def order(variants: Iterable[Variant]) -> Iterator[tuple[Variant, str]]:
    """(variant, task) with all pictures that others are measured against first."""
    listed = list(variants)
    sizes = {(variant.size, task) for variant in listed for task in variant.tasks}
    for size, task in sorted(sizes):
        yield plain(size), task
    for variant in listed:
        for task in variant.tasks:
            yield variant, task

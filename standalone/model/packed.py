"""The small model's weights in a third less space, and back.

A pack is a zip of the file's bytes, the upper ones of each half-precision number apart, because
they shrink. Of the token embedding, whose rows most captions never use, it has the trained rows;
the others follow from a seed. The U-Net's weights lose their last bits when they are packed; what
is read is the same checkpoint everywhere and at any time.

    python -m standalone.model.packed small.safetensors standalone/model/small.pack
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_file, save, save_file

from standalone.model.export import NETWORKS, POSITIONS, TEXT, UNET, checkpoint_weights
from standalone.model.words import used_tokens

SUFFIX = ".pack"
SMALL = Path(__file__).with_name("small.pack")
"""The project's own small checkpoint, packed; `unpacked` gives the file that others can read."""
TABLE = f"{TEXT}text_model.embeddings.token_embedding.weight"
SPREAD = 0.02
"""Standard deviation of untrained rows."""
KEPT_BITS = 8
"""Of the ten of a U-Net's weight: training computes with bfloat16's seven."""


class CheckpointError(ValueError):
    """A checkpoint or pack cannot be used; one line that names the file and the reason."""


def unpacked(path: Path) -> Path:
    """The checkpoint of a pack; any other path is returned as it is.

    It is written beside the pack when it is first needed, or into the user's cache where that place
    is read-only, with the pack's .yaml beside it. Whoever comes first writes it; it appears whole
    or not at all. Raises `CheckpointError` for a pack that is missing or damaged.
    """
    if path.suffix != SUFFIX:
        return path
    digest = _digest(path)
    places = [path.parent, _cache() / digest[:16]]
    for folder in places:
        target = folder / path.with_suffix(".safetensors").name
        if _is_of(target, digest):
            return target
    weights = read_pack(path)
    for folder in places:
        target = folder / path.with_suffix(".safetensors").name
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            _write(weights, digest, target)
            configuration = target.with_suffix(".yaml")
            if not configuration.exists():
                configuration.write_bytes(path.with_suffix(".yaml").read_bytes())
        if _is_of(target, digest):
            return target
    raise CheckpointError(f"{path}: no room to unpack it, neither beside it nor in {places[-1]}")


def read_pack(path: Path) -> dict[str, torch.Tensor]:
    """All weights and buffers of a pack's checkpoint. Raises `CheckpointError`."""
    digest = _digest(path)
    try:
        with zipfile.ZipFile(path) as packed:
            upper, lower = (np.frombuffer(packed.read(n), np.uint8) for n in ("upper", "lower"))
        data = np.empty(len(upper) + len(lower), np.uint8)
        data[0::2], data[1::2] = lower, upper
        if hashlib.sha256(data.tobytes()).hexdigest() != digest:
            raise ValueError("its contents are not what was packed")
        return checkpoint_weights(_completed(load(data.tobytes())))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, SafetensorError) as error:
        raise _damaged(path, error) from error


def write_pack(weights: dict[str, torch.Tensor], path: Path) -> None:
    """Pack a checkpoint's weights, the U-Net's rounded to `KEPT_BITS`, all to half precision."""
    kept = {name: w.half() for name, w in weights.items() if name.startswith(NETWORKS)}
    kept.pop(POSITIONS, None)
    rows = torch.tensor(used_tokens())
    kept |= {"token_rows": kept.pop(TABLE)[rows], "token_ids": rows.to(torch.int32)}
    for name in kept:
        if name.startswith(UNET):
            kept[name] = rounded(kept[name])
    data = save({name: w.contiguous() for name, w in kept.items()})
    data += b" " * (len(data) % 2)
    values = np.frombuffer(data, np.uint8)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        packed.writestr("about", json.dumps({"sha256": hashlib.sha256(data).hexdigest()}))
        packed.writestr("upper", values[1::2].tobytes())
        packed.writestr("lower", values[0::2].tobytes())


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """A weight in half precision with `KEPT_BITS` behind the first one, rounded to nearest."""
    dropped = 10 - KEPT_BITS
    bits = weight.contiguous().view(torch.int16).numpy().view(np.uint16).astype(np.uint32)
    bits = ((bits + (1 << (dropped - 1))) >> dropped << dropped).astype(np.uint16)
    return torch.from_numpy(bits.view(np.int16)).view(torch.float16)


def untrained_rows(count: int, width: int) -> torch.Tensor:
    """The token embedding before training, half precision (count, width): the same everywhere.

    Uniform with standard deviation `SPREAD`, by exact arithmetic from Philox's integers (Salmon et
    al., 2011), since the distributions of numpy and torch may change from version to version.
    """
    integers = np.random.Philox(key=1234).random_raw(count * width) >> 11
    uniform = integers.astype(np.float64) / 2**52 - 1
    return torch.from_numpy((uniform * SPREAD * 3**0.5).astype(np.float16)).reshape(count, width)


def _completed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """With the whole token embedding."""
    ids, rows = weights.pop("token_ids").long(), weights.pop("token_rows")
    table = untrained_rows(49408, rows.shape[1])
    table[ids] = rows
    return weights | {TABLE: table}


def _digest(path: Path) -> str:
    """What a pack says that its contents are."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as packed:
            return str(json.loads(packed.read("about"))["sha256"])
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CheckpointError(
        f"{path}: a damaged pack ({reason}); get it again: git checkout {path.name}"
    )


def _is_of(path: Path, digest: str) -> bool:
    """Whether that file is the whole checkpoint of the pack with that digest."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("pack") == digest
    except (OSError, SafetensorError):
        return False


def _write(weights: dict[str, torch.Tensor], digest: str, target: Path) -> None:
    handle, name = tempfile.mkstemp(".part", target.stem, target.parent)
    os.close(handle)
    part = Path(name)
    try:
        save_file(weights, part, metadata={"format": "pt", "pack": digest})
        part.chmod(0o644)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _cache() -> Path:
    """The user's folder for what can be made again."""
    local = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    return (Path(local) if local else Path.home() / ".cache") / "slothful-attention"


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("pack", type=Path)
    args = parser.parse_args(argv)
    write_pack(load_file(args.checkpoint), args.pack)
    print(f"{args.pack}: {args.pack.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

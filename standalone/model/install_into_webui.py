"""Copies the small model into a stable-diffusion-webui, where it is a checkpoint like any other.

python -m standalone.model.install_into_webui path/to/stable-diffusion-webui
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from omegaconf import OmegaConf

from standalone.checkpoint import SMALL, CheckpointError, unpacked
from standalone.console import replace_unknown_letters
from standalone.model.tokenizer import ensure_tokenizer


class InstallError(ValueError):
    """The model cannot be installed; one line that says why."""


def main(arguments: list[str] | None = None) -> int:
    """The command line; 2 when it could not install, after one line that says why."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("webui", type=Path, metavar="WEBUI_DIR")
    parser.add_argument(
        "--model", type=Path, default=SMALL, help="the checkpoint to copy, or a pack of one"
    )
    replace_unknown_letters()
    args = parser.parse_args(arguments)
    try:
        installed = install(args.webui, args.model)
    except (InstallError, CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"installed {installed}")
    return 0


def install(webui: Path, checkpoint: Path = SMALL) -> Path:
    """Copy checkpoint, configuration and tokenizer folder; the installed checkpoint's path.

    The installed configuration names the tokenizer folder by its absolute path, because the webui
    does not look beside it. Raises `InstallError`, `CheckpointError` and `OSError`.
    """
    target = webui.resolve() / "models" / "Stable-diffusion"
    if not target.is_dir():
        raise InstallError(f"{webui}: not a stable-diffusion-webui, it has no {target.name} folder")
    configuration = checkpoint.with_suffix(".yaml")
    for path in (checkpoint, configuration):
        if not path.is_file():
            raise InstallError(f"{path}: no such file")
    folder = ensure_tokenizer(target / f"{checkpoint.stem}-tokenizer")
    config = OmegaConf.load(configuration)
    OmegaConf.update(config, "model.params.cond_stage_config.params.version", str(folder))
    OmegaConf.save(config, target / configuration.name)
    source = unpacked(checkpoint)
    return Path(shutil.copy(source, target / source.name))


if __name__ == "__main__":
    sys.exit(main())

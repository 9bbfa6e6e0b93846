"""CLIP's tokenizer as the files that transformers read, made from open_clip's merge list.

The real vocabulary, so that prompts, emphasis and textual inversion work as with any SD1 model.
The files are derived, not stored: `ensure_tokenizer` writes them where they are missing.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = 49152 - 256 - 2
"""CLIP uses this many of the merges in the list (Radford et al., 2021)."""


def ensure_tokenizer(folder: Path) -> Path:
    """Write vocab.json, merges.txt and tokenizer_config.json into `folder` unless they exist.

    Raises `FileNotFoundError` when the package open-clip-torch, whose data is used, is missing.
    """
    if (folder / "merges.txt").exists() and (folder / "vocab.json").exists():
        return folder
    merges = _merges()
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters)]
    words += ["".join(pair.split()) for pair in merges] + [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
        "model_max_length": 77,
        "do_lower_case": True,
    }
    vocabulary = {word: index for index, word in enumerate(words)}
    _write(folder / "tokenizer_config.json", json.dumps(config, indent=2))
    _write(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    _write(folder / "merges.txt", "\n".join(["#version: 0.2", *merges]) + "\n")
    return folder


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _merges() -> list[str]:
    # found, not imported: open_clip wants torchvision, its data does not
    package = importlib.util.find_spec("open_clip")
    if package is None:
        raise FileNotFoundError("the CLIP vocabulary needs the package open-clip-torch")
    path = Path(package.submodule_search_locations[0]) / "bpe_simple_vocab_16e6.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return lines.read().split("\n")[1 : MERGES + 1]


def _byte_letters() -> list[str]:
    """The printable letter that stands for each byte in byte-level BPE (GPT-2), in CLIP's order.

    Printable bytes stand for themselves; the others take the letters from 256 on.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]

"""CLIP's tokenizer as the files that transformers read, made from open_clip's merge list.

The real vocabulary, so that prompts, emphasis and textual inversion work as with any SD1 model.
The files are derived, not stored: `ensure_tokenizer` writes them where they are missing.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = 49152 - 256 - 2
"""CLIP uses this many of the merges in the list (Radford et al., 2021)."""
SPECIAL = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
TEXT_MODEL = {
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "vocab_size": MERGES + 512 + 2,
    "max_position_embeddings": 77,
    "hidden_size": 96,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "projection_dim": 96,
    "hidden_act": "quick_gelu",
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 1,
}
"""The small model's text model: CLIP's, with less width and depth, and the whole vocabulary."""


def ensure_tokenizer(folder: Path) -> Path:
    """Write the files that CLIPTokenizer and CLIPTextConfig read into `folder` unless they exist.

    Returns the folder. Raises `FileNotFoundError` when the package open-clip-torch, whose data is
    used, is missing.
    """
    files = _files()
    if all((folder / name).exists() for name in files):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in files.items():
        if not (folder / name).exists():
            (folder / name).write_text(make(), encoding="utf-8")
    return folder


def _files() -> dict[str, Callable[[], str]]:
    """The text of each file, made when it is called for."""
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    return {
        "config.json": lambda: json.dumps(TEXT_MODEL, indent=2),
        "tokenizer_config.json": lambda: json.dumps(settings | SPECIAL, indent=2),
        "special_tokens_map.json": lambda: json.dumps(SPECIAL, indent=2),
        "vocab.json": lambda: json.dumps(_vocabulary(), ensure_ascii=False),
        "merges.txt": lambda: "\n".join(["#version: 0.2", *_merges()]) + "\n",
    }


def _vocabulary() -> dict[str, int]:
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters)]
    words += ["".join(pair.split()) for pair in _merges()] + [START, END]
    return {word: index for index, word in enumerate(words)}


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

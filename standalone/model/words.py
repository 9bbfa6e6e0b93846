"""Captions as CLIP's numbers, without its tokenizer: from a table of all words that captions have.

    python -m standalone.model.words

writes the table, words.json, with CLIP's tokenizer. Training needs no other package than torch,
numpy, pillow and safetensors by it, and only these words' rows of the token embedding are trained.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import numpy as np

from standalone.model.scenes import random_scene
from standalone.model.scenes.grounds import GROUND_COLOURS
from standalone.model.scenes.things import THINGS

START, END, LENGTH = 49406, 49407, 77
TABLE = Path(__file__).with_name("words.json")


@functools.cache
def table() -> dict[str, list[int]]:
    """The numbers of each word."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def words_of(caption: str) -> list[str]:
    """The words of a caption, commas among them."""
    return caption.replace(",", " ,").split()


def tokens_of(caption: str) -> tuple[list[int], int]:
    """The `LENGTH` numbers of a caption, and how many of them come before the padding.

    Raises `KeyError` for a word that no caption has.
    """
    inside = [number for word in words_of(caption) for number in table()[word]][: LENGTH - 2]
    return [START, *inside, *[END] * (LENGTH - 1 - len(inside))], len(inside) + 2


def used_tokens() -> list[int]:
    """All numbers that captions have."""
    return sorted({START, END, *(number for numbers in table().values() for number in numbers)})


def main() -> int:
    """Write the table."""
    from transformers import CLIPTokenizer

    from standalone.model.tokenizer import ensure_tokenizer

    tokenizer = CLIPTokenizer.from_pretrained(str(ensure_tokenizer(TABLE.parent / "clip")))
    words = sorted({word for text in vocabulary() for word in words_of(text)})
    numbers = {word: tokenizer(word)["input_ids"][1:-1] for word in words}
    TABLE.write_text(json.dumps(numbers), encoding="utf-8")
    print(f"{TABLE}: {len(numbers)} words")
    return 0


def vocabulary() -> list[str]:
    """Texts that have every word of captions."""
    generator = np.random.default_rng(1)
    captions = [random_scene(generator).caption for _ in range(20_000)]
    plurals = [thing.plural for thing in THINGS if thing.counted]
    return [*captions, *GROUND_COLOURS, *(thing.name for thing in THINGS), *plurals]


if __name__ == "__main__":
    sys.exit(main())

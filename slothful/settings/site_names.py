"""The names of self-attention sites, as users of block weights know them."""

from __future__ import annotations

from collections.abc import Iterable


def _names(inputs: Iterable[int], outputs: Iterable[int]) -> tuple[str, ...]:
    return (*(f"IN{i:02d}" for i in inputs), "M00", *(f"OUT{i:02d}" for i in outputs))


SITE_NAMES = (*_names(range(12), range(12)), *(f"B{i:02d}" for i in range(28)))
"""Every name that a site can have, in the order of the forward pass: of a U-Net, and of PixArt, a
transformer without one."""

FAMILY_SITES = {
    "SD1, SD2": _names((1, 2, 4, 5, 7, 8), range(3, 12)),
    "SDXL": _names((4, 5, 7, 8), range(6)),
    "SDXL refiner": _names((4, 5, 7, 8), range(3, 9)),
}
"""The sites of the known families: for pages, which are built before a model is loaded."""

KNOWN_SITES = tuple(
    name for name in SITE_NAMES if any(name in names for names in FAMILY_SITES.values())
)
"""The sites that some known family has, in the order of the forward pass."""

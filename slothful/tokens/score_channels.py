"""Scores in fewer channels: the best form of low rank of a head's query and key projections.

A head's score of two tokens x and y is x W_q' W_k y', so only the product of the two matters. Its
best approximation of rank r is known in closed form (Eckart and Young, 1936), and gives queries and
keys of r channels instead of all d. Source: KQ-SVD (2025), which compresses Q K' of the tokens that
were seen; here also for tokens of which nothing is known.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

_NOTHING = 1e-12
"""Singular values below this part of the largest one are none."""


class Mixing(NamedTuple):
    """How the d channels of each head mix to new ones, the most important first, each
    (heads, d, d): `query[h]` (of W_q's rows to new ones) and `key[h]`. The first r rows are those
    of the best form of rank r; all of them change no score.
    """

    query: torch.Tensor
    key: torch.Tensor


def best_mixing(query_root: torch.Tensor, key_root: torch.Tensor) -> Mixing:
    """Of heads whose queries and keys have the second moments root' root, (heads, n, d) each, n at
    least d: for tokens of which nothing is known, the projections' own weights, transposed.

    With R_q R_k' = U S V', the scores' best form of rank r has the channels S^(-1/2) U' R_q of the
    keys and S^(-1/2) V' R_k of the queries. In the precision of what is given; double is meant.
    """
    query = torch.linalg.qr(query_root, mode="r").R
    key = torch.linalg.qr(key_root, mode="r").R
    left, values, right = torch.linalg.svd(query @ key.mT)
    known = values > _NOTHING * values[:, :1]
    scale = torch.where(known, values, 1.0).rsqrt() * known
    return Mixing(scale[..., None] * (right @ key), scale[..., None] * (left.mT @ query))

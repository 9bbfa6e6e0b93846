"""Triton's kernels for keys that stand for similar tokens; only imported where Triton is there.

Tokens, features, keys and answers are rows of one length after the other, groups are counted by
adding whole numbers, which gives the same in any order. Tiles have an index (windows, tokens a
window) of the places of their tokens in the grid.
"""

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
SCALE = tl.constexpr(2.0**24)
"""Tokens are added as whole numbers, times this: single precision's own rounding, and 2**39 can be
held."""

CHANGING = ("windows", "count", "own", "shared", "totals", "within", "sums_own", "sums_shared")
PLACES = ("to_own", "each_own", "to_shared", "each_shared")
"""Numbers that change with the schedule or the size: a kernel is not compiled anew for them."""


@triton.jit(do_not_specialize=["rows", "zeros"])
def prepare(
    tokens, directions, copied, features, sums, channels, rows, zeros,
    COPIES: tl.constexpr, SEARCHES: tl.constexpr, WIDTH: tl.constexpr,
    BT: tl.constexpr, BC: tl.constexpr, BZ: tl.constexpr,
):  # fmt: skip
    """Tokens (rows, channels) as they are projected, their features (rows, WIDTH), and `zeros`
    sums of nothing.
    """
    pid = tl.program_id(0)
    row = pid * BT + tl.arange(0, BT)
    inside = row < rows
    wide = tl.arange(0, WIDTH)
    total = tl.zeros((BT, WIDTH), tl.float32)
    for first in range(0, channels, BC):
        channel = first + tl.arange(0, BC)
        known = channel < channels
        at = row[:, None] * channels + channel[None, :]
        mask = inside[:, None] & known[None, :]
        part = tl.load(tokens + at, mask=mask, other=0.0).to(copied.dtype.element_ty)
        if COPIES:
            tl.store(copied + at, part, mask=mask)
        if SEARCHES:
            to = directions + channel[:, None] * WIDTH + wide[None, :]
            total = tl.dot(part, tl.load(to, mask=known[:, None], other=0.0), total)
    if SEARCHES:
        at = row[:, None] * WIDTH + wide[None, :]
        tl.store(features + at, total.to(features.dtype.element_ty), mask=inside[:, None])
    nothing = tl.zeros((BZ,), tl.int64)
    for first in range(pid * BZ, zeros, tl.num_programs(0) * BZ):
        place = first + tl.arange(0, BZ)
        tl.store(sums + place, nothing, mask=place < zeros)


@triton.jit
def _nearest(
    mine, features, base, kept, window, count,
    INDEXED: tl.constexpr, WIDTH: tl.constexpr, BT: tl.constexpr, BG: tl.constexpr,
):  # fmt: skip
    """Of some tokens' features the number of the kept one at the smallest angle, of equals the
    first.
    """
    wide = tl.arange(0, WIDTH)
    best = tl.full((BT,), float("-inf"), tl.float32)
    where = tl.zeros((BT,), tl.int32)
    for first in range(0, count, BG):
        number = first + tl.arange(0, BG)
        known = number < count
        place = tl.load(kept + number, mask=known, other=0).to(tl.int32)
        if INDEXED:
            place = tl.load(window + place)
        centre = tl.load(features + (base + place)[:, None] * WIDTH + wide[None, :])
        exact = centre.to(tl.float32)
        length = tl.maximum(tl.sqrt(tl.sum(exact * exact, axis=1)), 1e-12)
        likeness = tl.dot(mine, tl.trans(centre)) / length[None, :]
        likeness = tl.where(known[None, :], likeness, float("-inf"))
        top, at = tl.max(likeness, axis=1, return_indices=True)
        better = top > best
        where = tl.where(better, first + at, where)
        best = tl.where(better, top, best)
    return where


@triton.jit(do_not_specialize=[*CHANGING])
def join(
    tokens, features, index, kept_own, kept_shared, joined_own, joined_shared, sizes, sums,
    tokens_all, windows, channels, count, own, shared, totals, within, sums_own, sums_shared,
    SEARCHES: tl.constexpr, TILED: tl.constexpr, OWN: tl.constexpr, SHARED: tl.constexpr,
    ADD_OWN: tl.constexpr, ADD_SHARED: tl.constexpr,
    WIDTH: tl.constexpr, BT: tl.constexpr, BG: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Which group each of a window's `count` tokens joins, among the `own` groups of the window and
    the `shared` ones of the whole grid; how many are in each; and their sums.

    `sizes` holds at 0 the sizes of the windows' groups, at `totals` of those of the grid, at
    `within` of their part in each window; `sums`, at `sums_own` and `sums_shared`, the sums.
    """
    window, batch = tl.program_id(1), tl.program_id(2)
    token = tl.program_id(0) * BT + tl.arange(0, BT)
    inside = token < count
    place = token
    mine_index = index
    if TILED:
        mine_index = index + window * count
        place = tl.load(mine_index + token, mask=inside, other=0)
    base = batch * tokens_all
    wide = tl.arange(0, WIDTH)
    at_own = joined_own + base + window * count + token
    at_shared = joined_shared + base + place
    joins = tl.zeros((BT,), tl.int32)
    joins_shared = tl.zeros((BT,), tl.int32)
    if SEARCHES:
        at = features + (base + place)[:, None] * WIDTH + wide[None, :]
        mine = tl.load(at, mask=inside[:, None], other=0.0)
        if OWN:
            joins = _nearest(mine, features, base, kept_own, mine_index, own, TILED, WIDTH, BT, BG)
            tl.store(at_own, joins, mask=inside)
            group = (batch * windows + window) * own + joins
            tl.atomic_add(sizes + group, 1, mask=inside, sem="relaxed")
        if SHARED:
            joins_shared = _nearest(
                mine, features, base, kept_shared, mine_index, shared, False, WIDTH, BT, BG
            )
            tl.store(at_shared, joins_shared, mask=inside)
            tl.atomic_add(
                sizes + totals + batch * shared + joins_shared, 1, mask=inside, sem="relaxed"
            )
            group = (batch * windows + window) * shared + joins_shared
            tl.atomic_add(sizes + within + group, 1, mask=inside, sem="relaxed")
    else:
        if ADD_OWN:
            joins = tl.load(at_own, mask=inside, other=0)
        if ADD_SHARED:
            joins_shared = tl.load(at_shared, mask=inside, other=0)
    if ADD_OWN or ADD_SHARED:
        row = base + place
        to_own = sums + sums_own + ((batch * windows + window) * own + joins) * channels
        to_shared = sums + sums_shared + (batch * shared + joins_shared) * channels
        for first in range(0, channels, BC):
            channel = first + tl.arange(0, BC)
            mask = inside[:, None] & (channel < channels)[None, :]
            part = tl.load(
                tokens + row[:, None] * channels + channel[None, :], mask=mask, other=0.0
            )
            whole = (part.to(tl.float32) * SCALE).to(tl.int64)
            if ADD_OWN:
                tl.atomic_add(to_own[:, None] + channel[None, :], whole, mask=mask, sem="relaxed")
            if ADD_SHARED:
                tl.atomic_add(
                    to_shared[:, None] + channel[None, :], whole, mask=mask, sem="relaxed"
                )


@triton.jit
def _mean_by_product(
    tokens, row_base, joined, index, first_group, count, channels, channel, size,
    TILED: tl.constexpr, BT: tl.constexpr, BG: tl.constexpr, BC: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """The means of some groups, of `count` tokens that each tell which they `joined`."""
    total = tl.zeros((BG, BC), tl.float32)
    group = first_group + tl.arange(0, BG)
    known = channel < channels
    for first in range(0, count, BT):
        token = first + tl.arange(0, BT)
        inside = token < count
        place = token
        if TILED:
            place = tl.load(index + token, mask=inside, other=0)
        joins = tl.load(joined + token, mask=inside, other=-1)
        at = tokens + (row_base + place)[:, None] * channels + channel[None, :]
        part = tl.load(at, mask=inside[:, None] & known[None, :], other=0.0).to(DTYPE)
        total = tl.dot((joins[None, :] == group[:, None]).to(DTYPE), part, total)
    return total / size[:, None]


@triton.jit(do_not_specialize=[*CHANGING, *PLACES, "blocks_own"])
def means(
    tokens, index, joined_own, joined_shared, sizes, sums, into, weights,
    tokens_all, windows, channels, weights_stride,
    count, own, shared, totals, within, sums_own, sums_shared,
    to_own, each_own, to_shared, each_shared, blocks_own,
    WEIGHS: tl.constexpr, TILED: tl.constexpr, ADDED_OWN: tl.constexpr, ADDED_SHARED: tl.constexpr,
    BT: tl.constexpr, BG: tl.constexpr, BC: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """The means of the windows' groups, as rows of `into` from `to_own` on, `each_own` a row of the
    batch, and of the grid's; and the logarithm of what each weighs in each window.
    """
    block, batch = tl.program_id(0), tl.program_id(2)
    channel = tl.program_id(1) * BC + tl.arange(0, BC)
    known = channel < channels
    writes = WEIGHS & (tl.program_id(1) == 0)
    if block < blocks_own * windows:
        window = block // blocks_own
        first = (block % blocks_own) * BG
        group = first + tl.arange(0, BG)
        inside = group < own
        row = (batch * windows + window) * own + group
        size = tl.load(sizes + row, mask=inside, other=1).to(tl.float32)
        if writes:
            at = weights + (batch * windows + window) * weights_stride + group
            tl.store(at, tl.log(size), mask=inside)
        size = tl.maximum(size, 1.0)
        mask = inside[:, None] & known[None, :]
        if ADDED_OWN:
            at = sums + sums_own + row[:, None] * channels + channel[None, :]
            mean = tl.load(at, mask=mask, other=0).to(tl.float32) / (size[:, None] * SCALE)
        else:
            mine = index
            if TILED:
                mine = index + window * count
            base = batch * tokens_all
            mean = _mean_by_product(
                tokens, base, joined_own + base + window * count, mine, first, count, channels,
                channel, size, TILED, BT, BG, BC, into.dtype.element_ty,
            )  # fmt: skip
        row = to_own + batch * each_own + window * own + group
        at = into + row[:, None] * channels + channel[None, :]
        tl.store(at, mean.to(into.dtype.element_ty), mask=mask)
    else:
        first = (block - blocks_own * windows) * BG
        group = first + tl.arange(0, BG)
        inside = group < shared
        size = tl.load(sizes + totals + batch * shared + group, mask=inside, other=1)
        if writes:
            for begin in range(0, windows, BW):
                window = batch * windows + begin + tl.arange(0, BW)
                both = (begin + tl.arange(0, BW) < windows)[:, None] & inside[None, :]
                at = sizes + within + window[:, None] * shared + group[None, :]
                left = size[None, :] - tl.load(at, mask=both, other=0)
                at = weights + window[:, None] * weights_stride + own + group[None, :]
                tl.store(at, tl.log(left.to(tl.float32)), mask=both)
        size = tl.maximum(size.to(tl.float32), 1.0)
        mask = inside[:, None] & known[None, :]
        if ADDED_SHARED:
            row = batch * shared + group
            at = sums + sums_shared + row[:, None] * channels + channel[None, :]
            mean = tl.load(at, mask=mask, other=0).to(tl.float32) / (size[:, None] * SCALE)
        else:
            base = batch * tokens_all
            mean = _mean_by_product(
                tokens, base, joined_shared + base, index, first, tokens_all, channels,
                channel, size, False, BT, BG, BC, into.dtype.element_ty,
            )  # fmt: skip
        row = to_shared + batch * each_shared + group
        at = into + row[:, None] * channels + channel[None, :]
        tl.store(at, mean.to(into.dtype.element_ty), mask=mask)


@triton.jit
def _attend(
    query, query_more, most, total, answer, answer_more,
    keys, values, base, index, weights, count, stride, scale,
    INDEXED: tl.constexpr, WEIGHED: tl.constexpr,
    HEAD: tl.constexpr, LARGE: tl.constexpr, SMALL: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Some queries go through `count` keys: the softmax so far, and the sums of values."""
    large, small = tl.arange(0, LARGE), LARGE + tl.arange(0, 16 if SMALL == 0 else SMALL)
    exists = small < HEAD
    for first in range(0, count, BN):
        number = first + tl.arange(0, BN)
        known = number < count
        row = number
        if INDEXED:
            row = tl.load(index + number, mask=known, other=0)
        at = base + row * stride
        key = tl.load(keys + at[:, None] + large[None, :], mask=known[:, None], other=0.0)
        score = tl.dot(query, tl.trans(key))
        more = known[:, None] & exists[None, :]
        if SMALL:
            key = tl.load(keys + at[:, None] + small[None, :], mask=more, other=0.0)
            score = tl.dot(query_more, tl.trans(key), score)
        score *= scale
        if WEIGHED:
            weight = tl.load(weights + number, mask=known, other=float("-inf"))
            score += weight[None, :] * LOG2E
        else:
            score = tl.where(known[None, :], score, float("-inf"))
        now = tl.maximum(most, tl.max(score, axis=1))
        share = tl.exp2(score - now[:, None])
        fades = tl.exp2(most - now)
        total = total * fades + tl.sum(share, axis=1)
        share = share.to(values.dtype.element_ty)
        value = tl.load(values + at[:, None] + large[None, :], mask=known[:, None], other=0.0)
        answer = tl.dot(share, value, answer * fades[:, None])
        if SMALL:
            value = tl.load(values + at[:, None] + small[None, :], mask=more, other=0.0)
            answer_more = tl.dot(share, value, answer_more * fades[:, None])
        most = now
    return most, total, answer, answer_more


@triton.jit(do_not_specialize=["windows", "heads", "count", "own", "shared", *PLACES])
def attend(
    queries, keys, values, answers, weights, index, keys_index,
    tokens_all, windows, heads, weights_stride, stride,
    count, own, shared, to_own, each_own, to_shared, each_shared, scale,
    TILED: tl.constexpr, INDEXED: tl.constexpr, SHARED: tl.constexpr,
    HEAD: tl.constexpr, LARGE: tl.constexpr, SMALL: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Attention of each window's `count` queries to its `own` keys and to `shared` ones, whose
    weights' logarithms are added to their scores.

    Own keys are rows from `to_own` on, `each_own` for a row of the batch, `own` a window; or, if
    INDEXED, those of them that `keys_index` (windows, own) names, which all weigh the same.
    """
    window, batch, head = tl.program_id(2), tl.program_id(1) // heads, tl.program_id(1) % heads
    token = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = token < count
    place = token
    if TILED:
        place = tl.load(index + window * count + token, mask=inside, other=0)
    mine = keys_index + window * own
    large, small = tl.arange(0, LARGE), LARGE + tl.arange(0, 16 if SMALL == 0 else SMALL)
    exists = small < HEAD
    at = (batch * tokens_all + place) * stride + head * HEAD
    query = tl.load(queries + at[:, None] + large[None, :], mask=inside[:, None], other=0.0)
    more = inside[:, None] & exists[None, :]
    query_more = query
    if SMALL:
        query_more = tl.load(queries + at[:, None] + small[None, :], mask=more, other=0.0)
    most = tl.full((BM,), -1e30, tl.float32)
    total = tl.zeros((BM,), tl.float32)
    answer = tl.zeros((BM, LARGE), tl.float32)
    answer_more = tl.zeros((BM, 16 if SMALL == 0 else SMALL), tl.float32)
    weights += (batch * windows + window) * weights_stride
    base = (to_own + batch * each_own) * stride + head * HEAD
    if not INDEXED:
        base += window * own * stride
    most, total, answer, answer_more = _attend(
        query, query_more, most, total, answer, answer_more,
        keys, values, base, mine, weights, own, stride, scale * LOG2E,
        INDEXED, not INDEXED, HEAD, LARGE, SMALL, BN,
    )  # fmt: skip
    if SHARED:
        base = (to_shared + batch * each_shared) * stride + head * HEAD
        if not INDEXED:
            weights += own
        most, total, answer, answer_more = _attend(
            query, query_more, most, total, answer, answer_more,
            keys, values, base, mine, weights, shared, stride, scale * LOG2E,
            False, True, HEAD, LARGE, SMALL, BN,
        )  # fmt: skip
    answer /= total[:, None]
    to = answers + at[:, None]
    tl.store(to + large[None, :], answer.to(answers.dtype.element_ty), mask=inside[:, None])
    if SMALL:
        answer_more /= total[:, None]
        tl.store(to + small[None, :], answer_more.to(answers.dtype.element_ty), mask=more)

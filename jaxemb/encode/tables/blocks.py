"""Blocks of numbers that are nearly alike, found by hashing and kept once."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

TABLES = 90
SHARED = 18
"""Of the hash tables, how many two blocks must share a bucket of, and one more, to be compared: a fifth."""
ALIKE = 0.7
"""The share of their numbers that must be near for one block to stand for another."""
NEAR = 0.01
"""How near numbers are to begin with, in units of the largest magnitude."""
QUANTILE = 0.75
MAX_BLOCKS = 2**20
SAMPLE = 4096
"""Of more blocks than this, half as many are tried first."""


class Merged(NamedTuple):
    """Blocks of which some stand for others.

    unique: which blocks are kept, in order.
    standing: for every block, which of the kept ones it is given by.
    near: how near numbers had to be to count as alike.
    """

    unique: Int[np.ndarray, " u"]
    standing: Int[np.ndarray, " n"]
    near: float


def cut(matrix: Float[np.ndarray, "n d"], rows: int, columns: int) -> Float[np.ndarray, "k s"]:
    """Blocks of `rows` rows by `columns` columns, each laid flat, row of blocks after row of blocks; zeros fill up.

    >>> print(cut(np.arange(6.0).reshape(3, 2), 2, 1))
    [[0. 2.]
     [4. 0.]
     [1. 3.]
     [5. 0.]]
    """
    n, d = matrix.shape
    filled = np.pad(matrix, ((0, -n % rows), (0, -d % columns)))
    apart = filled.reshape(filled.shape[0] // rows, rows, filled.shape[1] // columns, columns)
    return apart.transpose(2, 0, 1, 3).reshape(-1, rows * columns)


def merged(blocks: Float[np.ndarray, "k s"], count: int, *, seed: int = 0) -> Merged:
    """Point `count` blocks to others that are alike.

    Blocks are walked by their 75th percentile, the least first.  One is pointed to the kept block before it that is
    nearest, of those that share more than a fifth of the buckets `ceil((a v + b) / r)`: nearest in how many numbers
    differ by `near` or less, which must be 0.7 of them.  Where a walk finds too few, the rest is walked again with
    numbers twice as far apart counted as near, and `r` grown with that, until there are enough: so the most alike are
    merged first.  Of many blocks a part is walked before, to find where to begin.

    Raises: ValueError for more blocks than fit, or as many to be merged as there are.
    Source: Zhou et al. 2022, arXiv:2104.12500 (deduplication of tensor blocks), by locality-sensitive hashes of Datar
      et al. 2004, doi:10.1145/997817.997857; `r` here is `near` times the root of a block's size, so that blocks within
      `near` of each other share about half of the buckets, whatever their scale.
    """
    k = len(blocks)
    if k > MAX_BLOCKS or not 0 <= count < k:
        raise ValueError(f"dedup: wanted up to {MAX_BLOCKS} blocks and fewer to be merged, got {k} and {count}")
    draw = np.random.default_rng(seed)
    along = blocks @ draw.normal(size=(blocks.shape[1], TABLES)).astype(blocks.dtype)
    offset = draw.random(TABLES)
    order = np.argsort(np.quantile(blocks, QUANTILE, axis=1), kind="stable")
    near = NEAR * float(np.abs(blocks).max())
    if k > SAMPLE:
        some = draw.permutation(k)[: SAMPLE // 2]
        near = max(near, merged(blocks[some], count * len(some) // k, seed=seed).near / 4)
    stands: dict[int, int] = {}
    while True:
        stands |= _walk(blocks, along, offset, order, near, count - len(stands), stands)
        if len(stands) == count:
            break
        near *= 2
    unique = np.array([block for block in range(k) if block not in stands])
    place = np.zeros(k, np.int64)
    place[unique] = np.arange(len(unique))
    standing = np.array([place[_last(stands, block)] for block in range(k)])
    return Merged(unique, standing.astype(np.int32), near)


def _last(stands: dict[int, int], block: int) -> int:
    """The block that is kept in the end: one that others were given by may be given by another later."""
    while block in stands:
        block = stands[block]
    return block


def _walk(
    blocks: Float[np.ndarray, "k s"],
    along: Float[np.ndarray, "k t"],
    offset: Float[np.ndarray, " t"],
    order: Int[np.ndarray, " k"],
    near: float,
    count: int,
    before: dict[int, int],
) -> dict[int, int]:
    """Which block each of up to `count` more is given by; what others are given by already stays."""
    width = max(near * np.sqrt(blocks.shape[1]), np.finfo(np.float32).tiny)
    buckets = np.ceil(along / width + offset[None, :]).astype(np.int64)
    left = [block for block in order.tolist() if block not in before]
    kept, held = np.array(left), buckets[left]
    stands: dict[int, int] = {}
    for walked, block in enumerate(left):
        if len(stands) == count:
            break
        own = walked - len(stands)  # so many are kept
        likely = kept[:own][(held[:own] == buckets[block][None, :]).sum(axis=1) > SHARED]
        if len(likely):
            alike = (np.abs(blocks[likely] - blocks[block][None, :]) <= near).mean(axis=1)
            if alike.max() >= ALIKE:
                stands[block] = int(likely[alike.argmax()])
                continue
        kept[own], held[own] = block, buckets[block]
    return stands

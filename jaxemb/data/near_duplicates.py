"""Texts that nearly repeat an earlier one."""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt64


def first_copies(texts: Sequence[str], *, threshold: float = 0.8, length: int = 3) -> Int[np.ndarray, " n"]:
    """For every text the row of the first earlier text that it nearly repeats, or its own row if there is none.

    Two texts nearly repeat one another when the sets A and B of all their runs of `length` successive words and marks
    have a Jaccard similarity `|A & B| / |A | B|` of `threshold` or more.  Only texts that are their own first copy are
    compared with later ones, so rows `i` with `first_copies(texts)[i] == i` are a set without near duplicates.

    >>> first_copies(["a b c d e f", "one two three", "a b c d e f g", "one two four"]).tolist()
    [0, 1, 0, 3]

    Nothing is missed: in the order from the rarest run to the commonest, two sets this similar share one of their
    first `|A| - ceil(threshold |A|) + 1`, so only those are looked up.

    Args:
      texts: any; a text without words or marks repeats nothing.
      threshold: in (0, 1].
      length: words or marks in a run; a text that has fewer is one run.
    Source: Bayardo, Ma, Srikant 2007, "Scaling up all pairs similarity search", sec. 4 (the order and the prefix).
    """
    if not 0 < threshold <= 1 or length < 1:
        raise ValueError(f"first_copies: wanted 0 < threshold <= 1 and length >= 1, got {threshold} and {length}")
    runs = _runs(texts, length)
    every, times = np.unique(np.concatenate([np.empty(0, np.uint64), *runs]), return_counts=True)
    first = np.arange(len(texts))
    holders: dict[int, list[int]] = defaultdict(list)  # a run -> the rows that have it among their first
    for row, own in enumerate(runs):
        if not own.size:
            continue
        common = times[np.searchsorted(every, own)]
        order = np.lexsort((own, common))[: own.size - math.ceil(threshold * own.size - 1e-9) + 1]
        prefix = own[order[common[order] > 1]].tolist()  # what only this text has leads nowhere
        near = {other for run in prefix for other in holders.get(run, ())}
        for other in sorted(near):
            if _similar(own, runs[other], threshold):
                first[row] = other
                break
        else:
            for run in prefix:
                holders[run].append(row)
    return first


def _similar(a: UInt64[np.ndarray, " a"], b: UInt64[np.ndarray, " b"], threshold: float) -> bool:
    if min(a.size, b.size) < threshold * max(a.size, b.size):
        return False
    both = np.concatenate([a, b])
    both.sort()
    shared = int((both[1:] == both[:-1]).sum())
    return shared >= threshold * (a.size + b.size - shared)


def _runs(texts: Sequence[str], length: int) -> list[UInt64[np.ndarray, " _"]]:
    """The distinct runs of every text, each as a 64-bit hash that depends on nothing but its words."""
    known: dict[str, int] = {}
    found = []
    for text in texts:
        words = re.findall(r"\w+|[^\w\s]", text)
        for word in words:
            if word not in known:
                known[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        codes = np.array([known[word] for word in words], np.uint64)
        span = min(length, codes.size)
        run = np.zeros(codes.size - span + 1 if span else 0, np.uint64)
        for offset in range(span):
            run = run * np.uint64(0x9E3779B97F4A7C15) + codes[offset : offset + run.size]
        found.append(np.unique(run))
    return found

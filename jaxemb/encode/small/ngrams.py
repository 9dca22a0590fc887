"""Bags of n-grams and skip-grams: token ids to ids of what stands together, hashed into buckets or looked up.

Both are pure functions of `Tokens`, so an encoder reads n-grams by `reading(encoder, grams)`.  Over characters they are
the subwords of fastText: a word is a text of characters there.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int, UInt32

from jaxemb.types import Tokens


@dataclass(frozen=True, kw_only=True)
class Grams:
    """Which tokens stand together.

    orders: lengths of n-grams; 1 is a token alone, 2 a bigram.
    skip: how far apart the two tokens of a pair with a gap may be: those at `i` and `j` with `1 < j - i <= skip`; None
      for no such pairs.
    ends: token ids that end a sentence; nothing that counts goes across one.
    """

    orders: tuple[int, ...] = ()
    skip: int | None = None
    ends: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if any(order < 1 for order in self.orders) or len(set(self.orders)) < len(self.orders):
            raise ValueError(f"ngrams: orders must be different whole numbers above 0, got {list(self.orders)}")
        if self.skip is not None and self.skip < 2:
            raise ValueError(f"ngrams: a pair with a gap is 2 places apart or more, got skip {self.skip}")
        if not self.orders and self.skip is None:
            raise ValueError("ngrams: wanted orders or skip, got neither")

    def kinds(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """For each kind of gram its layouts, as offsets from the first token: all gaps make one kind.

        >>> Grams(orders=(1, 2), skip=3).kinds()
        (((0,),), ((0, 1),), ((0, 2), (0, 3)))
        """
        plain = tuple((tuple(range(order)),) for order in self.orders)
        return plain if self.skip is None else (*plain, tuple((0, gap) for gap in range(2, self.skip + 1)))


class _Found(NamedTuple):
    """Grams of one layout, one a place: token ids, whether one stands there, and whether pooling counts it."""

    ids: Int[Array, "b t n"]
    there: Bool[Array, "b t"]
    counted: Bool[Array, "b t"]


def _later(rows: Array, offset: int) -> Array:
    """What stands `offset` places on; zeros past the end."""
    t = rows.shape[1]
    return jnp.pad(rows, ((0, 0), (0, offset)))[:, offset : offset + t]


def _found(tokens: Tokens, grams: Grams) -> Iterator[tuple[int, _Found]]:
    """The grams of every layout with the number of its kind."""
    ids, mask, counted = jnp.asarray(tokens.ids), jnp.asarray(tokens.mask), jnp.asarray(tokens.pooled)
    is_end = jnp.isin(ids, jnp.asarray(grams.ends, ids.dtype)).astype(ids.dtype)
    sentence = jnp.cumsum(is_end, axis=1) - is_end  # an end belongs to the sentence it ends
    for kind, layouts in enumerate(grams.kinds()):
        for offsets in layouts:
            there, counts = (
                jnp.stack([_later(rows, offset) > 0 for offset in offsets]).all(axis=0) for rows in (mask, counted)
            )
            there = there & (_later(sentence, offsets[-1]) == sentence)
            stacked = jnp.stack([_later(ids, offset) for offset in offsets], axis=-1)
            yield kind, _Found(stacked, there, there & counts)


def _joined(tokens: Tokens, ids: list[Array], there: list[Array], counted: list[Array]) -> Tokens:
    """Grams of all layouts side by side; places without one are padding, with id 0."""
    mask = jnp.concatenate(there, axis=1)
    return Tokens(
        jnp.where(mask, jnp.concatenate(ids, axis=1), 0).astype(jnp.int32),
        mask.astype(jnp.int32),
        counted=None if tokens.counted is None else jnp.concatenate(counted, axis=1).astype(jnp.int32),
    )


def hashed_ngrams(grams: Grams, buckets: int) -> Callable[[Tokens], Tokens]:
    """Tokens to the buckets, from 0 to `buckets - 1`, of their n-grams; grams of a text may share one by chance.

    A gram's bucket is the MurmurHash3 (32 bits) of its ids modulo `buckets`; pairs with a gap have a seed of their own.
    Padding is then no longer on the right only: for encoders that pool rows by the mask.

    >>> bigrams = hashed_ngrams(Grams(orders=(2,)), buckets=100)
    >>> ids, mask, *_ = bigrams(Tokens(jnp.array([[5, 6, 5, 6, 0]]), jnp.array([[1, 1, 1, 1, 0]])))
    >>> print(ids, mask)
    [[94 29 94  0  0]] [[1 1 1 0 0]]

    Raises: ValueError for fewer than one bucket.
    Source: Weinberger et al. 2009, arXiv:0902.2206 (without signs); Appleby's MurmurHash3_x86_32.
    """
    if buckets < 1:
        raise ValueError(f"hashed_ngrams: wanted one bucket or more, got {buckets}")

    def read(tokens: Tokens) -> Tokens:
        found = list(_found(tokens, grams))
        gapped = len(grams.orders)  # the kind that comes after all orders
        ids = [murmur(one.ids, seed=int(kind == gapped)) % jnp.uint32(buckets) for kind, one in found]
        return _joined(tokens, ids, [one.there for _, one in found], [one.counted for _, one in found])

    return read


def murmur(ids: Int[Array, "*b n"], *, seed: int = 0) -> UInt32[Array, "*b"]:
    """MurmurHash3 of the last axis, an id being four bytes, the lowest first.

    >>> print(hex(int(murmur(jnp.array([0]), seed=0))))
    0x2362f9de

    Source: Appleby, MurmurHash3_x86_32.
    """
    words = ids.astype(jnp.uint32)

    def turned(x: Array, bits: int) -> Array:
        return (x << jnp.uint32(bits)) | (x >> jnp.uint32(32 - bits))

    state = jnp.full(words.shape[:-1], seed, jnp.uint32)
    for i in range(words.shape[-1]):
        state = state ^ (turned(words[..., i] * jnp.uint32(0xCC9E2D51), 15) * jnp.uint32(0x1B873593))
        state = turned(state, 13) * jnp.uint32(5) + jnp.uint32(0xE6546B64)
    state = state ^ jnp.uint32(4 * words.shape[-1])
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state = (state ^ (state >> jnp.uint32(shift))) * jnp.uint32(factor)
    return state ^ (state >> jnp.uint32(16))


class KnownGrams(NamedTuple):
    """The n-grams that have an id of their own.

    grams: which tokens stand together.
    rows: for each kind of gram, those that are known, as token ids in lexicographic order `[g, n]`.
    """

    grams: Grams
    rows: tuple[Int[np.ndarray, "g n"], ...]

    @property
    def size(self) -> int:
        """How many ids there are: the rows of a table."""
        return sum(len(rows) for rows in self.rows)


def count_ngrams(batches: Iterable[Tokens], grams: Grams, *, least: int = 2) -> KnownGrams:
    """The n-grams that stand `least` times or more in some texts.

    Raises: ValueError when there is no such gram.
    """
    kinds = grams.kinds()
    seen: list[list[np.ndarray]] = [[] for _ in kinds]
    for tokens in batches:
        for kind, found in _found(tokens, grams):
            seen[kind].append(np.asarray(found.ids)[np.asarray(found.there)])
    rows = []
    for layouts, parts in zip(kinds, seen, strict=True):
        empty = np.zeros((0, len(layouts[0])), np.int32)
        every, counts = np.unique(np.concatenate([empty, *parts]), axis=0, return_counts=True)
        rows.append(every[counts >= least].astype(np.int32))
    known = KnownGrams(grams, tuple(rows))
    if not known.size:
        raise ValueError(f"count_ngrams: no gram of {grams} stands {least} times or more in these texts")
    return known


def known_ngrams(known: KnownGrams) -> Callable[[Tokens], Tokens]:
    """Tokens to the ids, from 0 to `known.size - 1`, of their n-grams; those that are not known are left out.

    A text without any has an empty row in the mask, and so the zero vector: count those.
    """
    first = np.cumsum([0, *(len(rows) for rows in known.rows)])

    def read(tokens: Tokens) -> Tokens:
        ids, there, counted = [], [], []
        for kind, found in _found(tokens, known.grams):
            if len(rows := known.rows[kind]):
                place, is_known = _place(jnp.asarray(rows), found.ids)
            else:
                place, is_known = jnp.zeros_like(found.ids[..., 0]), jnp.zeros_like(found.there)
            ids.append(place + int(first[kind]))
            there.append(found.there & is_known)
            counted.append(found.counted & is_known)
        return _joined(tokens, ids, there, counted)

    return read


def _place(rows: Int[Array, "g n"], wanted: Int[Array, "b t n"]) -> tuple[Int[Array, "b t"], Bool[Array, "b t"]]:
    """Where each wanted row stands among sorted ones, by halving; and whether it does."""

    def halve(_: Int[Array, ""], bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        below = _before(rows[middle], wanted)
        return jnp.where(below, middle + 1, low), jnp.where(below, high, middle)

    low = jnp.zeros_like(wanted[..., 0])
    high = jnp.full_like(low, rows.shape[0] - 1)
    place = lax.fori_loop(0, rows.shape[0].bit_length(), halve, (low, high))[0]
    return place, (rows[place] == wanted).all(axis=-1)


def _before(left: Int[Array, "b t n"], right: Int[Array, "b t n"]) -> Bool[Array, "b t"]:
    """Whether the left row comes first in lexicographic order."""
    less = jnp.zeros(left.shape[:-1], bool)
    for i in reversed(range(left.shape[-1])):
        less = (left[..., i] < right[..., i]) | ((left[..., i] == right[..., i]) & less)
    return less

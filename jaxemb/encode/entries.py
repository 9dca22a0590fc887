"""Vectors of dictionary entries: the mean of the vectors of their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxemb.types import Encoder, Params, Tokens

AT_ONCE = 512


def entry_means(
    vectors: Float[Array, "m d"], entry: Int[Array | np.ndarray, " m"], entries: int
) -> Float[Array, "e d"]:
    """The mean of each entry's rows, all of which weigh alike; in float32.

    >>> print(entry_means(jnp.array([[1.0], [2.0], [6.0]]), np.array([1, 0, 1]), 2))
    [[2. ]
     [3.5]]

    Raises: ValueError for an entry outside `0` to `entries - 1`, one without a row, or not one a row.
    """
    which = np.asarray(entry)
    if which.shape != (len(vectors),):
        raise ValueError(f"entry_means: wanted an entry for each of {len(vectors)} rows, got {which.shape}")
    if which.size and not (which.min() >= 0 and which.max() < entries):
        raise ValueError(f"entry_means: entries are 0 to {entries - 1}, got {which.min()} to {which.max()}")
    counts = np.bincount(which, minlength=entries)
    if (bare := np.flatnonzero(counts == 0)).size:
        raise ValueError(f"entry_means: {bare.size} of {entries} entries have no definition, the first is {bare[0]}")
    total = jax.ops.segment_sum(vectors.astype(jnp.float32), jnp.asarray(which), num_segments=entries)
    return total / jnp.asarray(counts, jnp.float32)[:, None]


def entry_matrix(
    encoder: Encoder,
    params: Params,
    definitions: Tokens,
    entry: Int[np.ndarray, " m"],
    entries: int,
    *,
    at_once: int = AT_ONCE,
) -> Float[Array, "e d"]:
    """A vector for each entry, however many words it has: the mean over its definitions, read so many at a time.

    Raises: as `entry_means`.
    Source: arXiv:2405.16153 (DefSent+), "AC" where the encoder's pooling is `cls`, "AMP" where it is `mean`.
    """
    m = len(definitions.ids)
    apply = jax.jit(encoder.apply)
    parts = []
    for start in range(0, m, at_once):
        rows = np.minimum(np.arange(start, start + at_once), m - 1)  # one shape, one program
        parts.append(apply(params, jax.tree.map(lambda part, rows=rows: part[rows], definitions))[: m - start])
    return entry_means(jnp.concatenate(parts), entry, entries)

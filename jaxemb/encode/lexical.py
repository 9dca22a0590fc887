"""Vectors over a vocabulary, cut to their largest entries: what words a text has, beside a dense vector of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Sparse(NamedTuple):
    """The largest entries of each row, largest first.

    values: `[n, k]`.
    ids: int32 `[n, k]`, their columns.
    """

    values: Float[Array, "n k"]
    ids: Int[Array, "n k"]


def largest(rows: Float[Array, "n v"], k: int) -> Sparse:
    """The `k` largest entries of each row; of equals the first.

    >>> print(largest(jnp.array([[0.5, 2.0, -1.0, 1.0]]), 2).ids)
    [[1 3]]

    Raises: ValueError unless `1 <= k <= v`.
    """
    if not 1 <= k <= rows.shape[1]:
        raise ValueError(f"largest: wanted k from 1 to {rows.shape[1]}, got {k}")
    return Sparse(*jax.lax.top_k(rows, k))


def sparse_dot(query: Float[Array, "b v"], document: Sparse) -> Float[Array, "b n"]:
    """The dot product of whole rows with rows of which the largest entries are kept.

        s_ij = sum_{v in largest of j} q_iv x_jv

    >>> print(sparse_dot(jnp.array([[1.0, 2.0, 3.0]]), largest(jnp.array([[4.0, 0.0, 5.0]]), 1)))
    [[15.]]

    Source: Xiao et al. 2023, arXiv:2211.08769 (DupMAE), sec. 3.3.
    """
    return jnp.einsum("bnk,nk->bn", query[:, document.ids], document.values)


def hashed(rows: Sparse, buckets: int) -> Float[Array, "n buckets"]:
    """Sparse rows as short dense ones, for an index that takes no others: entries that share a bucket are added.

    The bucket of a column is a fixed scramble of its number, so that whole rows can be folded alike: with
    `hashed(largest(rows, v), buckets)`.

    Raises: ValueError for no bucket.
    """
    if buckets < 1:
        raise ValueError(f"hashed: wanted one bucket or more, got {buckets}")
    # Knuth's multiplicative hash: neighbours in the vocabulary land far apart.
    scrambled = rows.ids.astype(jnp.uint32) * jnp.uint32(2654435761)
    at = (scrambled >> jnp.uint32(7)) % jnp.uint32(buckets)
    return jax.vmap(lambda values, place: jnp.zeros(buckets, values.dtype).at[place].add(values))(rows.values, at)

"""Functions of losses: what changes the batch or the vectors, whatever the loss is."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxemb.types import Loss


def matryoshka(loss: Loss, sizes: Sequence[int], weights: Sequence[float] | None = None) -> Loss:
    """Ask every prefix of a vector to serve alone.

    Args:
      loss: any loss of two sets of vectors.
      sizes: prefixes, in dimensions, distinct; include the whole vector if it must serve, too.
      weights: of each prefix, above 0; by default equal.  The result is the weighted mean.
    Raises: ValueError for sizes or weights that make no sense here, or when a prefix is longer than the vectors.
    Source: Kusupati et al. 2022, arXiv:2205.13147, eq. 1.
    """
    shares = [1.0] * len(sizes) if weights is None else list(weights)
    if not sizes or len(set(sizes)) != len(sizes) or min(sizes) < 1:
        raise ValueError(f"matryoshka: sizes must be distinct and 1 or more, got {list(sizes)}")
    if len(shares) != len(sizes) or min(shares) <= 0:
        raise ValueError(f"matryoshka: wanted {len(sizes)} weights above 0, got {shares}")

    def nested(query: Float[Array, "b d"], document: Float[Array, "n e"], **kwargs: Any) -> Float[Array, " b"]:
        if max(sizes) > query.shape[1]:
            raise ValueError(f"matryoshka: a prefix of {max(sizes)} in vectors of {query.shape[1]} dimensions")
        parts = [s * loss(query[:, :d], document[:, :d], **kwargs) for s, d in zip(shares, sizes, strict=True)]
        return jnp.stack(parts).sum(axis=0) / sum(shares)

    return nested


def across_devices(loss: Loss, axis: str) -> Loss:
    """Inside `shard_map` or `pmap`, score each device's queries against every device's documents.

    Keyword arrays with a column for each of all the devices' documents (a mask, a teacher's scores) keep their columns
    in the order of the devices; they are turned along with the documents.  With one device the loss is unchanged.
    """

    def gathered(query: Float[Array, "b d"], document: Float[Array, "n e"], **kwargs: Any) -> Float[Array, " b"]:
        everyone = lax.all_gather(document, axis, tiled=True)
        # A loss takes row i's own document from column i, so each device's documents come first on it.
        start = -lax.axis_index(axis) * document.shape[0]
        turned = {
            name: jnp.roll(value, start, axis=1)
            if getattr(value, "ndim", 0) == 2 and value.shape[1] == everyone.shape[0]
            else value
            for name, value in kwargs.items()
        }
        return loss(query, jnp.roll(everyone, start, axis=0), **turned)

    return gathered

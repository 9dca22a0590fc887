"""Batches larger than memory: an encoder that reads some rows at a time, and again for the gradient."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.types import Encoder, Params


def gradient_cache(encoder: Encoder, rows: int) -> Encoder:
    """The same vectors and gradients with the states of `rows` rows in memory, instead of those of all.

    A loss gets all vectors at once, so negatives are as many as without.  Rows are read twice, the second time to bring
    the gradient of their vectors to the params; it is exact.  Rows must not depend on each other, as those of all
    encoders here do not.  On a mesh every device takes a share of each chunk: `rows` should be a multiple of devices.

    Args:
      encoder: any, of texts or of images.
      rows: how many at a time; what is left over is one smaller chunk.
    Raises: ValueError for fewer rows than one.
    Source: Gao et al. 2021, arXiv:2101.06983 (GradCache), sec. 3.2.
    """
    if rows < 1:
        raise ValueError(f"gradient_cache: wanted one row at a time or more, got {rows}")

    def apply(params: Params, inputs: Any) -> Float[Array, "b d"]:
        b = jax.tree.leaves(inputs)[0].shape[0]
        if b <= rows:
            return encoder.apply(params, inputs)
        inputs = jax.tree.map(jnp.asarray, inputs)
        chunks = b // rows
        whole = chunks * rows
        again = jax.checkpoint(encoder.apply)

        def stacked(value: Array) -> Array:
            # Every chunk takes every so-maniest row, so that rows that are shared among devices stay where they are.
            return jnp.swapaxes(value[:whole].reshape(rows, chunks, *value.shape[1:]), 0, 1)

        vectors = jax.lax.map(lambda chunk: again(params, chunk), jax.tree.map(stacked, inputs))
        first = jnp.swapaxes(vectors, 0, 1).reshape(whole, -1)
        if whole == b:
            return first
        return jnp.concatenate([first, again(params, jax.tree.map(lambda value: value[whole:], inputs))])

    return encoder._replace(apply=apply)

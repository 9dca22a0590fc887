"""K-means on device: the centres that a quantizer keeps."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxemb.similarity import dot

STEPS = 25
SAME = 1e-5  # of the mean square: points nearer to their centre than this make no centre of their own


@partial(jax.jit, static_argnames=("count", "steps"))
def kmeans(points: Float[Array, "n d"], count: int, steps: int = STEPS) -> Float[Array, "k d"]:
    """Centres that points are near to, by Lloyd's rounds; the same for any order of the points, up to rounding.

    It begins with points evenly apart along a random line.  A centre that no point is nearest to takes the place of the
    point that is farthest from its own, so that none is wasted; with fewer points than centres some are there twice.

    >>> print(kmeans(jnp.array([[0.0], [1.0], [10.0], [11.0]]), 2))
    [[ 0.5]
     [10.5]]

    Args:
      count: how many centres.
    Source: Lloyd 1982, doi:10.1109/TIT.1982.1056489.
    """
    n, d = points.shape
    order = jnp.argsort(points @ jnp.abs(jax.random.normal(jax.random.key(0), (d,))))
    start = points[order[(2 * jnp.arange(count) + 1) * n // (2 * count)]]
    tiny = SAME * jnp.mean(jnp.sum(jnp.square(points), axis=1))

    def round_of(centres: Float[Array, "k d"], _: None) -> tuple[Float[Array, "k d"], None]:
        scores = dot(points, centres) - 0.5 * jnp.sum(jnp.square(centres), axis=1)[None, :]
        nearest = jnp.argmax(scores, axis=1)
        counts = jax.ops.segment_sum(jnp.ones(n, points.dtype), nearest, count)
        means = jax.ops.segment_sum(points, nearest, count) / jnp.maximum(counts, 1)[:, None]
        apart = jnp.sum(jnp.square(points), axis=1) - 2 * scores.max(axis=1)
        far, rows = lax.top_k(apart, min(count, n))
        turn = jnp.clip(jnp.cumsum(counts == 0) - 1, 0, len(rows) - 1)
        instead = jnp.where((far[turn] > tiny)[:, None], points[rows[turn]], centres)
        return jnp.where((counts == 0)[:, None], instead, means), None

    return lax.scan(round_of, start, None, steps)[0]


def nearest(points: Float[Array, "n d"], centres: Float[Array, "k d"]) -> Int[Array, " n"]:
    """Which centre each point is nearest to; of equals the first."""
    return jnp.argmax(dot(points, centres) - 0.5 * jnp.sum(jnp.square(centres), axis=1)[None, :], axis=1)

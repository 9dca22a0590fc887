"""Independent components: whitening, and of all its rotations the one whose components tell least of each other."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxemb import progress
from jaxemb.adapt.whiten import centred_product, checked, largest_positive, principal
from jaxemb.types import Params, VectorMap


def fast_ica(*, tolerance: float = 1e-4, iterations: int = 1000, seed: int = 42) -> VectorMap:
    """FastICA with as many components as dimensions, all at once, by `log cosh`; each has a variance of one.

    Columns are standardised first.  A component has the sign in which its largest loading is positive.  The state is
    `{"mean": [d], "matrix": [d, d]}`.  That it has not settled after `iterations` is told, and no error.

    Args:
      tolerance: how near to one the cosine of each component with itself, an iteration before, has to be.
      seed: of the rotation that it begins with.
    Raises: from `fit`, ValueError as `pca_whitening`.
    Source: Hyvärinen & Oja 2000, "Independent component analysis: algorithms and applications", sec. 6.
    """
    return VectorMap(lambda sample: _fitted(sample, tolerance, iterations, seed), centred_product)


def _fitted(sample: Float[Array, "n d"], tolerance: float, iterations: int, seed: int) -> Params:
    rows = checked("fast_ica", sample)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    standard = (rows - mean[None, :]) / scale[None, :]
    _, variances, directions = principal("fast_ica", standard)
    whitening = directions / np.sqrt(variances)[None, :]
    white = jnp.asarray(standard @ whitening, jnp.float32)
    begin = jax.random.orthogonal(jax.random.key(seed), rows.shape[1])
    rotation, moved, count = _rotated(white, begin, tolerance, iterations)
    if moved > tolerance:
        progress.say(
            f"fast_ica: not settled after {int(count)} iterations, off by {float(moved):.1g}, {tolerance} wanted"
        )
    matrix = whitening @ np.asarray(rotation, np.float64).T
    matrix = matrix * largest_positive(matrix)[None, :] / scale[:, None]
    return {"mean": jnp.asarray(mean, jnp.float32), "matrix": jnp.asarray(matrix, jnp.float32)}


@jax.jit
def _rotated(
    white: Float[Array, "n d"],
    begin: Float[Array, "d d"],
    tolerance: float | Float[Array, ""],
    iterations: int | Int[Array, ""],
) -> tuple[Float[Array, "d d"], Float[Array, ""], Array]:
    """The rotation, a component a row; how far it moved last; and how many iterations that took."""

    def going(now: tuple[Array, Array, Array]) -> Array:
        return (now[1] > tolerance) & (now[2] < iterations)

    def step(now: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rotation, _, count = now
        bent = jnp.tanh(white @ rotation.T)
        slope = 1 - (bent * bent).mean(axis=0)
        new = _apart(bent.T @ white / white.shape[0] - slope[:, None] * rotation)
        return new, jnp.max(jnp.abs(jnp.abs(jnp.sum(new * rotation, axis=1)) - 1)), count + 1

    return lax.while_loop(going, step, (_apart(begin), jnp.asarray(jnp.inf, begin.dtype), jnp.zeros((), jnp.int32)))


def _apart(rotation: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The nearest matrix whose rows are of length one and at right angles."""
    left, _, right = jnp.linalg.svd(rotation)
    return left @ right

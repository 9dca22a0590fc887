"""Which numbers of a task vector are kept, and how the rest makes up for those that are not.

A way to keep is a function of one leaf of a task vector and a random key to that leaf with zeros in it; `key` is None
where nothing is drawn.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

Keep = Callable[[Float[Array, "*n"], Array | None], Float[Array, "*n"]]
Rescale = Literal["inverse", "l1", "l2"] | None
"""How what is kept makes up for what is not: divided by the share that is kept, or so that the leaf has the sum of
absolute values, or the length, that it had."""


def check_density(name: str, density: float) -> None:
    """Raises: ValueError outside (0, 1]."""
    if not 0 < density <= 1:
        raise ValueError(f"{name}: density must be above 0 and at most 1, got {density}")


def largest(density: float) -> Keep:
    """The share of numbers with the largest absolute values, one at the least; of equals the earlier.

    >>> print(largest(0.5)(jnp.array([1.0, -3.0, 0.5, 2.0]), None))
    [ 0. -3.  0.  2.]

    Source: Yadav et al. 2023, arXiv:2306.01708 (TIES), step 1.
    """
    check_density("largest", density)
    return lambda leaf, key: jnp.where(top(leaf, max(1, int(density * leaf.size))), leaf, 0)


def without_outliers(density: float, outliers: float = 0.01) -> Keep:
    """As `largest`, but without the share `outliers` of the very largest, where enough others are left.

    >>> print(without_outliers(0.5, 0.25)(jnp.array([1.0, -3.0, 0.5, 2.0]), None))
    [1. 0. 0. 2.]

    Source: Davari & Belilovsky 2023, arXiv:2312.06795 (model breadcrumbs).
    """
    check_density("without_outliers", density)
    if not 0 <= outliers < 1:
        raise ValueError(f"without_outliers: outliers must be 0 or more and below 1, got {outliers}")

    def kept(leaf: Float[Array, "*n"], key: Array | None) -> Float[Array, "*n"]:
        count = int(density * leaf.size)
        first = leaf.size - count - max(0, leaf.size - count - int(outliers * leaf.size))
        return jnp.where(top(leaf, first + count) & ~top(leaf, first), leaf, 0)

    return kept if density < 1 else lambda leaf, key: leaf


def random(density: float, rescale: Rescale = "inverse") -> Keep:
    """Each number with the probability `density`, whatever it is.

    Source: Yu et al. 2023, arXiv:2311.03099 (DARE), eq. 2, which rescales by the inverse of the density.
    """
    check_density("random", density)
    check_rescale("random", rescale)

    def kept(leaf: Float[Array, "*n"], key: Array | None) -> Float[Array, "*n"]:
        return _rescaled(leaf, jax.random.bernoulli(_key("random", key), density, leaf.shape), density, rescale)

    return kept if density < 1 else lambda leaf, key: leaf


def by_rank(density: float, spread: float = 0.15, rescale: Rescale = "inverse") -> Keep:
    """Each number with a probability from `density - spread`, for the smallest of its row, to `density + spread`.

    Source: Deep et al. 2024, arXiv:2406.11617 (DELLA), sec. 3.1; divided by its own probability with `inverse`.
    """
    check_density("by_rank", density)
    check_rescale("by_rank", rescale)
    if density < 1 and not 0 <= spread < min(density, 1 - density):
        raise ValueError(f"by_rank: density +- spread must lie between 0 and 1, got {density} +- {spread}")

    def kept(leaf: Float[Array, "*n"], key: Array | None) -> Float[Array, "*n"]:
        rows = leaf if leaf.ndim > 1 else leaf[None]
        columns = rows.reshape(rows.shape[0], -1)
        rank = jnp.argsort(jnp.argsort(jnp.abs(columns), axis=1), axis=1).astype(leaf.dtype)
        share = rank / max(columns.shape[1] - 1, 1)
        chance = (density - spread + 2 * spread * share).reshape(leaf.shape)
        return _rescaled(leaf, jax.random.bernoulli(_key("by_rank", key), chance), chance, rescale)

    return kept if density < 1 else lambda leaf, key: leaf


def check_rescale(name: str, rescale: Rescale) -> None:
    """Raises: ValueError for another word."""
    if rescale not in (None, "inverse", "l1", "l2"):
        raise ValueError(f"{name}: rescale is inverse, l1, l2 or None, got {rescale!r}")


def top(leaf: Float[Array, "*n"], count: int | Int[Array, ""]) -> Bool[Array, "*n"]:
    """Whether each number is among the `count` of the leaf with the largest absolute values; of equals the earlier.

    Outside of `jax.jit` NumPy finds the limit, which need not sort for it: many times as quick on a CPU.
    """
    sizes = jnp.abs(leaf).ravel()
    place = jnp.minimum(leaf.size - count, leaf.size - 1)
    if isinstance(sizes, jax.core.Tracer) or isinstance(place, jax.core.Tracer):
        limit = jnp.sort(sizes)[place]
    else:
        limit = jnp.asarray(np.partition(np.asarray(sizes), int(place))[int(place)])
    above, equal = sizes > limit, sizes == limit
    return (above | (equal & (jnp.cumsum(equal) <= count - above.sum()))).reshape(leaf.shape)


def _key(name: str, key: Array | None) -> Array:
    if key is None:
        raise ValueError(f"{name}: numbers are kept at random: give a key")
    return key


def _rescaled(
    leaf: Float[Array, "*n"], mask: Bool[Array, "*n"], chance: float | Float[Array, "*n"], rescale: Rescale
) -> Float[Array, "*n"]:
    kept = jnp.where(mask, leaf, 0)
    if rescale == "inverse":
        return kept / chance
    if rescale is None:
        return kept
    size = (lambda x: jnp.abs(x).sum()) if rescale == "l1" else jnp.linalg.norm
    before, after = size(leaf.ravel()), size(kept.ravel())
    return kept * jnp.where(after > 0, before / jnp.where(after > 0, after, 1), 1)

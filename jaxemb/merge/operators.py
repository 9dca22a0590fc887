"""Merge operators: several params of one shape to one."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.merge.trees import combination, inner, same_shapes
from jaxemb.types import Params

PARALLEL = 0.9995  # a larger cosine than this, and the sine of the angle is too small to divide by


def average(models: Sequence[Params], weights: Sequence[float] | None = None) -> Params:
    """The weighted mean `sum_k w_k theta_k / sum_k w_k`, in the dtype of the first; equal weights by default.

    >>> print(average([{"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([3.0, 8.0])}])["w"])
    [2. 5.]

    Raises: ValueError without a model, for trees that differ, for weights that are too few or sum to 0.
    Source: Wortsman et al. 2022, arXiv:2203.05482, sec. 2 (uniform soup).
    """
    if not models:
        raise ValueError("average: wanted one model or more, got none")
    shares = [1.0] * len(models) if weights is None else list(weights)
    if len(shares) != len(models) or sum(shares) == 0:
        raise ValueError(f"average: wanted {len(models)} weights with a sum other than 0, got {shares}")
    same_shapes("average", *models)
    return combination(models, [share / sum(shares) for share in shares])


def task_arithmetic(base: Params, tuned: Sequence[Params], weights: Sequence[float]) -> Params:
    """`base + sum_k w_k (tuned_k - base)` in the dtype of `base`.

    >>> print(task_arithmetic({"w": jnp.array([1.0])}, [{"w": jnp.array([3.0])}], [0.5])["w"])
    [2.]

    Raises: ValueError for trees that differ, or when there is not one weight a model.
    Source: Ilharco et al. 2023, arXiv:2212.04089, sec. 2.
    """
    if len(tuned) != len(weights):
        raise ValueError(f"task_arithmetic: wanted {len(tuned)} weights, got {len(weights)}")
    same_shapes("task_arithmetic", base, *tuned)

    def leaf(b: Array, *ts: Array) -> Array:
        # Sum in float32 and round once: in bfloat16 a step below 1/512 of the weight is lost.
        b32 = b.astype(jnp.float32)
        steps = sum(
            (w * (t.astype(jnp.float32) - b32) for w, t in zip(weights, ts, strict=True)), start=jnp.zeros_like(b32)
        )
        return (b32 + steps).astype(b.dtype)

    return jax.tree.map(leaf, base, *tuned)


def arc(cosine: Float[Array, ""], t: float | Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The two coefficients of spherical interpolation at `t`; of a straight line where vectors are nearly parallel."""
    straight = jnp.abs(cosine) > PARALLEL
    angle = jnp.arccos(jnp.where(straight, jnp.zeros_like(cosine), cosine))
    first, second = jnp.sin((1 - t) * angle) / jnp.sin(angle), jnp.sin(t * angle) / jnp.sin(angle)
    return jnp.where(straight, 1 - t, first), jnp.where(straight, t, second)


def slerp(first: Params, second: Params, t: float) -> Params:
    """From `first` (`t = 0`) to `second` (`t = 1`) along the arc between them, as two flat vectors.

    With `alpha` the angle between the whole trees:

        sin((1 - t) alpha) / sin(alpha) * first + sin(t alpha) / sin(alpha) * second

    Nearly parallel or zero trees are joined by a straight line.  `per_leaf(slerp)` takes each leaf's own angle.

    >>> print(slerp({"w": jnp.array([1.0, 0.0])}, {"w": jnp.array([0.0, 1.0])}, 0.5)["w"].round(4))
    [0.7071 0.7071]

    Raises: ValueError for trees that differ, or `t` outside [0, 1].
    Source: Shoemake 1985, as used on weights by Li et al. 2024, arXiv:2410.15035, sec. 3.
    """
    same_shapes("slerp", first, second)
    squares = inner(first, first) * inner(second, second)
    return combination([first, second], slerp_coefficients(squares, inner(first, second), t))


def slerp_coefficients(
    squares: Float[Array, ""], product: Float[Array, ""], t: float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """What `slerp` multiplies both with, from the product of their squared lengths and their inner product.

    Raises: ValueError for `t` outside [0, 1].
    """
    if not 0 <= t <= 1:
        raise ValueError(f"slerp: t must be in [0, 1], got {t}")
    norms = jnp.sqrt(squares)
    cosine = jnp.where(norms > 0, product / jnp.where(norms > 0, norms, jnp.ones_like(norms)), 1.0)
    return arc(jnp.clip(cosine, -1.0, 1.0), t)


def per_leaf(operator: Callable[..., Params]) -> Callable[..., Params]:
    """The same operator on each leaf by itself, for operators whose first arguments are whole trees.

    This is how mergekit takes angles; the whole-tree form is how papers write them.
    """

    def each(first: Params, second: Params, *args: float) -> Params:
        same_shapes("per_leaf", first, second)
        return jax.tree.map(lambda a, b: operator({"leaf": a}, {"leaf": b}, *args)["leaf"], first, second)

    return each

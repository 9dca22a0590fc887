"""Losses of order: pairs that people find closer shall score higher, by whatever amount.

A batch is compared with itself, in the memory and time of a sort: never row by row in a matrix.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxemb.losses.checks import above_zero, all_values, finite, one_a_row, paired
from jaxemb.losses.distances import row_cosine, row_dot
from jaxemb.losses.form import declared
from jaxemb.similarity import everywhere, unit, wide

Label = Float[Array, " b"] | Int[Array, " b"] | Bool[Array, " b"]


def out_of_order(score: Float[Array, " m"], label: Array) -> Float[Array, ""]:
    """How much scores are out of the order of labels; items of one label are not compared.

        log(1 + sum_{label_a > label_b} exp(score_b - score_a))

    By a sort and a running logsumexp: `m log m` steps.  A label of minus infinity leaves an item out.

    >>> print(f"{out_of_order(jnp.array([1.0, 2.0, 4.0]), jnp.array([0, 1, 1])):.3f}")
    0.349
    """
    order = jnp.argsort(label)
    label, score = label[order].astype(score.dtype), score[order]
    above = jnp.searchsorted(label, label, side="right")
    nothing = jnp.full((1,), -jnp.inf, score.dtype)
    higher = jnp.concatenate([lax.cumlogsumexp(-score, reverse=True), nothing])[above]
    terms = jnp.where(label > -jnp.inf, score + higher, nothing)
    return jax.nn.logsumexp(jnp.concatenate([jnp.zeros((1,), score.dtype), terms]))


@declared("batch")
def cosent(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Label,
    temperature: float | Float[Array, ""] = 0.05,
    score: Callable[[Array, Array], Array] = row_cosine,
) -> Float[Array, " b"]:
    """Pairs shall be ordered by their labels.  With `s` the cosine of a pair:

        loss = log(1 + sum_{label_i > label_j} exp((s_j - s_i) / t))

    There is one loss for the whole batch: every row gives it, so that their mean is it, and its gradient.

    >>> query, document = jnp.eye(2), jnp.array([[1.0, 0.0], [1.0, 0.0]])  # cosines 1 and 0
    >>> print([f"{one:.3f}" for one in cosent(query, document, label=jnp.array([0.0, 1.0]), temperature=1.0)])
    ['1.313', '1.313']

    Args:
      label: how close people find each pair, larger is closer, in any unit; equal ones are not compared.
      temperature: divides differences of the score; > 0.
      score: of row `i` with row `i`, larger is closer.
    Returns: the loss, in nats, in every row; 0 where all labels are equal.
    Raises: ValueError for labels of another length, or that are not finite.
    Source: Su 2022, CoSENT, https://kexue.fm/archives/8847; Huang et al. 2024, IEEE/ACM TASLP 32, eq. 8.
    """
    return _ordered("cosent", query, document, label, temperature, score)


def angle_score(left: Float[Array, "... d"], right: Float[Array, "... d"]) -> Float[Array, "..."]:
    """How alike the angles of two vectors of complex numbers are: larger is closer.

    The first half of a vector are real parts, the second imaginary ones; an odd last dimension is its own real part.
    For vectors of length one it is the absolute value of the sum of the real and imaginary parts of their products,
    the right one conjugated: of the cosine, and of the sine of what one is turned against the other.
    """
    if left.shape[-1] % 2:
        more = [(0, 0)] * (left.ndim - 1) + [(0, 1)]
        left, right = jnp.pad(left, more), jnp.pad(right, more)
    left, right = unit(left.astype(wide(left.dtype))), unit(right.astype(wide(right.dtype)))
    (a, b), (c, d) = jnp.split(left, 2, axis=-1), jnp.split(right, 2, axis=-1)
    return jnp.abs(row_dot(left, right) + row_dot(b, c) - row_dot(a, d))


@declared("batch")
def angle(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    label: Label,
    temperature: float | Float[Array, ""] = 0.05,
) -> Float[Array, " b"]:
    """`cosent` with the angle of complex numbers for the cosine, whose gradient vanishes at its ends.

    Args, Returns, Raises: as for `cosent`.
    Source: Li & Li 2023, arXiv:2309.12871 (AnglE), sec. 3.4; the score and its sign as in the authors' code.
    """
    return _ordered("angle", query, document, label, temperature, angle_score)


def _ordered(
    name: str,
    query: Array,
    document: Array,
    label: Array,
    temperature: float | Array,
    score: Callable[[Array, Array], Array],
) -> Float[Array, " b"]:
    paired(name, query, document)
    above_zero(name, temperature=temperature)
    b = query.shape[0]
    one_a_row(name, b, label=label)
    all_values(name, "label", label, "finite", finite)
    each = everywhere(score(query, document[:b])) / temperature
    return jnp.broadcast_to(out_of_order(each, everywhere(label)), (b,))

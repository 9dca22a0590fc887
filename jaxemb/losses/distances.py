"""How far rows are apart, and how close: between row i and row i, and between all rows.

A distance is smaller where rows are closer, a score or a similarity is larger.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxemb.similarity import everywhere, unit, wide

# --- between row i and row i: [..., d] and [..., d] to [...] ---------------------------------------------------------


def row_cosine(left: Float[Array, "... d"], right: Float[Array, "... d"]) -> Float[Array, "..."]:
    """Cosine of row `i` with row `i`, in [-1, 1]; 0 where one of them is zero.

    >>> [f"{one:.1f}" for one in row_cosine(jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 0.0]]))]
    ['0.6']
    """
    return row_dot(unit(_full(left)), unit(_full(right)))


def row_dot(left: Float[Array, "... d"], right: Float[Array, "... d"]) -> Float[Array, "..."]:
    """Inner product of row `i` with row `i`."""
    return jnp.sum(_full(left) * _full(right), axis=-1)


def cosine_distance(left: Float[Array, "... d"], right: Float[Array, "... d"]) -> Float[Array, "..."]:
    """One minus the cosine, in [0, 2]."""
    return 1 - row_cosine(left, right)


def euclidean_distance(left: Float[Array, "... d"], right: Float[Array, "... d"]) -> Float[Array, "..."]:
    """Length of the difference; its gradient is zero where there is none.

    >>> print(euclidean_distance(jnp.array([[4.0, 5.0]]), jnp.array([[1.0, 1.0]])))
    [5.]
    """
    difference = _full(left) - _full(right)
    # Dividing by the largest entry first keeps the square of 1e30 finite and of 1e-30 above zero.
    largest = lax.stop_gradient(jnp.max(jnp.abs(difference), axis=-1))
    scaled = difference / jnp.where(largest > 0, largest, jnp.ones_like(largest))[..., None]
    return largest * _root(jnp.sum(scaled * scaled, axis=-1))


def squared_distance(left: Float[Array, "... d"], right: Float[Array, "... d"]) -> Float[Array, "..."]:
    """Squared length of the difference."""
    difference = _full(left) - _full(right)
    return jnp.sum(difference * difference, axis=-1)


def mean_squared_distance(left: Float[Array, "... d"], right: Float[Array, "... d"]) -> Float[Array, "..."]:
    """Mean of the squared differences: the squared distance over the number of dimensions."""
    return squared_distance(left, right) / left.shape[-1]


def manhattan_distance(left: Float[Array, "... d"], right: Float[Array, "... d"]) -> Float[Array, "..."]:
    """Sum of the absolute differences."""
    return jnp.sum(jnp.abs(_full(left) - _full(right)), axis=-1)


# --- between all rows: similarities, larger is closer ----------------------------------------------------------------


def negative_squared_distance(query: Float[Array, "b d"], document: Float[Array, "n d"]) -> Float[Array, "b n"]:
    """Minus the squared distance of every query to every document: a similarity, 0 at most.

    By way of inner products, in full precision: exact to about 1e-7 of the squared lengths of the vectors.

    >>> print(negative_squared_distance(jnp.array([[0.0, 1.0]]), jnp.array([[0.0, 3.0], [1.0, 1.0]])))
    [[-4. -1.]]
    """
    left, right = _full(query), everywhere(_full(document))
    products = jnp.einsum("bd,nd->bn", left, right, precision=lax.Precision.HIGHEST)
    squares = row_dot(left, left)[:, None] + row_dot(right, right)[None, :] - 2 * products
    return -jnp.maximum(squares, jnp.zeros((), squares.dtype))


def negative_distance(query: Float[Array, "b d"], document: Float[Array, "n d"]) -> Float[Array, "b n"]:
    """Minus the distance of every query to every document: a similarity, 0 at most."""
    return -_root(-negative_squared_distance(query, document))


def order_similarity(query: Float[Array, "b d"], document: Float[Array, "n d"]) -> Float[Array, "b n"]:
    """Minus how far a query is from being at or below a document in every dimension: 0 where it is.

        score_ij = - || max(0, query_i - document_j) ||^2

    >>> print(order_similarity(jnp.array([[1.0, 3.0]]), jnp.array([[2.0, 3.0], [0.0, 1.0]])))
    [[-0. -5.]]

    Source: Vendrov et al. 2016, arXiv:1511.06361, eq. 2.
    """
    over = jax.nn.relu(_full(query)[:, None, :] - everywhere(_full(document))[None, :, :])
    return -jnp.sum(over * over, axis=-1)


def _full(vectors: Array) -> Array:
    return vectors.astype(wide(vectors.dtype))


def _root(squares: Array) -> Array:
    """The square root, with a gradient of zero where it is zero."""
    above = squares > 0
    return jnp.where(above, jnp.sqrt(jnp.where(above, squares, jnp.ones_like(squares))), jnp.zeros_like(squares))

"""Where a quadratic function of arrays is least."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float


def least(lost: Callable[[Array], Float[Array, ""]], start: Array, steps: int) -> Array:
    """Nearer to the least of a convex quadratic function, by so many steps of conjugate gradients.

    The function itself is all that is needed: its gradient is linear, so that a product with the matrix of second
    derivatives is a derivative of the gradient.

    >>> import jax.numpy as jnp
    >>> print(least(lambda x: ((x - jnp.array([1.0, 2.0])) ** 2).sum(), jnp.zeros(2), 2))
    [1. 2.]

    Source: Hestenes & Stiefel 1952, doi:10.6028/jres.049.044.
    """
    slope = jax.grad(lost)

    def curved(step: Array) -> Array:
        return jax.jvp(slope, (start,), (step,))[1]

    return start + jax.scipy.sparse.linalg.cg(curved, -slope(start), maxiter=steps)[0]

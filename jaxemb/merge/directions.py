"""Merges that see task vectors as directions: only their inner products and a few coefficients are computed.

Every merge here is `base + sum_k c_k v_k`, and the `c` depend on the Gram matrix `<v_i, v_j>` alone: whatever the size
of the models, they are found among `n^2` numbers, and the trees are read once more for the sum.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxemb.merge.operators import arc
from jaxemb.merge.tasks import moved, task_vectors
from jaxemb.merge.trees import combination, inner, same_shapes
from jaxemb.types import Params

SMALLEST = 1e-12


def gram(vectors: Sequence[Params]) -> Float[Array, "k k"]:
    """All inner products of trees as flat vectors."""
    rows = [[inner(one, other) for other in vectors[: place + 1]] for place, one in enumerate(vectors)]
    count = len(vectors)
    return jnp.stack([jnp.stack([rows[max(i, j)][min(i, j)] for j in range(count)]) for i in range(count)])


def combined(base: Params, tuned: Sequence[Params], coefficients: Callable[[Float[Array, "k k"]], Array]) -> Params:
    """`base + sum_k c_k v_k` with coefficients that the Gram matrix of the task vectors gives."""
    vectors = task_vectors(base, tuned)
    return moved(base, combination(vectors, list(coefficients(gram(vectors)))))


def slerp_fold(base: Params, tuned: Sequence[Params], weights: Sequence[float]) -> Params:
    """Task vectors joined by arcs one after another; the order matters.

        V_(1..k) = slerp(V_(1..k-1), V_k, w_k / (m + w_k)),   m = mean(w_1 .. w_(k-1))

    Raises: ValueError as `task_vectors`, for weights that are not all above 0, or too few.
    Source: Li et al. 2024, arXiv:2410.15035, sec. 3, as a public reading of it describes the fold.
    """
    shares = positive("slerp_fold", tuned, weights)
    return combined(base, tuned, lambda products: fold_coefficients(products, jnp.asarray(shares)))


def fold_coefficients(products: Float[Array, "k k"], weights: Float[Array, " k"]) -> Float[Array, " k"]:
    """What the fold multiplies each task vector with; differentiable in the weights.

    >>> print(fold_coefficients(jnp.eye(2), jnp.array([1.0, 1.0])).round(4))
    [0.7071 0.7071]
    """
    count = len(products)
    found = jnp.zeros(count).at[0].set(1.0)
    for place in range(1, count):
        own = jnp.zeros(count).at[place].set(1.0)
        before = jnp.mean(weights[:place])
        square = (found @ products @ found) * products[place, place]
        cosine = (found @ products @ own) / jnp.sqrt(jnp.maximum(square, SMALLEST))
        # At 1 the arc cosine has no slope; `arc` takes a straight line long before.
        first, second = arc(jnp.clip(cosine, -1 + 1e-7, 1 - 1e-7), weights[place] / (before + weights[place]))
        found = first * found + second * own
    return found


def multi_slerp(base: Params, tuned: Sequence[Params], weights: Sequence[float] | None = None) -> Params:
    """The point between directions on the sphere, by one step from their mean along it, at their mean length.

    Raises: ValueError as `task_vectors`, for weights that are not all above 0, and where directions cancel.
    Source: mergekit's `multislerp`.
    """
    shares = positive("multi_slerp", tuned, weights)
    return combined(base, tuned, lambda products: multi_slerp_coefficients(products, shares))


def multi_slerp_coefficients(products: Float[Array, "k k"], weights: Float[np.ndarray, " k"]) -> Float[Array, " k"]:
    """What `multi_slerp` multiplies each task vector with."""
    shares = weights / weights.sum()
    lengths, cosines = _unit(products)
    middle = _middle("multi_slerp", cosines, shares)
    tangent = shares - (shares @ cosines @ middle) * middle
    return _stepped(middle, tangent, cosines) / lengths * (shares @ lengths)


def karcher(models: Sequence[Params], weights: Sequence[float] | None = None, *, rounds: int = 10) -> Params:
    """The mean of whole models as directions: the one from which the arcs to all of them, weighed, cancel.

    Raises: ValueError for trees that differ, weights that are not all above 0, and directions that cancel.
    Source: Karcher 1977, doi:10.1002/cpa.3160300502; as mergekit takes it.
    """
    if not models:
        raise ValueError("karcher: wanted one model or more, got none")
    same_shapes("karcher", *models)
    return combination(
        models, list(karcher_coefficients(gram(models), positive("karcher", models, weights), rounds=rounds))
    )


def karcher_coefficients(
    products: Float[Array, "k k"], weights: Float[np.ndarray, " k"], *, rounds: int = 10
) -> Float[Array, " k"]:
    """What `karcher` multiplies each model with."""
    shares = weights / weights.sum()
    lengths, cosines = _unit(products)
    middle = _middle("karcher", cosines, shares)
    for _ in range(rounds):
        near = jnp.clip(cosines @ middle, -1.0, 1.0)
        angle = jnp.arccos(near)
        arcs = jnp.where(angle > 1e-5, angle / jnp.where(angle > 1e-5, jnp.sin(angle), 1), 0)
        tangent = shares * arcs - (shares * arcs * near).sum() * middle
        middle = _stepped(middle, tangent, cosines)
        middle = middle / jnp.sqrt(middle @ cosines @ middle)
    return middle / lengths * (shares @ lengths)


def model_stock(base: Params, tuned: Sequence[Params], *, clipped: bool = False) -> Params:
    """Between the base and the mean of the models, the nearer to the mean the more the models agree.

        t = n c / (1 + (n - 1) c),   c = the mean cosine of two task vectors

    Of a whole tree here; `by_leaf(model_stock)` is what the paper and mergekit do.

    Args:
      clipped: whether `t` is kept in [0, 1], which models that disagree leave.
    Raises: ValueError as `task_vectors`, and for fewer than two models.
    Source: Jang et al. 2024, arXiv:2403.19522, eq. 6.
    """
    if len(tuned) < 2:
        raise ValueError(f"model_stock: wanted two models or more, got {len(tuned)}")
    return combined(base, tuned, lambda products: model_stock_coefficients(products, clipped=clipped))


def model_stock_coefficients(products: Float[Array, "k k"], *, clipped: bool = False) -> Float[Array, " k"]:
    """What `model_stock` multiplies each task vector with."""
    count = len(products)
    _, cosines = _unit(products)
    mean = (cosines.sum() - count) / (count * (count - 1))
    divisor = 1 + (count - 1) * mean
    steady = jnp.abs(divisor) > 1e-6  # else no mean is better than another: the base stays
    share = jnp.where(steady, count * mean / jnp.where(steady, divisor, 1), 0)
    share = jnp.clip(share, 0.0, 1.0) if clipped else share
    return jnp.full(count, share / count)


def by_leaf(operator: Callable[..., Params]) -> Callable[..., Params]:
    """The same operator on each leaf by itself, for operators of a base and a list of tuned models.

    A leaf that none of the models changed stays as it is.
    """

    def each(base: Params, tuned: Sequence[Params], *args: object, **kwargs: object) -> Params:
        same_shapes("by_leaf", base, *tuned)

        def leaf(first: Array, *others: Array) -> Array:
            if all(bool((first == other).all()) for other in others):
                return first
            merged: Array = operator({"leaf": first}, [{"leaf": other} for other in others], *args, **kwargs)["leaf"]
            return merged

        return jax.tree.map(leaf, base, *tuned)

    return each


def positive(name: str, tuned: Sequence[Params], weights: Sequence[float] | None) -> Float[np.ndarray, " k"]:
    """The weights, one each by default.  Raises: ValueError for none, too few, or one that is not above 0."""
    shares = np.ones(len(tuned)) if weights is None else np.asarray(weights, np.float32)
    if not len(tuned) or shares.shape != (len(tuned),) or not (shares > 0).all():
        raise ValueError(f"{name}: wanted {len(tuned)} weights above 0, got {list(shares)}")
    return shares.astype(np.float32)


def _unit(products: Float[Array, "k k"]) -> tuple[Float[Array, " k"], Float[Array, "k k"]]:
    """Lengths, and cosines of directions; both from a Gram matrix."""
    lengths = jnp.sqrt(jnp.diagonal(products))
    return lengths, products / lengths[:, None] / lengths[None, :]


def _middle(name: str, cosines: Float[Array, "k k"], shares: Float[np.ndarray, " k"]) -> Float[Array, " k"]:
    length = jnp.sqrt(jnp.maximum(shares @ cosines @ shares, 0))
    if not float(length) > 1e-6:
        raise ValueError(f"{name}: the directions cancel: their weighed sum is zero; take other weights")
    return jnp.asarray(shares) / length


def _stepped(
    middle: Float[Array, " k"], tangent: Float[Array, " k"], cosines: Float[Array, "k k"]
) -> Float[Array, " k"]:
    """From a direction along a tangent to where it leads on the sphere."""
    far = jnp.sqrt(jnp.maximum(tangent @ cosines @ tangent, 0))
    return middle * jnp.cos(far) + tangent * jnp.where(far > 0, jnp.sin(far) / jnp.where(far > 0, far, 1), 1)

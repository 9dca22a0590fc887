"""Merges of task vectors, what tuning added to a common start: of which numbers are kept, and whose sign counts."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.merge import kept as keeping
from jaxemb.merge.kept import Keep, Rescale
from jaxemb.merge.trees import combination, inner, same_shapes
from jaxemb.types import Params


def task_vectors(base: Params, tuned: Sequence[Params]) -> list[Params]:
    """What each tuning added, in float32.

    Raises: ValueError for trees that differ, and for a model that is the base, which has no direction, by its place.
    """
    found = added(base, tuned)
    for place, vector in enumerate(found):
        if not float(inner(vector, vector)) > 0:
            raise ValueError(f"task_vectors: model {place} is the base, or its difference is not finite")
    return found


def added(base: Params, tuned: Sequence[Params]) -> list[Params]:
    """As `task_vectors`, where a model that added nothing is none that a direction is asked of."""
    same_shapes("task_vectors", base, *tuned)
    return [jax.tree.map(lambda t, b: t.astype(jnp.float32) - b.astype(jnp.float32), model, base) for model in tuned]


def moved(base: Params, vector: Params, scale: float | Float[Array, ""] = 1.0) -> Params:
    """`base + scale * vector`, rounded once to the dtype of the base."""
    return combination([base, vector], [1.0, scale])


def thinned(vectors: Sequence[Params], keep: Keep, key: Array | None = None) -> list[Params]:
    """Every leaf of every vector as `keep` leaves it, each with a key of its own."""
    if key is None:
        return [jax.tree.map(lambda leaf: keep(leaf, None), vector) for vector in vectors]
    found = []
    for place, vector in enumerate(vectors):
        leaves, shape = jax.tree.flatten(vector)
        keys = jax.random.split(jax.random.fold_in(key, place), len(leaves))
        found.append(jax.tree.unflatten(shape, [keep(leaf, own) for leaf, own in zip(leaves, keys, strict=True)]))
    return found


def agreed(vectors: Sequence[Params], weights: Sequence[float]) -> Params:
    """The mean of the numbers that have the elected sign, by the weights of those that have it.

        sign = sgn( sum_k w_k v_k ), where 0 counts as plus,   m = sum_k w_k v_k [sgn(v_k) = sign] / sum_k w_k [...]

    Source: Yadav et al. 2023, arXiv:2306.01708 (TIES), steps 2 and 3.
    """

    def leaf(*values: Array) -> Array:
        stacked = jnp.stack([weight * value for weight, value in zip(weights, values, strict=True)])
        elected = jnp.where(stacked.sum(axis=0) >= 0, 1.0, -1.0)
        own = jnp.sign(stacked) == elected[None]
        shares = jnp.asarray(weights, stacked.dtype).reshape(-1, *[1] * (stacked.ndim - 1))
        divisor = jnp.where(own, shares, 0).sum(axis=0)
        return jnp.where(own, stacked, 0).sum(axis=0) / jnp.where(divisor == 0, 1, divisor)

    return jax.tree.map(leaf, *vectors)


def ties(
    base: Params,
    tuned: Sequence[Params],
    weights: Sequence[float] | None = None,
    *,
    density: float = 0.2,
    scale: float = 1.0,
    length: Literal["kept", "mean"] = "kept",
) -> Params:
    """Trim each task vector to its largest numbers, elect a sign for each number, and average those that have it.

    >>> base, one, two = ({"w": jnp.array(x)} for x in ([0.0, 0.0], [2.0, 1.0], [4.0, -3.0]))
    >>> print(ties(base, [one, two], density=1.0)["w"])
    [ 3. -3.]

    Args:
      density: the share that is kept, of each leaf.
      length: `mean` scales the result to the mean length of the trimmed vectors, as the notes on Self Positioning
        describe TIES.
    Raises: ValueError for trees that differ, for weights that do not fit, and for a density outside (0, 1].
    Source: Yadav et al. 2023, arXiv:2306.01708.
    """
    kept = thinned(added(base, tuned), keeping.largest(density))
    merged = agreed(kept, _shares("ties", tuned, weights))
    if length == "kept":
        return moved(base, merged, scale)
    mean, own = jnp.stack([_length(vector) for vector in kept]).mean(), _length(merged)
    return moved(base, merged, scale * jnp.where(own > 0, mean / jnp.where(own > 0, own, 1), 1))


def dare(
    base: Params,
    tuned: Sequence[Params],
    weights: Sequence[float] | None = None,
    *,
    key: Array,
    density: float = 0.5,
    scale: float = 1.0,
    rescale: Rescale = "inverse",
    elect: bool = False,
) -> Params:
    """Drop numbers of each task vector at random, make up for them, and add the rest.

    Args:
      elect: whether signs are elected as in `ties`; else the sum of the weighted vectors is added.
      rescale: `inverse` as the paper has it; `l1` as mergekit does.
    Source: Yu et al. 2023, arXiv:2311.03099.
    """
    return _thinned_sum("dare", base, tuned, weights, keeping.random(density, rescale), key, scale, elect=elect)


def della(
    base: Params,
    tuned: Sequence[Params],
    weights: Sequence[float] | None = None,
    *,
    key: Array,
    density: float = 0.5,
    spread: float = 0.15,
    scale: float = 1.0,
    rescale: Rescale = "inverse",
    elect: bool = True,
) -> Params:
    """As `dare`, with small numbers of a row dropped more often than large ones.  Source: arXiv:2406.11617."""
    return _thinned_sum(
        "della", base, tuned, weights, keeping.by_rank(density, spread, rescale), key, scale, elect=elect
    )


def breadcrumbs(
    base: Params,
    tuned: Sequence[Params],
    weights: Sequence[float] | None = None,
    *,
    density: float = 0.9,
    outliers: float = 0.01,
    scale: float = 1.0,
    elect: bool = False,
) -> Params:
    """Leave the very largest numbers of each task vector out, and the smallest, and add the rest.

    Source: Davari & Belilovsky 2023, arXiv:2312.06795.
    """
    keep = keeping.without_outliers(density, outliers)
    return _thinned_sum("breadcrumbs", base, tuned, weights, keep, None, scale, elect=elect)


def sce(base: Params, tuned: Sequence[Params], *, selected: float = 1.0) -> Params:
    """Select the numbers in which models differ most, weigh each model by its squares, and elect signs; leaf by leaf.

    Args:
      selected: the share of numbers, of those that differ at all, with the largest variance over the models.
    Raises: ValueError for trees that differ, and for a share outside (0, 1].
    Source: Wan et al. 2024, arXiv:2408.07990 (FuseChat), sec. 3.3.
    """
    keeping.check_density("sce", selected)

    def leaf(*values: Array) -> Array:
        stacked = jnp.stack(values)
        if selected < 1:
            apart = jnp.var(stacked, axis=0)
            count = (jnp.count_nonzero(apart).astype(jnp.float32) * selected).astype(jnp.int32)
            stacked = jnp.where(keeping.top(apart, count)[None], stacked, 0)
        squares = jnp.square(stacked).reshape(len(values), -1).mean(axis=1)
        total = squares.sum()
        shares = jnp.where(total > 0, squares / jnp.where(total > 0, total, 1), 1 / len(values))
        shares = shares.reshape(-1, *[1] * (stacked.ndim - 1))
        own = jnp.sign(stacked) == jnp.where(stacked.sum(axis=0) >= 0, 1.0, -1.0)[None]
        divisor = jnp.where(own, shares, 0).sum(axis=0)
        return jnp.where(own, shares * stacked, 0).sum(axis=0) / jnp.where(divisor > 0, divisor, 1)

    return moved(base, jax.tree.map(leaf, *added(base, tuned)))


def _thinned_sum(
    name: str,
    base: Params,
    tuned: Sequence[Params],
    weights: Sequence[float] | None,
    keep: Keep,
    key: Array | None,
    scale: float,
    *,
    elect: bool,
) -> Params:
    shares = _shares(name, tuned, weights)
    kept = thinned(added(base, tuned), keep, key)
    return moved(base, agreed(kept, shares) if elect else combination(kept, shares), scale)


def _shares(name: str, tuned: Sequence[Params], weights: Sequence[float] | None) -> list[float]:
    """The weights, one each by default."""
    shares = [1.0] * len(tuned) if weights is None else [float(one) for one in weights]
    if not tuned or len(shares) != len(tuned) or sum(shares) == 0:
        raise ValueError(
            f"{name}: wanted one model or more, and {len(tuned)} weights with a sum other than 0, got {shares}"
        )
    return shares


def _length(tree: Params) -> Float[Array, ""]:
    return jnp.sqrt(inner(tree, tree))

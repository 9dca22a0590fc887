"""Merges that ask what each model learnt from: Fisher information, and the inputs of linear layers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxemb.merge.tasks import moved, task_vectors
from jaxemb.merge.trees import by_path, same_shapes
from jaxemb.types import Params

RIDGE = 1e-6  # of the mean diagonal


def information(
    loss: Callable[[Params, Any], Float[Array, ""]], params: Params, examples: Any, *, at_once: int = 8
) -> Params:
    """The diagonal of the Fisher information: each example's squared gradient, the mean over examples.

    The square of a mean gradient would be another thing, and near zero where training ended.

    Args:
      loss: of one example, as a row of a batch without its first axis; a contrastive one has its negatives in the row.
      examples: a batch; every array has the examples first.
      at_once: examples whose gradients are kept at a time.
    Source: Matena & Raffel 2022, arXiv:2111.09832, eq. 4, at the labels that are there.
    """

    def squared(example: Any) -> Params:
        return jax.tree.map(lambda g: jnp.square(g.astype(jnp.float32)), jax.grad(loss)(params, example))

    count = jax.tree.leaves(examples)[0].shape[0]
    if count % at_once:
        at_once = 1

    def add(total: Params, some: Any) -> tuple[Params, None]:
        return jax.tree.map(lambda t, s: t + s.sum(axis=0), total, jax.vmap(squared)(some)), None

    groups = jax.tree.map(lambda x: x.reshape(count // at_once, at_once, *x.shape[1:]), examples)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), params)
    return jax.tree.map(lambda total: total / count, lax.scan(add, nothing, groups)[0])


def fisher(
    base: Params,
    tuned: Sequence[Params],
    informations: Sequence[Params],
    weights: Sequence[float] | None = None,
    *,
    normalized: bool = False,
) -> Params:
    """Each number as the models that learnt most about it have it.

        base + sum_k w_k F_k v_k / sum_k w_k F_k

    Where none learnt anything, the plain mean.

    Args:
      informations: of each model, as `information` gives them.
      normalized: whether each is scaled to a mean of one, so that no model counts more for its larger gradients.
    Raises: ValueError as `task_vectors`; for statistics of another number or shape, negative ones, or NaN.
    Source: Matena & Raffel 2022, arXiv:2111.09832, eq. 5.
    """
    shares = [1.0] * len(tuned) if weights is None else [float(one) for one in weights]
    if not tuned or len(informations) != len(tuned) or len(shares) != len(tuned):
        raise ValueError(
            f"fisher: wanted statistics and a weight of each of {len(tuned)} models, "
            f"got {len(informations)} and {len(shares)}"
        )
    same_shapes("fisher", base, *informations)
    for place, known in enumerate(informations):
        for path, values in by_path(known).items():
            if not bool((jnp.isfinite(values) & (values >= 0)).all()):
                raise ValueError(
                    f"fisher: statistics of model {place}: {path} has a number that is negative, NaN or inf"
                )
    if normalized:
        informations = [_mean_one(known) for known in informations]

    def leaf(*both: Array) -> Array:
        values, known = both[: len(tuned)], both[len(tuned) :]
        total = sum(share * k for share, k in zip(shares, known, strict=True))
        weighed = sum(share * k * v for share, k, v in zip(shares, known, values, strict=True))
        plain = sum(share * v for share, v in zip(shares, values, strict=True)) / sum(shares)
        return jnp.where(total > 0, weighed / jnp.where(total > 0, total, 1), plain)

    return moved(base, jax.tree.map(leaf, *task_vectors(base, tuned), *informations))


def _mean_one(known: Params) -> Params:
    leaves = jax.tree.leaves(known)
    mean = sum(leaf.sum() for leaf in leaves) / sum(leaf.size for leaf in leaves)
    return jax.tree.map(lambda leaf: leaf / jnp.where(mean > 0, mean, 1), known)


def input_gram(inputs: Float[Array, "b t d"], mask: Int[Array, "b t"]) -> Float[Array, "d d"]:
    """`X^T X` of what a linear layer read, padding left out: what `regmean` asks of each model.

    >>> print(input_gram(jnp.array([[[1.0, 2.0], [9.0, 9.0]]]), jnp.array([[1, 0]])))
    [[1. 2.]
     [2. 4.]]
    """
    read = jnp.where(mask[:, :, None] > 0, inputs.astype(jnp.float32), 0)
    return jnp.einsum("btd,bte->de", read, read)


def regmean(
    models: Sequence[Params], grams: Sequence[Mapping[str, Float[Array, "d d"]]], *, share: float = 0.9
) -> Params:
    """Linear layers that are nearest to what each model's own layer makes of its own inputs; of the rest the mean.

        W = ( sum_k G_k )^-1 sum_k G_k W_k,   G_k = share X_k^T X_k off the diagonal, X_k^T X_k on it

    Args:
      grams: of each model, by the paths of the kernels `[d, e]`, as `input_gram` gives them.
      share: of what lies off the diagonal.
    Raises: ValueError for statistics that are missing, of another shape, NaN or inf; a path that is no kernel.
    Source: Jin et al. 2023, arXiv:2212.09849, eq. 2 and sec. 3.3.
    """
    if not models or len(grams) != len(models):
        raise ValueError(f"regmean: wanted statistics of each of {len(models)} models, got {len(grams)}")
    if not 0 <= share <= 1:
        raise ValueError(f"regmean: share must be in [0, 1], got {share}")
    same_shapes("regmean", *models)
    found = by_path(models[0])
    for place, known in enumerate(grams):
        _check_grams(place, known, grams[0].keys(), found)

    def leaf(path: Any, *values: Array) -> Array:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        wide = jnp.stack([value.astype(jnp.float32) for value in values])
        mean = wide.mean(axis=0)
        if name not in grams[0]:
            return mean.astype(values[0].dtype)
        shrunk = jnp.stack([_shrunk(known[name], share) for known in grams])
        total = shrunk.sum(axis=0)
        ridge = RIDGE * jnp.trace(total) / len(total)
        wanted = jnp.einsum("kde,kef->df", shrunk, wide)
        # The ridge pulls towards the mean, so that equal layers stay as they are.
        merged = jnp.linalg.solve(total + ridge * jnp.eye(len(total)), wanted + ridge * mean)
        return merged.astype(values[0].dtype)

    return jax.tree_util.tree_map_with_path(leaf, models[0], *models[1:])


def _check_grams(place: int, known: Mapping[str, Array], names: Any, found: Mapping[str, Array]) -> None:
    if odd := sorted(known.keys() ^ set(names)):
        raise ValueError(f"regmean: models 0 and {place} do not both have statistics of {odd[0]}")
    for name, gram in known.items():
        if name not in found or found[name].ndim != 2:
            raise ValueError(f"regmean: {name} is no kernel of a linear layer")
        wanted = (found[name].shape[0],) * 2
        if gram.shape != wanted or not bool(jnp.isfinite(gram).all()):
            raise ValueError(
                f"regmean: {name} of model {place}: wanted finite {wanted}, got {gram.shape}, or NaN or inf"
            )


def _shrunk(gram: Float[Array, "d d"], share: float) -> Float[Array, "d d"]:
    return share * gram + (1 - share) * jnp.diag(jnp.diagonal(gram))


def greedy_soup(models: Sequence[Params], score: Callable[[Params], float]) -> tuple[Params, list[int]]:
    """The mean of models taken in one by one, the best first, where the score does not fall.

    Args:
      score: of params, on validation data; larger is better.
    Returns: the mean, and the places of the models that it is of.
    Source: Wortsman et al. 2022, arXiv:2203.05482, recipe 1.
    """
    if not models:
        raise ValueError("greedy_soup: wanted one model or more, got none")
    same_shapes("greedy_soup", *models)
    scores = [score(model) for model in models]
    order = sorted(range(len(models)), key=lambda place: -scores[place])
    taken, best = [order[0]], scores[order[0]]
    soup = models[order[0]]
    for place in order[1:]:
        count = len(taken)
        wider = jax.tree.map(
            lambda s, m, n=count: ((s.astype(jnp.float32) * n + m.astype(jnp.float32)) / (n + 1)).astype(s.dtype),
            soup,
            models[place],
        )
        if (reached := score(wider)) >= best:
            soup, best, taken = wider, reached, [*taken, place]
    return soup, taken

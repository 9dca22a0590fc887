"""How much each query of a batch counts, by how hard it is: weights that move from easy to hard while training goes on.

Weights have no gradient: with one a model would make its texts look easy.  Their mean is over the whole batch: under
`jit` a batch that is shared among devices is one array; inside `shard_map`, spread the loss that is weighed already.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxemb.losses.checks import all_values, finite, one_a_row, two_rows
from jaxemb.losses.contrastive import diagonal
from jaxemb.losses.distances import row_cosine
from jaxemb.losses.form import form_for, form_of, with_form
from jaxemb.losses.lists import own_lists
from jaxemb.similarity import wide
from jaxemb.types import Loss

FARTHEST = 3.0
"""Standard deviations from the mean that count at most."""


def difficulty(query: Float[Array, "b d"], document: Float[Array, "n d"], negatives: int) -> Float[Array, " b"]:
    """How much closer a query is to its hard negatives, on average, than to its own document; no gradient.

        h_i = mean_k cos(q_i, n_ik) - cos(q_i, d_i)

    >>> print(difficulty(jnp.array([[1.0, 0.0]]), jnp.array([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), 2).round(2))
    [-0.7]

    Args:
      document: own documents, then all first negatives, then all second ones.
    Returns: in [-2, 2]; above 0 the negatives are closer.
    Raises: ValueError for no negatives, or another number of documents.
    """
    if negatives < 1:
        raise ValueError(f"difficulty: wanted 1 hard negative a query or more, got {negatives}")
    scores = row_cosine(query[None], own_lists("difficulty", query, document, negatives))
    return lax.stop_gradient(scores[1:].mean(axis=0) - scores[0])


def standardized(values: Float[Array, " b"]) -> Float[Array, " b"]:
    """In standard deviations from the batch's mean, at most three; all 0 where they are alike.

    >>> print(standardized(jnp.array([0.0, 2.0])).round(3))
    [-1.  1.]
    """
    spread = values - values.mean()
    return jnp.clip(spread / (jnp.sqrt((spread * spread).mean()) + 1e-6), -FARTHEST, FARTHEST)


def progressive_weights(standard: Float[Array, " b"], strength: float | Float[Array, ""]) -> Float[Array, " b"]:
    """`exp(strength * u)`, scaled to a mean of one; no gradient.

    >>> [f"{one:.3f}" for one in progressive_weights(jnp.array([-1.0, 1.0]), 0.5)]
    ['0.538', '1.462']

    Args:
      strength: below 0 what is easy counts more, above 0 what is hard, at 0 all alike.
    Raises: ValueError for a strength that is not finite.
    """
    all_values("progressive_weights", "strength", jnp.reshape(strength, 1), "finite", finite)
    raw = jnp.exp(strength * standard)
    return lax.stop_gradient(raw / raw.mean())


def progressive(loss: Loss, negatives: int) -> Loss:
    """Weigh each row by the difficulty of its hard negatives: the result takes `strength`, a number that moves.

        w_i = exp(l u_i) / mean_j exp(l u_j),    u = standardized(difficulty)

    Weights are of the whole batch, so nothing that cuts it goes around: `progressive(tiled(loss), 5)`.

    Args:
      loss: any whose rows have a loss of their own.
      negatives: how many hard ones each query has, in blocks after the own documents.
    Raises: ValueError for fewer than one; when it is called, for fewer than two rows, or a strength that is not finite.
    Source: Wu et al. 2023, arXiv:2311.11691 (PEG), for weights that move with training and follow the negatives'
      difficulty.  The paper has no formula: this one is ours.
    """
    if negatives < 1:
        raise ValueError(f"progressive: wanted 1 hard negative a query or more, got {negatives}")
    form = form_for("progressive", loss)

    def weighed(
        query: Float[Array, "b d"],
        document: Float[Array, "n d"],
        *,
        strength: float | Float[Array, ""],
        **kwargs: Any,
    ) -> Float[Array, " b"]:
        two_rows("progressive", query.shape[0])
        hard = standardized(difficulty(query, document, negatives).astype(wide(query.dtype)))
        each = loss(query, document, **kwargs)
        one_a_row("progressive", query.shape[0], losses=each)
        return each * progressive_weights(hard, strength).astype(each.dtype)

    return with_form(weighed, form._replace(reads="batch", one_sided="progressive", values=form.values | {"strength"}))


def weighted_negatives(loss: Loss, temperature: float) -> Loss:
    """Weigh the negatives of each row by how close they are: the result takes `strength`, a number that moves.

        beta_ij = exp(l cos(q_i, x_j)), scaled to a mean of one over the negatives of a row
        loss_i = -log( e^{z_ii} / (e^{z_ii} + sum_{j != i} beta_ij e^{z_ij}) )

    Args:
      loss: one that compares, as `info_nce`, with this same temperature.
    Raises: ValueError for a loss that takes no similarity; when it is called, for a strength that is not finite.
    Source: as for `progressive`; the form is that of Robinson et al. 2021, arXiv:2010.04592, eq. 4.
    """
    form = form_for("weighted_negatives", loss)
    if not form.compares:
        raise ValueError("weighted_negatives: this loss takes no `similarity` that could weigh its negatives")
    compared = form_of(loss).similarity

    def weighed(
        query: Float[Array, "b d"],
        document: Float[Array, "n d"],
        *,
        strength: float | Float[Array, ""],
        similarity: Callable[[Array, Array], Array] | None = None,
        **kwargs: Any,
    ) -> Float[Array, " b"]:
        all_values("weighted_negatives", "strength", jnp.reshape(strength, 1), "finite", finite)
        chosen = similarity or compared

        def moved(query: Array, document: Array) -> Array:
            scores = chosen(query, document)
            others = ~diagonal(scores)
            tilt = strength * scores
            total = jnp.sum(jnp.where(others, jnp.exp(tilt), jnp.zeros_like(tilt)), axis=1, keepdims=True)
            count = jnp.maximum(others.sum(axis=1, keepdims=True), 1).astype(total.dtype)
            beta = lax.stop_gradient(tilt - jnp.log(jnp.maximum(total, 1e-30) / count))
            return scores + temperature * jnp.where(others, beta, jnp.zeros_like(beta))

        return loss(query, document, similarity=moved, **kwargs)

    return with_form(weighed, form._replace(values=form.values | {"strength"}))


def focal(loss: Loss, gamma: float = 0.5) -> Loss:
    """Rows that are answered well count less: `(1 - p_i)^gamma loss_i` with `p_i = exp(-loss_i)`; no gradient of it.

    Raises: ValueError for a gamma that is below 0.
    Source: Lin et al. 2017, arXiv:1708.02002, eq. 4; over pairs with gamma 0.5: KaLM-Embedding-V2, arXiv:2506.20923.
    """
    if not gamma >= 0:
        raise ValueError(f"focal: wanted a gamma of 0 or more, got {gamma}")
    form = form_for("focal", loss)

    def weighed(query: Float[Array, "b d"], document: Float[Array, "n e"], **kwargs: Any) -> Float[Array, " b"]:
        each = loss(query, document, **kwargs)
        return each * lax.stop_gradient(jnp.maximum(-jnp.expm1(-each), 0.0) ** gamma)

    return with_form(weighed, form)

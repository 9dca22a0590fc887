"""Losses that tell a query's own document from others."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from jaxemb.losses.checks import above_zero, one_a_score, paired
from jaxemb.losses.form import declared
from jaxemb.similarity import beside, cosine


def diagonal(matrix: Shaped[Array, "b n"]) -> Bool[Array, "b n"]:
    """True at row `i` and column `i`: where a row's own document is."""
    return beside(jnp.eye(matrix.shape[0], matrix.shape[1], dtype=bool), matrix)


def own(matrix: Float[Array, "b n"]) -> Float[Array, " b"]:
    """The diagonal: row `i` of `[b, n]` at column `i`.

    A sum over a mask and not `jnp.diagonal`, whose gather has no sharding when mesh axes are Explicit.
    """
    return jnp.sum(jnp.where(diagonal(matrix), matrix, jnp.zeros((), matrix.dtype)), axis=-1)


def masked(logits: Float[Array, "b n"], ignore: Bool[Array, "b n"], name: str = "info_nce") -> Float[Array, "b n"]:
    """Minus infinity where `ignore` is True, but for a row's own column, which always stays."""
    one_a_score(name, logits, ignore=ignore)
    return jnp.where(ignore & ~diagonal(logits), -jnp.inf, logits)


@declared(matrices=("ignore", "targets"), compares=True)
def info_nce(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    temperature: float | Float[Array, ""] = 0.05,
    ignore: Bool[Array, "b m"] | None = None,
    targets: Float[Array, "b m"] | None = None,
    margin: float = 0.0,
    similarity: Callable[[Array, Array], Array] = cosine,
) -> Float[Array, " b"]:
    """Surprise, in nats, of picking each query's own document out of all `n`.

    Document `i` answers query `i`; any later rows are hard negatives.  With `s` the cosine:

        loss_i = -log( exp((s_ii - m) / t) / ( exp((s_ii - m) / t) + sum_{j != i} exp(s_ij / t) ) )

    >>> [f"{one:.3f}" for one in info_nce(jnp.eye(2), jnp.eye(2), temperature=1.0)]
    ['0.313', '0.313']

    Args:
      query, document: any length; scaled to unit length here.  `n >= b`.
      temperature: divides the cosine, which is in [-1, 1]; no unit, > 0.  It may be learnt.
      ignore: True where document `j` also answers query `i`, so is no negative.
      targets: how much of query `i`'s answer document `j` is; each row sums to one.  By default all is its own.  The
        loss is the cross-entropy; no gradient goes to the targets.
      margin: by how much the own document must be closer, in units of the cosine.
      similarity: from queries and documents to scores `[b, m]`, larger is closer.
    Returns: one loss per query, for the caller to weigh; 0 is perfect, `log(n)` is a constant encoder.
    Raises: ValueError when there are fewer documents than queries.
    Source: van den Oord et al. 2018, arXiv:1807.03748, eq. 4; the margin: Yang et al. 2019, arXiv:1902.08564, eq. 5.
    """
    paired("info_nce", query, document)
    above_zero("info_nce", temperature=temperature)
    scores = similarity(query, document)
    if margin:
        scores = jnp.where(diagonal(scores), scores - margin, scores)
    logits = scores / temperature
    everything = logits if ignore is None else masked(logits, ignore)
    if targets is None:
        return jax.nn.logsumexp(everything, axis=-1) - own(logits)
    one_a_score("info_nce", logits, targets=targets)
    share = jax.lax.stop_gradient(targets).astype(logits.dtype)
    if ignore is not None:  # what answers in part stays in the sum
        everything = jnp.where(share > 0, logits, everything)
    return jnp.sum(share * (jax.nn.logsumexp(everything, axis=-1)[:, None] - logits), axis=-1)

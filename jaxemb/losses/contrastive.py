"""Losses that tell a query's own document from others."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxemb.similarity import cosine


def own(matrix: Float[Array, "b n"]) -> Float[Array, " b"]:
    """The diagonal: row `i` of `[b, n]` at column `i`.

    A sum over a mask and not `jnp.diagonal`, whose gather has no sharding when mesh axes are Explicit.
    """
    b, n = matrix.shape
    return jnp.sum(jnp.where(jnp.eye(b, n, dtype=bool), matrix, jnp.zeros((), matrix.dtype)), axis=-1)


def check(name: str, query: Array, document: Array, temperature: float) -> None:
    """Raise ValueError unless there is a document for every query, of its size, and a temperature above 0."""
    if document.shape[0] < query.shape[0]:
        raise ValueError(
            f"{name}: {query.shape[0]} rows need {query.shape[0]} on the other side or more, got {document.shape[0]}; "
            "row i belongs to row i, negatives come after"
        )
    if document.shape[1] != query.shape[1]:
        raise ValueError(f"{name}: {query.shape[1]} dimensions on one side, {document.shape[1]} on the other")
    if isinstance(temperature, (int, float)) and not temperature > 0:
        raise ValueError(f"{name}: temperature must be above 0, got {temperature}")


def info_nce(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    temperature: float = 0.05,
    ignore: Bool[Array, "b n"] | None = None,
) -> Float[Array, " b"]:
    """Surprise, in nats, of picking each query's own document out of all `n`.

    Document `i` answers query `i`; any later rows are hard negatives.  With `s` the cosine:

        loss_i = -log( exp(s_ii / t) / sum_j exp(s_ij / t) )

    >>> [f"{one:.3f}" for one in info_nce(jnp.eye(2), jnp.eye(2), temperature=1.0)]
    ['0.313', '0.313']

    Args:
      query, document: any length; scaled to unit length here.  `n >= b`.
      temperature: divides the cosine, which is in [-1, 1]; no unit, > 0.
      ignore: True where document `j` also answers query `i`, so is no negative.
    Returns: one loss per query, for the caller to weigh; 0 is perfect, `log(n)` is a constant encoder.
    Raises: ValueError when there are fewer documents than queries.
    Source: van den Oord et al. 2018, arXiv:1807.03748, eq. 4.
    """
    check("info_nce", query, document, temperature)
    logits = cosine(query, document) / temperature
    if ignore is not None:
        if ignore.shape != logits.shape:
            raise ValueError(f"info_nce: ignore must be {logits.shape}, got {ignore.shape}")
        mine = jnp.eye(logits.shape[0], logits.shape[1], dtype=bool)  # a query's own document always stays in the sum
        logits = jnp.where(ignore & ~mine, -jnp.inf, logits)
    return jax.nn.logsumexp(logits, axis=-1) - own(logits)

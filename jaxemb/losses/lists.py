"""The documents that are one query's alone: its own, and its negatives."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.losses.checks import same_size


def own_lists(
    name: str, query: Float[Array, "b d"], document: Float[Array, "n d"], negatives: int
) -> Float[Array, "k b d"]:
    """Each query's own document, then its negatives: `[1 + negatives, b, d]`.

    Documents come in blocks: all own ones, all first negatives, all second ones.  A block may be longer than the
    queries, whose losses then are some of its rows', the first ones.
    Raises: ValueError when there is no negative, or documents are not so many blocks.
    """
    if negatives < 1:
        raise ValueError(f"{name}: wanted one negative a query or more, got {negatives}")
    rows, left = divmod(document.shape[0], 1 + negatives)
    if left or rows < query.shape[0]:
        raise ValueError(
            f"{name}: {query.shape[0]} queries with {negatives} negatives each need "
            f"{query.shape[0] * (1 + negatives)} documents, got {document.shape[0]}"
        )
    same_size(name, query, document)
    starts = range(0, document.shape[0], rows)
    return jnp.stack([document[start : start + query.shape[0]] for start in starts])

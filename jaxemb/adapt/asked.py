"""Queries and the rows that answer them, as finished vectors: what adapters learn from and are judged by."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

AT_ONCE = 1000  # queries that are compared with all documents at a time


class Asked(NamedTuple):
    """Queries, and which rows of the documents answer them.

    query: of length one.
    relevant: rows of the documents, filled up with -1; each query has one or more.
    """

    query: Float[np.ndarray, "q d"]
    relevant: Int[np.ndarray, "q r"]


def nearest(
    query: Float[Array | np.ndarray, "q d"],
    document: Float[Array | np.ndarray, "n e"],
    k: int,
    *,
    without: Int[np.ndarray, "q r"] | None = None,
) -> Int[np.ndarray, "q k"]:
    """Rows of the documents with the largest inner products, best first; some queries at a time.

    >>> print(nearest(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), 1, without=np.array([[0], [-1]])))
    [[1]
     [1]]

    Args:
      k: as many as there are, if that is less.
      without: rows that each query may not find, as those that answer it when negatives are wanted; filled with -1.
    """
    items, found = jnp.asarray(document), []
    for start in range(0, len(query), AT_ONCE):
        dropped = None if without is None else jnp.asarray(without[start : start + AT_ONCE])
        some = jnp.asarray(query[start : start + AT_ONCE])
        found.append(np.asarray(_nearest(some, items, dropped, k=min(k, len(items)))))
    return np.concatenate(found) if found else np.zeros((0, min(k, len(items))), np.int32)


@partial(jax.jit, static_argnames="k")
def _nearest(query: Array, items: Array, without: Array | None, *, k: int) -> Array:
    scores = query @ items.T
    if without is not None:
        # What fills lists up is put outside and dropped, for row -1 would be the last document.
        rows = jnp.where(without < 0, len(items), without)
        scores = scores.at[jnp.arange(len(query))[:, None], rows].set(-jnp.inf, mode="drop")
    return lax.top_k(scores, k)[1]


def check_corpus(what: str, corpus: Float[np.ndarray, "n d"]) -> None:
    """Raises: ValueError for less than two items, one that has not length one, or two that are the same."""
    if len(corpus) < 2:
        raise ValueError(f"{what}: wanted a corpus of two items or more, got {len(corpus)}")
    _check_lengths(what, "corpus", corpus, corpus.shape[1])
    if alike := len(corpus) - len(np.unique(corpus, axis=0)):
        raise ValueError(
            f"{what}: {alike} items of the corpus are the same as another: each would be the other's false negative; "
            "keep one of them"
        )


def check_asked(what: str, name: str, asked: Asked, corpus: Float[np.ndarray, "n d"], *, negatives: int) -> None:
    """Raises: ValueError for queries that have not length one, or are none; for relevant items that are not one line a
    query, are none, or are outside the corpus; and where they leave less than so many negatives."""
    if not len(asked.query) or len(asked.relevant) != len(asked.query):
        raise ValueError(
            f"{what}: {name}: wanted one line of relevant items for each query, one or more, got "
            f"{len(asked.relevant)} for {len(asked.query)}"
        )
    _check_lengths(what, f"queries of {name}", asked.query, corpus.shape[1])
    outside = asked.relevant[(asked.relevant >= len(corpus)) | (asked.relevant < -1)]
    if outside.size:
        raise ValueError(f"{what}: {name}: wanted rows of a corpus of {len(corpus)}, got {np.unique(outside)[:5]}")
    own = (asked.relevant >= 0).sum(axis=1)
    if (own == 0).any():
        raise ValueError(f"{what}: {name}: query {int(own.argmin())} has no relevant item")
    if (own + negatives > len(corpus)).any():
        raise ValueError(
            f"{what}: {name}: query {int(own.argmax())} has {own.max()} relevant items of {len(corpus)}, which leaves "
            f"less than {negatives} negatives"
        )


def _check_lengths(what: str, name: str, rows: Float[np.ndarray, "n d"], size: int) -> None:
    if rows.ndim != 2 or rows.shape[1] != size:
        raise ValueError(f"{what}: {name}: wanted vectors [n, {size}], got {list(rows.shape)}")
    off = ~(np.abs((rows.astype(np.float64) ** 2).sum(axis=1) - 1) < 1e-3)
    if off.any():
        raise ValueError(
            f"{what}: {name}: {int(off.sum())} of {len(rows)} vectors have not length one, the first is "
            f"{int(off.argmax())}"
        )

"""Indexes of several model versions, searched as one: each with the query as its own version would have it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64

from jaxemb.index import interface
from jaxemb.index.interface import Index

Bring = Callable[[Float[np.ndarray, "b d"]], Float[np.ndarray, "b e"]]
"""A new model's queries to the space of an index; of length one, so that scores of several indexes compare."""


@dataclass(frozen=True)
class Part:
    """An index of one version.

    bring: what queries go through before it is searched; None for the version that the queries are of.
    """

    index: Index
    bring: Bring | None = None


class Found(NamedTuple):
    """The nearest rows of all parts, best first.

    parts: `[b, k]`, which of the parts, by their order.
    rows: int64 `[b, k]`, the row in it; -1 where approximate indexes looked at fewer than `k` rows.
    scores: float32 `[b, k]`; -inf where the row is -1.
    """

    parts: Int64[np.ndarray, "b k"]
    rows: Int64[np.ndarray, "b k"]
    scores: Float32[np.ndarray, "b k"]


def search(parts: Mapping[str, Part], query: Float[np.ndarray, "b d"], k: int) -> Found:
    """The `k` nearest of all parts, by score; of equal ones the part that was named first.

    Scores of two models' spaces are not of one scale: a model whose cosines are higher is found more often.  Queries of
    length one in each space are the least that makes them comparable; measure it on judged queries before relying on
    it.

    Raises: ValueError for no part, `k` below 1 or above all parts' rows together, and what an index or `bring` raises.
    """
    if not parts:
        raise ValueError("search: wanted an index of one version or more, got none")
    depth = interface.depth(k, sum(part.index.size for part in parts.values()))
    found = []
    for place, part in enumerate(parts.values()):
        own = query if part.bring is None else np.asarray(part.bring(query), np.float32)
        hits = part.index.search(own, min(depth, part.index.size))
        found.append((np.full(hits.rows.shape, place, np.int64), hits.rows, hits.scores))
    which, rows, scores = (np.concatenate(columns, axis=1) for columns in zip(*found, strict=True))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    return Found(*(np.take_along_axis(column, order, axis=1) for column in (which, rows, scores)))

"""Reranking: does the similarity put a query's relevant candidates first?"""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxemb.evaluate.checks import finite_vectors, rows_of
from jaxemb.evaluate.metrics import Metric, Ranking, average_precision, mrr
from jaxemb.evaluate.pairwise import Pairwise, cosines

RERANKING: Mapping[str, Metric] = MappingProxyType(
    {"map": partial(average_precision, k=1000), "mrr": partial(mrr, k=1000)}
)
"""What reranking reports, as expected values over ties; MTEB's main score is the first."""


class Reranking(NamedTuple):
    """One value a query.

    values: metric name -> one value a query; their means are MAP and MRR.
    without_relevant: how many queries have no relevant candidate; each counts with 0, as in trec_eval.
    """

    values: dict[str, Float[np.ndarray, " q"]]
    without_relevant: int


def reranking(
    query: Float[np.ndarray, "q d"],
    document: Float[np.ndarray, "n d"],
    candidates: Sequence[Int[np.ndarray, " _"]],
    grades: Sequence[Int[np.ndarray, " _"]],
    *,
    similarity: Pairwise = cosines,
    metrics: Mapping[str, Metric] = RERANKING,
) -> Reranking:
    """Order each query's candidates.

    >>> query, document = np.array([[1.0, 0.0]]), np.array([[1.0, 0.2], [1.0, 0.1]])
    >>> found = reranking(query, document, [np.array([0, 1])], [np.array([1, 0])])
    >>> {name: value.tolist() for name, value in found.values.items()}
    {'map': [0.5], 'mrr': [0.5]}

    Args:
      candidates: rows of `document`, a list of any length a query.
      grades: of the candidates; 1 or more is relevant.
    Raises: ValueError for vectors that are not finite, lists of another number or length, a row outside or twice in a
      list, a query without candidates, or when no query has a relevant one.
    Source: Muennighoff et al. 2023, "MTEB", arXiv:2210.07316.
    """
    finite_vectors("reranking", query=query, document=document)
    if not len(query) == len(candidates) == len(grades):
        lengths = len(query), len(candidates), len(grades)
        raise ValueError(
            "reranking: wanted candidates and grades for each of {} queries, got {} and {}".format(*lengths)
        )
    for place, (rows, judged) in enumerate(zip(candidates, grades, strict=True)):
        rows_of("reranking", f"candidates of query {place}", rows, len(document))
        if rows.size == 0 or rows.size != judged.size or np.unique(rows).size != rows.size:
            raise ValueError(
                f"reranking: wanted distinct candidates and a grade for each, got {rows.size} "
                f"({np.unique(rows).size} distinct) and {judged.size} grades for query {place}"
            )
    without = sum(not (judged >= 1).any() for judged in grades)
    if without == len(query):
        raise ValueError(f"reranking: not one of the {len(query)} queries has a relevant candidate (grade 1 or more)")
    lists = [
        Ranking(similarity(np.broadcast_to(one, document[rows].shape), document[rows]), judged, judged, rows)
        for one, rows, judged in zip(query, candidates, grades, strict=True)
    ]
    values = {name: np.array([metric(one) for one in lists], np.float64) for name, metric in metrics.items()}
    return Reranking(values, without)

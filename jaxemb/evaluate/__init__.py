"""Search results and judgements to metrics, and metrics to what may be said about them.

`metrics` scores one ranked list, ties and all; `retrieval` a whole run;
`fidelity` compares a search with the exact one, `sts` similarities of vectors
with people's; `bootstrap` and `ranks` say how far the queries at hand decide
between systems; `trec` reads and writes runs and judgements.
"""

from jaxemb.evaluate.bootstrap import Interval, interval, intervals, paired_difference, quantile
from jaxemb.evaluate.fidelity import Neighbours, fidelity, neighbours
from jaxemb.evaluate.metrics import (
    Metric,
    Ranking,
    as_trec_eval,
    exponential,
    linear,
    mrr,
    ndcg,
    recall,
    tied,
)
from jaxemb.evaluate.ranks import Ranks, ranks
from jaxemb.evaluate.retrieval import METRICS, Judged, Judgements, Retrieval, Run, as_run, retrieval
from jaxemb.evaluate.sts import Correlation, Pairwise, cosines, pearson, spearman, sts
from jaxemb.evaluate.trec import read_judgements, read_run, write_judgements, write_run

__all__ = [
    "METRICS",
    "Correlation",
    "Interval",
    "Judged",
    "Judgements",
    "Metric",
    "Neighbours",
    "Pairwise",
    "Ranking",
    "Ranks",
    "Retrieval",
    "Run",
    "as_run",
    "as_trec_eval",
    "cosines",
    "exponential",
    "fidelity",
    "interval",
    "intervals",
    "linear",
    "mrr",
    "ndcg",
    "neighbours",
    "paired_difference",
    "pearson",
    "quantile",
    "ranks",
    "read_judgements",
    "read_run",
    "recall",
    "retrieval",
    "spearman",
    "sts",
    "tied",
    "write_judgements",
    "write_run",
]

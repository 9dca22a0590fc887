"""Search results and judgements to metrics, and metrics to what may be said about them.

`metrics` scores one ranked list, ties and all; `retrieval` a whole run;
`fidelity` compares a search with the exact one, `sts` similarities of vectors
with people's; `bootstrap` and `ranks` say how far the queries at hand decide
between systems; `trec` reads and writes runs and judgements.

Protocols over finished vectors, by the definitions of MTEB where it has them:
`likeness` (graded words, sentences, documents), `analogy`, `reverse_dictionary`,
`classification`, `clustering`, `pair_classification`, `bitext`, `reranking`.
`resampled` has intervals for what is no mean.
"""

from jaxemb.evaluate.analogy import Analogy, analogy, three_cos_add, three_cos_mul
from jaxemb.evaluate.bitext import Bitext, bitext
from jaxemb.evaluate.bootstrap import Interval, interval, intervals, paired_difference, quantile
from jaxemb.evaluate.classification import Classification, Probe, classification, logistic
from jaxemb.evaluate.clustering import Clustering, clustering, minibatch_kmeans, v_measure
from jaxemb.evaluate.fidelity import Neighbours, fidelity, neighbours
from jaxemb.evaluate.isotropy import Isotropy, isotropy
from jaxemb.evaluate.likeness import Likeness, likeness
from jaxemb.evaluate.metrics import (
    Metric,
    Ranking,
    as_trec_eval,
    average_precision,
    exponential,
    linear,
    mrr,
    ndcg,
    recall,
    tied,
)
from jaxemb.evaluate.pair_classification import PairClassification, pair_classification
from jaxemb.evaluate.pairwise import PAIRWISE, Pairwise, cosines, dots, euclideans, manhattans
from jaxemb.evaluate.ranks import Ranks, ranks
from jaxemb.evaluate.reranking import RERANKING, Reranking, reranking
from jaxemb.evaluate.resampled import resampled_interval
from jaxemb.evaluate.retrieval import METRICS, Judged, Judgements, Retrieval, Run, as_run, retrieval
from jaxemb.evaluate.reverse_dictionary import ReverseDictionary, reverse_dictionary
from jaxemb.evaluate.roc import roc_auc
from jaxemb.evaluate.rows import row_ndcg
from jaxemb.evaluate.sts import Correlation, pearson, spearman, sts
from jaxemb.evaluate.trec import read_judgements, read_run, write_judgements, write_run

__all__ = [
    "METRICS",
    "PAIRWISE",
    "RERANKING",
    "Analogy",
    "Bitext",
    "Classification",
    "Clustering",
    "Correlation",
    "Interval",
    "Isotropy",
    "Judged",
    "Judgements",
    "Likeness",
    "Metric",
    "Neighbours",
    "PairClassification",
    "Pairwise",
    "Probe",
    "Ranking",
    "Ranks",
    "Reranking",
    "Retrieval",
    "ReverseDictionary",
    "Run",
    "analogy",
    "as_run",
    "as_trec_eval",
    "average_precision",
    "bitext",
    "classification",
    "clustering",
    "cosines",
    "dots",
    "euclideans",
    "exponential",
    "fidelity",
    "interval",
    "intervals",
    "isotropy",
    "likeness",
    "linear",
    "logistic",
    "manhattans",
    "minibatch_kmeans",
    "mrr",
    "ndcg",
    "neighbours",
    "pair_classification",
    "paired_difference",
    "pearson",
    "quantile",
    "ranks",
    "read_judgements",
    "read_run",
    "recall",
    "reranking",
    "resampled_interval",
    "retrieval",
    "reverse_dictionary",
    "roc_auc",
    "row_ndcg",
    "spearman",
    "sts",
    "three_cos_add",
    "three_cos_mul",
    "tied",
    "v_measure",
    "write_judgements",
    "write_run",
]

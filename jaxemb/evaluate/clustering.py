"""Clustering: do the clusters of k-means follow the labels?"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxemb import extras
from jaxemb.evaluate.checks import finite_vectors, same_length

Clusters = Callable[..., Int[np.ndarray, " n"]]
"""Vectors, with `count`, `batch_size` and `seed` by keyword, to the cluster of each."""


class Clustering(NamedTuple):
    """How far clusters and labels agree.

    v_measure: mean of `values`; MTEB's main score.
    values: one a level of labels and experiment.
    """

    v_measure: float
    values: Float[np.ndarray, "l e"]


def v_measure(true: Shaped[np.ndarray, " n"], found: Shaped[np.ndarray, " n"]) -> float:
    """Harmonic mean of homogeneity (a cluster has one label) and completeness (a label is in one cluster).

        homogeneity = 1 - H(label | cluster) / H(label),   completeness = 1 - H(cluster | label) / H(cluster)

    >>> round(v_measure(np.array([0, 0, 1, 1]), np.array([5, 5, 5, 6])), 4), v_measure(np.eye(2)[0], np.eye(2)[1])
    (0.3437, 1.0)

    Returns: in [0, 1]; names of labels and clusters do not matter, and a side without variation is homogeneous or
      complete.
    Source: Rosenberg & Hirschberg 2007, "V-measure".
    """
    one, other = (np.unique(side, return_inverse=True)[1] for side in (true, found))
    joint = np.unique(one * (other.max() + 1) + other, return_counts=True)[1]
    both, label, cluster = (_entropy(counts) for counts in (joint, np.bincount(one), np.bincount(other)))
    shared = max(0.0, label + cluster - both)
    homogeneity = shared / label if label > 0 else 1.0
    completeness = shared / cluster if cluster > 0 else 1.0
    total = homogeneity + completeness
    return 2 * homogeneity * completeness / total if total > 0 else 0.0


def _entropy(counts: Int[np.ndarray, " c"]) -> float:
    share = counts / counts.sum()
    return max(0.0, float(-(share * np.log(share)).sum()))


def minibatch_kmeans(
    vectors: Float[np.ndarray, "n d"], *, count: int, batch_size: int, seed: int
) -> Int[np.ndarray, " n"]:
    """MTEB's clusters: scikit-learn's mini-batch k-means, begun once by k-means++.

    Raises: ImportError without scikit-learn (`jaxemb[evaluate]`).
    """
    cluster = extras.load("sklearn.cluster")
    means = cluster.MiniBatchKMeans(
        n_clusters=count, batch_size=batch_size, init="k-means++", n_init=1, random_state=seed
    )
    return means.fit_predict(vectors)


def clustering(
    vectors: Float[np.ndarray, "n d"],
    labels: Shaped[np.ndarray, "n *l"],
    *,
    limit: int | None = None,
    experiments: int = 10,
    size: int = 16_384,
    batch_size: int = 512,
    seed: int = 42,
    clusters: Clusters = minibatch_kmeans,
) -> Clustering:
    """Cluster samples of the texts into as many clusters as there are labels, at each level of the labels.

    >>> def by_sign(vectors, *, count, batch_size, seed):
    ...     return (vectors[:, 0] > 0).astype(int)
    >>> clustering(np.array([[1.0], [2.0], [-1.0]]), np.array(["a", "a", "b"]), size=9, clusters=by_sign).v_measure
    1.0

    Args:
      labels: one a text; or one a text and level, the coarsest first, in whole numbers with -1 for none.
      limit: take so many of the texts, drawn at random first: MTEB takes 4 % of a set unless the task says otherwise.
      size: texts an experiment, drawn with replacement.
      clusters: `minibatch_kmeans` needs scikit-learn (`jaxemb[evaluate]`).
    Raises: ValueError for no text, vectors that are not finite, as many labels as not, a limit above the texts, a level
      of one label only, more labels than a sample has texts, or counts below 1.
    Source: Enevoldsen et al. 2025, "MMTEB", arXiv:2502.13595; Muennighoff et al. 2023, arXiv:2210.07316.
    """
    same_length("clustering", vectors=vectors, labels=labels)
    finite_vectors("clustering", text=vectors)
    if min(experiments, size, batch_size) < 1:
        raise ValueError(
            f"clustering: wanted 1 or more, got experiments {experiments}, size {size}, batch_size {batch_size}"
        )
    chance = Random(seed)
    if limit is not None:
        if not 1 <= limit <= len(vectors):
            raise ValueError(f"clustering: limit must be from 1 to the {len(vectors)} texts, got {limit}")
        rows = np.array(chance.sample(range(len(vectors)), k=limit))
        vectors, labels = vectors[rows], labels[rows]
    values = []
    for level, of in enumerate(labels.reshape(len(labels), -1).T):
        known = np.ones(of.size, bool) if of.dtype.kind in "US" else of != -1
        names, some = of[known], vectors[known]
        count = np.unique(names).size
        if not 2 <= count <= size:
            raise ValueError(
                f"clustering: wanted 2 to {size} labels, as many as a sample has texts, got {count} at level {level}"
            )
        for _ in range(experiments):
            drawn = np.array(chance.choices(range(names.size), k=size))
            found = clusters(some[drawn], count=count, batch_size=batch_size, seed=seed)
            values.append(v_measure(names[drawn], found))
    return Clustering(float(np.mean(values)), np.array(values).reshape(-1, experiments))

"""How evenly vectors fill their space."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxemb.evaluate.checks import finite_vectors


class Isotropy(NamedTuple):
    """Two measures, of angles and of lengths as well.

    mean_cosine: of all pairs of two different vectors; 0 where they point everywhere alike, 1 where all point one way.
    partition: in (0, 1]; 1 where a sum of exponentials is the same whichever principal direction it is taken along.
    """

    mean_cosine: float
    partition: float


def isotropy(vectors: Float[np.ndarray, "n d"]) -> Isotropy:
    """Measure a set of vectors, in float64.

        Z(a) = sum_i exp(a . x_i)        partition = min_a Z(a) / max_a Z(a)

    over the eigenvectors `a` of `X^T X`, each in both of its directions, since an eigenvector has no sign.

    >>> even = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> print(round(isotropy(even).mean_cosine, 3), isotropy(even).partition)
    -0.333 1.0

    Raises: ValueError for fewer than two vectors, or one that is zero or not finite.
    Source: Mu & Viswanath 2018, arXiv:1702.01417, eq. 4 (after Arora et al. 2016).
    """
    n = len(vectors)
    if n < 2:
        raise ValueError(f"isotropy: wanted two vectors or more, got {n}")
    finite_vectors("isotropy", vector=vectors)
    rows = vectors.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    if not lengths.all():
        raise ValueError(f"isotropy: vector {int(lengths.argmin())} is zero, and has no direction")
    whole = np.linalg.norm((rows / lengths[:, None]).sum(axis=0)) ** 2
    _, directions = np.linalg.eigh(rows.T @ rows)
    along = rows @ directions
    both = np.concatenate([along, -along], axis=1)
    largest = both.max(axis=0)
    logs = largest + np.log(np.exp(both - largest[None, :]).sum(axis=0))
    return Isotropy(float((whole - n) / (n * (n - 1))), float(np.exp(logs.min() - logs.max())))

"""Latent semantic analysis: vectors of texts that need no trained model, as calibration runs of papers' cards use."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.sparse import linalg

from jaxemb.data.tokenize import Tokenizer
from jaxemb.data.words import word_tokenizer

WORDS = 30_000


class Latent(NamedTuple):
    """Words' weights in the leading directions of the texts they were learnt from.

    rarity: of every word, the logarithm of texts by texts with it.
    directions: of the words, by columns.
    """

    tokenizer: Tokenizer
    rarity: Float[np.ndarray, " v"]
    directions: Float[np.ndarray, "v d"]


def latent(texts: Sequence[str], size: int) -> Latent:
    """The leading right singular vectors of the texts' words, each count by its logarithm and by the word's rarity.

    Source: Deerwester et al. 1990, "Indexing by latent semantic analysis".
    """
    tokenizer = word_tokenizer(texts, WORDS)
    counts = _counts(tokenizer, texts)
    with_it = np.bincount(counts.indices, minlength=counts.shape[1])
    rarity = np.log(len(texts) / np.maximum(with_it, 1)).astype(np.float32)
    *_, right = linalg.svds(_weighed(counts, rarity), k=size, random_state=np.random.default_rng(0))
    return Latent(tokenizer, rarity, np.ascontiguousarray(right[::-1].T, np.float32))


def vectors(made: Latent, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """Texts as vectors of length one."""
    rows = np.asarray(_weighed(_counts(made.tokenizer, texts), made.rarity) @ made.directions, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _counts(tokenizer: Tokenizer, texts: Sequence[str]) -> sparse.csr_matrix:
    rows = tokenizer.ids(texts).rows
    ends = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    found = sparse.csr_matrix((np.ones(ends[-1], np.float32), np.concatenate(rows), ends), (len(rows), tokenizer.size))
    found.sum_duplicates()
    return found


def _weighed(counts: sparse.csr_matrix, rarity: Float[np.ndarray, " v"]) -> sparse.csr_matrix:
    weighed = counts.copy()
    weighed.data = (1 + np.log(weighed.data)) * rarity[weighed.indices]
    lengths = np.maximum(linalg.norm(weighed, axis=1), 1e-12).astype(np.float32)
    return sparse.csr_matrix(sparse.diags(1 / lengths) @ weighed)

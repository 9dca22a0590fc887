"""Latent semantic analysis: vectors of texts that need no trained model, as calibration runs of papers' cards use."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.sparse import linalg

from jaxemb.data.bags import bags, rarity, unit
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
    counts = bags(texts, tokenizer)
    rare = rarity(counts).astype(np.float32)
    *_, right = linalg.svds(_weighed(counts, rare), k=size, random_state=np.random.default_rng(0))
    return Latent(tokenizer, rare, np.ascontiguousarray(right[::-1].T, np.float32))


def vectors(made: Latent, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """Texts as vectors of length one."""
    rows = np.asarray(_weighed(bags(texts, made.tokenizer), made.rarity) @ made.directions, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _weighed(counts: sparse.csr_array, rarity: Float[np.ndarray, " v"]) -> sparse.csr_array:
    weighed = counts.astype(np.float32)
    weighed.data = (1 + np.log(weighed.data)) * rarity[weighed.indices]
    return unit(weighed)

"""Texts as bags of tokens: sparse rows of counts, and how rare each token is."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import sparse

from jaxemb.data.tokenize import Tokenizer


def bags(texts: Sequence[str], tokenizer: Tokenizer) -> sparse.csr_array:
    """How often each token stands in each text, `[n, v]`."""
    rows = tokenizer.ids(texts).rows
    ends = np.cumsum([0, *(len(row) for row in rows)])
    ids = np.concatenate([np.empty(0, np.int32), *rows])
    found = sparse.csr_array((np.ones(len(ids)), ids, ends), shape=(len(rows), tokenizer.size))
    found.sum_duplicates()
    return found


def holders(counts: sparse.csr_array) -> Float[np.ndarray, " v"]:
    """In how many texts each token stands."""
    return np.bincount(counts.indices, minlength=counts.shape[1]).astype(np.float64)


def rarity(counts: sparse.csr_array) -> Float[np.ndarray, " v"]:
    """The logarithm of all texts by those with the token; 0 for one that stands in every text.

    Source: Sparck Jones 1972, "A statistical interpretation of term specificity and its application in retrieval".
    """
    return np.log(counts.shape[0] / np.maximum(holders(counts), 1))


def unit(rows: sparse.csr_array) -> sparse.csr_array:
    """Rows of length one; a row of zeros stays so."""
    length = np.sqrt(rows.multiply(rows).sum(axis=1))
    scale = (1 / np.maximum(length, 1e-12)).astype(rows.dtype)
    return sparse.csr_array(sparse.diags_array(scale) @ rows)

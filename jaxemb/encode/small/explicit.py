"""Explicit semantic analysis: a text as the concepts that its words stand near to, counted and not learnt.

`pooled(words(v, c), total)` with the table of `concept_table` is the encoder; the cosine is its score.

Source: Gabrilovich & Markovitch 2007, "Computing semantic relatedness using Wikipedia-based explicit semantic
analysis".
"""

import numpy as np
from jaxtyping import Bool, Float

from jaxemb.types import Tokens


def concept_table(tokens: Tokens, known: Bool[np.ndarray, "n c"], vocab_size: int) -> Float[np.ndarray, "v c"]:
    """How near each word is to each concept, times how rare the word is, so that a text is the sum over its tokens.

    A concept is one long text: those of all that has it.  With `n_wc` how often a word stands there, `c_w` in how many
    concepts, and `r_w` in how many of the `n` texts:

        tfidf_wc = (1 + log n_wc) log(c / c_w)        table_wc = log(n / r_w) tfidf_wc / |tfidf_:c|

    Args:
      tokens: of the texts that concepts are known of; padding does not count.
      known: which concepts each text has.
    Returns: float32; zero for a word that stands in no text, in all of them, or in all concepts.
    Raises: ValueError for another number of texts than rows of `known`, no concept, or a concept without a text.
    """
    ids, mask = np.asarray(tokens.ids), np.asarray(tokens.pooled) > 0
    n, c = known.shape
    if len(ids) != n or not c:
        raise ValueError(f"concept_table: wanted a row for each of {len(ids)} texts and a concept, got {known.shape}")
    if (bare := np.flatnonzero(~known.any(axis=0))).size:
        raise ValueError(f"concept_table: {bare.size} of {c} concepts have no text, the first is {bare[0]}")
    counts = np.zeros((n, vocab_size), np.float32)
    np.add.at(counts, (np.broadcast_to(np.arange(n)[:, None], ids.shape)[mask], ids[mask]), 1)
    inside = counts.T @ known.astype(np.float32)
    spread, met = (inside > 0).sum(axis=1), (counts > 0).sum(axis=0)
    rare = np.log(c / np.maximum(spread, 1))
    near = np.where(inside > 0, 1 + np.log(np.maximum(inside, 1)), 0) * rare[:, None]
    lengths = np.linalg.norm(near, axis=0)
    scarce = np.where(met > 0, np.log(n / np.maximum(met, 1)), 0)
    return (scarce[:, None] * near / np.where(lengths > 0, lengths, 1)[None, :]).astype(np.float32)

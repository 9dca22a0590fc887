"""A search by words: documents that share rare words with a query."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from jaxemb.data.bags import bags, holders, unit
from jaxemb.data.negatives.candidates import Search
from jaxemb.data.tokenize import Tokenizer


def tfidf(documents: Sequence[str], tokenizer: Tokenizer) -> Search:
    """Cosines of bags of tokens, each token weighed by how few documents have it: `1 + log((1 + n) / (1 + n_t))`.

    It reads texts of queries, and gives -1 for what shares no token with a query.

    Raises: ValueError for no document.
    Source: Salton & Buckley 1988, with the smoothed frequency that scikit-learn has.
    """
    if not documents:
        raise ValueError("tfidf: wanted one document or more, got none")
    counts = bags(documents, tokenizer)
    weight = sparse.diags_array(1 + np.log((1 + len(documents)) / (1 + holders(counts))))
    table = unit(counts @ weight).T.tocsc()

    def search(queries: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = (unit(bags(queries, tokenizer) @ weight) @ table).toarray()
        k = min(k, scores.shape[1])
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, rows, axis=1)
        return np.where(best > 0, rows, -1), best

    return search

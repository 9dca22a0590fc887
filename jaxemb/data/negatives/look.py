"""Pairs with what a search finds for them."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt64

from jaxemb.data.negatives.candidates import Answers, Candidates, Search, candidates, hits, keys
from jaxemb.data.negatives.report import Count
from jaxemb.data.pairs import Pair


class Looked(NamedTuple):
    """A pair and its place, with what is known of it.

    positive: the score of its own document; NaN if that is not known.
    found: its candidates, in the order in which they are to be taken.
    barred: keys of all texts that may not be drawn at random for it.
    """

    row: int
    pair: Pair
    positive: float
    found: Candidates
    barred: UInt64[np.ndarray, " e"]


class Looking:
    """Finds the candidates of pairs: a hash of every text is held, and nothing else of them."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        documents: Sequence[str],
        search: Search,
        *,
        queries: Sequence[Any] | np.ndarray | None,
        judged: Sequence[Sequence[int]] | None,
        positive: Sequence[float] | np.ndarray | None,
        ranks: tuple[int, int],
    ) -> None:
        self._pairs, self._search, self._ranks = pairs, search, ranks
        self._queries, self._judged, self._positive = queries, judged, positive
        self.corpus = keys("document", documents, len(documents))
        self._asked = keys("the query of pair", (pair.query for pair in pairs), len(pairs))
        self._own = keys("the document of pair", (pair.document for pair in pairs), len(pairs))
        self._answers = Answers(self._asked, self._own)
        # Answers are found, too, and leave the ranks to others.
        answers = self._answers.most + max(map(len, judged or ()), default=0)
        self._k = min(len(documents), ranks[1] + answers)

    def __call__(self, start: int, end: int, count: Count) -> Iterator[Looked]:
        """The pairs of a block with what the search finds for them; `count` is told what was dropped."""
        some = [self._pairs[row] for row in range(start, end)]
        queries = [pair.query for pair in some] if self._queries is None else self._queries[start:end]
        found = hits(self._search(queries, self._k), len(some), len(self.corpus))
        for row, pair, rows, scores in zip(range(start, end), some, *found, strict=True):
            rows, scores = rows[rows >= 0], scores[rows >= 0]
            texts, answers = self.corpus[rows], self._answers(self._asked[row])
            if self._judged is not None:
                answers = np.concatenate([answers, self.corpus[np.asarray(self._judged[row], np.int64)]])
            left, dropped = candidates(rows, scores, texts, answers=answers, ranks=self._ranks)
            count.candidates += len(rows)
            count.dropped += dropped
            own = self._score(row, texts, scores)
            yield Looked(row, pair, own, left, np.concatenate([texts, answers]))

    def _score(self, row: int, texts: np.ndarray, scores: np.ndarray) -> float:
        """The score of a pair's own document; NaN where it is not known."""
        if self._positive is not None:
            return float(self._positive[row])
        same = np.flatnonzero(texts == self._own[row])
        return float(scores[same[0]]) if same.size else float("nan")

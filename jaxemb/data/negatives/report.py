"""What a search for negatives looked at, took and dropped."""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxemb.data.negatives.candidates import Candidates

BINS = 20


class Mined(NamedTuple):
    """What was looked at, taken, and dropped for which reason.

    pairs, written: read, and in the file.
    short: pairs that found fewer negatives than wanted, whether filled, left or dropped.
    candidates: documents that the search found: as many as `kept` and all `dropped` together.
    kept: candidates that are negatives in the file.
    filled: negatives in the file that were drawn at random.
    dropped: reason -> candidates.
    ranks: how many were kept at each rank of the search, which counts neither answers nor equal texts.
    counts, edges: how many were kept with scores in each of the ranges between edges; none where none was kept.
    """

    pairs: int
    written: int
    short: int
    candidates: int
    kept: int
    filled: int
    dropped: dict[str, int]
    ranks: Int[np.ndarray, " r"]
    counts: Int[np.ndarray, " h"]
    edges: Float[np.ndarray, " e"]


@dataclass(kw_only=True)
class Count:
    """What the report is made of."""

    ranks: np.ndarray
    written: int = 0
    short: int = 0
    candidates: int = 0
    filled: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    scores: array = field(default_factory=lambda: array("f"))  # ranges of scores are known when all are

    def take(self, chosen: Candidates, filled: list[int], *, wanted: int, drop: bool) -> bool:
        """Count what a pair got; False when the pair is dropped."""
        few = len(chosen.rows) < wanted
        self.short += few
        if few and drop:
            self.dropped["pair left out"] += len(chosen.rows)
            return False
        self.written += 1
        self.filled += len(filled)
        self.ranks[chosen.ranks] += 1
        self.scores.extend(chosen.scores.tolist())
        return True

    def report(self, pairs: int) -> Mined:
        scores = np.frombuffer(self.scores, np.float32)
        counts, edges = np.histogram(scores, BINS) if len(scores) else (np.zeros(0, np.int64), np.zeros(0))
        return Mined(
            pairs=pairs,
            written=self.written,
            short=self.short,
            candidates=self.candidates,
            kept=len(scores),
            filled=self.filled,
            dropped={reason: number for reason, number in self.dropped.most_common() if number},
            ranks=self.ranks,
            counts=counts,
            edges=edges.astype(np.float64),
        )

"""Pairs with hard negatives and what a teacher says of each: lists to learn soft labels from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxemb.data.filtering import check_negatives
from jaxemb.data.negatives import Teacher
from jaxemb.data.pairs import Pair


class Listed(NamedTuple):
    """A pair with its negatives, and a teacher's scores of the query with each of its documents, the own one first.

    scores: larger is closer; none where no teacher was asked.
    """

    pair: Pair
    scores: tuple[float, ...] = ()


def listed(pairs: Sequence[Pair], teacher: Teacher | None = None) -> list[Listed]:
    """The pairs with the teacher's scores of their documents, or with none.

    >>> of_length = lambda texts: [float(len(document)) for _, document in texts]
    >>> listed([Pair("owl", "a bird", ("a hat",))], of_length)[0].scores
    (6.0, 5.0)

    Raises: ValueError for a teacher that does not give one score a pair.
    """
    if teacher is None:
        return [Listed(pair) for pair in pairs]
    texts = [(pair.query, document) for pair in pairs for document in (pair.document, *pair.negatives)]
    scores = np.asarray(teacher(texts), np.float64)
    if scores.shape != (len(texts),):
        raise ValueError(f"teacher: wanted a score for each of {len(texts)} pairs, got {list(scores.shape)}")
    ends = np.cumsum([1 + len(pair.negatives) for pair in pairs])
    found = np.split(scores, ends[:-1])
    return [Listed(pair, tuple(own.tolist())) for pair, own in zip(pairs, found, strict=True)]


def check_listed(lists: Sequence[Listed], negatives: int, *, scored: bool) -> None:
    """Raises: ValueError that names the first list without an own document, with another number of negatives, a
    negative that is its own document or there twice, or, where they have to be `scored`, with scores that are missing,
    not one a document, or not finite."""
    check_negatives([one.pair for one in lists], negatives)
    for place, (pair, scores) in enumerate(lists):
        who = f"list {place}, {pair.query[:60]!r}"
        if not pair.document.strip():
            raise ValueError(f"{who}: it has no document of its own, got {pair.document!r}")
        if len(set(pair.negatives)) < len(pair.negatives):
            raise ValueError(f"{who}: a negative is there twice")
        if scored and len(scores) != 1 + negatives:
            raise ValueError(f"{who}: wanted a teacher's score of each of {1 + negatives} documents, got {len(scores)}")
        if scored and not np.isfinite(scores).all():
            raise ValueError(f"{who}: wanted finite scores of the teacher, got {scores}")


def of_labels(texts: Sequence[str], labels: Sequence[str], negatives: int, *, seed: int) -> list[Pair]:
    """Texts as queries, each with another text of its label, and negatives of other labels.

    Of one label each has the next text of it as its document, in an order of `seed`; a text that is alone with its
    label asks nothing and is a negative of others.

    >>> [pair] = of_labels(["a", "b", "c"], ["x", "y", "x"], 1, seed=0)[:1]
    >>> pair
    Pair(query='a', document='c', negatives=('b',))

    Raises: ValueError for another number of labels than of texts, no label with two texts, or fewer texts of other
      labels than negatives.
    """
    if len(labels) != len(texts):
        raise ValueError(f"of_labels: {len(texts)} texts need as many labels, got {len(labels)}")
    draw = np.random.default_rng(seed)
    named = np.asarray(labels)
    found: dict[int, Pair] = {}
    for label in dict.fromkeys(labels):
        own, other = draw.permutation(np.flatnonzero(named == label)), np.flatnonzero(named != label)
        if len(own) < 2:
            continue
        if len(other) < negatives:
            raise ValueError(f"of_labels: wanted {negatives} texts of other labels than {label!r}, got {len(other)}")
        for row, partner in zip(own.tolist(), np.roll(own, -1).tolist(), strict=True):
            drawn = draw.choice(other, negatives, replace=False)
            found[row] = Pair(texts[row], texts[partner], tuple(texts[each] for each in drawn))
    if not found:
        raise ValueError("of_labels: wanted a label with two texts, got none")
    return [found[row] for row in sorted(found)]

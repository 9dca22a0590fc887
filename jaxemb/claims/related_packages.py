"""Pairs of Debian packages, and how much their tags agree: half of the pairs drawn, half of texts that are near."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from scipy import sparse

from jaxemb.claims.debian_index import drawn
from jaxemb.data import debian
from jaxemb.data.bags import bags, rarity, unit
from jaxemb.data.debian import Package
from jaxemb.data.judged import Judged
from jaxemb.data.words import word_tokenizer

FEWEST_TAGS, NEAREST = 3, 20


def related(index: Path, split: str, packages: int | None, pairs: int, *, seed: int) -> list[Judged]:
    """Pairs of some packages of a split; the label is the Jaccard index of their tags, in [0, 1].

    Tags of the facet `role`, which say nothing of a subject, do not count, and packages with fewer than three others
    take no part.  No pair is there twice.

    Args:
      packages: how many of them take part; None for all.
    """
    known = [each for each in debian.packages(index, split) if len(subjects(each)) >= FEWEST_TAGS]
    some = drawn(known, packages, seed=seed)
    texts, tags = [told(each) for each in some], [subjects(each) for each in some]
    draw = np.random.default_rng(seed)
    near = _near(texts)
    found: dict[tuple[int, int], None] = {}
    while len(found) < pairs:
        first = int(draw.integers(len(some)))
        second = int(draw.choice(near[first])) if len(found) % 2 else int(draw.integers(len(some)))
        if first != second and (second, first) not in found:
            found[first, second] = None
    return [
        Judged(f"{some[one].name}|{some[other].name}", texts[one], texts[other], jaccard(tags[one], tags[other]))
        for one, other in found
    ]


def told(package: Package) -> str:
    """Its short description and the first sentence of the long one."""
    sentence, *_ = re.split(r"[.:]\s", package.long, maxsplit=1)
    return f"{package.short}. {sentence}"


def subjects(package: Package) -> frozenset[str]:
    """Its tags without those of its role."""
    return frozenset(tag for tag in package.tags if not tag.startswith("role::"))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """The share that two sets have in common.

    >>> jaccard(frozenset("abc"), frozenset("bcd"))
    0.5
    """
    return len(one & other) / len(one | other)


def _near(texts: Sequence[str]) -> Int[np.ndarray, "n k"]:
    """For every text the others that are nearest by the cosine of words' counts by their rarity."""
    counts = bags(texts, word_tokenizer(texts, 30_000))
    weighed = unit(counts @ sparse.diags_array(rarity(counts)))
    near = np.empty((len(texts), min(NEAREST, len(texts) - 1)), np.int64)
    for start in range(0, len(texts), 1000):
        scores = (weighed[start : start + 1000] @ weighed.T).toarray()
        scores[np.arange(len(scores)), start + np.arange(len(scores))] = -1.0
        near[start : start + 1000] = np.argpartition(-scores, near.shape[1], axis=1)[:, : near.shape[1]]
    return near

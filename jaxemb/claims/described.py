"""Short and long descriptions of Debian packages as token ids, for claims whose encoders begin with word vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxemb import data, model
from jaxemb.claims.debian_index import debian_in, drawn
from jaxemb.data import Pair, debian
from jaxemb.data.tokenize import Tokenizer, pad
from jaxemb.data.words import word_tokenizer
from jaxemb.types import Tokens


class Read(NamedTuple):
    """Pairs as ids: row `i` of both sides belong together."""

    pairs: Sequence[Pair]
    query: Tokens
    document: Tokens


class Described(NamedTuple):
    """What a claim trains and measures on.

    revision: of the data.
    tokenizer, table: the training texts' words, and their start vectors.
    train, validation, test: splits by source package; siblings stand together.
    """

    revision: str
    tokenizer: Tokenizer
    table: Float[np.ndarray, "v d"]
    train: Read
    validation: Read
    test: Read


def described(
    folder: Path,
    counts: tuple[int, int, int],
    *,
    words: int,
    dimensions: int,
    lengths: tuple[int, int],
    siblings: bool,
) -> Described:
    """Some pairs of each split, the same ones every time.

    Args:
      folder: where data is kept.
      counts: of training, validation and test pairs.
      words: of the vocabulary.
      lengths: tokens of a short description and of a long one that are read.
      siblings: whether packages of one source, whose descriptions answer each other nearly as well, may be drawn
        together; else the first of each source is taken.
    """
    index = debian_in(folder)
    splits = dict(zip(debian.SPLITS, counts, strict=True))
    pairs = {split: pairs_of(index, split, first, siblings) for split, first in splits.items()}
    tokenizer = word_tokenizer((text for pair in pairs["train"] for text in pair[:2]), words)
    vectors = model.word_vectors(model.load(model.demo_folder()), tokenizer, kept=folder / "words", what="word vectors")
    table = model.word_table(vectors, dimensions, tokenizer)
    made = {
        split: Read(
            found, *(read(tokenizer, texts, length) for texts, length in zip(_sides(found), lengths, strict=True))
        )
        for split, found in pairs.items()
    }
    return Described(index.name, tokenizer, table, *(made[split] for split in debian.SPLITS))


def pairs_of(index: Path, split: str, count: int, siblings: bool) -> list[Pair]:
    """Some pairs of a split; see `described`.  Raises: ValueError for more than there are sources."""
    packages = debian.packages(index, split)
    if siblings:
        return [Pair(package.short, package.long) for package in drawn(packages, count, seed=0)]
    firsts: dict[str, Pair] = {}
    for package in packages:
        firsts.setdefault(package.source, Pair(package.short, package.long))
    if len(firsts) < count:
        raise ValueError(f"{split}: wanted packages of {count} sources, got {len(firsts)}")
    return list(firsts.values())[:count]


def _sides(pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    return [pair.query for pair in pairs], [pair.document for pair in pairs]


def read(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> Tokens:
    """Ids in one shape, whatever the texts are: what is longer loses its end."""
    return pad([row[:length] for row in tokenizer.ids(texts).rows], length)


def at(tokens: Tokens, rows: Int[np.ndarray, " b"]) -> Tokens:
    """Some texts."""
    return Tokens(tokens.ids[rows], tokens.mask[rows])


def batches(query: Tokens, document: Tokens, *, batch_size: int, seed: int) -> data.Stream:
    """Endless batches of pairs, each with `query` and `document`."""

    def make(rows: Sequence[int]) -> dict[str, Tokens]:
        chosen = np.asarray(rows, np.int64)
        return {"query": at(query, chosen), "document": at(document, chosen)}

    return data.stream(range(len(query.ids)), batch_size=batch_size, seed=seed, make=make)


def ranks(
    query: Float[np.ndarray, "b d"], document: Float[np.ndarray, "n d"], own: Int[np.ndarray, " b"]
) -> Int[np.ndarray, " b"]:
    """At which place, from 1, each query finds its own document by the dot product; behind all that tie with it."""
    scores = query @ document.T
    mine = np.take_along_axis(scores, own[:, None], axis=1)
    return (scores >= mine).sum(axis=1)


def mrr(ranks: Int[np.ndarray, " b"], k: int) -> float:
    """The mean of one by the rank, 0 where the own document stands behind `k`."""
    return float(np.where(ranks <= k, 1 / ranks, 0.0).mean())

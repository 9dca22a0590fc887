"""Packages of which some share their source, so that many a query has several answers, and a teacher that sees them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxemb import data, index, model
from jaxemb.claims.claim import Where
from jaxemb.claims.debian_index import debian_in
from jaxemb.claims.described import mrr, ranks
from jaxemb.data import Pair, Remembered, debian
from jaxemb.data.debian import Package
from jaxemb.data.negatives import Search
from jaxemb.data.tokenize import Tokenizer

WORDS, SIZE, LENGTHS = 16_000, 96, (16, 48)
TRAIN, ALL, KNOWN, TASK = 3500, 5000, 20_000, "debian"
"""Packages that are trained on, all, of which the others are asked for, and further ones whose words are known."""
METRIC, ALONE, TOGETHER = "mrr@10", "mrr@10, no siblings", "mrr@10, siblings"
ANY = f"{TOGETHER}, any of them counts"


class Teacher(NamedTuple):
    """MiniLM's vectors of texts, by the texts."""

    vectors: Float[np.ndarray, "n d"]
    place: Mapping[str, int]

    def of(self, texts: Sequence[str]) -> Float[np.ndarray, "m d"]:
        """Vectors of length one."""
        return self.vectors[[self.place[text] for text in texts]]

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Float[np.ndarray, " m"]:
        """The cosine of both texts of each pair."""
        queries, documents = ([pair[side] for pair in pairs] for side in (0, 1))
        return np.einsum("nd,nd->n", self.of(queries), self.of(documents))

    def search(self, documents: Sequence[str]) -> Search:
        """The documents that are closest to texts."""
        near = index.exact.build(self.of(documents))
        return lambda texts, k: near.search(self.of(texts), k)


class Siblings(NamedTuple):
    """What the claim trains and measures on.

    words: MiniLM's vectors of the words, of which `table` has the principal components.
    pairs: the first are trained on, the others are asked for among the documents of all.
    source: which source package each is of.
    """

    revision: str
    tokenizer: Tokenizer
    words: Float[np.ndarray, "v w"]
    table: Float[np.ndarray, "v d"]
    teacher: Teacher
    pairs: Sequence[Pair]
    source: Int[np.ndarray, " n"]

    @property
    def documents(self) -> list[str]:
        """All of them."""
        return [pair.document for pair in self.pairs]


def opened(where: Where, split: str = "test") -> Siblings:
    """Packages with all of their siblings; the words of the vocabulary are those of training packages.

    Args:
      split: `validation` is what settings were chosen by.
    """
    folder = debian_in(where.data)
    known = debian.packages(folder, "train", KNOWN)
    tokenizer = data.word_tokenizer((text for each in known for text in (each.short, each.long)), WORDS)
    minilm = model.load(model.demo_folder())
    words = model.word_vectors(minilm, tokenizer, kept=where.data / "words", what="word vectors")
    some = debian.packages(folder, split, ALL)
    _, source = np.unique([each.source for each in some], return_inverse=True)
    pairs = [Pair(each.short, named(each)) for each in some]
    texts = [each.short for each in some] + [begun(each) for each in some]
    vectors = model.kept_vectors(minilm, texts, where.data / "texts", what="teacher's vectors")
    read = [pair.query for pair in pairs] + [pair.document for pair in pairs]
    return Siblings(
        folder.name,
        Remembered(tokenizer),
        words,
        model.word_table(words, SIZE, tokenizer),
        Teacher(vectors, {text: place for place, text in enumerate(read)}),
        pairs,
        source,
    )


def shuffled(read: Siblings, seed: int) -> Siblings:
    """The packages in another order, so that siblings are on both sides, and each seed asks for others."""
    order = np.random.default_rng(seed).permutation(len(read.pairs))
    return read._replace(pairs=[read.pairs[place] for place in order], source=read.source[order])


def begun(package: Package) -> str:
    """As many words of a long description as tokens are read, each of which is one token or more."""
    return " ".join(package.long.split()[: LENGTHS[1]])


def named(package: Package) -> str:
    """The same; where that is not all, with the package's name behind it, which keeps apart what begins alike, and
    which nobody reads."""
    whole = len(package.long.split()) <= LENGTHS[1]
    return begun(package) if whole else f"{begun(package)} {package.name}"


def reached(read: Siblings, query: Float[np.ndarray, "b d"], document: Float[np.ndarray, "n d"]) -> dict[str, float]:
    """How early queries find their own document: all of them, those with siblings in the corpus, and those without.

    Where siblings answer, too, it counts also how early the first of the source package comes.
    """
    own = np.arange(TRAIN, ALL)
    alike = read.source[own][:, None] == read.source[None, :]
    family = alike.sum(axis=1) > 1
    place = ranks(query, document, own)
    scores = query @ document.T
    first = (scores >= np.where(alike, scores, -np.inf).max(axis=1)[:, None]).sum(axis=1)
    return {
        METRIC: mrr(place, 10),
        TOGETHER: mrr(place[family], 10),
        ANY: mrr(first[family], 10),
        ALONE: mrr(place[~family], 10),
    }

"""Pairs of words or documents with what people said of their likeness, from the files of the package `gensim`.

They are read from the installed package's folder; it is never imported, so its dependencies are not needed.
`evaluate.sts` compares the similarities of vectors with them.
"""

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Graded(NamedTuple):
    """Pairs of texts, each text listed once, so that each is embedded once.

    texts: in the order in which they first stand in the file.
    first, second: rows of `texts`, one pair a place.
    scores: the mean of what people said; larger is more alike.
    """

    texts: list[str]
    first: Int[np.ndarray, " n"]
    second: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]


def gensim_data() -> Path:
    """The folder of gensim's test data.

    Raises: ImportError that says how to install it without its dependencies.
    """
    found = importlib.util.find_spec("gensim")
    if found is None or found.origin is None:
        raise ImportError(
            "the similarity judgements are not installed: pip install --no-deps gensim==4.4.0 (only its files are read)"
        )
    return Path(found.origin).parent / "test" / "test_data"


def wordsim353() -> Graded:
    """353 pairs of English nouns, related or alike, judged from 0 to 10.

    Source: Finkelstein et al. 2002, "Placing search in context: the concept revisited".
    """
    return read_graded(gensim_data() / "wordsim353.tsv")


def simlex999() -> Graded:
    """999 pairs of English nouns, verbs and adjectives; only likeness counts, not relatedness; from 0 to 10.

    Source: Hill et al. 2015, arXiv:1408.3456.
    """
    return read_graded(gensim_data() / "simlex999.txt")


def lee() -> Graded:
    """All 1,225 pairs of 50 short news texts, judged from 0 to 1.

    Source: Lee et al. 2005, "An empirical evaluation of models of text document similarity".
    """
    folder = gensim_data()
    texts = _lines(folder / "lee.cor", encoding="latin-1")  # it holds pound signs of one byte
    judged = _lines(folder / "similarities0-1.txt")
    scores = np.array([[float(cell) for cell in line.split("\t")] for line in judged])
    if scores.shape != (len(texts), len(texts)):
        raise ValueError(f"{folder}: wanted a judgement for each pair of {len(texts)} texts, got {scores.shape}")
    first, second = np.triu_indices(len(texts), 1)  # the lower half of the file is zeros, not judgements
    return Graded(texts, first, second, scores[first, second])


def read_graded(file: Path | str) -> Graded:
    """Read lines of two texts and a score with tabs between them; lines that begin with `#` are notes.

    Raises: FileNotFoundError; ValueError that names the line that is something else, or when there is no pair.
    """
    places: dict[str, int] = {}
    pairs: list[tuple[int, int, float]] = []
    for number, line in enumerate(_lines(Path(file)), 1):
        if line.startswith("#"):
            continue
        try:
            one, other, score = line.split("\t")
            pairs.append((places.setdefault(one, len(places)), places.setdefault(other, len(places)), float(score)))
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: wanted two texts and a score, got {line[:60]!r}") from error
    if not pairs:
        raise ValueError(f"{file}: wanted lines of two texts and a score, got none")
    first, second, scores = (np.array(column) for column in zip(*pairs, strict=True))
    return Graded(list(places), first, second, scores)


def _lines(file: Path, encoding: str = "utf-8") -> list[str]:
    return file.read_text(encoding=encoding).rstrip("\n").split("\n")

"""Pairs of sentences with what people said of their likeness, from files: a score and two texts a line.

`evaluate.likeness` compares the similarities of vectors with them.
"""

import json
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path

import numpy as np

from jaxemb.data.word_similarity import Graded

Line = tuple[str, str, float]
KEYS = ("sentence1", "sentence2", "score")


def read_scored(path: Path | str) -> Graded:
    """Read a `.tsv` file of score, text and text with tabs between them, or a `.jsonl` file of objects.

    The objects have the keys `score`, `sentence1` and `sentence2`, as MTEB's sets have; other keys are not read.  Blank
    lines are passed over.  A text that stands in many pairs is listed once.

    Raises: FileNotFoundError; ValueError for another ending, and one that names the line for other fields, an empty
      text or a score that is no finite number; or when there is no pair.
    """
    path = Path(path)
    readers: Mapping[str, Callable[[str], Line]] = {".tsv": _tabs, ".jsonl": _object}
    if path.suffix not in readers:
        raise ValueError(f"{path}: wanted scored pairs in a file ending in {' or '.join(readers)}, got {path.suffix!r}")
    places: dict[str, int] = {}
    pairs: list[tuple[int, int, float]] = []
    for number, raw in enumerate(path.read_bytes().split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            one, other, score = readers[path.suffix](raw.decode("utf-8").rstrip("\r"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: wanted a score and two texts, got {raw[:60]!r}") from error
        pairs.append((places.setdefault(one, len(places)), places.setdefault(other, len(places)), score))
    if not pairs:
        raise ValueError(f"{path}: wanted lines of a score and two texts, got none")
    first, second, scores = (np.array(column) for column in zip(*pairs, strict=True))
    return Graded(list(places), first, second, scores)


def _tabs(line: str) -> Line:
    score, one, other = line.split("\t")
    return _checked(one, other, float(score))


def _object(line: str) -> Line:
    record = json.loads(line)
    one, other, score = (record[key] for key in KEYS)
    return _checked(one, other, float(score))


def _checked(one: str, other: str, score: float) -> Line:
    if not one.strip() or not other.strip() or not isfinite(score):
        raise ValueError(f"wanted two texts that are not empty and a finite score, got {one!r}, {other!r}, {score}")
    return one, other, score

"""Definitions of a dictionary, each under the entry that it defines."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from jaxemb.data.tokenize import Tokenizer
from jaxemb.data.wordnet import Synset


class Definitions(NamedTuple):
    """Row `i` of `texts` defines `entries[entry[i]]`; an entry may have several definitions.

    entries: the words, of one token or many, each once.
    texts: the definitions.
    entry: which entry each defines.
    """

    entries: list[str]
    texts: list[str]
    entry: Int[np.ndarray, " m"]


def dictionary(pairs: Iterable[tuple[str, str]], *, strict: bool = False) -> Definitions:
    """Definitions from pairs of an entry and a text; entries are numbered as they come.

    >>> dictionary([("owl", "a bird"), ("bat", "a mammal"), ("bat", "a club")]).entry.tolist()
    [0, 1, 1]

    Args:
      strict: whether one definition under two entries, as synonyms have, is an error.
    Raises: ValueError for an empty entry or definition, fewer than two entries, and with `strict` as above.
    """
    rows: dict[str, int] = {}
    texts: list[str] = []
    entry: list[int] = []
    owner: dict[str, str] = {}
    for word, text in pairs:
        if not word.strip():
            raise ValueError(f"dictionary: the definition {text[:60]!r} has an empty entry")
        if not text.strip():
            raise ValueError(f"dictionary: the entry {word!r} has an empty definition")
        if strict and owner.setdefault(text, word) != word:
            raise ValueError(f"dictionary: {text[:60]!r} defines both {owner[text]!r} and {word!r}")
        entry.append(rows.setdefault(word, len(rows)))
        texts.append(text)
    if len(rows) < 2:
        raise ValueError(f"dictionary: wanted two entries or more, got {len(rows)}")
    return Definitions(list(rows), texts, np.array(entry, np.int32))


def of_synsets(synsets: Iterable[Synset], lemmas: int = 2) -> Definitions:
    """Each synset's definition under its first `lemmas` words, in lower case."""
    return dictionary((lemma.lower(), one.definition) for one in synsets for lemma in one.lemmas[:lemmas])


def single_words(tokenizer: Tokenizer, given: Definitions) -> Definitions:
    """Only the entries that are one known token: those that have a vector in the token table.

    Raises: ValueError when fewer than two are.
    """
    rows, unknown = _ids(tokenizer, given.entries), tokenizer.unknown
    there = {word for word, row in zip(given.entries, rows, strict=True) if _single(row, unknown)}
    pairs = ((given.entries[place], text) for text, place in zip(given.texts, given.entry, strict=True))
    return dictionary((word, text) for word, text in pairs if word in there)


def word_ids(tokenizer: Tokenizer, entries: Sequence[str]) -> Int[np.ndarray, " e"]:
    """The token that each entry is.

    Raises: ValueError that names the first entry of several tokens, or of an unknown one.
    """
    rows, unknown = _ids(tokenizer, entries), tokenizer.unknown
    for word, row in zip(entries, rows, strict=True):
        if not _single(row, unknown):
            raise ValueError(f"word_ids: wanted entries of one known token, got {word!r} of {len(row)}: {row.tolist()}")
    return np.array([row[0] for row in rows], np.int32)


def telling(given: Definitions) -> float:
    """The share of definitions that hold their own entry, word for word: kept, since papers do, but to be told."""
    told = (f" {text.lower()} " for text in given.texts)
    held = [f" {given.entries[place]} " in text for text, place in zip(told, given.entry, strict=True)]
    return float(np.mean(held))


def repeated(given: Definitions) -> float:
    """The share of definitions that define more than one entry."""
    counts = Counter(given.texts)
    return float(np.mean([counts[text] > 1 for text in given.texts]))


def _ids(tokenizer: Tokenizer, words: Sequence[str]) -> list[np.ndarray]:
    return tokenizer.limited(None, add_special=False).ids(words).rows


def _single(row: np.ndarray, unknown: int | None) -> bool:
    return len(row) == 1 and int(row[0]) != unknown

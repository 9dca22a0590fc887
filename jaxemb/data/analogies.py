"""Questions of the form `a` is to `b` as `c` is to `d`, in groups; `evaluate.analogy` asks them of vectors."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from jaxemb.data.word_similarity import gensim_data


class Analogies(NamedTuple):
    """Questions about words, each word listed once, so that each is embedded once.

    texts: in the order in which they first stand in the file.
    questions: rows of `texts`: `a`, `b`, `c` and the answer.
    groups: what each question is about.
    """

    texts: list[str]
    questions: Int[np.ndarray, "n 4"]
    groups: list[str]


def google() -> Analogies:
    """19,544 questions in 14 groups, five of facts and nine of grammar, from gensim's files.

    Source: Mikolov et al. 2013, "Efficient estimation of word representations in vector space", arXiv:1301.3781.
    """
    return read_analogies(gensim_data() / "questions-words.txt")


def read_analogies(path: Path | str) -> Analogies:
    """Read lines of four words with white space between them, under lines `: group`.

    Raises: FileNotFoundError; ValueError that names the line that has another number of words, or stands above the
      first group; or when there is no question.
    """
    places: dict[str, int] = {}
    questions: list[list[int]] = []
    groups: list[str] = []
    group = ""
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").split("\n"), 1):
        words = line.split()
        if words[:1] == [":"] and len(words) > 1:
            group = " ".join(words[1:])
        elif words:
            if len(words) != 4 or not group:
                raise ValueError(f"{path}, line {number}: wanted four words below a line ': group', got {line[:60]!r}")
            questions.append([places.setdefault(word, len(places)) for word in words])
            groups.append(group)
    if not questions:
        raise ValueError(f"{path}: wanted lines of four words, got none")
    return Analogies(list(places), np.array(questions), groups)

"""Pairs of texts with labels, and a teacher's scores of them: kept in a file, and found again by the pairs' ids."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from jaxemb import atomic
from jaxemb.data.tokenize import Tokenizer


class Judged(NamedTuple):
    """Two texts and what is known of them together.

    id: of the pair, of which no other has the same.
    first, second: the texts.
    label: a number, or the number of a class; None where nobody judged the pair.
    scores: a teacher's, one a class; none where it was not asked.
    """

    id: str
    first: str
    second: str
    label: float | None = None
    scores: tuple[float, ...] = ()


class Scores(NamedTuple):
    """A teacher's scores of pairs.

    ids: of the pairs, in the order of the rows.
    numbers: `[n, c]`, one column a class.
    """

    ids: tuple[str, ...]
    numbers: Float32[np.ndarray, "n c"]


def check_judged(pairs: Sequence[Judged], *, classes: int | None = None) -> None:
    """Raises: ValueError that names the first pair with an id of another, a label that is not finite, or, where there
    are `classes`, one that is no whole number of them, from 0."""
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise ValueError(f"pair {pair.id!r}: there are two of this id")
        seen.add(pair.id)
        if pair.label is None:
            continue
        if not np.isfinite(pair.label):
            raise ValueError(f"pair {pair.id!r}: wanted a finite label, got {pair.label}")
        if classes is not None and pair.label not in range(classes):
            raise ValueError(f"pair {pair.id!r}: wanted a class from 0 to {classes - 1} as label, got {pair.label}")


def check_tokens(pairs: Sequence[Judged], tokenizer: Tokenizer) -> None:
    """Raises: ValueError that names the first pair with a text of which the tokenizer makes no token but its own."""
    added = tokenizer.ids(["", ""]).rows[0].size
    for side in ("first", "second"):
        for pair, row in zip(pairs, tokenizer.ids([getattr(pair, side) for pair in pairs]).rows, strict=True):
            if len(row) <= added:
                raise ValueError(f"pair {pair.id!r}: no token in its {side} text, {getattr(pair, side)[:60]!r}")


def taught(pairs: Sequence[Judged], scores: Scores) -> list[Judged]:
    """The pairs with a teacher's scores, which have to be of these pairs in this order.

    >>> pair = Judged("7", "an owl", "a bird")
    >>> taught([pair], Scores(("7",), np.array([[0.5]], np.float32)))[0].scores
    (0.5,)

    Raises: ValueError for scores of other pairs, or in another order, and for one that is not finite.
    """
    _check(scores)
    if len(scores.ids) != len(pairs):
        raise ValueError(f"taught: {len(pairs)} pairs need as many scores, got {len(scores.ids)}")
    for place, (pair, scored) in enumerate(zip(pairs, scores.ids, strict=True)):
        if pair.id != scored:
            raise ValueError(f"taught: pair {place} is {pair.id!r}, the teacher's scores there are of {scored!r}")
    rows = scores.numbers.tolist()
    return [pair._replace(scores=tuple(row)) for pair, row in zip(pairs, rows, strict=True)]


def yes_minus_no(scores: Scores) -> Scores:
    """The one score of a yes, for a student with one, of a teacher with two: of no and of yes.

    Raises: ValueError for another number of scores a pair.
    """
    if scores.numbers.shape[1] != 2:
        raise ValueError(f"yes_minus_no: wanted two scores a pair, got {scores.numbers.shape[1]}")
    return Scores(scores.ids, scores.numbers[:, 1:] - scores.numbers[:, :1])


def write_scores(path: Path | str, scores: Scores) -> None:
    """Keep scores in an `.npz` file, float32, with the ids of their pairs.

    Raises: as `taught` does for scores by themselves.
    """
    _check(scores)
    with atomic.file(path) as partial, partial.open("wb") as file:
        np.savez(file, ids=np.array(scores.ids, dtype=np.str_), numbers=scores.numbers)


def read_scores(path: Path | str) -> Scores:
    """What `write_scores` kept.  Raises: ValueError for another file."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            scores = Scores(tuple(kept["ids"].tolist()), kept["numbers"])
    except (ValueError, KeyError, EOFError) as error:
        raise ValueError(f"{path}: no scores that write_scores kept ({error})") from error
    _check(scores)
    return scores


def _check(scores: Scores) -> None:
    numbers = scores.numbers
    if numbers.ndim != 2 or len(numbers) != len(scores.ids) or numbers.dtype != np.float32:
        raise ValueError(
            f"scores: wanted float32 numbers, a row for each of {len(scores.ids)} ids, "
            f"got {numbers.dtype} {list(numbers.shape)}"
        )
    if not (finite := np.isfinite(numbers).all(axis=1)).all():
        place = int(np.argmin(finite))
        raise ValueError(f"scores: pair {scores.ids[place]!r} has {numbers[place].tolist()}, wanted finite numbers")

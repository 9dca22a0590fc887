"""Named dimensions: the concepts of a model, kept beside it, and which of them make two of its texts close."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxemb import atomic, progress


class Concepts(NamedTuple):
    """What the dimensions of a model's vectors are called, and how it scores a pair.

    names: of the dimensions, in their order.
    weight: of each, 0 or more, where the score is `sum_c w_c a_c b_c + bias`; None where it is the cosine.
    bias: of that sum.
    """

    names: tuple[str, ...]
    weight: Float[np.ndarray, " c"] | None = None
    bias: float = 0.0


class Reason(NamedTuple):
    """A concept's part in the score of a pair.

    share: what it adds to the score; those of all concepts sum up to it, without its bias.
    left, right: how much the concept is in each text.
    """

    concept: str
    share: float
    left: float
    right: float


def contributions(
    concepts: Concepts, left: Float[np.ndarray, "n c"], right: Float[np.ndarray, "n c"]
) -> Float[np.ndarray, "n c"]:
    """What each concept adds to the score of each row with the row beside it, in float64.

    Raises: ValueError for vectors whose dimensions are not the concepts: fewer or more of them, as a truncation leaves,
      values below 0, as a rotation or a centring leaves, whole numbers, which are codes, or NaN.
    """
    one, other = (_checked(concepts, side, what) for side, what in ((left, "left"), (right, "right")))
    if one.shape != other.shape:
        raise ValueError(f"explain: wanted as many rows on both sides, got {one.shape} and {other.shape}")
    if concepts.weight is not None:
        return concepts.weight.astype(np.float64)[None, :] * one * other
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return one * other / np.where(lengths > 0, lengths, 1)[:, None]


def explain(
    concepts: Concepts, left: Float[np.ndarray, " c"], right: Float[np.ndarray, " c"], count: int = 5
) -> list[Reason]:
    """The concepts that made the score of a pair, those that added most first.

    >>> seen = explain(Concepts(("net", "game")), np.array([3.0, 4.0]), np.array([0.0, 2.0]), 1)
    >>> print(seen[0].concept, round(seen[0].share, 3))
    game 0.8

    Args:
      left, right: vectors of concepts, as `encode.activation` gives them; the strongest alone are as good.
      count: how many to tell; the number of concepts tells all of the score.
    Raises: as `contributions`; ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"explain: wanted one reason or more, got {count}")
    shares = contributions(concepts, left[None], right[None])[0]
    best = np.argsort(-shares, kind="stable")[:count]
    return [Reason(concepts.names[c], float(shares[c]), float(left[c]), float(right[c])) for c in best]


def _checked(concepts: Concepts, vectors: np.ndarray, what: str) -> np.ndarray:
    check_names(concepts.names)
    if vectors.shape[-1] != len(concepts.names):
        raise ValueError(
            f"explain: {what} vectors have {vectors.shape[-1]} dimensions for {len(concepts.names)} concepts; "
            "of a truncated vector give the names that are left"
        )
    if not np.issubdtype(vectors.dtype, np.floating):
        raise ValueError(f"explain: {what} vectors are {vectors.dtype} codes, whose dimensions are no concepts; decode")
    full = vectors.astype(np.float64)
    if not np.isfinite(full).all():
        raise ValueError(f"explain: {what} vectors hold NaN or infinity")
    if (full < 0).any():
        raise ValueError(
            f"explain: {what} vectors hold {full.min():g}; concepts are 0 or more, so that these were turned or centred"
        )
    return full


def check_names(names: Sequence[str]) -> None:
    """Raises: ValueError for no concept, or one named twice."""
    if not names:
        raise ValueError("concepts: wanted one or more, got none")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"concepts: named twice: {', '.join(twice[:5])}")


def used_concepts(
    names: Sequence[str], known: Bool[np.ndarray, "n c"], *, strict: bool = False
) -> tuple[list[str], Bool[np.ndarray, "n d"]]:
    """The concepts that some text has, and the columns of `known` that are theirs; the others are told and left out.

    Args:
      strict: whether a concept that no text has is an error.
    Raises: ValueError for names that are none, or not one a column, or named twice; with `strict` as above.
    """
    check_names(names)
    if known.shape[1] != len(names):
        raise ValueError(f"concepts: {len(names)} names for {known.shape[1]} columns")
    some = np.flatnonzero(known.any(axis=0))
    bare = sorted(set(names) - {names[place] for place in some.tolist()}, key=list(names).index)
    if bare:
        said = f"{len(bare)} of {len(names)} concepts have no text: {', '.join(bare[:10])}"
        if strict:
            raise ValueError(f"concepts: {said}")
        progress.say(f"left out, {said}")
    return [names[place] for place in some.tolist()], known[:, some]


def save_concepts(file: Path | str, concepts: Concepts) -> None:
    """Keep the concepts beside their model, as JSON."""
    check_names(concepts.names)
    weight = None if concepts.weight is None else [float(one) for one in concepts.weight]
    told = {"names": list(concepts.names), "weight": weight, "bias": float(concepts.bias)}
    with atomic.file(file) as partial:
        partial.write_text(json.dumps(told, ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")


def load_concepts(file: Path | str, size: int) -> Concepts:
    """The concepts of a model whose vectors have `size` dimensions.

    Raises: FileNotFoundError; ValueError for a file that is none, or for concepts of a larger or smaller model.
    """
    try:
        told = json.loads(Path(file).read_text(encoding="utf-8"))
        names, weight, bias = tuple(told["names"]), told["weight"], float(told["bias"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: no file of concepts ({error})") from error
    check_names(names)
    weight = None if weight is None else np.asarray(weight, np.float32)
    if len(names) != size or (weight is not None and weight.shape != (size,)):
        raise ValueError(f"{file}: {len(names)} concepts for a model of {size} dimensions; these are another model's")
    return Concepts(names, weight, bias)

"""What a loss may be given: one place for the errors, so that all of them read alike.

Shapes are checked always; values only on arrays that hold some, for inside `jax.jit` there are none to look at.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array


def paired(name: str, query: Array, document: Array) -> None:
    """Raise ValueError unless there is a document for every query, of its size."""
    if document.shape[0] < query.shape[0]:
        raise ValueError(
            f"{name}: {query.shape[0]} rows need {query.shape[0]} on the other side or more, got {document.shape[0]}; "
            "row i belongs to row i, negatives come after"
        )
    same_size(name, query, document)


def same_size(name: str, query: Array, document: Array) -> None:
    """Raise ValueError unless vectors have as many dimensions on both sides."""
    if document.shape[1] != query.shape[1]:
        raise ValueError(f"{name}: {query.shape[1]} dimensions on one side, {document.shape[1]} on the other")


def above_zero(name: str, **values: float | Array) -> None:
    """Raise ValueError that names the first number that is not above 0, where there is one to look at."""
    for what, value in values.items():
        if _seen(value) and np.ndim(value) == 0 and not np.asarray(value) > 0:
            raise ValueError(f"{name}: {what} must be above 0, got {value}")


def one_a_row(name: str, rows: int, **arrays: Array) -> None:
    """Raise ValueError that names the first array that has not exactly one value a row."""
    for what, array in arrays.items():
        if array.shape != (rows,):
            raise ValueError(f"{name}: {what} must be {(rows,)}, one a row, got {array.shape}")


def one_a_score(name: str, scores: Array, **arrays: Array) -> None:
    """Raise ValueError that names the first array that has not exactly one value a score."""
    for what, array in arrays.items():
        if array.shape != scores.shape:
            raise ValueError(f"{name}: {what} must be {scores.shape}, got {array.shape}")


def all_values(name: str, what: str, array: Array, wanted: str, holds: Callable[[np.ndarray], Any]) -> None:
    """Raise ValueError that shows the first value that is not as wanted, where there are values to look at."""
    if not _seen(array):
        return
    values = np.asarray(array)
    bad = values[~np.asarray(holds(values), bool)]
    if bad.size:
        raise ValueError(f"{name}: {what} must be {wanted}, got {bad.flat[0]}")


def any_true(name: str, message: str, array: Array) -> None:
    """Raise ValueError with the message where no value is True, and there are values to look at."""
    if _seen(array) and not np.asarray(array).any():
        raise ValueError(f"{name}: {message}")


def _seen(value: float | Array) -> bool:
    """Whether there are values to look at: not inside a function that is traced, nor on another process's devices."""
    return not isinstance(value, jax.core.Tracer) and getattr(value, "is_fully_addressable", True)


def two_rows(name: str, rows: int) -> None:
    """Raise ValueError unless there are rows to compare with each other."""
    if rows < 2:
        raise ValueError(f"{name}: rows are compared with each other, wanted 2 or more, got {rows}")


def finite(values: np.ndarray) -> np.ndarray:
    """Where values are neither NaN nor infinite."""
    return np.isfinite(values.astype(np.float64))

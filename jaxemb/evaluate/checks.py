"""What every protocol asks of its input, said in one way."""

import numpy as np
from jaxtyping import Float, Int, Shaped


def finite_vectors(what: str, **sides: Float[np.ndarray, "_ _"]) -> None:
    """Raises: ValueError that names the side that is empty, or not finite (with its row), or of another width."""
    widths = {name: vectors.shape[1:] for name, vectors in sides.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"{what}: wanted vectors of one size, got {widths}")
    for name, vectors in sides.items():
        if vectors.size == 0:
            raise ValueError(f"{what}: wanted one {name} vector or more, got an array of shape {vectors.shape}")
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if bad.size:
            raise ValueError(f"{what}: {name} vector {bad[0]} is not finite ({bad.size} of {len(vectors)} are not)")


def same_length(what: str, **sides: Shaped[np.ndarray, "..."]) -> None:
    """Raises: ValueError with the lengths, when they differ."""
    lengths = {name: len(values) for name, values in sides.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{what}: wanted as many of each, got {lengths}")


def rows_of(what: str, name: str, rows: Int[np.ndarray, "..."], n: int, *, lowest: int = 0) -> None:
    """Raises: ValueError that names a row that is outside `lowest` to `n - 1`."""
    outside = rows[(rows < lowest) | (rows >= n)]
    if outside.size:
        raise ValueError(f"{what}: {name} must be rows from {lowest} to {n - 1}, got {outside.flat[0]}")

"""Rows put into groups by their length, so that the few long ones can be kept better."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxemb.types import Params

Part = Callable[[Params, Int[Array, " b"]], Float[Array, "b d"]]


def by_length(what: str, matrix: Float[Array, "n d"], groups: int) -> list[Int[np.ndarray, " _"]]:
    """The rows of each group, in order, the longest rows in the first: the lengths of all groups sum to alike much.

    >>> [rows.tolist() for rows in by_length("here", jnp.array([[1.0], [3.0], [1.0], [1.0]]), 2)]
    [[1], [0, 2, 3]]

    Raises: ValueError for fewer rows than groups.
    """
    if len(matrix) < groups:
        raise ValueError(f"{what}: wanted {groups} rows or more, a group each, got {len(matrix)}")
    length = np.linalg.norm(np.asarray(matrix, np.float64), axis=1)
    order = np.argsort(-length, kind="stable")
    summed = np.cumsum(length[order])
    inner = np.searchsorted(summed, summed[-1] * np.arange(1, groups) / groups) + 1
    for group in range(groups - 1):  # every group has a row, and leaves one to each that follows
        least = 1 + (inner[group - 1] if group else 0)
        inner[group] = min(max(inner[group], least), len(matrix) - (groups - 1 - group))
    return [np.sort(rows) for rows in np.split(order, inner)]


def places(rows: list[Int[np.ndarray, " _"]]) -> Int[Array, " n"]:
    """Where each row of the matrix stands when the groups are laid end to end."""
    order = np.concatenate(rows)
    found = np.empty(len(order), np.int32)
    found[order] = np.arange(len(order), dtype=np.int32)
    return jnp.asarray(found)


def rows_of_groups(kept: Params, ids: Int[Array, " b"], rows: Part, height: Callable[[Params], int]) -> Array:
    """Rows of a matrix whose groups are kept under `0`, `1`, ..., each looked up in the group that holds it.

    Args:
      rows: (group, places in it) -> its vectors.
      height: group -> how many rows it has.
    """
    place = kept["place"][ids]
    found, first = jnp.zeros((len(ids), kept["shape"].shape[2])), 0
    for group in range(sum(name.isdigit() for name in kept)):
        count = height(kept[str(group)])
        inside = (place >= first) & (place < first + count)
        vectors = rows(kept[str(group)], jnp.clip(place - first, 0, count - 1))
        found, first = jnp.where(inside[:, None], vectors, found), first + count
    return found

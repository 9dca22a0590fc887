"""Rows most of whose numbers are zero, stored by the others: values, their columns, and which row they are of.

Two layouts.  By rows, `starts` says where each row's values begin, at four bytes a row; by entries, `rows` says the row
of each value, at four bytes a value, which is less where most rows are empty.  Columns take the narrowest unsigned
integer that holds them.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxemb.types import Params

VALUE, INDEX = 4, 4  # bytes of a number and of a row's place
BY_ROWS, BY_ENTRIES = ("columns", "starts", "values"), ("columns", "rows", "values")


def column_type(dim: int) -> np.dtype:
    """The narrowest unsigned integer that holds a column.

    >>> print(column_type(256), column_type(300))
    uint8 uint16
    """
    return np.min_scalar_type(dim - 1)


def bytes_of(n: int, dim: int, kept: int) -> int:
    """Bytes of `n` rows of `dim` numbers of which `kept` are stored, in the layout that takes less.

    >>> bytes_of(10, 16, 4), bytes_of(10, 16, 40)
    (36, 244)
    """
    entry = VALUE + column_type(dim).itemsize
    return min(kept * entry + (n + 1) * INDEX, kept * (entry + INDEX))


def kept(n: int, dim: int, budget: int) -> int:
    """As many numbers as a budget of bytes holds in the better layout; at most all of them, and 0 where none fits.

    >>> kept(10, 16, 244), kept(10, 16, 36), kept(10, 16, 8)
    (40, 4, 0)
    """
    entry = VALUE + column_type(dim).itemsize
    return max(0, min(n * dim, max((budget - (n + 1) * INDEX) // entry, budget // (entry + INDEX))))


def entries(n: int, dim: int, count: int) -> tuple[str, ...]:
    """The names of what is stored of `count` numbers."""
    entry = VALUE + column_type(dim).itemsize
    return BY_ROWS if count * entry + (n + 1) * INDEX <= count * (entry + INDEX) else BY_ENTRIES


def largest(matrix: Float[np.ndarray, "n d"], count: int) -> Bool[np.ndarray, "n d"]:
    """Where the `count` numbers of largest magnitude stand; of equals the first.

    >>> print(largest(np.array([[1.0, -3.0], [3.0, 0.5]]), 2))
    [[False  True]
     [ True False]]
    """
    size = np.abs(matrix).ravel()
    if count >= size.size:
        return np.ones(matrix.shape, bool)
    border = np.partition(size, size.size - count)[size.size - count]
    above = size > border
    above[np.flatnonzero(size == border)[: count - int(above.sum())]] = True
    return above.reshape(matrix.shape)


def stored(matrix: Float[np.ndarray, "n d"], where: Bool[np.ndarray, "n d"]) -> Params:
    """The numbers at these places, in the layout that takes less."""
    n, dim = matrix.shape
    rows, columns = np.nonzero(where)
    found = {"values": matrix[where].astype(np.float32), "columns": columns.astype(column_type(dim))}
    if entries(n, dim, len(rows)) == BY_ENTRIES:
        found["rows"] = rows.astype(np.int32)
    else:
        found["starts"] = np.concatenate([[0], np.cumsum(where.sum(axis=1))]).astype(np.int32)
    return {name: jnp.asarray(value) for name, value in found.items()}


def rows_of(form: Params, ids: Int[Array, " b"], dim: int) -> Float[Array, "b d"]:
    """Rows as they were, zeros put back: a binary search for each number, so that it compiles for any ids."""
    if "starts" in form:
        first, end = form["starts"][ids], form["starts"][ids + 1]
    else:
        first = jnp.searchsorted(form["rows"], ids, side="left").astype(jnp.int32)
        end = jnp.searchsorted(form["rows"], ids, side="right").astype(jnp.int32)
    columns, shape = form["columns"], (len(ids), dim)
    last = len(columns) - 1
    if last < 0:
        return jnp.zeros(shape, form["values"].dtype)
    wanted = jnp.arange(dim, dtype=columns.dtype)[None, :]

    def halve(_: Int[Array, ""], between: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = between
        middle = low + (high - low) // 2
        before = (low < high) & (columns[jnp.minimum(middle, last)] < wanted)
        return jnp.where(before, middle + 1, low), jnp.where(before, high, middle)

    begin = (jnp.broadcast_to(first[:, None], shape), jnp.broadcast_to(end[:, None], shape))
    low, _ = lax.fori_loop(0, dim.bit_length(), halve, begin)
    place = jnp.minimum(low, last)
    found = (low < end[:, None]) & (columns[place] == wanted)
    return jnp.where(found, form["values"][place], 0)

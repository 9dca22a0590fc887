"""Matrices of codes: those of any compressor of vectors, and product codes that fill a budget."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from jaxemb.compress.matrix.form import FLOAT, INDEX, MatrixCompressor, made, size
from jaxemb.compress.matrix.magnitude import by_length, places, rows_of_groups
from jaxemb.compress.product import pq as product_codes
from jaxemb.compress.stored import by_name
from jaxemb.packed import packed_bytes
from jaxemb.types import Compressor, Params

SAMPLE = 2**16
"""Rows that centres are learnt from; those of a larger matrix are taken evenly apart."""
AT_ONCE = 2**16
"""Rows that are encoded at a time."""


def coded(compressor: str) -> MatrixCompressor:
    """The codes that a compressor of vectors gives, and what it learnt, as `coded("int8")` or `coded("rabitq-1")`.

    So all of `compress` stands beside the methods made for matrices, its learnt numbers counted.  It takes what it
    takes: a larger budget is not used.  Its name is `coded-<compressor>`.

    Raises: ValueError for an unknown name; in `compress` for a budget below the codes and what is learnt, and for one
      that decodes to vectors of another length.
    """
    inner = by_name(compressor)
    name = f"coded-{inner.name}"

    def floor(n: int, d: int) -> int:
        return n * inner.bytes_per_vector(d)  # without what is learnt, which `fit` counts

    def fit(matrix: Float[Array, "n d"], budget: int) -> Params:
        kept = _encoded(inner, matrix)
        if (wide := inner.decode(kept["learnt"], kept["codes"][:1]).shape[1]) != matrix.shape[1]:
            raise ValueError(f"{name}: wanted rows of {matrix.shape[1]} back, got rows of {wide}")
        if (least := size(kept)) > budget:
            n, d = matrix.shape
            raise ValueError(f"{name}: a matrix [{n}, {d}] takes {least} bytes or more, got a budget of {budget}")
        return kept

    def rows(kept: Params, ids: Int[Array, " b"]) -> Float[Array, "b d"]:
        return inner.decode(kept["learnt"], kept["codes"][ids])

    return made(name, floor, fit, rows)


def _encoded(inner: Compressor, matrix: Float[Array, "n d"]) -> Params:
    learnt = inner.fit(_some(matrix))
    blocks = [inner.apply(learnt, matrix[at : at + AT_ONCE]) for at in range(0, len(matrix), AT_ONCE)]
    return {"learnt": learnt, "codes": jnp.concatenate(blocks)}


def _some(matrix: Float[Array, "n d"]) -> Float[Array, "m d"]:
    if len(matrix) <= SAMPLE:
        return matrix
    return matrix[np.arange(SAMPLE) * len(matrix) // SAMPLE]


def pq(bits: int = 8) -> MatrixCompressor:
    """Product codes of `bits` bits a part, in as many parts as divide a row and fit the budget.

    Codes take `n ceil(parts bits / 8)` bytes, centres `4 d 2^bits`, which for small matrices is the larger: fewer bits
    leave room for more parts.  Its name is `pq-<bits>`.

    Raises: ValueError for bits other than 1 to 8, and in `compress` for a budget below one part.
    Source: Jegou et al. 2011, doi:10.1109/TPAMI.2010.57; `compress.pq` learns the centres.
    """
    product_codes(1, bits)

    def fit(matrix: Float[Array, "n d"], budget: int) -> Params:
        n, d = matrix.shape
        return _encoded(product_codes(_parts([n], d, [bits], budget), bits), matrix)

    def floor(n: int, d: int) -> int:
        return _taken([n], d, [bits], 1)

    return made(f"pq-{bits}", floor, fit, _decoded)


def magpq(*bits: int) -> MatrixCompressor:
    """Product codes with more bits for the long rows: a group of rows for each of `bits`, of like summed length.

    All groups have as many parts, as many as fit the budget.  Every row's place in its group takes four bytes, which is
    worth it where few rows are far longer than the others.  Its name is `magpq-<bits>x<bits>...`; `magpq(8, 7)` where
    none are given.

    Raises: ValueError as `pq`, and in `compress` for fewer rows than groups.
    """
    bits = bits or (8, 7)
    for one in bits:
        product_codes(1, one)
    name = f"magpq-{'x'.join(map(str, bits))}"

    def fit(matrix: Float[Array, "n d"], budget: int) -> Params:
        n, d = matrix.shape
        groups = by_length(name, matrix, len(bits))
        parts = _parts([len(rows) for rows in groups], d, bits, budget - n * INDEX)
        found = [_encoded(product_codes(parts, one), matrix[rows]) for rows, one in zip(groups, bits, strict=True)]
        return {"place": places(groups)} | {str(group): kept for group, kept in enumerate(found)}

    def rows(kept: Params, ids: Int[Array, " b"]) -> Float[Array, "b d"]:
        return rows_of_groups(kept, ids, _decoded, lambda group: len(group["codes"]))

    def floor(n: int, d: int) -> int:
        # A part of any of the bits takes one byte a row, so the groups' sizes do not matter.
        return n * INDEX + _taken([n, *[0] * (len(bits) - 1)], d, bits, 1)

    return made(name, floor, fit, rows)


def _taken(rows: Sequence[int], d: int, bits: Sequence[int], parts: int) -> int:
    """Bytes of groups of so many rows: their codes, their centres, and a scale each."""
    groups = zip(rows, bits, strict=True)
    return sum(n * packed_bytes(parts, one) + (d << one) * FLOAT + FLOAT for n, one in groups)


def _parts(rows: Sequence[int], d: int, bits: Sequence[int], budget: int) -> int:
    return max(parts for parts in range(1, d + 1) if d % parts == 0 and _taken(rows, d, bits, parts) <= budget)


def _decoded(kept: Params, ids: Int[Array, " b"]) -> Float[Array, "b d"]:
    parts, count, _ = kept["learnt"]["centres"].shape
    codes: Shaped[Array, "b c"] = kept["codes"][ids]
    return product_codes(parts, count.bit_length() - 1).decode(kept["learnt"], codes)

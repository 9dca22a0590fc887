"""What every index is: vectors in, the nearest rows out."""

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

from jaxemb.types import Compressor, Params


class Hits(NamedTuple):
    """The nearest rows of every query, best first; of equal scores the lower row.

    rows: int64 `[b, k]`; -1 where an approximate index looked at fewer than `k` rows.
    scores: float32 `[b, k]`, larger is closer; -inf where the row is -1.
    """

    rows: Int64[np.ndarray, "b k"]
    scores: Float32[np.ndarray, "b k"]


@runtime_checkable
class Index(Protocol):
    """Document vectors, ready to be searched.

    kind: which one, as `index.load` reads it from disk.
    size, dim: how many vectors, and the length that queries must have.
    compressor, state: what turned the vectors into what is stored.
    settings: all that was chosen when it was made, defaults written out.
    bytes_per_vector: what one more vector would take, tables and what a compressor learnt apart.
    resident_bytes: what it holds in memory for its vectors, its compressor included.
    """

    @property
    def kind(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def compressor(self) -> Compressor: ...
    @property
    def state(self) -> Params: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def bytes_per_vector(self) -> int: ...
    @property
    def resident_bytes(self) -> int: ...

    def search(self, query: np.ndarray, k: int) -> Hits:
        """The `k` nearest rows of every query, float32 `[b, dim]`; no queries, no hits.

        Raises: ValueError for a query of another shape or dtype, NaN or inf in it, `k < 1` and `k > size`.
        """
        ...

    def save(self, folder: Path | str) -> None:
        """Write all but the compressor, whole or not at all; `compress.save` writes that one."""
        ...


def vectors(what: str, rows: np.ndarray, dim: int | None = None) -> Float32[np.ndarray, "n d"]:
    """The rows, once they are known to be finite float32 of `dim` numbers each.

    Raises: ValueError that says what was wanted and what came.
    """
    wanted = "d" if dim is None else dim
    if rows.ndim != 2 or rows.dtype != np.float32 or rows.shape[1] == 0 or wanted not in ("d", rows.shape[1]):
        raise ValueError(f"{what}: wanted float32 [n, {wanted}], got {rows.dtype} {list(rows.shape)}")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise ValueError(f"{what}: wanted finite numbers, got NaN or inf in {len(bad)} rows, first {bad[0]}")
    return np.ascontiguousarray(rows)


def documents(what: str, rows: np.ndarray) -> Float32[np.ndarray, "n d"]:
    """As `vectors`, and there must be one to find."""
    if len(rows) == 0:
        raise ValueError(f"{what}: wanted 1 vector or more, got {list(rows.shape)}")
    return vectors(what, rows)


def padded(query: Float32[np.ndarray, "b d"]) -> Float32[np.ndarray, "p d"]:
    """The queries and rows of zeros up to a power of two, so that few shapes are compiled."""
    rows = np.zeros((1 << (len(query) - 1).bit_length(), query.shape[1]), np.float32)
    rows[: len(query)] = query
    return rows


def depth(k: int, size: int) -> int:
    """`k`, once it is known to be from 1 to the size of the index.

    Raises: ValueError.
    """
    if not 1 <= operator.index(k) <= size:
        raise ValueError(f"search: wanted k from 1 to the index's {size} rows, got {k}")
    return operator.index(k)


def bytes_on_disk(folder: Path | str) -> int:
    """Bytes of all files below a folder: of an index, a compressor or a whole bundle.

    Raises: NotADirectoryError.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: wanted a folder")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def state_bytes(state: Params) -> int:
    """Bytes of what a compressor learnt."""
    return sum(value.nbytes for value in state.values())

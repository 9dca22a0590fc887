"""What every index is: vectors in, the nearest rows out."""

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
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
    # Quick to ask, and one NaN or inf is enough for it.
    if not (math.isfinite(rows.max(initial=0)) and math.isfinite(rows.min(initial=0))):
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


def at_least(least: int, what: str, **settings: int) -> None:
    """Raises: ValueError that names the setting which is lower."""
    for name, value in settings.items():
        if value < least:
            raise ValueError(f"{what}: wanted {name} of {least} or more, got {value}")


def best(rows: Int64[np.ndarray, "b m"], scores: Float32[np.ndarray, "b m"], k: int) -> Hits:
    """The best `k` of what was found, in the order of `Hits`; row -1 is nothing, and fills up where there are few.

    >>> print(best(np.array([[7, -1, 3]]), np.array([[0.5, 0.9, 0.5]], np.float32), 2).rows)
    [[3 7]]
    """
    if rows.shape[1] < k:
        more = ((0, 0), (0, k - rows.shape[1]))
        rows, scores = np.pad(rows, more, constant_values=-1), np.pad(scores, more)
    scores = np.where(rows < 0, np.float32(-np.inf), scores)
    if len(rows) == 1:  # with less to do around it, for that is a large part of what a quick search takes
        first = np.lexsort((rows[0], -scores[0]))[:k]
        return Hits(rows[:, first], scores[:, first])
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return Hits(np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1))


def hamming(compressor: Compressor) -> bool:
    """Whether its codes, or those of a chain's last stage, are bits that Hamming distance compares."""
    return compressor.name.rpartition("+")[2].startswith("hamming")


def nothing(k: int) -> Hits:
    """The hits of no queries."""
    return Hits(np.zeros((0, k), np.int64), np.zeros((0, k), np.float32))


def coder(compressor: Compressor, state: Params) -> Callable[[Float32[np.ndarray, "b d"]], np.ndarray]:
    """Queries to what the compressor stores of them; in NumPy where that is less work than a call of JAX."""
    stem = compressor.name.partition("-")[0]
    if "+" not in compressor.name and stem == "float32":
        return lambda query: query
    if "+" not in compressor.name and stem in ("bits", "hamming"):
        threshold = np.asarray(state["threshold"])[None, :]
        return lambda query: np.packbits(query > threshold, axis=-1)
    apply = jax.jit(partial(compressor.apply, state))
    return lambda query: np.asarray(apply(padded(query)))[: len(query)]


def existing(path: Path) -> Path:
    """The path of a file.  Raises: FileNotFoundError where there is none."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there")
    return path


Kind = TypeVar("Kind", bound=Index)


def tuned(built: Kind, **settings: Any) -> Kind:
    """The same index with other defaults of its search; all that was built is shared.

    Raises: ValueError for a setting that only building takes, or that there is not.
    """
    known = getattr(type(built), "searching", ())
    unknown = sorted(settings.keys() - set(known))
    if unknown:
        raise ValueError(f"{built.kind}: wanted settings of its search, {', '.join(known) or 'none'}, got {unknown}")
    if not settings:
        return built
    changed: Any = dataclasses.replace(built, settings={**built.settings, **settings})  # type: ignore[type-var]
    return changed


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

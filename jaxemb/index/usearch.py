"""USearch's graph of near neighbours, over numbers as small as one bit.

Source: Malkov & Yashunin 2020, doi:10.1109/TPAMI.2018.2889473 (HNSW); the library is Unum's USearch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from jaxemb import atomic, extras
from jaxemb.compress import identity
from jaxemb.index import described, interface
from jaxemb.index.interface import Hits
from jaxemb.types import Compressor, Params

FILE = "index.usearch"
DTYPES = ("f32", "bf16", "f16", "i8", "b1")
_at_least_one = partial(interface.at_least, 1, "usearch")


@dataclass(frozen=True, eq=False, kw_only=True)
class Usearch:
    """An index of USearch; made by `build` or `load`.

    settings: `dtype`, `connectivity`, `expansion_add`, `expansion_search`.
    """

    kind: ClassVar[str] = "usearch"
    searching: ClassVar[tuple[str, ...]] = ("expansion_search",)
    native: Any
    compressor: Compressor
    state: Params
    code: Callable[[np.ndarray], np.ndarray]
    size: int
    dim: int
    settings: dict[str, Any]

    @property
    def bytes_per_vector(self) -> int:
        """The vector as it is stored, its links and its key, as written to a file, rounded up."""
        return -(-self.native.serialized_length // self.size)

    @property
    def resident_bytes(self) -> int:
        """What USearch says that it has taken, room for growth included, and what the compressor learnt."""
        return self.native.memory_usage + interface.state_bytes(self.state)

    def search(self, query: np.ndarray, k: int, *, expansion_search: int | None = None, threads: int = 1) -> Hits:
        """The `k` nearest rows that were found, for every query, float32 `[b, dim]`; no queries, no hits.

        Scores are inner products with the vectors as stored, of bits minus the number that differ.  Where fewer than
        `k` are found, hits end in row -1 with score -inf; which of equals are found is USearch's choice.

        Args:
          expansion_search: candidates that are kept on the way; more find more.
          threads: a batch is shared by so many.
        Raises: ValueError for a query of another shape or dtype, NaN or inf in it, `k < 1`, `k > size`,
          and a setting below 1.
        """
        query, k = interface.vectors("search", query, self.dim), interface.depth(k, self.size)
        expansion = self.settings["expansion_search"] if expansion_search is None else expansion_search
        _at_least_one(expansion_search=expansion, threads=threads)
        if len(query) == 0:
            return interface.nothing(k)
        self.native.expansion_search = max(expansion, k)
        # A batch even if of one query: a single one would come back in another shape.
        found = self.native.search(self.code(query), k, threads=threads)
        rows, apart = np.atleast_2d(found.keys).astype(np.int64), np.atleast_2d(found.distances)
        counts: Any = getattr(found, "counts", rows.shape[1])
        rows = np.where(np.arange(rows.shape[1])[None, :] < np.reshape(counts, (-1, 1)), rows, -1)
        # Of i8, whole numbers up to 127 for 1.
        scale = 127.0**2 if self.settings["dtype"] == "i8" else 1.0
        scores = -apart if self.settings["dtype"] == "b1" else (1 - apart) / scale
        return interface.best(rows, scores.astype(np.float32), k)

    def save(self, folder: Path | str) -> None:
        """Write `index.json` and `index.usearch`, in USearch's own format."""
        with atomic.folder(folder, replaces=described.FILE) as unfinished:
            described.write(unfinished, self.kind, self.size, self.dim, self.compressor, self.settings)
            self.native.save(str(unfinished / FILE))


def build(
    vectors: np.ndarray,
    *,
    compressor: Compressor | None = None,
    state: Params | None = None,
    dtype: str = "f32",
    connectivity: int = 16,
    expansion_add: int = 128,
    expansion_search: int = 64,
    threads: int = 0,
) -> Usearch:
    """A graph that leads from any vector to its neighbours.

    Built by several threads, it is another graph each time.

    Args:
      vectors: float32 `[n, d]`, copied; of unit length for `i8`, which clips what is beyond.
      compressor, state: what USearch is given: float vectors (`float32`, `truncate-<size>`), or the codes of `hamming`
        for `b1`.
      dtype: of the numbers that it keeps: `f32`, `bf16`, `f16`, `i8` or `b1`.
      connectivity: links of a vector, at most; twice as many on the lowest level.
      expansion_add: candidates that are kept while a vector is put in.
      expansion_search: candidates that are kept while a query is answered.
      threads: for building; 0 takes all cores.
    Raises: ImportError without USearch; ValueError for no vectors, another shape or dtype, NaN or inf, an unknown
      `dtype`, a compressor that does not go with it, and settings below 1.
    """
    library = extras.load("usearch.index")
    vectors = interface.documents("usearch", vectors)
    compressor = compressor or identity()
    if dtype not in DTYPES:
        raise ValueError(f"usearch: wanted dtype to be one of {', '.join(DTYPES)}, got {dtype!r}")
    _at_least_one(connectivity=connectivity, expansion_add=expansion_add, expansion_search=expansion_search)
    state = compressor.fit(jnp.asarray(vectors)) if state is None else state
    rows = np.asarray(compressor.apply(state, jnp.asarray(vectors)))
    binary = dtype == "b1"
    if rows.dtype != (np.uint8 if binary else np.float32) or (binary and not interface.hamming(compressor)):
        wanted = "bits of the compressor hamming" if binary else "a compressor that stores float32 vectors"
        raise ValueError(f"usearch: {dtype} wants {wanted}; {compressor.name} stores {rows.dtype}")
    native = library.Index(
        ndim=rows.shape[1] * (8 if binary else 1),
        metric="hamming" if binary else "ip",
        dtype=dtype,
        connectivity=connectivity,
        expansion_add=expansion_add,
        expansion_search=expansion_search,
        enable_key_lookups=False,
    )
    native.add(np.arange(len(rows), dtype=np.uint64), rows, threads=threads)
    settings = {
        "dtype": dtype,
        "connectivity": connectivity,
        "expansion_add": expansion_add,
        "expansion_search": expansion_search,
    }
    return _opened(native, compressor, state, len(rows), vectors.shape[1], settings)


def _opened(
    native: Any, compressor: Compressor, state: Params, size: int, dim: int, settings: dict[str, Any]
) -> Usearch:
    code = interface.coder(compressor, state)
    return Usearch(native=native, compressor=compressor, state=state, code=code, size=size, dim=dim, settings=settings)


def load(folder: Path | str, *, compressor: Compressor | None = None, state: Params | None = None) -> Usearch:
    """Read what `Usearch.save` wrote.

    Args:
      compressor, state: those it was made with, as `compress.load` gives them; none for float32.
    Raises: ImportError without USearch; FileNotFoundError; ValueError when it was made with another compressor, or
      USearch's file is broken or holds another number of vectors.
    """
    library = extras.load("usearch.index")
    size, dim, compressor, state, settings = described.read(folder, Usearch.kind, compressor, state)
    path = interface.existing(Path(folder) / FILE)
    native = library.Index.restore(str(path), enable_key_lookups=False)
    if native is None or len(native) != size:
        raise ValueError(f"{path}: wanted {size} vectors, got {'no index' if native is None else len(native)}")
    return _opened(native, compressor, state, size, dim, settings)

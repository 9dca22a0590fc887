"""hnswlib's graph of near neighbours, by the authors of HNSW.

It comes as source alone, so installing it needs a C++ compiler.
Source: Malkov & Yashunin 2020, doi:10.1109/TPAMI.2018.2889473.
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

FILE = "index.hnsw"
_at_least_one = partial(interface.at_least, 1, "hnswlib")


@dataclass(frozen=True, eq=False, kw_only=True)
class Hnswlib:
    """An index of hnswlib; made by `build` or `load`.

    settings: `connectivity`, `expansion_add`, `expansion_search`.
    """

    kind: ClassVar[str] = "hnswlib"
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
        """The vector, its links and its label, rounded up."""
        return -(-self.native.index_file_size() // self.size)

    @property
    def resident_bytes(self) -> int:
        """What hnswlib holds, counted as it would write it, and what the compressor learnt."""
        return self.native.index_file_size() + interface.state_bytes(self.state)

    def search(self, query: np.ndarray, k: int, *, expansion_search: int | None = None, threads: int = 1) -> Hits:
        """The `k` nearest rows that were found, for every query, float32 `[b, dim]`; no queries, no hits.

        Scores are inner products.  Which of equals are found is hnswlib's choice; where the graph leads to fewer than
        `k`, the search is repeated with more candidates, at last with all.

        Args:
          expansion_search: candidates that are kept on the way, `k` at least; more find more.
          threads: a batch is shared by so many.
        Raises: ValueError for a query of another shape or dtype, NaN or inf in it, `k < 1`, `k > size`,
          and a setting below 1.
        """
        query, k = interface.vectors("search", query, self.dim), interface.depth(k, self.size)
        expansion = self.settings["expansion_search"] if expansion_search is None else expansion_search
        _at_least_one(expansion_search=expansion, threads=threads)
        if len(query) == 0:
            return interface.nothing(k)
        self.native.set_ef(min(max(expansion, k), self.size))
        rows, apart = self.native.knn_query(self.code(query), k, num_threads=threads)
        return interface.best(rows.astype(np.int64), 1 - apart, k)

    def save(self, folder: Path | str) -> None:
        """Write `index.json` and `index.hnsw`, in hnswlib's own format."""
        with atomic.folder(folder, replaces=described.FILE) as unfinished:
            described.write(unfinished, self.kind, self.size, self.dim, self.compressor, self.settings)
            self.native.save_index(str(unfinished / FILE))


def build(
    vectors: np.ndarray,
    *,
    compressor: Compressor | None = None,
    state: Params | None = None,
    connectivity: int = 16,
    expansion_add: int = 200,
    expansion_search: int = 64,
    seed: int = 100,
    threads: int = 0,
) -> Hnswlib:
    """A graph that leads from any vector to its neighbours.

    Built by several threads, it is another graph each time.

    Args:
      vectors: float32 `[n, d]`, copied.
      compressor, state: float vectors, `float32` or `truncate-<size>`.
      connectivity: links of a vector, at most; twice as many on the lowest level.
      expansion_add: candidates that are kept while a vector is put in.
      expansion_search: candidates that are kept while a query is answered.
      seed: of the levels that vectors are put on.
      threads: for building; 0 takes all cores.
    Raises: ImportError without hnswlib; ValueError for no vectors, another shape or dtype, NaN or inf, a compressor
      whose codes are no floats, a connectivity below 2 and other settings below 1.
    """
    library = extras.load("hnswlib")
    vectors = interface.documents("hnswlib", vectors)
    compressor = compressor or identity()
    state = compressor.fit(jnp.asarray(vectors)) if state is None else state
    rows = np.asarray(compressor.apply(state, jnp.asarray(vectors)))
    if rows.dtype != np.float32:
        raise ValueError(
            f"hnswlib: wanted a compressor that stores float32 vectors; {compressor.name} stores {rows.dtype}"
        )
    interface.at_least(2, "hnswlib", connectivity=connectivity)
    _at_least_one(expansion_add=expansion_add, expansion_search=expansion_search)
    native = library.Index(space="ip", dim=rows.shape[1])
    native.init_index(max_elements=len(rows), ef_construction=expansion_add, M=connectivity, random_seed=seed)
    native.add_items(rows, np.arange(len(rows)), num_threads=threads or -1)
    settings = {
        "connectivity": connectivity,
        "expansion_add": expansion_add,
        "expansion_search": expansion_search,
        "seed": seed,
    }
    return _opened(native, compressor, state, len(rows), vectors.shape[1], settings)


def _opened(
    native: Any, compressor: Compressor, state: Params, size: int, dim: int, settings: dict[str, Any]
) -> Hnswlib:
    code = interface.coder(compressor, state)
    return Hnswlib(native=native, compressor=compressor, state=state, code=code, size=size, dim=dim, settings=settings)


def load(folder: Path | str, *, compressor: Compressor | None = None, state: Params | None = None) -> Hnswlib:
    """Read what `Hnswlib.save` wrote.

    Args:
      compressor, state: those it was made with, as `compress.load` gives them; none for float32.
    Raises: ImportError without hnswlib; FileNotFoundError; ValueError when it was made with another compressor, or
      hnswlib's file is broken or holds another number of vectors.
    """
    library = extras.load("hnswlib")
    size, dim, compressor, state, settings = described.read(folder, Hnswlib.kind, compressor, state)
    path = interface.existing(Path(folder) / FILE)
    stored = compressor.bytes_per_vector(dim) // 4
    native = library.Index(space="ip", dim=stored)
    try:
        native.load_index(str(path))
    except RuntimeError as broken:
        raise ValueError(f"{path}: not what hnswlib wrote: {broken}") from broken
    if native.get_current_count() != size:
        raise ValueError(f"{path}: wanted {size} vectors, got {native.get_current_count()}")
    return _opened(native, compressor, state, size, dim, settings)

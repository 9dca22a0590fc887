"""FAISS's indexes, by FAISS's own descriptions of them.

A description says what an index is made of: `Flat`, `SQ8`, `HNSW16`, `IVF632,PQ25x4fs,RFlat`, `RaBitQ`; of bits
`BFlat`, `BHNSW16`, `BIVF632`.  Source: Douze et al. 2024, arXiv:2401.08281; FAISS's page on its index factory.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from jaxemb import atomic, extras
from jaxemb.compress import identity
from jaxemb.index import described, interface
from jaxemb.index.interface import Hits
from jaxemb.index.quiet import quiet
from jaxemb.types import Compressor, Params

FILE = "index.faiss"
_quiet = partial(quiet, re.compile(rb"WARNING clustering"))


def everywhere() -> int:
    """As many threads as there are cores to run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_threads(count: int) -> None:
    """Let FAISS take so many, in this process, from now on."""
    interface.at_least(1, "faiss", threads=count)
    extras.load("faiss").omp_set_num_threads(count)


def serialized(native: Any) -> int:
    """Bytes that FAISS writes of an index: those of its arrays, and a few more."""
    faiss = extras.load("faiss")
    write = faiss.serialize_index_binary if isinstance(native, faiss.IndexBinary) else faiss.serialize_index
    return len(write(native))


@dataclass(eq=False)
class Native:
    """FAISS's own index; what its search was last set to belongs to it, so that views of it can share it."""

    index: Any
    parameters: str = ""

    def set(self, parameters: str) -> None:
        """Set parameters of its search, as `nprobe=8,efSearch=64`; none leaves it as it is."""
        if parameters in ("", self.parameters):
            return
        faiss = extras.load("faiss")
        try:
            if isinstance(self.index, faiss.IndexBinary):
                for name, value in (part.split("=") for part in parameters.split(",")):
                    target = self.index.hnsw if name == "efSearch" else self.index
                    if not hasattr(target, name):
                        raise ValueError(name)
                    setattr(target, name, int(value))
            else:
                faiss.ParameterSpace().set_index_parameters(self.index, parameters)
        except (RuntimeError, ValueError, AttributeError) as refused:
            raise ValueError(f"faiss: parameters {parameters!r} are not for this index: {_first(refused)}") from refused
        self.parameters = parameters


@dataclass(frozen=True, eq=False, kw_only=True)
class Faiss:
    """An index of FAISS; made by `build` or `load`.

    settings: `factory`, its description, and `parameters` of its search.
    """

    kind: ClassVar[str] = "faiss"
    searching: ClassVar[tuple[str, ...]] = ("parameters",)
    native: Native
    compressor: Compressor
    state: Params
    code: Callable[[np.ndarray], np.ndarray]
    size: int
    dim: int
    settings: dict[str, Any]

    @cached_property
    def _bytes(self) -> tuple[int, int]:
        """As FAISS writes it, with all vectors and with none."""
        faiss = extras.load("faiss")
        binary = isinstance(self.native.index, faiss.IndexBinary)
        write, read = (
            (faiss.serialize_index_binary, faiss.deserialize_index_binary)
            if binary
            else (faiss.serialize_index, faiss.deserialize_index)
        )
        whole = write(self.native.index)
        empty = read(whole)
        empty.reset()
        return len(whole), len(write(empty))

    @property
    def bytes_per_vector(self) -> int:
        """What FAISS holds for a vector, links and row numbers included, rounded up."""
        whole, empty = self._bytes
        return -(-(whole - empty) // self.size)

    @property
    def resident_bytes(self) -> int:
        """What FAISS holds, counted as it would write it, and what the compressor learnt."""
        return self._bytes[0] + interface.state_bytes(self.state)

    def search(self, query: np.ndarray, k: int, *, parameters: str | None = None, threads: int = 1) -> Hits:
        """The `k` nearest rows of every query, float32 `[b, dim]`; no queries, no hits.

        Scores are FAISS's inner products, of bits minus the number that differ.  Where FAISS finds fewer than `k`, hits
        end in row -1 with score -inf; which of equals it finds is its choice.

        Args:
          parameters: of FAISS's search, in its own words: `nprobe=8`, `efSearch=64`, `nprobe=8,k_factor_rf=10`.
          threads: a batch is shared by so many.
        Raises: ValueError for a query of another shape or dtype, NaN or inf in it, `k < 1`, `k > size`,
          and parameters that the index has not.
        """
        query, k = interface.vectors("search", query, self.dim), interface.depth(k, self.size)
        on_threads(threads)
        self.native.set(self.settings["parameters"] if parameters is None else parameters)
        if len(query) == 0:
            return interface.nothing(k)
        found, rows = self.native.index.search(self.code(query), k)
        scores = found if found.dtype == np.float32 else -found.astype(np.float32)
        return interface.best(rows, scores, k)

    def save(self, folder: Path | str) -> None:
        """Write `index.json` and `index.faiss`, in FAISS's own format."""
        faiss = extras.load("faiss")
        write = faiss.write_index_binary if isinstance(self.native.index, faiss.IndexBinary) else faiss.write_index
        with atomic.folder(folder, replaces=described.FILE) as unfinished:
            described.write(unfinished, self.kind, self.size, self.dim, self.compressor, self.settings)
            write(self.native.index, str(unfinished / FILE))


def build(
    vectors: np.ndarray,
    *,
    compressor: Compressor | None = None,
    state: Params | None = None,
    factory: str = "Flat",
    parameters: str = "",
    threads: int = 0,
) -> Faiss:
    """An index as FAISS makes it of a description, with inner products as scores.

    Args:
      vectors: float32 `[n, d]`, copied.
      compressor, state: what FAISS is given: float vectors (`float32`, `truncate-<size>`), or the codes of `hamming`
        for a description that begins with B.
      factory: what it is made of, in FAISS's words.
      parameters: of its search; see `Faiss.search`.
      threads: for building; 0 takes all cores.
    Raises: ImportError without FAISS; ValueError for no vectors, another shape or dtype, NaN or inf, a compressor that
      does not go with the description, and what FAISS cannot make, as more lists or centres than vectors.
    """
    faiss = extras.load("faiss")
    vectors = interface.documents("faiss", vectors)
    compressor = compressor or identity()
    state = compressor.fit(jnp.asarray(vectors)) if state is None else state
    rows = np.asarray(compressor.apply(state, jnp.asarray(vectors)))
    binary = factory.startswith("B")
    if rows.dtype != (np.uint8 if binary else np.float32) or (binary and not interface.hamming(compressor)):
        wanted = "bits of the compressor hamming" if binary else "a compressor that stores float32 vectors"
        raise ValueError(f"faiss: {factory!r} wants {wanted}; {compressor.name} stores {rows.dtype}")
    on_threads(threads or everywhere())
    try:
        with _quiet():
            if binary:
                index = faiss.index_binary_factory(8 * rows.shape[1], factory)
            else:
                index = faiss.index_factory(rows.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
            index.train(rows)
            index.add(rows)
    except RuntimeError as refused:
        raise ValueError(f"faiss: {factory!r} of {list(rows.shape)}: {_first(refused)}") from refused
    settings = {"factory": factory, "parameters": parameters}
    made = _opened(index, compressor, state, len(vectors), vectors.shape[1], settings)
    made.native.set(parameters)
    return made


def _first(refused: Exception) -> str:
    """What FAISS says of an error, without where in its sources."""
    lines = str(refused).splitlines()
    return lines[0].partition(": ")[2] or lines[0] if lines else type(refused).__name__


def _opened(index: Any, compressor: Compressor, state: Params, size: int, dim: int, settings: dict[str, Any]) -> Faiss:
    code = interface.coder(compressor, state)
    return Faiss(
        native=Native(index), compressor=compressor, state=state, code=code, size=size, dim=dim, settings=settings
    )


def load(folder: Path | str, *, compressor: Compressor | None = None, state: Params | None = None) -> Faiss:
    """Read what `Faiss.save` wrote.

    Args:
      compressor, state: those it was made with, as `compress.load` gives them; none for float32.
    Raises: ImportError without FAISS; FileNotFoundError; ValueError when it was made with another compressor, or
      FAISS's file is broken or holds another number of vectors.
    """
    faiss = extras.load("faiss")
    size, dim, compressor, state, settings = described.read(folder, Faiss.kind, compressor, state)
    path = interface.existing(Path(folder) / FILE)
    read = faiss.read_index_binary if settings["factory"].startswith("B") else faiss.read_index
    try:
        index = read(str(path))
    except RuntimeError as broken:
        raise ValueError(f"{path}: not what FAISS wrote: {_first(broken)}") from broken
    if index.ntotal != size:
        raise ValueError(f"{path}: wanted {size} vectors, got {index.ntotal}")
    return _opened(index, compressor, state, size, dim, settings)

"""Search in two steps: a first index names candidates, and they are scored again from better codes.

The first one's codes are small and in memory.  Those of the second step are read for a few rows a query, so that they
may lie on disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxemb import atomic, compress
from jaxemb.index import described, interface, kept
from jaxemb.index.chosen import Scorer, scorer
from jaxemb.index.interface import Hits, Index
from jaxemb.types import Compressor, Params

ROWS = 8192  # coded at a time


@dataclass(frozen=True, eq=False, kw_only=True)
class Rescored:
    """A first index, and codes of the same rows; made by `over`, `build` or `load`.

    compressor, state: of the second step, whose scores are what is returned.
    settings: `first` (its kind, compressor and settings), `fetch`, `on_disk`.
    """

    kind: ClassVar[str] = "rescored"
    searching: ClassVar[tuple[str, ...]] = ("fetch",)
    first: Index
    score: Scorer
    codes: np.ndarray
    compressor: Compressor
    state: Params
    size: int
    dim: int
    settings: dict[str, Any]

    @property
    def bytes_per_vector(self) -> int:
        """Of both steps, wherever they lie."""
        return self.first.bytes_per_vector + self.codes.shape[1] * self.codes.itemsize

    @property
    def resident_bytes(self) -> int:
        """Of the first index, the codes of the second step unless they are on disk, and what it learnt."""
        return self.first.resident_bytes + kept.resident_bytes(self.codes) + interface.state_bytes(self.state)

    @property
    def mapped_bytes(self) -> int:
        """Codes that are on disk while it searches."""
        return kept.mapped_bytes(self.codes) + getattr(self.first, "mapped_bytes", 0)

    def search(self, query: np.ndarray, k: int, *, fetch: int | None = None, threads: int = 1) -> Hits:
        """The `k` best of the first index's candidates, for every query, float32 `[b, dim]`; no queries, no hits.

        Scores are those of the second step's compressor.  Of equal candidates the lower row comes first; where the
        first index finds fewer than `k`, hits end in row -1 with score -inf.

        Args:
          fetch: candidates that are scored again, `k` at least.
          threads: of the first index, where it has several.
        Raises: ValueError for a query of another shape or dtype, NaN or inf in it, `k < 1`, `k > size`,
          and `fetch` below 1.
        """
        query, k = interface.vectors("search", query, self.dim), interface.depth(k, self.size)
        fetch = self.settings["fetch"] if fetch is None else fetch
        interface.at_least(1, "rescored", fetch=fetch, threads=threads)
        if len(query) == 0:
            return interface.nothing(k)
        rows = self._candidates(query, min(max(fetch, k), self.size), threads)
        return interface.best(rows, self.score(query, rows), k)

    def _candidates(self, query: np.ndarray, count: int, threads: int) -> np.ndarray:
        named = getattr(self.first, "candidates", None)
        if named is not None:
            return named(query, count, threads=threads)
        more = {"threads": threads} if self.first.kind != "exact" else {}
        return self.first.search(query, count, **more).rows

    def save(self, folder: Path | str) -> None:
        """Write `index.json`, `codes.npy`, and the first index with its compressor in folders of their own."""
        with atomic.folder(folder, replaces=described.FILE) as unfinished:
            described.write(unfinished, self.kind, self.size, self.dim, self.compressor, self.settings)
            np.save(unfinished / "codes.npy", np.asarray(self.codes), allow_pickle=False)
            self.first.save(unfinished / "first")
            compress.save(unfinished / "first_compressor", self.first.compressor, self.first.state)


def over(
    first: Index,
    vectors: np.ndarray,
    *,
    compressor: Compressor | None = None,
    state: Params | None = None,
    fetch: int = 100,
    on_disk: bool = False,
) -> Rescored:
    """A second step over an index that is there.

    >>> from jaxemb.index import exact
    >>> vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], np.float32)
    >>> rough = exact.build(vectors, compressor=compress.bits(0.5))
    >>> print(over(rough, vectors, fetch=2).search(np.array([[0.1, 0.9]], np.float32), 1).rows)
    [[2]]

    Args:
      first: it names candidates; fast codes, a tree or a graph.
      vectors: float32 `[n, d]` of the same rows.
      compressor, state: what the second step keeps of a vector; float32 as it is by default.  Without a state the
        compressor is fitted on all of `vectors`.
      fetch: candidates a query, `k` at least.
      on_disk: keep the second step's codes in a file, of which a search reads the candidates' rows.
    Raises: ValueError for no vectors, another shape or dtype, NaN or inf, another number or length of vectors than the
      first index has, and `fetch` below 1.
    """
    vectors = interface.documents("rescored", vectors)
    if vectors.shape != (first.size, first.dim):
        raise ValueError(
            f"rescored: wanted the vectors of the first index, [{first.size}, {first.dim}], got {list(vectors.shape)}"
        )
    interface.at_least(1, "rescored", fetch=fetch)
    compressor = compressor or compress.identity()
    state = compressor.fit(jnp.asarray(vectors)) if state is None else state
    apply = jax.jit(compressor.apply)
    parts = [np.asarray(apply(state, vectors[at : at + ROWS])) for at in range(0, len(vectors), ROWS)]
    codes = kept.place(np.concatenate(parts), on_disk)
    told = {"kind": first.kind, "compressor": first.compressor.name, **first.settings}
    settings = {"first": told, "fetch": fetch, "on_disk": on_disk}
    return _opened(first, codes, compressor, state, settings)


def build(
    vectors: np.ndarray,
    *,
    compressor: Compressor | None = None,
    state: Params | None = None,
    first: Mapping[str, Any],
    fetch: int = 100,
    on_disk: bool = False,
) -> Rescored:
    """Both steps from vectors.

    Args:
      first: the first index: its `kind`, the name of its `compressor` (float32 by default), and other settings of its
        `build`.
      compressor, state, fetch, on_disk: as in `over`.
    Raises: ValueError for a first step without a kind or on two steps itself, and what `over` and the kind raise.
    """
    from jaxemb.index import kinds

    settings = dict(first)
    kind, name = settings.pop("kind", None), settings.pop("compressor", "float32")
    if kind is None or kind == Rescored.kind:
        raise ValueError(f"rescored: wanted a first step with a kind, other than {Rescored.kind}, got {dict(first)}")
    found = kinds.build(kind, vectors, compressor=compress.by_name(name), **settings)
    return over(found, vectors, compressor=compressor, state=state, fetch=fetch, on_disk=on_disk)


def _opened(
    first: Index, codes: np.ndarray, compressor: Compressor, state: Params, settings: dict[str, Any]
) -> Rescored:
    return Rescored(
        first=first,
        score=scorer(compressor, state, codes),
        codes=codes,
        compressor=compressor,
        state=state,
        size=first.size,
        dim=first.dim,
        settings=settings,
    )


def load(folder: Path | str, *, compressor: Compressor | None = None, state: Params | None = None) -> Rescored:
    """Read what `Rescored.save` wrote.

    Args:
      compressor, state: those of the second step, as `compress.load` gives them; none for float32.
    Raises: FileNotFoundError; ValueError when it was made with another compressor, or the codes are not what the
      description says, and what the first index raises.
    """
    from jaxemb.index import kinds

    folder = Path(folder)
    size, dim, compressor, state, settings = described.read(folder, Rescored.kind, compressor, state)
    codes = kept.read(folder / "codes.npy", settings["on_disk"])
    wanted = jax.eval_shape(compressor.apply, state, jax.ShapeDtypeStruct((size, dim), jnp.float32))
    if (codes.shape, codes.dtype) != (wanted.shape, wanted.dtype):
        raise ValueError(
            f"{folder}/codes.npy: wanted {wanted.dtype} {list(wanted.shape)}, got {codes.dtype} {list(codes.shape)}"
        )
    own, learnt = compress.load(folder / "first_compressor")
    first = kinds.load(folder / "first", compressor=own, state=learnt)
    if (first.size, first.dim) != (size, dim):
        raise ValueError(f"{folder}: wanted a first index of [{size}, {dim}], got [{first.size}, {first.dim}]")
    return _opened(first, codes, compressor, state, settings)

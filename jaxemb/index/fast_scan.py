"""Our own four-bit codes, scanned by FAISS in SIMD registers.

FAISS's product quantization of 4 bits looks 16 centres up in one instruction.  Its centres are set by hand here to
those of a compressor, so that its scan gives the scores of that compressor's codes: of BEBR's levels (SDC, its
symmetric distance), of anisotropic, optimized, residual and plain product codes, of int4 and of signs.  What FAISS
rounds are the tables, to 8 bits a query; candidates are therefore scored again, exactly.

Source: Gan et al. 2023, arXiv:2302.08714, sec. 3.5; André et al. 2015, doi:10.14778/2856318.2856324.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from jaxemb import atomic, extras
from jaxemb.index import chosen, described, interface, kept
from jaxemb.index.faiss import everywhere, on_threads, serialized
from jaxemb.index.interface import Hits
from jaxemb.index.tables import Tables, known, look_up, scores, tables
from jaxemb.types import Compressor, Params

BLOCK, ROWS = 32, 8192  # documents that FAISS packs together, and that are coded at a time
TURNS = 20  # of k-means


@dataclass(frozen=True, eq=False, kw_only=True)
class FastScan:
    """FAISS's packed codes, and the codes themselves for exact scores; made by `build` or `load`.

    settings: `lists` (0: every row is scanned), `probes`, `fetch`, `symmetric`, `on_disk`, `training_sample`.
    """

    kind: ClassVar[str] = "fast_scan"
    searching: ClassVar[tuple[str, ...]] = ("probes", "fetch")
    native: Any
    coarse: Any
    tables: Tables
    codes: np.ndarray
    compressor: Compressor
    state: Params
    size: int
    dim: int
    settings: dict[str, Any]

    @property
    def bytes_per_vector(self) -> int:
        """Its packed code, with lists also its row number, and its code once more where that is read again."""
        packed = -(-len(self.tables.centres) // 2) + (8 if self.settings["lists"] else 0)
        read = self.settings["fetch"] or self.tables.factor is not None
        return packed + (self.codes.shape[1] if read or not self.settings["on_disk"] else 0)

    @cached_property
    def resident_bytes(self) -> int:
        """What FAISS holds, counted as it would write it, the codes unless they are on disk, and what was learnt."""
        apart = self.coarse is not None and not self.tables.plain
        held = serialized(self.native) + (serialized(self.coarse) if apart else 0)
        return held + kept.resident_bytes(self.codes) + interface.state_bytes(self.state)

    @property
    def mapped_bytes(self) -> int:
        """Codes that are on disk while it searches."""
        return kept.mapped_bytes(self.codes)

    def search(
        self, query: np.ndarray, k: int, *, probes: int | None = None, fetch: int | None = None, threads: int = 1
    ) -> Hits:
        """The `k` nearest rows of every query, float32 `[b, dim]`; no queries, no hits.

        Scores are the compressor's; with `fetch` of 0, as FAISS rounds them.  Where the lists hold fewer than `k`
        rows, hits end in row -1 with score -inf.  Which of equals are found is FAISS's choice.

        Args:
          probes: lists to look into.
          fetch: candidates that are scored again from their codes, `k` at least; 0 takes FAISS's scores.
          threads: a batch is shared by so many.
        Raises: ValueError for a query of another shape or dtype, NaN or inf in it, `k < 1`, `k > size`,
          a negative `fetch`, and `probes` or `threads` below 1.
        """
        query, k = interface.vectors("search", query, self.dim), interface.depth(k, self.size)
        fetch = self.settings["fetch"] if fetch is None else fetch
        interface.at_least(0, "fast_scan", fetch=fetch)
        if len(query) == 0:
            return interface.nothing(k)
        parts = self.tables.query(query)
        rows, rough = self._scanned(query, parts, min(max(fetch, k), self.size), probes, threads)
        if not fetch:
            found = self.codes[rows] if self.tables.factor is not None else None
            return interface.best(rows, self._scaled(rough, found), k)
        exact = chosen.in_turns(
            lambda one, some: self._exact(one.reshape(len(one), *parts.shape[1:]), some), self.codes
        )
        return interface.best(rows, exact(parts.reshape(len(parts), -1), rows), k)

    def candidates(self, query: np.ndarray, count: int, *, threads: int = 1) -> np.ndarray:
        """Rows `[b, count]` whose codes look best to FAISS, in no order; -1 where there are fewer."""
        return self._scanned(query, self.tables.query(query), min(count, self.size), None, threads)[0]

    def _scanned(
        self, query: np.ndarray, parts: np.ndarray, count: int, probes: int | None, threads: int
    ) -> tuple[np.ndarray, np.ndarray]:
        on_threads(threads)
        flat = np.ascontiguousarray(parts.reshape(len(parts), -1))
        if self.coarse is None:
            return self._filled(parts, *self.native.search(flat, count))
        probes = self.settings["probes"] if probes is None else probes
        interface.at_least(1, "fast_scan", probes=probes)
        probes = min(probes, self.settings["lists"])
        if self.native.nprobe != probes:  # to ask is quicker than to set
            self.native.nprobe = probes
        if self.tables.plain:
            found = self.native.search(flat, count)
        else:
            near, lists = self.coarse.search(query, probes)
            found = self.native.search_preassigned(flat, count, lists, near)
        return self._filled(parts, *found)

    def _filled(self, parts: np.ndarray, found: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and their scores; the first rows for a query that is equally near to all, as one of zeros is.

        FAISS finds none then, for it divides by the range of the tables.
        """
        empty = np.flatnonzero(rows[:, 0] < 0)
        if len(empty):
            looked_up = look_up(self.tables, parts[empty])
            alike = np.ptp(looked_up, axis=2).max(axis=1) == 0
            rows[empty[alike]] = np.arange(rows.shape[1])[None, :]
            found[empty[alike]] = looked_up[alike, :, 0].sum(axis=1)[:, None]
        return rows, found

    def _exact(self, parts: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return scores(self.tables, look_up(self.tables, parts), np.asarray(self.codes).take(rows, axis=0))

    def _scaled(self, rough: np.ndarray, codes: np.ndarray | None) -> np.ndarray:
        whole = rough + np.float32(self.tables.constant)
        if self.tables.factor is None or codes is None:
            return whole
        b, k, c = codes.shape
        return whole * self.tables.factor(codes, self.tables.nibbles(codes.reshape(b * k, c)).reshape(b, k, -1))

    def save(self, folder: Path | str) -> None:
        """Write `index.json`, `codes.npy`, and with lists `lists.npy` and `centres.npy`; nothing in FAISS's format."""
        with atomic.folder(folder, replaces=described.FILE) as unfinished:
            described.write(unfinished, self.kind, self.size, self.dim, self.compressor, self.settings)
            np.save(unfinished / "codes.npy", np.asarray(self.codes), allow_pickle=False)
            if self.coarse is not None:
                np.save(unfinished / "lists.npy", self._lists(), allow_pickle=False)
                centres = self.coarse.reconstruct_n(0, self.settings["lists"])
                np.save(unfinished / "centres.npy", centres, allow_pickle=False)

    def _lists(self) -> np.ndarray:
        """Which list each row is in, as FAISS keeps it."""
        faiss = extras.load("faiss")
        lists, inside = np.zeros(self.size, np.int32), self.native.invlists
        for number in range(self.settings["lists"]):
            lists[faiss.rev_swig_ptr(inside.get_ids(number), inside.list_size(number))] = number
        return lists


def build(
    vectors: np.ndarray,
    *,
    compressor: Compressor,
    state: Params | None = None,
    lists: int = 0,
    probes: int | None = None,
    fetch: int = 100,
    symmetric: bool = False,
    on_disk: bool = False,
    training_sample: int = 100_000,
    threads: int = 0,
) -> FastScan:
    """An index of a compressor's codes, four bits looked up at a time.

    Args:
      vectors: float32 `[n, d]`.
      compressor, state: of codes in nibbles, as `tables.tables` knows them, or a chain that ends in one.  Without a
        state the compressor is fitted on `vectors`.
      lists: parts of the space, by k-means; a query looks into those whose centres have the largest inner products
        with it.  0 scans every row.
      probes: lists that are looked into; a tenth of them by default.
      fetch: candidates that are scored again, exactly, from their codes; 0 leaves it at what FAISS says.
      symmetric: queries are cut to codes, too: SDC.
      on_disk: keep the codes themselves in a file; FAISS's packed ones are in memory all the same.
      training_sample: rows that the compressor learns from, at most, spread evenly.
      threads: for building; 0 takes all cores.
    Raises: ImportError without FAISS; ValueError for no vectors, another shape or dtype, NaN or inf, a compressor that
      has no such codes, more lists than rows, `probes` of none or more than there are lists, and a negative `fetch`.
    """
    faiss = extras.load("faiss")
    vectors = interface.documents("fast_scan", vectors)
    known(compressor)
    if not 0 <= lists <= len(vectors):
        raise ValueError(f"fast_scan: wanted from 0 to as many lists as the {len(vectors)} rows, got {lists}")
    probes = max(1, -(-lists // 10)) if probes is None else probes
    interface.at_least(1, "fast_scan", probes=probes, training_sample=training_sample)
    interface.at_least(0, "fast_scan", fetch=fetch)
    if state is None:
        state = compressor.fit(jnp.asarray(vectors[:: -(-len(vectors) // training_sample)]))
    apply = jax.jit(compressor.apply)
    parts = [np.asarray(apply(state, vectors[at : at + ROWS])) for at in range(0, len(vectors), ROWS)]
    centres = places = None
    if lists:
        on_threads(threads or everywhere())
        means = faiss.Kmeans(vectors.shape[1], lists, niter=TURNS, min_points_per_centroid=1, seed=0)
        means.train(vectors)
        centres = means.centroids
        places = means.index.search(vectors, 1)[1][:, 0]
    settings = {
        "lists": lists,
        "probes": probes,
        "fetch": fetch,
        "symmetric": symmetric,
        "on_disk": on_disk,
        "training_sample": training_sample,
    }
    return _opened(np.concatenate(parts), centres, places, compressor, state, vectors.shape[1], settings)


def load(folder: Path | str, *, compressor: Compressor | None = None, state: Params | None = None) -> FastScan:
    """Read what `FastScan.save` wrote, and pack its codes for FAISS.

    Args:
      compressor, state: those it was made with, as `compress.load` gives them.
    Raises: ImportError without FAISS; FileNotFoundError; ValueError when it was made with another compressor, or the
      arrays are not what the description says.
    """
    folder = Path(folder)
    size, dim, compressor, state, settings = described.read(folder, FastScan.kind, compressor, state)
    codes = kept.read(folder / "codes.npy", settings["on_disk"])
    width = compressor.bytes_per_vector(dim)
    _as_wanted(folder / "codes.npy", codes, np.uint8, (size, width))
    centres = places = None
    if settings["lists"]:
        centres, places = (kept.read(folder / name, False) for name in ("centres.npy", "lists.npy"))
        _as_wanted(folder / "centres.npy", centres, np.float32, (settings["lists"], dim))
        _as_wanted(folder / "lists.npy", places, np.int32, (size,))
        if places.min() < 0 or places.max() >= settings["lists"]:
            raise ValueError(f"{folder}/lists.npy: wanted lists below {settings['lists']}, got up to {places.max()}")
    return _opened(codes, centres, places, compressor, state, dim, settings)


def _as_wanted(path: Path, array: np.ndarray, dtype: type, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{path}: wanted {np.dtype(dtype)} {list(shape)}, got {array.dtype} {list(array.shape)}")


def _opened(
    codes: UInt8[np.ndarray, "n c"],
    centres: Float32[np.ndarray, "l d"] | None,
    places: Int64[np.ndarray, " n"] | np.ndarray | None,
    compressor: Compressor,
    state: Params,
    dim: int,
    settings: dict[str, Any],
) -> FastScan:
    found = tables(compressor, state, symmetric=settings["symmetric"])
    coarse = None
    if centres is not None:
        coarse = extras.load("faiss").IndexFlatIP(dim)
        coarse.add(centres)
    on_disk = settings["on_disk"] and not isinstance(codes, np.memmap)
    return FastScan(
        native=_packed(found, codes, places, coarse),
        coarse=coarse,
        tables=found,
        codes=kept.place(codes, on_disk),
        compressor=compressor,
        state=state,
        size=len(codes),
        dim=dim,
        settings=settings,
    )


def _packed(found: Tables, codes: np.ndarray, places: np.ndarray | None, coarse: Any) -> Any:
    """FAISS's index, its centres set to the compressor's and its codes to what was stored.

    Lists are of the space of the vectors: where queries meet the centres otherwise, FAISS is told a query's lists, and
    its own quantizer is never asked.
    """
    faiss = extras.load("faiss")
    parts, _, each = found.centres.shape
    dim = parts * each
    if places is None:
        plain = faiss.IndexPQ(dim, parts, 4, faiss.METRIC_INNER_PRODUCT)
        _set(plain, found)
        for at in range(0, len(codes), ROWS):
            plain.add_sa_codes(_low_first(found, codes[at : at + ROWS]))
        return faiss.IndexPQFastScan(plain, BLOCK)
    lists, quantizer = coarse.ntotal, coarse
    if not found.plain:
        quantizer = faiss.IndexFlatIP(dim)
        quantizer.add(np.zeros((lists, dim), np.float32))
    plain = faiss.IndexIVFPQ(quantizer, dim, lists, parts, 4, faiss.METRIC_INNER_PRODUCT)
    plain.by_residual = False
    _set(plain, found)
    order = np.argsort(places, kind="stable")
    ends = np.searchsorted(places[order], np.arange(lists + 1))
    for number in range(lists):
        rows = np.ascontiguousarray(order[ends[number] : ends[number + 1]], np.int64)
        if len(rows):
            packed = _low_first(found, codes[rows])
            plain.invlists.add_entries(number, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(packed))
    plain.ntotal = len(codes)
    scanned = faiss.IndexIVFPQFastScan(plain, BLOCK)
    scanned.own_fields = not found.plain  # the other belongs to our index
    if not found.plain:
        quantizer.this.disown()
    return scanned


def _set(plain: Any, found: Tables) -> None:
    faiss = extras.load("faiss")
    faiss.copy_array_to_vector(np.ascontiguousarray(found.centres).ravel(), plain.pq.centroids)
    plain.is_trained = True


def _low_first(found: Tables, codes: np.ndarray) -> np.ndarray:
    """Nibbles two a byte as FAISS has them, the first in the lower half."""
    nibbles = found.nibbles(np.ascontiguousarray(codes))
    if nibbles.shape[1] % 2:
        nibbles = np.pad(nibbles, ((0, 0), (0, 1)))
    return nibbles[:, ::2] | nibbles[:, 1::2] << 4

"""Only the likely documents are scored: ScaNN's tree of partitions, its 4-bit codes, and float32 for the last few.

ScaNN has wheels for Linux up to Python 3.13; elsewhere `exact` answers the same
calls.  Source: Guo et al. 2020, arXiv:1908.10396; the rules of thumb are those of
ScaNN's own page `docs/algorithms.md`.
"""

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxemb import atomic, extras
from jaxemb.compress import identity
from jaxemb.index import described, interface
from jaxemb.index.interface import Hits
from jaxemb.types import Compressor, Params

_one_at_a_time = threading.Lock()
_CHATTER = re.compile(rb"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} \d\d")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep ScaNN's notes on its training off standard error, and let through all else that is written there.

    ScaNN's log goes straight to the descriptor and has no switch.  Its errors come back as exceptions.
    """
    with _one_at_a_time, tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            kept.seek(0)
            for line in kept:
                if not _CHATTER.match(line):
                    os.write(real, line)
            os.close(real)


def _searchers() -> Any:
    return extras.load("scann.scann_ops.py.scann_ops_pybind")


@dataclass(frozen=True, eq=False, kw_only=True)
class Scann:
    """A ScaNN searcher over float vectors; made by `build` or `load`.

    settings: `leaves` (0: no tree, every row is scored exactly), `leaves_to_search`,
      `reorder`, `dims_per_block`, `anisotropic`, `training_sample`.
    """

    kind: ClassVar[str] = "scann"
    searcher: Any
    compressor: Compressor
    state: Params
    size: int
    dim: int
    settings: dict[str, Any]

    @property
    def bytes_per_vector(self) -> int:
        """float32 for the last step; with a tree also two 4-bit codes a byte, and a leaf number."""
        stored = self.compressor.bytes_per_vector(self.dim)
        if not self.settings["leaves"]:
            return stored
        blocks = -(-(stored // 4) // self.settings["dims_per_block"])
        return stored + -(-blocks // 2) + 4

    @property
    def resident_bytes(self) -> int:
        """Bytes of the arrays that ScaNN holds, counted from its format (its C++ side cannot be asked).

        The vectors; with a tree also the leaves' centres in two copies and the codes' own centres.
        The growth of the process is within a few per cent of it at 10^5 rows.
        """
        stored = self.compressor.bytes_per_vector(self.dim)
        centres = (2 * self.settings["leaves"] + 16) * stored if self.settings["leaves"] else 0
        return self.size * self.bytes_per_vector + centres + interface.state_bytes(self.state)

    def search(
        self,
        query: np.ndarray,
        k: int,
        *,
        leaves_to_search: int | None = None,
        reorder: int | None = None,
        threads: int = 1,
    ) -> Hits:
        """The `k` nearest rows that were looked at, for every query, float32 `[b, dim]`; no queries, no hits.

        Among the `k` of a query equal scores are in order of rows; which of equals are
        among them is ScaNN's choice.  Where the searched leaves hold fewer than `k`
        rows, the hits end in row -1 with score -inf.

        Args:
          leaves_to_search: leaves of the tree to look into; `leaves` looks into all.
          reorder: candidates that are scored again in float32, `k` at least.
          threads: a batch is shared by so many.
        Raises: ValueError for a query of another shape or dtype, NaN or inf in it,
          `k < 1`, `k > size`, and a setting below 1.
        """
        query, k = interface.vectors("search", query, self.dim), interface.depth(k, self.size)
        leaves_to_search = self.settings["leaves_to_search"] if leaves_to_search is None else leaves_to_search
        reorder = self.settings["reorder"] if reorder is None else reorder
        _at_least_one(leaves_to_search=leaves_to_search, reorder=reorder, threads=threads)
        if len(query) == 0:
            return Hits(np.zeros((0, k), np.int64), np.zeros((0, k), np.float32))
        settings = (self._stored(query), k, max(reorder, k), min(leaves_to_search, max(self.settings["leaves"], 1)))
        if threads == 1:
            rows, scores = self.searcher.search_batched(*settings)
        else:
            self.searcher.set_num_threads(threads)
            rows, scores = self.searcher.search_batched_parallel(
                *settings, batch_size=min(64, -(-len(query) // threads))
            )
        found = ~np.isnan(scores)  # ScaNN fills up with row 0 and NaN
        rows = np.where(found, rows.astype(np.int64), -1)
        scores = np.where(found, scores, np.float32(-np.inf))
        order = np.lexsort((rows, -scores), axis=1)
        return Hits(np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1))

    @cached_property
    def _apply(self) -> Callable[[np.ndarray], Array]:
        return jax.jit(partial(self.compressor.apply, self.state))

    def _stored(self, query: np.ndarray) -> np.ndarray:
        """The query in the space of what is stored."""
        if self.compressor.name == identity().name:
            return query
        return np.asarray(self._apply(interface.padded(query)))[: len(query)]

    def save(self, folder: Path | str) -> None:
        """Write `index.json` and `assets/` in ScaNN's format, which names no place outside and holds no pickle."""
        with atomic.folder(folder, replaces=described.FILE) as unfinished:
            described.write(unfinished, self.kind, self.size, self.dim, self.compressor, self.settings)
            (unfinished / "assets").mkdir()
            with _quiet():
                self.searcher.serialize(str(unfinished / "assets"), relative_path=True)


def _at_least_one(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"scann: wanted {name} of 1 or more, got {value}")


def build(
    vectors: np.ndarray,
    *,
    compressor: Compressor | None = None,
    state: Params | None = None,
    leaves: int | None = None,
    leaves_to_search: int | None = None,
    reorder: int = 100,
    dims_per_block: int = 2,
    anisotropic: float = 0.2,
    training_sample: int = 100_000,
    threads: int = 0,
) -> Scann:
    """An index that looks only where a query's nearest documents are likely to be.

    Scores are inner products in float32, so `vectors` should be of unit length.  The
    same vectors and settings give the same index, byte for byte, on one kind of
    machine: the tree starts from k-means++ with ScaNN's fixed seed, not from its
    default, which differs from run to run.

    Args:
      vectors: float32 `[n, d]`, copied.
      compressor, state: stored float vectors, `identity` or `truncate`; codes cannot be put into ScaNN.
      leaves: parts of the tree; 0 scores every row exactly, without tree or codes.  By
        default `sqrt(n)`, and 0 below 1,000 rows, where that is as quick.
      leaves_to_search: half of the leaves by default, but no more than 50 nor fewer than a tenth of them.
      reorder: best candidates by their codes that are scored again in float32.
      dims_per_block: dimensions that share one 4-bit code.
      anisotropic: how much an error along the vector weighs more than one across it; ScaNN's threshold `T`.
      training_sample: rows that tree and codes learn from, at most.
      threads: for building; 0 takes all cores.
    Raises: ImportError without ScaNN; ValueError for no vectors, another shape or dtype, NaN
      or inf, more leaves than rows, settings below 1, and compressors whose codes are no floats.
    """
    searchers = _searchers()
    vectors = interface.documents("scann", vectors)
    compressor = compressor or identity()
    state = compressor.fit(jnp.asarray(vectors)) if state is None else state
    stored = np.asarray(compressor.apply(state, jnp.asarray(vectors)))
    if stored.dtype != np.float32:
        raise ValueError(
            f"scann: wanted a compressor that stores float32 vectors, which ScaNN makes its own codes from; "
            f"{compressor.name} stores {stored.dtype}, which kind 'exact' can search"
        )
    n = len(stored)
    if leaves is None:
        leaves = round(n**0.5) if n >= 1000 else 0
    if not 0 <= leaves <= n:
        raise ValueError(f"scann: wanted from 0 to as many leaves as the {n} rows, got {leaves}")
    if leaves_to_search is None:
        leaves_to_search = max(1, -(-leaves // 10), min(50, -(-leaves // 2)))
    _at_least_one(
        leaves_to_search=leaves_to_search,
        reorder=reorder,
        dims_per_block=dims_per_block,
        training_sample=training_sample,
    )
    plan = searchers.builder(stored, 10, "dot_product").set_n_training_threads(threads)
    if leaves == 0:
        plan = plan.score_brute_force()
    else:
        plan = plan.tree(leaves, leaves_to_search, training_sample_size=min(training_sample, n), random_init=False)
        plan = plan.score_ah(dims_per_block, anisotropic, training_sample_size=min(training_sample, n))
        plan = plan.reorder(reorder)
    with _quiet():
        searcher = plan.build()
    settings = {
        "leaves": leaves,
        "leaves_to_search": leaves_to_search,
        "reorder": reorder,
        "dims_per_block": dims_per_block,
        "anisotropic": anisotropic,
        "training_sample": training_sample,
    }
    return Scann(searcher=searcher, compressor=compressor, state=state, size=n, dim=vectors.shape[1], settings=settings)


def load(folder: Path | str, *, compressor: Compressor | None = None, state: Params | None = None) -> Scann:
    """Read what `Scann.save` wrote, wherever it has been moved to.

    Args:
      compressor, state: those it was made with, as `compress.load` gives them; none for float32.
    Raises: ImportError without ScaNN; FileNotFoundError; ValueError when it was made with
      another compressor, names files outside its folder, or holds a pickle of document ids.
    """
    searchers = _searchers()
    size, dim, compressor, state, settings = described.read(folder, Scann.kind, compressor, state)
    assets = Path(folder) / "assets"
    # ScaNN would load it without being asked, and loading a pickle runs what is in it.
    if (assets / "scann_docids.pkl").exists():
        raise ValueError(f"{assets}/scann_docids.pkl: pickles are never loaded; make the index with jaxemb")
    listing = assets / "scann_assets.pbtxt"
    if not listing.is_file():
        raise FileNotFoundError(f"{listing}: not there")
    for name in re.findall(r'asset_path:\s*"(.*)"', listing.read_text()):
        if Path(name).name != name or not (assets / name).is_file():
            raise ValueError(f"{listing}: wanted the name of a file beside it, got {name}")
    with _quiet():
        searcher = searchers.load_searcher(str(assets), assets_backcompat_shim=False)
    return Scann(searcher=searcher, compressor=compressor, state=state, size=size, dim=dim, settings=settings)

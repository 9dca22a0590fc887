"""Only the likely documents are scored: ScaNN's tree of partitions, its 4-bit codes, and float32 for the last few.

ScaNN has wheels for Linux up to Python 3.13; elsewhere `exact` answers the same
calls.  Source: Guo et al. 2020, arXiv:1908.10396; the rules of thumb are those of
ScaNN's own page `docs/algorithms.md`.
"""

import re
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
from jaxemb.index.quiet import quiet
from jaxemb.types import Compressor, Params

# ScaNN's notes on its training; its errors come back as exceptions.
_quiet = partial(quiet, re.compile(rb"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} \d\d"))
STORED = {"float32": 4, "bfloat16": 2, "int8": 1, "nothing": 0}
"""What vectors can be kept as for the last step, and the bytes of a number."""


def _scann(module: str) -> Any:
    return extras.load(f"scann.scann_ops.py.{module}")


def _searchers() -> Any:
    return _scann("scann_ops_pybind")


@dataclass(frozen=True, eq=False, kw_only=True)
class Scann:
    """A ScaNN searcher over float vectors; made by `build` or `load`.

    settings: `leaves` (0: no tree, every row is scored as it is stored), `leaves_to_search`, `reorder`,
      `dims_per_block`, `anisotropic`, `training_sample`, `soar`, `stored`.
    """

    kind: ClassVar[str] = "scann"
    searching: ClassVar[tuple[str, ...]] = ("leaves_to_search", "reorder")
    searcher: Any
    compressor: Compressor
    state: Params
    code: Callable[[np.ndarray], np.ndarray]
    size: int
    dim: int
    settings: dict[str, Any]

    @property
    def bytes_per_vector(self) -> int:
        """A number a dimension for the last step; with a tree also two 4-bit codes a byte, and a leaf number.

        With SOAR codes and leaf number are there twice.
        """
        dim = self.compressor.bytes_per_vector(self.dim) // 4
        stored = dim * STORED[self.settings["stored"]]
        if not self.settings["leaves"]:
            return stored
        blocks = -(-dim // self.settings["dims_per_block"])
        return stored + (-(-blocks // 2) + 4) * (2 if self.settings["soar"] else 1)

    @property
    def resident_bytes(self) -> int:
        """Bytes of the arrays that ScaNN holds, counted from its format (its C++ side cannot be asked).

        The vectors; with a tree also the leaves' centres in two copies and the codes' own centres.
        The growth of the process is within a few per cent of it at 10^5 rows.
        """
        wide = self.compressor.bytes_per_vector(self.dim)
        centres = (2 * self.settings["leaves"] + 16) * wide if self.settings["leaves"] else 0
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
          reorder: candidates that are scored again, `k` at least, by what is stored for it.
          threads: a batch is shared by so many.
        Raises: ValueError for a query of another shape or dtype, NaN or inf in it,
          `k < 1`, `k > size`, and a setting below 1.
        """
        query, k = interface.vectors("search", query, self.dim), interface.depth(k, self.size)
        leaves_to_search = self.settings["leaves_to_search"] if leaves_to_search is None else leaves_to_search
        reorder = self.settings["reorder"] if reorder is None else reorder
        _at_least_one(leaves_to_search=leaves_to_search, reorder=reorder, threads=threads)
        if len(query) == 0:
            return interface.nothing(k)
        leaves = self.settings["leaves"]
        # Without a tree these two must not be given: over int8 the process would end.
        looked_at = (max(reorder, k), min(leaves_to_search, leaves)) if leaves else (-1, -1)
        settings = (self.code(query), k, *looked_at)
        if len(query) == 1:
            rows, scores = (found[None, :] for found in self.searcher.search(settings[0][0], *settings[1:]))
        elif threads == 1:
            rows, scores = self.searcher.search_batched(*settings)
        else:
            self.searcher.set_num_threads(threads)
            rows, scores = self.searcher.search_batched_parallel(
                *settings, batch_size=min(64, -(-len(query) // threads))
            )
        # ScaNN fills up with row 0 and NaN.
        return interface.best(np.where(np.isnan(scores), -1, rows.astype(np.int64)), scores, k)

    def save(self, folder: Path | str) -> None:
        """Write `index.json` and `assets/` in ScaNN's format, which names no place outside and holds no pickle."""
        with atomic.folder(folder, replaces=described.FILE) as unfinished:
            described.write(unfinished, self.kind, self.size, self.dim, self.compressor, self.settings)
            (unfinished / "assets").mkdir()
            with _quiet():
                self.searcher.serialize(str(unfinished / "assets"), relative_path=True)


_at_least_one = partial(interface.at_least, 1, "scann")


def build(
    vectors: np.ndarray,
    *,
    compressor: Compressor | None = None,
    state: Params | None = None,
    leaves: int | str | None = None,
    leaves_to_search: int | None = None,
    reorder: int = 100,
    dims_per_block: int = 2,
    anisotropic: float = 0.2,
    training_sample: int = 100_000,
    soar: float = 0.0,
    stored: str = "float32",
    threads: int = 0,
) -> Scann:
    """An index that looks only where a query's nearest documents are likely to be.

    Scores are inner products with what is `stored`, so `vectors` should be of unit length.  The
    same vectors and settings give the same index, byte for byte, on one kind of
    machine: the tree starts from k-means++ with ScaNN's fixed seed, not from its
    default, which differs from run to run.

    Args:
      vectors: float32 `[n, d]`, copied.
      compressor, state: stored float vectors, `identity` or `truncate`; codes cannot be put into ScaNN.
      leaves: parts of the tree; 0 scores every row exactly, without tree or codes.  By
        default `sqrt(n)`, and 0 below 1,000 rows, where that is as quick.  `autopilot` leaves these and all that
        follows but `stored` to ScaNN; the settings then say what it chose.
      leaves_to_search: half of the leaves by default, but no more than 50 nor fewer than a tenth of them.
      reorder: best candidates by their codes that are scored again.
      dims_per_block: dimensions that share one 4-bit code.
      anisotropic: how much an error along the vector weighs more than one across it; ScaNN's threshold `T`.
      training_sample: rows that tree and codes learn from, at most.
      soar: above 0, every row is put into a second leaf, too, one whose error is at right angles to the first one's, so
        that fewer leaves need be searched; this is the weight of that angle, 1.5 in the paper (Sun et al. 2023,
        arXiv:2404.00774).  Codes take twice as many bytes.
      stored: what is kept for the last step, `float32`, `bfloat16` or `int8`; `nothing` leaves scores as the codes say,
        for a second step elsewhere (`index.rescored`).
      threads: for building; 0 takes all cores.
    Raises: ImportError without ScaNN; ValueError for no vectors, another shape or dtype, NaN
      or inf, more leaves than rows, settings below 1, SOAR without leaves, an unknown `stored`,
      and compressors whose codes are no floats.
    """
    searchers = _searchers()
    vectors = interface.documents("scann", vectors)
    compressor = compressor or identity()
    state = compressor.fit(jnp.asarray(vectors)) if state is None else state
    rows = np.asarray(compressor.apply(state, jnp.asarray(vectors)))
    if rows.dtype != np.float32:
        raise ValueError(
            f"scann: wanted a compressor that stores float32 vectors, which ScaNN makes its own codes from; "
            f"{compressor.name} stores {rows.dtype}, which kind 'exact' can search"
        )
    if stored not in STORED:
        raise ValueError(f"scann: wanted stored to be one of {', '.join(STORED)}, got {stored!r}")
    n = len(rows)
    if leaves == "autopilot":
        return _autopilot(rows, stored, threads, (compressor, state, vectors.shape[1]))
    if isinstance(leaves, str):
        raise ValueError(f"scann: wanted a number of leaves or autopilot, got {leaves!r}")
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
    if soar < 0 or (soar and leaves < 2):
        raise ValueError(f"scann: wanted soar of 0, or more with 2 leaves or more, got {soar} with {leaves}")
    if stored == "nothing" and not leaves:
        raise ValueError("scann: wanted leaves where nothing but codes is stored, got 0")
    kept = None if stored == "nothing" else _scann("scann_builder").ReorderType[stored.upper()]
    plan = searchers.builder(rows, 10, "dot_product").set_n_training_threads(threads)
    if leaves == 0:
        plan = plan.score_brute_force(kept)
    else:
        spilled = {"soar_lambda": soar} if soar else {}
        sample = min(training_sample, n)
        plan = plan.tree(leaves, leaves_to_search, training_sample_size=sample, random_init=False, **spilled)
        plan = plan.score_ah(dims_per_block, anisotropic, training_sample_size=sample)
        plan = plan if kept is None else plan.reorder(reorder, kept)
    with _quiet():
        searcher = plan.build()
    settings = {
        "leaves": leaves,
        "leaves_to_search": leaves_to_search,
        "reorder": reorder,
        "dims_per_block": dims_per_block,
        "anisotropic": anisotropic,
        "training_sample": training_sample,
        "soar": soar,
        "stored": stored,
    }
    return _opened(searcher, compressor, state, n, vectors.shape[1], settings)


def _autopilot(rows: np.ndarray, stored: str, threads: int, given: tuple[Compressor, Params, int]) -> Scann:
    compressor, state, dim = given
    if stored == "nothing":
        raise ValueError("scann: wanted autopilot with stored vectors, got stored='nothing'")
    kept = _scann("scann_builder").ReorderType[stored.upper()]
    plan = _searchers().builder(rows, 10, "dot_product").set_n_training_threads(threads)
    with _quiet():
        searcher = plan.autopilot(quantize=kept).build()
    told = searcher.config()

    def chosen(name: str, otherwise: int) -> int:
        found = re.search(rf"\b{name}: (\d+)", told)
        return int(found[1]) if found else otherwise

    settings = {
        "leaves": chosen("num_children", 0),
        "leaves_to_search": chosen("max_spill_centers", 1),
        "reorder": chosen("approx_num_neighbors", 1),
        "dims_per_block": chosen("num_dims_per_block", 1),
        "anisotropic": float(found[1]) if (found := re.search(r"noise_shaping_threshold: ([\d.]+)", told)) else 0.0,
        "training_sample": chosen("expected_sample_size", len(rows)),
        "soar": 0.0,
        "stored": stored,
        "autopilot": True,
    }
    return _opened(searcher, compressor, state, len(rows), dim, settings)


def _opened(
    searcher: Any, compressor: Compressor, state: Params, size: int, dim: int, settings: dict[str, Any]
) -> Scann:
    code = interface.coder(compressor, state)
    return Scann(
        searcher=searcher, compressor=compressor, state=state, code=code, size=size, dim=dim, settings=settings
    )


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
    return _opened(searcher, compressor, state, size, dim, {"soar": 0.0, "stored": "float32", **settings})

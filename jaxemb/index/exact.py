"""Every document is scored, in JAX, on one device or on all of a mesh."""

import warnings
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Shaped

from jaxemb import atomic
from jaxemb.compress import identity
from jaxemb.index import described, interface
from jaxemb.index.interface import Hits
from jaxemb.index.products import Score, scored
from jaxemb.types import Compressor, Params

QUERIES = 256  # at once; more go in turns


def _best(scores: Float[Array, "b n"], rows: Int[Array, "b n"], k: int) -> tuple[Array, Array]:
    """The best `k` of each query; `lax.top_k` takes the earlier of equals, and earlier is the lower row."""
    scores, at = lax.top_k(scores, k)
    return scores, jnp.take_along_axis(rows, at, axis=1)


def _scan(
    score: Score, block: int, k: int, state: Params, query: Array, codes: Array, first: Array, size: int
) -> tuple[Array, Array]:
    """The best `k` among these codes, whose first row is `first`; scores of one block exist at a time."""
    n, b = codes.shape[0], query.shape[0]
    block = min(block, n)

    def step(best: tuple[Array, Array], turn: Array) -> tuple[tuple[Array, Array], None]:
        # The last block starts early enough to be whole: what it shares with the one before is masked.
        start = jnp.minimum(turn * block, n - block)
        scores = score(state, query, lax.dynamic_slice_in_dim(codes, start, block))
        local = start + jnp.arange(block, dtype=jnp.int32)
        fresh = (local >= turn * block) & (first + local < size)
        scores = jnp.where(scores == 0, 0, scores)  # -0.0 sorts below 0.0, and would break a tie
        scores = jnp.where(fresh[None, :], scores, -jnp.inf)
        rows = jnp.broadcast_to((first + local)[None, :], scores.shape)
        here = _best(scores, rows, min(k, block))
        both_scores, both_rows = (jnp.concatenate(pair, axis=1) for pair in zip(best, here, strict=True))
        return _best(both_scores, both_rows, k), None

    nothing = jnp.full((b, k), -jnp.inf, jnp.float32), jnp.full((b, k), -1, jnp.int32)
    return lax.scan(step, nothing, jnp.arange(-(-n // block), dtype=jnp.int32))[0]


@partial(jax.jit, static_argnames=("score", "block", "k", "size", "mesh"))
def _nearest(
    score: Score,
    block: int,
    k: int,
    size: int,
    mesh: Mesh,
    state: Params,
    query: Float[Array, "b d"],
    codes: Shaped[Array, "n c"],
) -> tuple[Float[Array, "b k"], Int[Array, "b k"]]:
    def on_one(state: Params, query: Array, codes: Array) -> tuple[Array, Array]:
        first = lax.axis_index("rows") * codes.shape[0]
        return _scan(score, block, k, state, query, codes, first, size)

    everywhere, by_rows, side_by_side = PartitionSpec(), PartitionSpec("rows"), PartitionSpec(None, "rows")
    each = jax.shard_map(
        on_one,
        mesh=mesh,
        in_specs=(everywhere, everywhere, by_rows),
        out_specs=(side_by_side, side_by_side),
        check_vma=False,  # the scan starts from constants, which are alike on all devices, and ends with what is not
    )
    scores, rows = each(state, query, codes)
    # Devices hold rows in order, so the earlier of equals is the lower row here too.
    return _best(scores, rows, k)


@dataclass(frozen=True, eq=False, kw_only=True)
class Exact:
    """All codes on the devices of a mesh, rows spread over them; made by `build` or `load`.

    codes: `[m, c]`; the rows after the first `size` are padding, so that every device has as many.
    block: documents scored at a time on each device.
    products: what numbers are multiplied as.
    """

    kind: ClassVar[str] = "exact"
    compressor: Compressor
    state: Params
    codes: Shaped[Array, "m c"]
    size: int
    dim: int
    block: int
    mesh: Mesh
    products: str = "float32"

    @property
    def settings(self) -> dict[str, Any]:
        """How it searches."""
        return {"block": self.block, "devices": self.mesh.size, "products": self.products}

    @cached_property
    def _score(self) -> Score:
        return scored(self.compressor, self.products)

    @property
    def bytes_per_vector(self) -> int:
        """A code."""
        return self.compressor.bytes_per_vector(self.dim)

    @property
    def resident_bytes(self) -> int:
        """Codes, padding and what the compressor learnt (once, though each device has a copy)."""
        return self.codes.nbytes + interface.state_bytes(self.state)

    def search(self, query: np.ndarray, k: int) -> Hits:
        """The `k` nearest rows of every query, float32 `[b, dim]`; no queries, no hits.

        Scores are the compressor's asymmetric ones, in full float32 on every device unless `products` says otherwise.

        Raises: ValueError for a query of another shape or dtype, NaN or inf in it,
          `k < 1`, `k > size`, and scores too large for float32.
        """
        query, k = interface.vectors("search", query, self.dim), interface.depth(k, self.size)
        turns = [self._turn(query[at : at + QUERIES], k) for at in range(0, len(query), QUERIES)]
        nothing = np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
        scores, rows = (np.concatenate(parts) for parts in zip(nothing, *turns, strict=True))
        if not np.isfinite(scores).all():
            raise ValueError("search: scores are beyond float32; scale the vectors down")
        return Hits(rows, scores)

    def _turn(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        b, padded = len(query), interface.padded(query)
        # Accelerators round the factors of a product by default; then this index would not be exact.
        with jax.default_matmul_precision("highest"):
            scores, rows = _nearest(self._score, self.block, k, self.size, self.mesh, self.state, padded, self.codes)
        return np.asarray(scores)[:b], np.asarray(rows)[:b].astype(np.int64)

    def save(self, folder: Path | str) -> None:
        """Write `index.json` and `codes.npy`; the compressor is written by `compress.save`."""
        with atomic.folder(folder, replaces=described.FILE) as partial_folder:
            settings = {"block": self.block, "products": self.products}
            described.write(partial_folder, self.kind, self.size, self.dim, self.compressor, settings)
            np.save(partial_folder / "codes.npy", np.asarray(self.codes)[: self.size], allow_pickle=False)


def _place(
    codes: np.ndarray, compressor: Compressor, state: Params, dim: int, block: int, mesh: Mesh | None, products: str
) -> Exact:
    scored(compressor, products)  # which refuses what it cannot
    if products == "int8" and jax.default_backend() == "cpu":
        warnings.warn("exact: products of int8 are slow on CPUs; float32 is quicker there", stacklevel=3)
    if block < 1:
        raise ValueError(f"exact: wanted a block of 1 document or more, got {block}")
    devices = jax.local_devices()[:1] if mesh is None else list(mesh.devices.flat)
    flat = Mesh(np.array(devices), ("rows",))  # one axis, and Auto, whatever the caller's mesh is
    size, rest = len(codes), -len(codes) % len(devices)
    if rest:
        codes = np.concatenate([codes, np.zeros((rest, codes.shape[1]), codes.dtype)])
    placed = jax.device_put(codes, NamedSharding(flat, PartitionSpec("rows")))
    copies = jax.device_put(state, NamedSharding(flat, PartitionSpec()))
    return Exact(
        compressor=compressor,
        state=copies,
        codes=placed,
        size=size,
        dim=dim,
        block=block,
        mesh=flat,
        products=products,
    )


def build(
    vectors: np.ndarray,
    *,
    compressor: Compressor | None = None,
    state: Params | None = None,
    block: int = 2048,
    mesh: Mesh | None = None,
    products: str = "float32",
) -> Exact:
    """An index that compares each query with every document.

    >>> found = build(np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)).search(np.array([[0.0, 1.0]], np.float32), 2)
    >>> print(found.rows, found.scores)
    [[1 0]] [[0.8 0. ]]

    Args:
      vectors: float32 `[n, d]`, copied.  Scores are inner products: unit length makes them cosines.
      compressor, state: what is stored for a vector; float32 as it is by default.  Without
        a state the compressor is fitted on all of `vectors`.
      block: documents scored at a time on each device: 256 queries x `block` scores are the most that exist at once.
        The default keeps a block in a CPU's cache; an accelerator wants it larger.
      mesh: its devices share the documents; JAX's first device has all of them by default.
      products: `float32`; `bfloat16`, which rounds the query (and float32 vectors while they are scored) to 8 bits and
        sums in float32; `int8`, which rounds the query, too, and multiplies whole numbers.  The last two are for
        accelerators; on CPUs bfloat16 is up to twice as fast and int8 slow.
    Raises: ValueError for no vectors, another shape or dtype, NaN or inf, and products that the compressor's codes
      have not: `bfloat16` takes `float32`, `truncate` and `int8`, `int8` takes `int8`.
    """
    vectors = interface.documents("exact", vectors)
    compressor = compressor or identity()
    scored(compressor, products)
    state = compressor.fit(jnp.asarray(vectors)) if state is None else state
    parts = [
        np.asarray(compressor.apply(state, jnp.asarray(vectors[at : at + block])))
        for at in range(0, len(vectors), max(block, 1))
    ]
    return _place(np.concatenate(parts), compressor, state, vectors.shape[1], block, mesh, products)


def load(
    folder: Path | str,
    *,
    compressor: Compressor | None = None,
    state: Params | None = None,
    block: int | None = None,
    mesh: Mesh | None = None,
) -> Exact:
    """Read what `Exact.save` wrote.

    Args:
      compressor, state: those it was made with, as `compress.load` gives them; none for float32.
      block, mesh: as in `build`; the block it was made with by default.
    Raises: FileNotFoundError; ValueError when it was made with another compressor, or
      the codes are not what the description says.
    """
    folder = Path(folder)
    size, dim, compressor, state, settings = described.read(folder, Exact.kind, compressor, state)
    codes = np.load(folder / "codes.npy", allow_pickle=False)
    wanted = jax.eval_shape(compressor.apply, state, jax.ShapeDtypeStruct((size, dim), jnp.float32))
    if (codes.shape, codes.dtype) != (wanted.shape, wanted.dtype):
        raise ValueError(
            f"{folder}/codes.npy: wanted {wanted.dtype} {list(wanted.shape)}, got {codes.dtype} {list(codes.shape)}"
        )
    products = settings.get("products", "float32")  # indexes of earlier versions have no other
    return _place(codes, compressor, state, dim, settings["block"] if block is None else block, mesh, products)

"""Searches as other libraries do them, to be measured as rows beside ours."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from jaxemb import extras
from jaxemb.harness.measure import System

PRECISIONS = ("int8", "uint8", "ubinary")
Rows = Float32[np.ndarray, "n d"]


def sentence_transformers(
    document: Rows,
    precision: str,
    *,
    rescore: bool,
    multiplier: int = 2,
    config: Mapping[str, Any] | None = None,
) -> System:
    """Codes and scores as `sentence_transformers` makes them (`quantize_embeddings`, `semantic_search_usearch` for
    `int8`, `semantic_search_faiss` for the others), exhaustive, in the library that it would use.

    int8, uint8: `floor((x - low) / step)` in 256 steps between a dimension's least and greatest value, of the query as
    of the documents, here between those of the documents.  Codes are ranked by the product of the codes themselves,
    steps and lows left out.  ubinary: signs, ranked by Hamming distance.

    With `rescore`, `multiplier * k` are fetched and ranked by the product of the float query with the decoded codes
    (the lower end of each step; 0 and 1 for bits).

    Raises: ImportError without the library; ValueError for another precision.
    Source: sentence-transformers 6.2, `util/quantization.py`; the tests compare with it.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"sentence_transformers: wanted a precision of {', '.join(PRECISIONS)}, got {precision!r}")
    low, step = _ranges(document)
    codes = _coded(document, precision, low, step)
    find = _nearest(codes, precision)

    def search(query: Rows, k: int) -> tuple[np.ndarray, np.ndarray]:
        rows, scores = find(_coded(query, precision, low, step), min(k * multiplier, len(codes)) if rescore else k)
        if not rescore:
            return rows, scores
        near = _decoded(codes[rows], precision, low, step, query.shape[1])
        scores = np.einsum("bd,bkd->bk", query, near)
        order = np.argsort(-scores, axis=1)[:, :k]
        return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1).astype(np.float32)

    stored = codes.nbytes
    return System(
        name=f"sentence-transformers {precision}" + (" rescored" if rescore else ""),
        config={**(config or {}), "precision": precision, "rescore": rescore, "multiplier": multiplier},
        search=search,
        bytes_per_vector=codes.shape[1],
        disk_bytes=stored,
        resident_bytes=stored * (4 if precision == "uint8" else 1) + low.nbytes + step.nbytes,  # FAISS keeps floats
    )


def _ranges(document: Rows) -> tuple[np.ndarray, np.ndarray]:
    low, high = document.min(axis=0), document.max(axis=0)
    step = (high - low) / np.float32(255)
    return low, np.where(step == 0, np.float32(1), step)


def _coded(rows: Rows, precision: str, low: np.ndarray, step: np.ndarray) -> np.ndarray:
    if precision == "ubinary":
        return np.packbits(rows > 0, axis=-1)
    levels = np.clip(np.floor((rows - low[None, :]) / step[None, :]), 0, 255)
    return levels.astype(np.uint8) if precision == "uint8" else (levels - 128).astype(np.int8)


def _decoded(codes: np.ndarray, precision: str, low: np.ndarray, step: np.ndarray, dim: int) -> np.ndarray:
    if precision == "ubinary":
        return np.unpackbits(codes, axis=-1)[:, :, :dim].astype(np.int64)
    levels = codes.astype(np.float64) + (128 if precision == "int8" else 0)
    return levels * step[None, None, :] + low[None, None, :]


def _nearest(codes: np.ndarray, precision: str) -> Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]:
    """Exhaustive search in the library that sentence-transformers would use."""
    if precision == "int8":
        index = extras.load("usearch.index").Index(ndim=codes.shape[1], metric="ip", dtype="i8")
        index.add(np.arange(len(codes), dtype=np.uint64), codes)

        def by_product(query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            found = index.search(query, k, exact=True, threads=1)
            return np.atleast_2d(found.keys).astype(np.int64), -np.atleast_2d(found.distances).astype(np.float32)

        return by_product
    faiss = extras.load("faiss")
    if precision == "uint8":
        flat = faiss.IndexFlatIP(codes.shape[1])
        flat.add(codes.astype(np.float32))

        def by_levels(query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            scores, rows = flat.search(query.astype(np.float32), k)
            return rows, scores

        return by_levels
    bits = faiss.IndexBinaryFlat(8 * codes.shape[1])
    bits.add(codes)

    def by_bits(query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        apart, rows = bits.search(query, k)
        return rows, -apart.astype(np.float32)

    return by_bits

"""One way to keep vectors and to look among them, as plain data; and the ways that are worth trying."""

import functools
import hashlib
import importlib.util
import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from jaxemb import compress, index
from jaxemb.index.rescored import Rescored

_by_name = functools.lru_cache(maxsize=256)(compress.by_name)
"""One compressor a name, so that what JAX compiled for it is found again by the next index of the same shape."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A compressor, an index and their settings; `rescored` makes those that look twice.

    kind: of index, as `index.build` knows it.
    compressor: its name, as `compress.by_name` reads it: size and bits.
    settings: what the index is built with.
    search: what it is searched with, as `index.tuned` takes it; the same index serves several of them.  Of an index
      that looks twice, `first` in it is that of the first.

    Raises: ValueError for settings that JSON cannot hold.
    """

    kind: str = "exact"
    compressor: str = "float32"
    settings: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            json.dumps(self.plain, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"pipeline {self.kind}, {self.compressor}: the settings must be plain JSON: {error}"
            ) from error

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON; `Pipeline(**plain)` is the same again."""
        return asdict(self)

    @property
    def label(self) -> str:
        """What tables call it: compressor, kind and settings, as far as they are not the plainest.

        >>> print(Pipeline(compressor="int8").label, "|", Pipeline(kind="scann", search={"reorder": 50}).label)
        int8 | float32, scann, reorder=50
        """
        settings = self.whole
        first = settings.pop("first", None)
        shown = [f"{name}={value}" for name, value in settings.items()]
        if first is not None:
            first = dict(first)
            before = Pipeline(
                kind=first.pop("kind", "exact"), compressor=first.pop("compressor", None) or "float32", settings=first
            )
            return ", ".join([f"{before.label} > {self.compressor}", *shown])
        return ", ".join([self.compressor, *([] if self.kind == "exact" else [self.kind]), *shown])

    @property
    def group(self) -> str:
        """The kind of index, with `rescored` behind it where there is a second look."""
        first = self.settings.get("first")
        return f"{first.get('kind', 'exact')}, rescored" if first is not None else self.kind

    def key(self, *others: Any) -> str:
        """Twelve hex digits that change with any setting, or with what else is given."""
        return hashlib.sha256(json.dumps([self.plain, *others], sort_keys=True, default=str).encode()).hexdigest()[:12]

    @property
    def untuned(self) -> "Pipeline":
        """Without what the same index could be searched with otherwise."""
        return Pipeline(kind=self.kind, compressor=self.compressor, settings=self.settings)

    def built(self, vectors: Float32[np.ndarray, "n d"]) -> index.Index:
        """The index of these vectors.  Raises: what compressor and kind raise."""
        made = index.build(self.kind, vectors, compressor=_by_name(self.compressor), **self.settings)
        return self.tuned(made)

    def tuned(self, made: index.Index) -> index.Index:
        """An index that is built, searched as this says."""
        own = {name: value for name, value in self.search.items() if name != "first"}
        if own:
            made = index.tuned(made, **own)
        if "first" in self.search and isinstance(made, Rescored):
            settings = {**made.settings, "first": {**made.settings["first"], **self.search["first"]}}
            made = replace(made, first=index.tuned(made.first, **self.search["first"]), settings=settings)
        return made

    @property
    def whole(self) -> dict[str, Any]:
        """Settings of building and of searching, as `index.build` takes them together."""
        first = {**self.settings.get("first", {}), **self.search.get("first", {})}
        return {**self.settings, **self.search, **({"first": first} if first else {})}

    def least_bytes(self, dim: int) -> int:
        """What a vector takes at least, known before anything is built: its codes."""
        first = self.settings.get("first")
        before = _by_name(first.get("compressor") or "float32").bytes_per_vector(dim) if first else 0
        packed = self.kind in (
            "scann",
            "faiss",
            "usearch",
        )  # they keep floats in a form of their own, which may be smaller
        return before if packed else before + _by_name(self.compressor).bytes_per_vector(dim)


def rescored(first: Pipeline, compressor: str = "int8", *, fetch: int = 100, on_disk: bool = False) -> Pipeline:
    """Take the best `fetch` of one pipeline and order them by the codes of a second compressor.

    >>> print(rescored(Pipeline(compressor="bits"), fetch=40).label)
    bits > int8, fetch=40

    Args:
      on_disk: the second codes stay on disk.
    """
    said = {"kind": first.kind, "compressor": first.compressor, **first.settings}
    settings = {"first": said, **({"on_disk": True} if on_disk else {})}
    search = {"fetch": fetch, **({"first": dict(first.search)} if first.search else {})}
    return Pipeline(kind="rescored", compressor=compressor, settings=settings, search=search)


def codes(dim: int) -> list[Pipeline]:
    """Every document scored by its codes, from 4 bytes a dimension to less than a bit."""
    half, quarter = dim // 2, dim // 4
    names = ["float32", "int8", "int6", "rabitq-4", "int4-0.01", "rabitq-2", "rabitq-1", "bits"]
    names += [f"pca-{size}+int8" for size in (3 * dim // 4, half, quarter, dim // 8) if size >= 8]
    names += [f"pca-{half}+rabitq-4"] if half >= 8 else []
    names += [f"truncate-{size}+int8" for size in (half, quarter) if size >= 8]
    names += [f"opq-{parts}x8" for parts in (half, quarter, dim // 8) if parts >= 4 and dim % parts == 0]
    return [Pipeline(compressor=name) for name in dict.fromkeys(names)]


SHARES = (0.03, 0.045, 0.065, 0.1, 0.15, 0.25)
"""Of leaves or lists that are searched: one index serves all of them."""


def _scann(leaves: int, dim: int) -> list[Pipeline]:
    kept = [{}, {"stored": "int8"}] if _takes("scann", "stored") else [{}]
    shares = SHARES
    return [
        Pipeline(
            kind="scann", settings=settings, search={"leaves_to_search": max(1, round(share * leaves)), "reorder": 100}
        )
        for settings in kept
        for share in shares
    ]


def _fast_scan(leaves: int, dim: int) -> list[Pipeline]:
    if dim % 2:
        return []
    code = f"aniso-{dim // 2}x4x0.2"
    whole = Pipeline(kind="fast_scan", compressor=code, search={"fetch": 0})
    parts = [
        Pipeline(
            kind="fast_scan",
            compressor=code,
            settings={"lists": leaves},
            search={"probes": max(1, round(share * leaves)), "fetch": 0},
        )
        for share in SHARES
    ]
    return [whole, *(rescored(one, "int8") for one in (whole, *parts))]


def _usearch(leaves: int, dim: int) -> list[Pipeline]:
    return [
        Pipeline(kind="usearch", settings={"dtype": dtype}, search={"expansion_search": width})
        for dtype in ("f32", "i8")
        for width in (32, 128)
    ]


def _hnswlib(leaves: int, dim: int) -> list[Pipeline]:
    return [Pipeline(kind="hnswlib", search={"expansion_search": width}) for width in (32, 128)]


def _faiss(leaves: int, dim: int) -> list[Pipeline]:
    graphs = [
        Pipeline(kind="faiss", settings={"factory": factory}, search={"parameters": f"efSearch={width}"})
        for factory in ("HNSW16", "HNSW16,SQ8")
        for width in (32, 128)
    ]
    return [Pipeline(kind="faiss", settings={"factory": "SQ8"}), *graphs]


_WAYS = {"scann": _scann, "fast_scan": _fast_scan, "faiss": _faiss, "usearch": _usearch, "hnswlib": _hnswlib}
"""Kind of index -> (leaves, dimensions) -> what of it is worth trying."""
_PACKAGES = {"scann": "scann", "fast_scan": "faiss", "faiss": "faiss", "usearch": "usearch", "hnswlib": "hnswlib"}


def _takes(kind: str, setting: str) -> bool:
    return setting in inspect.signature(index.kinds.BUILD[kind]).parameters


def _there(kind: str) -> bool:
    return importlib.util.find_spec(_PACKAGES[kind]) is not None


def space(n: int, dim: int) -> list[Pipeline]:
    """What `tune` tries for `n` vectors of `dim` numbers: codes alone, codes and a second look, trees and graphs.

    Of any kind of index, only what is installed here.  Counts of leaves and lists grow with the root of `n`; the same
    place in the list stands for the same idea whatever `n` is.
    """
    found, leaves = codes(dim), max(1, round(n**0.5))
    if "rescored" in index.kinds.BUILD:
        found += [rescored(Pipeline(compressor=first), "int8") for first in ("bits", "rabitq-1")]
    for kind, ways in _WAYS.items():
        if kind in index.kinds.BUILD and _there(kind):
            found += [one for one in ways(leaves, dim) if one.kind in index.kinds.BUILD]
    return found

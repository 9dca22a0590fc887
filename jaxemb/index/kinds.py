"""An index of whichever kind, by the name of the kind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxemb.index import described, exact, faiss, fast_scan, hnswlib, rescored, scann, usearch
from jaxemb.index.interface import Index
from jaxemb.types import Compressor, Params

BUILD: dict[str, Callable[..., Index]] = {
    "exact": exact.build,
    "scann": scann.build,
    "faiss": faiss.build,
    "fast_scan": fast_scan.build,
    "usearch": usearch.build,
    "hnswlib": hnswlib.build,
    "rescored": rescored.build,
}
LOAD: dict[str, Callable[..., Index]] = {
    "exact": exact.load,
    "scann": scann.load,
    "faiss": faiss.load,
    "fast_scan": fast_scan.load,
    "usearch": usearch.load,
    "hnswlib": hnswlib.load,
    "rescored": rescored.load,
}


def _known(kind: str) -> str:
    if kind not in BUILD:
        raise ValueError(f"no index of kind {kind!r}; there are {', '.join(BUILD)}")
    return kind


def build(kind: str, vectors: np.ndarray, **settings: object) -> Index:
    """An index of that kind, as the `build` of its module makes it with these settings.

    >>> build("exact", np.eye(3, dtype=np.float32)).size
    3

    Raises: ValueError that lists the kinds, and what the kind raises.
    """
    return BUILD[_known(kind)](vectors, **settings)


def load(folder: Path | str, *, compressor: Compressor | None = None, state: Params | None = None) -> Index:
    """Open an index folder of any kind.

    Args:
      compressor, state: those it was made with, as `compress.load` gives them; none for float32.
    Raises: FileNotFoundError where there is no index; ValueError for an unknown kind, and what the kind raises.
    """
    return LOAD[_known(described.kind_of(folder))](folder, compressor=compressor, state=state)
